//! Where bytes come from: a file, a pipe or standard input, plain or gzipped, which the first bytes tell.
//! What could grow without end, as unpacked or piped data can, is cut off at a limit; a plain file is
//! mapped into memory where a reader wants all of it.

use anyhow::{Result, bail};
use flate2::bufread::GzDecoder;
use memmap2::Mmap;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom},
    ops::Deref,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// The bytes of a file.
#[derive(Debug)]
pub(super) enum Bytes {
    Map(Mmap),
    Memory(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}

/// Bytes that are looked at from the start to tell what they are.
const HEAD: usize = 64 << 10;

const GZIP: &[u8] = &[0x1f, 0x8b];

/// Data to be read, unpacked already.
pub(super) struct Source<'a> {
    head: Vec<u8>,
    rest: Box<dyn Read + 'a>,
    /// If it is a regular file that is not gzipped.
    plain: Option<File>,
    /// The bytes that may be read.
    limit: u64,
}

impl Source<'static> {
    /// Opens a file, or standard input for `-`. If it is gzipped or no regular file, it may have
    /// `max_unpacked` bytes.
    pub(super) fn open(path: &Path, max_unpacked: u64) -> Result<Self> {
        if path == Path::new("-") {
            // What the first one leaves of it, nothing or a part, is no other file.
            static TAKEN: AtomicBool = AtomicBool::new(false);
            if TAKEN.swap(true, Relaxed) {
                bail!("it is given for two files, and can be read once");
            }
            return Self::new(io::stdin().lock(), max_unpacked);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            bail!("it is a folder");
        }
        // Some files of the system say that they are empty, and are not.
        let regular = metadata.is_file() && metadata.len() > 0;
        let plain = if regular { Some(file.try_clone()?) } else { None };
        let mut source = Self::with_plain(file, max_unpacked, plain)?;
        if source.plain.is_some() {
            source.limit = u64::MAX;
        }
        Ok(source)
    }
}

impl<'a> Source<'a> {
    /// Reads from anything, `max_unpacked` bytes at most.
    pub(super) fn new(reader: impl Read + 'a, max_unpacked: u64) -> Result<Self> {
        Self::with_plain(reader, max_unpacked, None)
    }

    fn with_plain(mut reader: impl Read + 'a, limit: u64, plain: Option<File>) -> Result<Self> {
        let head = read_head(&mut reader)?;
        if !head.starts_with(GZIP) {
            return Ok(Self { head, rest: Box::new(reader), plain, limit });
        }
        let packed = BufReader::with_capacity(HEAD, Cursor::new(head).chain(reader));
        let mut unpacked = Members(Some(GzDecoder::new(packed)));
        let head = read_head(&mut unpacked)?;
        Ok(Self { head, rest: Box::new(unpacked), plain: None, limit })
    }

    /// The first bytes.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The bytes that it may have.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// All bytes as they come, or an error at the limit.
    pub(super) fn stream(self) -> impl Read + 'a {
        let Self { head, rest, limit, .. } = self;
        Limited { source: Cursor::new(head).chain(rest), left: limit, limit }
    }

    /// All bytes as they come, for a reader that knows how many there are to be.
    pub(super) fn unlimited(self) -> impl Read + 'a {
        Cursor::new(self.head).chain(self.rest)
    }

    /// All bytes but the mark of UTF-8.
    pub(super) fn text(mut self) -> impl Read + 'a {
        self.head.drain(..self.text_start());
        self.stream()
    }

    /// The text of a plain file, which can be read from anywhere, if this is one.
    pub(super) fn plain_text(&self) -> Result<Option<PlainText>> {
        let Some(file) = &self.plain else { return Ok(None) };
        let (file, start) = (file.try_clone()?, self.text_start() as u64);
        Ok(Some(PlainText { size: file.metadata()?.len(), file, start }))
    }

    /// Where the text begins: after the mark of UTF-8, if there is one.
    fn text_start(&self) -> usize {
        if self.head.starts_with(BOM) { BOM.len() } else { 0 }
    }

    /// All bytes at once.
    pub(super) fn bytes(self) -> Result<Bytes> {
        if let Some(file) = &self.plain {
            // SAFETY: the file must not shrink while it is mapped, as of every program that maps files; what
            // is in it may be anything.
            return Ok(Bytes::Map(unsafe { Mmap::map(file)? }));
        }
        let mut bytes = Vec::new();
        self.stream().read_to_end(&mut bytes)?;
        Ok(Bytes::Memory(bytes))
    }
}

/// A file of text that is read from wherever lines begin.
pub(super) struct PlainText {
    file: File,
    /// Where the text begins.
    start: u64,
    /// The bytes of the file.
    size: u64,
}

