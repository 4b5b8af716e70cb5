//! The lines of a CSV file, cell by cell, with the numbers of the lines that an editor shows: whatever ends
//! them, with empty ones counted, and with cells in quotes that go over several.

use anyhow::{Context, Result, bail};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::{io::Read, ops::Range};

/// The longest line; a file without lines is not to fill the memory.
const MAX_LINE: usize = 64 << 20;

/// The most cells of a line, of which each takes up more than the byte that separates it.
const MAX_CELLS: usize = 4 << 20;

/// The cells of a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    text: String,
    cells: Vec<Range<usize>>,
    /// The cells with a stray quote, in order.
    stray: Vec<usize>,
    /// Counted from 1.
    pub(super) line: u64,
}

impl Record {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// A cell, without the spaces around it.
    pub(super) fn get(&self, column: usize) -> &str {
        &self.text[self.cells[column].clone()]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(|cell| &self.text[cell.clone()])
    }

    /// Whether a cell has a quote that is alone, or before or after other text: it is no mark, but a part of the text.
    pub(super) fn has_stray_quote(&self, column: usize) -> bool {
        self.stray.binary_search(&column).is_ok()
    }

    /// The bytes of all cells.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }
}

/// Reads records.
pub(super) struct Records<R> {
    source: R,
    buffer: Vec<u8>,
    /// What of the buffer is still to be read.
    unread: Range<usize>,
    parser: Reader,
    separator: u8,
    output: Vec<u8>,
    ends: Vec<usize>,
    lines: Lines,
}

impl<R: Read> Records<R> {
    pub(super) fn new(source: R, separator: u8) -> Self {
        Self {
            source,
            buffer: vec![0; 64 << 10],
            unread: 0..0,
            parser: ReaderBuilder::new().delimiter(separator).build(),
            separator,
            output: vec![0; 4 << 10],
            ends: vec![0; 64],
            lines: Lines::default(),
        }
    }

    /// Reads the next line that is not empty, or returns `false` at the end.
    pub(super) fn read(&mut self, record: &mut Record) -> Result<bool> {
        while self.read_any(record)? {
            if record.len() > 1 || record.iter().any(|cell| !cell.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_any(&mut self, record: &mut Record) -> Result<bool> {
        let (mut n_bytes, mut n_ends, mut first_line) = (0, 0, None);
        loop {
            if self.unread.is_empty() {
                self.unread = 0..self.source.read(&mut self.buffer)?;
            }
            let input = &self.buffer[self.unread.clone()];
            let (result, read, written, cells) = self.parser.read_record(
                input,
                &mut self.output[n_bytes..],
                &mut self.ends[n_ends..],
            );
            self.lines.count(&input[..read], self.separator, &mut first_line);
            if input.is_empty() && self.lines.place == Place::Quoted {
                bail!("line {}: a quote is opened and never closed", self.lines.opened);
            }
            self.unread.start += read;
            n_bytes += written;
            n_ends += cells;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull
                    if n_bytes >= MAX_LINE || n_ends >= MAX_CELLS =>
                {
                    bail!(
                        "line {} has more than {} MiB or {MAX_CELLS} cells",
                        first_line.unwrap_or(self.lines.line),
                        MAX_LINE >> 20
                    );
                }
                ReadRecordResult::OutputFull => self.output.resize(2 * self.output.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::Record => break,
            }
        }
        let line = first_line.unwrap_or(self.lines.line);
        // Halves of a character on both sides of a separator are none.
        let text = str::from_utf8(&self.output[..n_bytes]).ok();
        let whole = |text: &&str| self.ends[..n_ends].iter().all(|end| text.is_char_boundary(*end));
        let text = text
            .filter(whole)
            .with_context(|| format!("line {line} is not UTF-8; save the file as UTF-8"))?;
        record.line = line;
        record.text.clear();
        record.text.push_str(text);
        record.cells.clear();
        record.stray.clear();
        self.lines.end_cell();
        let stray = std::mem::take(&mut self.lines.stray);
        let mut start = 0;
        for (i, &end) in self.ends[..n_ends].iter().enumerate() {
            let mut cell = trimmed(text, start..end);
            start = end;
            if stray.binary_search(&i).is_ok() {
                match within_quotes(&text[cell.clone()]) {
                    true => cell = trimmed(text, cell.start + 1..cell.end - 1),
                    false => record.stray.push(record.cells.len()),
                }
            }
            // Several spaces separate as one does.
            if self.separator != b' ' || !cell.is_empty() {
                record.cells.push(cell);
            }
        }
        Ok(true)
    }
}

/// A part of a text without the spaces around it.
fn trimmed(text: &str, part: Range<usize>) -> Range<usize> {
    let (end, part) = (part.end, &text[part]);
    let left = end - part.trim_start().len();
    left..(left + part.trim().len())
}

/// Whether quotes are around a cell, and nowhere else: after a space, where the parser takes them for a part of the text.
fn within_quotes(cell: &str) -> bool {
    let inner = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains('"'))
}

/// Where in a cell the last byte was.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    /// In the spaces before the text.
    Before,
    Quoted,
    /// At a quote within quotes: the end, unless another one follows.
    Quote,
    /// In the spaces after the quotes.
    After,
    Other,
}

/// Counts lines as their ends go by, and follows quotes as the parser does, which does not tell whether the last one was
/// closed.
struct Lines {
    line: u64,
    after_cr: bool,
    place: Place,
    /// The line of the last quote that was opened.
    opened: u64,
    /// How many cells of the line there are before this one.
    cell: usize,
    /// Whether this one has an odd number of quotes outside of quotes.
    odd: bool,
    /// Whether this one has a quote before or after other text that should be around it.
    misplaced: bool,
    /// The cells of the line that have stray quotes, in order.
    stray: Vec<usize>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            line: 1,
            after_cr: false,
            place: Place::Start,
            opened: 1,
            cell: 0,
            odd: false,
            misplaced: false,
            stray: Vec::new(),
        }
    }
}

