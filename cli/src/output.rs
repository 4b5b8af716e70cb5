//! Files that are either as they were or whole: written beside, synchronised, renamed.

use anyhow::{Context, Result};
use std::{
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A file to come. Opened before the work whose result it will hold, so that a folder that cannot be
/// written is found out before and not after it.
pub(crate) struct Output {
    target: PathBuf,
    beside: NamedTempFile,
}

impl Output {
    /// Makes a temporary file beside `target`. It goes away if nothing is ever put into it.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let context = || format!("cannot write {}", target.display());
        // What is to be replaced is behind a symbolic link, not the link.
        let link = target.is_symlink().then(|| target.canonicalize().ok()).flatten();
        let target = link.as_deref().unwrap_or(target);
        match target.metadata() {
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
        let beside = tempfile::Builder::new()
            .prefix(".softmargin-")
            .permissions_of_new_files()
            .tempfile_in(folder)
            .map_err(|error| anyhow::anyhow!(reason(&error)))
            .with_context(context)?;
        Ok(Self { target: target.to_owned(), beside })
    }

    /// Writes the whole of the file and puts it in its place.
    pub(crate) fn write(mut self, contents: &[u8]) -> Result<()> {
        let context = || format!("cannot write {}", self.target.display());
        // To the file itself, as an error would name the temporary file otherwise.
        self.beside.as_file_mut().write_all(contents).with_context(context)?;
        self.beside.as_file().sync_all().with_context(context)?;
        let target = self.target.clone();
        self.beside
            .persist(&target)
            .map_err(|error| error.error)
            .with_context(|| format!("cannot write {}", target.display()))?;
        Ok(())
    }
}

/// An error of the system without the name of the temporary file.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "the folder does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        kind => kind.to_string(),
    }
}

/// `tempfile` makes files that only their owner may read; a model is no secret.
trait PermissionsOfNewFiles {
    fn permissions_of_new_files(&mut self) -> &mut Self;
}

impl PermissionsOfNewFiles for tempfile::Builder<'_, '_> {
    fn permissions_of_new_files(&mut self) -> &mut Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The umask takes away what it takes away from every new file.
            self.permissions(std::fs::Permissions::from_mode(0o666));
        }
        self
    }
}