impl PlainText {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// All from the first line on that begins at a place or after it; and where that is.
    pub(super) fn lines_from(&self, place: u64) -> io::Result<(u64, impl BufRead + use<>)> {
        let mut file = self.file.try_clone()?;
        // A line begins where the one before ends, which the byte before may be the end of.
        let (begins, from) =
            if place <= self.start { (true, self.start) } else { (false, place - 1) };
        file.seek(SeekFrom::Start(from))?;
        let mut lines = BufReader::with_capacity(HEAD, file);
        let skipped = if begins { 0 } else { take_line(&mut lines, |_| Ok::<_, io::Error>(()))? };
        Ok((from + skipped, lines))
    }
}

/// Hands on the bytes of the next line, piece by piece, but not those of its end, which is that of any system. Returns how
/// many there are with its end: none after the last line.
///
/// # Errors
/// If they cannot be read; and those of `take`.
pub(super) fn take_line<E: From<io::Error>>(
    source: &mut impl BufRead,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let mut length = 0;
    loop {
        let buffer = source.fill_buf()?;
        if buffer.is_empty() {
            return Ok(length);
        }
        let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let text = &buffer[..end.unwrap_or(buffer.len())];
        take(text)?;
        let cr = end.is_some_and(|end| buffer[end] == b'\r');
        let mut taken = text.len() + usize::from(end.is_some());
        source.consume(taken);
        if cr && source.fill_buf()?.first() == Some(&b'\n') {
            source.consume(1);
            taken += 1;
        }
        length += taken as u64;
        if end.is_some() {
            return Ok(length);
        }
    }
}

/// The mark of UTF-8.
pub(super) const BOM: &[u8] = "\u{feff}".as_bytes();

fn read_head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The members of a gzipped file, one after the other. Zeros after the last one fill the file up to the size of a block, as
/// of a tape; `gzip` leaves them out, too.
struct Members<R: BufRead>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(mut rest) = self.0.take().map(GzDecoder::into_inner) else { break };
            let mut padded = false;
            let at_end = loop {
                let bytes = rest.fill_buf()?;
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                if zeros == 0 {
                    break bytes.is_empty();
                }
                padded = true;
                rest.consume(zeros);
            };
            match (at_end, padded) {
                (true, _) => break,
                (false, true) => {
                    return Err(io::Error::other(
                        "zeros, and more after them, follow what is gzipped",
                    ));
                }
                (false, false) => self.0 = Some(GzDecoder::new(rest)),
            }
        }
        Ok(0)
    }
}

/// What fails where more than a number of bytes comes.
struct Limited<R> {
    source: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return match self.source.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other(format!(
                    "there are more than {} bytes of unpacked or piped data (--max-unpacked raises \
                     the limit)",
                    self.limit
                ))),
            };
        }
        let read = self.source.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(packed: &[u8], limit: u64) -> Result<Vec<u8>> {
        Ok(Source::new(packed, limit)?.bytes()?.to_vec())
    }

    #[test]
    fn members_are_joined_and_what_is_none_is_an_error() {
        let [a, b] = [vec![b'a'; 100_000], vec![b'b'; 70_000]];
        let two = [gzip(&a), gzip(&b)].concat();
        assert_eq!(read(&two, 170_000).unwrap(), [a, b].concat());
        assert!(read(&two[..two.len() - 1], u64::MAX).is_err());
        assert!(read(&two[..two.len() - 9], u64::MAX).is_err());
        for zeros in [1, 512, 100_000] {
            let padded = [&two[..], &vec![0; zeros]].concat();
            assert_eq!(read(&padded, 170_000).unwrap().len(), 170_000);
        }
        for garbage in [&b"x"[..], b"\0x", b"\0\x1f\x8b", b"\x1f", b"\x1f\x8b\x08", &[7; 100]] {
            assert!(read(&[&two, garbage].concat(), u64::MAX).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn the_limit_is_what_may_be_read() {
        assert_eq!(read(b"12345", 5).unwrap(), b"12345");
        for packed in [b"123456".to_vec(), gzip(b"123456")] {
            let error = read(&packed, 5).unwrap_err().to_string();
            assert!(error.contains("more than 5 bytes") && error.contains("--max-unpacked"));
        }
        // Without an end.
        assert!(Source::new(io::repeat(b'1'), 1 << 20).unwrap().bytes().is_err());
    }

    #[test]
    fn the_mark_of_utf8_is_no_text() {
        let mut text = String::new();
        let source = Source::new("\u{feff}a,b".as_bytes(), 100).unwrap();
        source.text().read_to_string(&mut text).unwrap();
        assert_eq!(text, "a,b");
    }
}