impl Lines {
    fn end_cell(&mut self) {
        if self.odd || self.misplaced {
            self.stray.push(self.cell);
        }
        (self.odd, self.misplaced) = (false, false);
    }

    /// Counts the ends in `bytes`, and finds the line of the first byte that is none.
    fn count(&mut self, bytes: &[u8], separator: u8, first: &mut Option<u64>) {
        for byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::Quote,
                (Place::Quote, b'"') | (Place::Quoted, _) => Place::Quoted,
                (_, b'\n' | b'\r') => {
                    self.end_cell();
                    self.cell = 0;
                    Place::Start
                }
                (_, other) if *other == separator => {
                    self.end_cell();
                    self.cell += 1;
                    Place::Start
                }
                (Place::Start, b'"') => {
                    self.opened = self.line;
                    Place::Quoted
                }
                (Place::Start | Place::Before, b' ' | b'\t') => Place::Before,
                (Place::Quote | Place::After, b' ' | b'\t') => Place::After,
                (Place::Before, b'"') | (Place::Quote | Place::After, _) => {
                    self.misplaced = true;
                    Place::Other
                }
                (_, b'"') => {
                    self.odd = !self.odd;
                    Place::Other
                }
                _ => Place::Other,
            };
            match byte {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.line += 1;
                    self.after_cr = *byte == b'\r';
                }
                _ => {
                    self.after_cr = false;
                    first.get_or_insert(self.line);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, separator: u8) -> Vec<(u64, Vec<String>)> {
        let mut records = Records::new(text.as_bytes(), separator);
        let mut record = Record::default();
        let mut all = Vec::new();
        while records.read(&mut record).unwrap() {
            all.push((record.line, record.iter().map(str::to_owned).collect()));
        }
        all
    }

