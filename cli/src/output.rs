//! Files that are either as they were or whole. A new file has no name while it is written, so that a run that is
//! killed leaves nothing behind, and takes its place in one step when it is complete.

use anyhow::{Context, Result};
use std::{
    fs::{self, File, Metadata},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file to come. Opened before the work whose result it will hold, so that a folder that cannot be
/// written is found out before and not after it.
pub(crate) struct Output {
    target: PathBuf,
    folder: PathBuf,
    file: BufWriter<File>,
    /// The name of the file so far, where the system has no files without one.
    named: Option<tempfile::TempPath>,
}

impl Output {
    /// Opens a file without a name in the folder of `target`. It goes away unless it is [put in
    /// place](Self::commit).
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let context = || format!("cannot write {}", target.display());
        // What is to be replaced is behind a symbolic link, not the link. That of a pipe, as /dev/stdout may be one, does not
        // tell where it leads.
        let there = target.metadata();
        let target = follow_links(target).with_context(context)?;
        match there {
            Ok(there) if there.is_dir() => {
                return Err(anyhow::anyhow!("it is a folder")).with_context(context);
            }
            // Renaming would put a file in the place of a device or a pipe.
            Ok(there) if !there.is_file() => {
                return Err(anyhow::anyhow!("it is no regular file")).with_context(context);
            }
            _ => {}
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.to_owned();
        remove_leftover(&folder, &target).with_context(context)?;
        let opened = match unnamed(&folder) {
            Some(file) => Ok((file, None)),
            None => beside(&folder).map(|file| {
                let (file, path) = file.into_parts();
                (file, Some(path))
            }),
        };
        let (file, named) =
            opened.map_err(|error| anyhow::anyhow!(reason(&error))).with_context(context)?;
        Ok(Self { target, folder, file: BufWriter::with_capacity(1 << 20, file), named })
    }

    /// Writes the whole of the file and puts it in its place.
    pub(crate) fn write(mut self, contents: &[u8]) -> Result<()> {
        let written = self.write_all(contents);
        written.with_context(|| self.cannot_write())?;
        self.commit()
    }

    /// What a message says before the reason.
    pub(crate) fn cannot_write(&self) -> String {
        format!("cannot write {}", self.target.display())
    }

    /// Puts what was written in its place.
    pub(crate) fn commit(self) -> Result<()> {
        let Self { target, folder, file, named } = self;
        let put = || -> io::Result<()> {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            if let Ok(earlier) = target.metadata() {
                keep_owner_and_permissions(&file, &earlier)?;
            }
            file.sync_all()?;
            match named {
                Some(path) => path.persist(&target).map_err(|error| error.error)?,
                None => name(&file, &folder, &target)?,
            }
            // The entry of the folder, too, is to survive a loss of power; not every system can do that.
            let _ = File::open(&folder).and_then(|folder| folder.sync_all());
            Ok(())
        };
        put().with_context(|| format!("cannot write {}", target.display()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Refuses to put a result in the place of a file that it is made from.
pub(crate) fn check_distinct<'a>(
    target: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    let place = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let target_place = place(target)?;
    for input in inputs {
        if place(input)? == target_place {
            anyhow::bail!("{} is given for two files", target.display());
        }
    }
    Ok(())
}

/// Symbolic links that may follow each other, as many as Linux allows.
const MAX_LINKS: usize = 40;

/// Where a path leads, also if nothing is there yet.
fn follow_links(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(next) = path.read_link() else { return Ok(path) };
        path = path.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
    }
    anyhow::bail!("too many symbolic links")
}

/// A file without a name, where the system has such.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // The umask takes away what it takes away from every new file.
    open(folder, flags, Mode::from_raw_mode(0o666)).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path) -> Option<File> {
    None
}

/// Gives a file without a name the one of `target`. A name that exists cannot be given, so that there is another
/// one in between: always the same, so that what a process leaves that is killed there is found by the next.
#[cfg(target_os = "linux")]
fn name(file: &File, folder: &Path, target: &Path) -> io::Result<()> {
    use rustix::{
        fs::{AtFlags, CWD, linkat},
        io::Errno,
    };
    use std::os::fd::AsRawFd;
    let beside = name_beside(folder, target);
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Until it has its place or this process ends. Where files cannot be locked, nobody waits.
    let _ = file.lock();
    while let Err(error) = linkat(CWD, &*unnamed, CWD, &beside, AtFlags::SYMLINK_FOLLOW) {
        if error != Errno::EXIST {
            return Err(error.into());
        }
        remove_leftover(folder, target)?;
    }
    fs::rename(&beside, target).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Removes what a process that wrote `target` was killed before it could rename; what another one is about to rename
/// is waited for.
#[cfg(target_os = "linux")]
fn remove_leftover(folder: &Path, target: &Path) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    use std::os::unix::fs::MetadataExt;
    let path = name_beside(folder, target);
    let remove = || -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(open(&path, flags, Mode::empty())?);
        file.lock()?;
        let (there, locked) = (path.symlink_metadata()?, file.metadata()?);
        // As it could be locked, whoever made it lives no more.
        if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) {
            fs::remove_file(&path)?;
        }
        Ok(())
    };
    match remove().map_err(|error| error.kind()) {
        // What is wrong with the folder is said where the file is opened.
        Err(kind) if !matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(io::Error::new(kind, format!("{} is in the way: {kind}", path.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn remove_leftover(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn name(_: &File, _: &Path, _: &Path) -> io::Result<()> {
    unreachable!("every file has a name here")
}

const PREFIX: &str = ".softmargin-";

/// Where a file is for the moment before it takes the place of `target`.
#[cfg(target_os = "linux")]
fn name_beside(folder: &Path, target: &Path) -> PathBuf {
    // At most 240 bytes, as a name may be no longer than 255.
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    folder.join(
        name.chars().take(60).fold(PREFIX.to_owned(), |name, c| name + c.encode_utf8(&mut [0; 4])),
    )
}

/// A file with a name of its own.
fn beside(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // `tempfile` makes files that only their owner may read; a model is no secret.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// A file that is replaced stays as accessible as it was, and its owner's where that may be given away.
fn keep_owner_and_permissions(file: &File, earlier: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let mine = file.metadata()?;
        if (mine.uid(), mine.gid()) != (earlier.uid(), earlier.gid()) {
            let _ = fchown(file, Some(earlier.uid()), Some(earlier.gid()));
        }
    }
    file.set_permissions(earlier.permissions())
}

/// An error of the system without the name of the temporary file.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the folder does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        kind => kind.to_string(),
    }
}