    fn cells(line: u64, cells: &[&str]) -> (u64, Vec<String>) {
        (line, cells.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a, b ", "", "1,\"x", "y\"", "  ", "", "3,4"].join(end);
            let quoted = format!("x{end}y");
            let expected =
                [cells(1, &["a", "b"]), cells(3, &["1", &quoted]), cells(7, &["3", "4"])];
            assert_eq!(read(&text, b','), expected, "{end:?}");
            assert_eq!(read(&(text.clone() + end), b','), expected, "{end:?} at the end");
        }
        assert_eq!(read("\r\n\n1\n\r\n\r2", b','), [cells(3, &["1"]), cells(6, &["2"])]);
        assert_eq!(read("", b','), []);
    }

    #[test]
    fn stray_quotes() {
        for (text, separator, expected) in [
            ("1,\"x\",\"a \"\"b\"\"\" , y", b',', &[][..]),
            ("5\" pipe,x", b',', &[0]),
            ("x,y\"", b',', &[1]),
            ("x,y\"\n", b',', &[1]),
            ("x,y\"\r\n", b',', &[1]),
            ("\"x\"y,\"x\" \"y\", \"x\"y", b',', &[0, 1, 2]),
            ("1, \"x\", \"5\"\" pipe\"", b',', &[2]),
            ("a \"b\" c,x\"\"", b',', &[]),
            ("\"\nx\"\"\",y\"", b',', &[1]),
            ("  \"1\"   x\" 2", b' ', &[1]),
        ] {
            let mut records = Records::new(text.as_bytes(), separator);
            let mut record = Record::default();
            assert!(records.read(&mut record).unwrap());
            let found: Vec<usize> =
                (0..record.len()).filter(|i| record.has_stray_quote(*i)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn quotes_after_a_space() {
        let text = "1, \"x y\" ,\t\"2\"\n \"\"\"\",\"\"\"x\"\"\"\n";
        assert_eq!(
            read(text, b','),
            [cells(1, &["1", "x y", "2"]), cells(2, &["\"\"\"\"", "\"x\""]),]
        );
    }

    #[test]
    fn separators() {
        assert_eq!(read("1;2,5;;", b';'), [cells(1, &["1", "2,5", "", ""])]);
        assert_eq!(read("  1   2 3 \n", b' '), [cells(1, &["1", "2", "3"])]);
        assert_eq!(read("\"a,\"\"b\",2\n", b','), [cells(1, &["a,\"b", "2"])]);
    }

    /// Found by fuzzing: without the separators this would be UTF-8.
    #[test]
    fn text_that_is_not_utf8() {
        for bytes in [&b"1,\xff\n"[..], b"a~\xeb,,,\xbb\xbf \n"] {
            let error = Records::new(bytes, b',').read(&mut Record::default()).unwrap_err();
            assert!(error.to_string().contains("line 1 is not UTF-8"), "{error}");
        }
    }

    #[test]
    fn a_line_has_an_end() {
        let mut records = Records::new(std::io::repeat(b'1'), b',');
        let error = records.read(&mut Record::default()).unwrap_err().to_string();
        assert_eq!(error, "line 1 has more than 64 MiB or 4194304 cells");
        for (text, line) in [
            ("1,2\n3,\"x\n4,5\n", 2),
            ("1,2\r3,\"x\r4,5\r", 2),
            ("\"", 1),
            ("1,\"a\"\n\n2,\"b\"\"", 3),
        ] {
            let mut records = Records::new(text.as_bytes(), b',');
            let error = std::iter::repeat_with(|| records.read(&mut Record::default()));
            let error = error.take(5).find_map(Result::err).expect("an error").to_string();
            assert_eq!(error, format!("line {line}: a quote is opened and never closed"));
        }
        assert_eq!(read("1,5\" pipe\n2,\"a\"\"\"", b',').len(), 2);
        // A quote that is never closed, and no end.
        let mut records = Records::new("1,2\n\"".as_bytes().chain(std::io::repeat(b'\n')), b',');
        assert!(records.read(&mut Record::default()).unwrap());
        let error = records.read(&mut Record::default()).unwrap_err().to_string();
        assert!(error.starts_with("line 2 has more than 64 MiB"), "{error}");
        let mut records = Records::new(std::io::repeat(b','), b',');
        assert!(records.read(&mut Record::default()).is_err());
    }
}
