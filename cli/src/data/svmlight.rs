//! The sparse text of SVMlight and LIBSVM: `label index:value index:value … # comment`, a sample a line, the
//! indices ascending. The features that a line leaves out are zero.

use super::{
    Dataset,
    labels::Texts,
    number::{self, Unfit, quoted},
    options::{IndexBase, ReadOptions, Schema},
    share::Share,
    source::{PlainText, Source, take_line},
    sparse::{Sparse, check_weights, explain},
};
use crate::mpi::World;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead, BufReader},
    ops::Range,
};

/// The longest line, and what is read at once.
const MAX_LINE: u64 = 64 << 20;

/// Bytes in which lines are counted together, at least.
const MIN_BLOCK: u64 = 64 << 10;

/// Blocks of a file, at most: what is known of each is known to all processes.
const MAX_BLOCKS: u64 = 1 << 14;

/// The entries of samples, sample by sample.
#[derive(Debug)]
struct Entries {
    /// Where each sample begins, and the last one ends.
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

/// What to say of lines that look as those of a table do.
const TABLE: &str = " (--format csv reads a table)";

/// What takes all samples of a file to know.
#[derive(Serialize, Deserialize)]
struct Summary {
    labels: Texts,
    n_entries: usize,
    /// The line of the first index 0, if there is one.
    zero: Option<u64>,
    /// The largest index, and the line where it is first.
    largest: Option<(u32, u64)>,
}

/// Reads samples.
pub(super) fn read(source: Source<'_>, options: &ReadOptions<'_>) -> Result<Dataset> {
    let mut lines = Lines::after(0, BufReader::with_capacity(1 << 16, source.text()));
    let (entries, summary) = parse(&mut lines, 0, 0..usize::MAX)?;
    dataset(entries, summary, options)
}

/// Reads some samples of a file that all processes of a run read: those that `rows_of` makes of how many there are. Each
/// counts the lines of its share of the bytes; then all know where each sample is, and parse those that they need.
pub(super) fn read_share(
    text: PlainText,
    options: &ReadOptions<'_>,
    world: &World,
    rows_of: impl Fn(usize) -> Range<usize>,
) -> Result<Dataset> {
    let blocks = Blocks::of(text, MIN_BLOCK);
    let counted = blocks.count(blocks.of_rank(world.rank(), world.size()));
    let counts = world.exchange(counted)?.concat();
    let n_samples = counts.iter().map(|count| count.samples as usize).sum();
    let rows = rows_of(n_samples);
    let (entries, own) = match blocks.parse(&counts, rows.clone()) {
        Ok((entries, summary)) => (entries, Ok(summary)),
        Err(error) => (Entries::default(), Err(error)),
    };
    let mut summary = Summary::of_nothing();
    world.exchange(own)?.into_iter().for_each(|next| summary.append(next));
    let share = Share { rows, n_samples, n_entries: summary.n_entries };
    Ok(dataset(entries, summary, options)?.of_share(share))
}

/// Reads the samples of some rows from lines on of which the next sample is number `next`.
fn parse(
    lines: &mut Lines<impl BufRead>,
    mut next: usize,
    rows: Range<usize>,
) -> Result<(Entries, Summary)> {
    let mut entries = Entries::default();
    let mut summary = Summary::of_nothing();
    while let Some((line, text)) = lines.next()? {
        let text = text.split('#').next().unwrap_or_default();
        let mut words = text.split_ascii_whitespace();
        let Some(label) = words.next() else { continue };
        let row = next;
        next += 1;
        if row < rows.start {
            continue;
        }
        if row == rows.end {
            break;
        }
        if label.contains(',') && label.split(',').all(|part| part.parse::<f64>().is_ok()) {
            let hint = if words.clone().next().is_none() { TABLE } else { "" };
            bail!("line {line}: {} is several labels; a sample has one{hint}", quoted(label));
        }
        if label.contains(':') {
            bail!("line {line}: {} is no label, with which a line begins", quoted(label));
        }
        summary.labels.push(label, line)?;
        entries.push(words).with_context(|| format!("line {line}"))?;
        summary.add(entries.last(), line);
    }
    Ok((entries, summary))
}

/// The samples with what is decided from all of them.
fn dataset(entries: Entries, summary: Summary, options: &ReadOptions<'_>) -> Result<Dataset> {
    if summary.labels.len() == 0 {
        bail!("there are no samples");
    }
    // A model would take each line for a sample of zeros.
    if summary.n_entries == 0
        && let Some((label, line)) = summary.labels.find(|label| label.contains([',', ';', '|']))
    {
        bail!(
            "line {line}: {} is a label alone, and no line has an index:value{TABLE}",
            quoted(label)
        );
    }
    let (base, how) = base(&summary, options)?;
    let found =
        summary.largest.map_or(0, |(index, _)| (index as usize + 1).saturating_sub(base as usize));
    let n_features = options.schema.map_or(found, |schema| schema.n_features);
    if n_features == 0 {
        bail!("there are no features");
    }
    // Of a file that counts from 1, all features would be moved by one, and the last one be left out.
    if let Some((index, line)) = summary.largest
        && (options.index_base, base, summary.zero) == (IndexBase::Auto, 0, None)
        && index as usize >= n_features
    {
        bail!(
            "line {line}: there is an index {index}, and none is 0, but the {n_features} features of the model \
             count from 0{how} (--index-base 0 or --index-base 1 says what they count from)"
        );
    }
    if let Some((index, line)) = summary.largest.filter(|_| options.schema.is_none()) {
        let context = || format!("line {line}: the largest index is {index}");
        check_weights(1, n_features, options.max_unpacked).with_context(context)?;
    }
    let (features, beyond) = entries.select(base, n_features)?;
    let mut data = Dataset::of_sparse(features, options);
    data.notes.push(format!("indices count from {base}{how}"));
    if beyond > 0 {
        data.notes.push(format!(
            "left out: {beyond} values of features beyond the {n_features} that the model was trained on"
        ));
    }
    let (labels, note) = summary.labels.finish()?;
    data.labels = Some(labels);
    data.notes.extend(note);
    let known = options.schema.cloned();
    data.schema = known
        .unwrap_or_else(|| Schema { index_base: Some(base), ..Schema::of_features(n_features) });
    Ok(data)
}

/// What indices count from, and how that is known.
fn base(summary: &Summary, options: &ReadOptions<'_>) -> Result<(u8, &'static str)> {
    let known = match (options.index_base, options.schema.and_then(|schema| schema.index_base)) {
        (IndexBase::Zero, _) => Some((0, "")),
        (IndexBase::One, _) => Some((1, "")),
        (IndexBase::Auto, Some(base)) => Some((base, ", as in training")),
        (IndexBase::Auto, None) => None,
    };
    match (known, summary.zero) {
        (Some((1, how)), Some(line)) => bail!(
            "line {line}: there is an index 0, but indices count from 1{how} (--index-base 0 or \
             --index-base 1 says what they count from)"
        ),
        (Some(known), _) => Ok(known),
        (None, Some(_)) => Ok((0, ", as there is an index 0 (--index-base says otherwise)")),
        (None, None) => Ok((1, ", as there is no index 0 (--index-base says otherwise)")),
    }
}

impl Summary {
    fn of_nothing() -> Self {
        Self { labels: Texts::of_lines(None), n_entries: 0, zero: None, largest: None }
    }

    /// Adds the indices of a sample, of which the label is added already.
    fn add(&mut self, indices: &[u32], line: u64) {
        self.n_entries += indices.len();
        if self.zero.is_none() && indices.first() == Some(&0) {
            self.zero = Some(line);
        }
        if let Some(last) = indices.last() {
            self.enlarge((*last, line));
        }
    }

    fn enlarge(&mut self, found: (u32, u64)) {
        if self.largest.is_none_or(|(largest, _)| largest < found.0) {
            self.largest = Some(found);
        }
    }

    /// Appends what is known of the samples that follow.
    fn append(&mut self, next: Self) {
        self.labels.append(next.labels);
        self.n_entries += next.n_entries;
        self.zero = self.zero.or(next.zero);
        next.largest.into_iter().for_each(|found| self.enlarge(found));
    }
}

/// A file in blocks of so many bytes, of which it may be known how many lines begin in each. They are the same for any
/// number of processes.
struct Blocks {
    text: PlainText,
    size: u64,
}

/// Of a block, or of several: the lines that begin there, and how many of them are samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    lines: u64,
    samples: u64,
}

impl Blocks {
    fn of(text: PlainText, least: u64) -> Self {
        let size = text.size().div_ceil(MAX_BLOCKS).max(least);
        Self { text, size }
    }

    fn len(&self) -> usize {
        self.text.size().div_ceil(self.size) as usize
    }

    /// Those that a process counts.
    fn of_rank(&self, rank: usize, size: usize) -> Range<usize> {
        rank * self.len() / size..(rank + 1) * self.len() / size
    }

    /// Counts the lines of some blocks.
    fn count(&self, blocks: Range<usize>) -> Result<Vec<Count>> {
        let (mut place, mut source) = self.text.lines_from(blocks.start as u64 * self.size)?;
        let count = |block: usize| {
            let end = self.text.size().min((block as u64 + 1) * self.size);
            let mut count = Count::default();
            while place < end {
                // As it is parsed: a sample has a word, and not in a comment.
                let mut first = None;
                let length = take_line(&mut source, |piece| {
                    let word = || piece.iter().copied().find(|byte| !byte.is_ascii_whitespace());
                    first = first.or_else(word);
                    Ok::<_, io::Error>(())
                })?;
                if length == 0 {
                    bail!(CHANGED);
                }
                place += length;
                count.lines += 1;
                count.samples += u64::from(first.is_some_and(|byte| byte != b'#'));
            }
            Ok(count)
        };
        blocks.map(count).collect()
    }

    /// Reads the samples of some rows, where the lines of all blocks are counted.
    fn parse(&self, counts: &[Count], rows: Range<usize>) -> Result<(Entries, Summary)> {
        if rows.is_empty() {
            return Ok((Entries::default(), Summary::of_nothing()));
        }
        // From the last block on before which there are fewer samples, or from the first one: so that each comment is
        // read by someone.
        let (mut start, mut before) = (0, Count::default());
        let mut sum = Count::default();
        for (block, count) in counts.iter().enumerate() {
            if sum.samples >= rows.start as u64 {
                break;
            }
            (start, before) = (block, sum);
            sum.lines += count.lines;
            sum.samples += count.samples;
        }
        let (_, source) = self.text.lines_from(start as u64 * self.size)?;
        let mut lines = Lines::after(before.lines, source);
        let (entries, summary) = parse(&mut lines, before.samples as usize, rows.clone())?;
        if summary.labels.len() != rows.len() {
            bail!(CHANGED);
        }
        Ok((entries, summary))
    }
}

const CHANGED: &str = "the file has changed while it was read";

impl Default for Entries {
    fn default() -> Self {
        Self { indptr: vec![0], indices: Vec::new(), values: Vec::new() }
    }
}

impl Entries {
    /// Adds the entries of a sample.
    fn push<'a>(&mut self, words: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
        let all = words.clone();
        let mut last = None;
        for word in words.filter(|word| !word.starts_with("qid:")) {
            let pair = word.split_once(':');
            let pair = pair.and_then(|(index, value)| Some((index.parse::<u64>().ok()?, value)));
            let fault = |what: &dyn std::fmt::Display| anyhow::anyhow!("{} {what}", quoted(word));
            let no_pair = || {
                let hint = if all.clone().any(|word| word.contains(':')) { "" } else { TABLE };
                fault(&format_args!("is no index:value{hint}"))
            };
            let (index, value) = pair.ok_or_else(no_pair)?;
            let value = number::parse(value).map_err(|unfit| match unfit {
                Unfit::NoNumber => fault(&"is no index:value"),
                unfit => fault(&unfit),
            })?;
            let index = u32::try_from(index).ok().filter(|index| *index < u32::MAX);
            let index = index.ok_or_else(|| fault(&"has too large an index"))?;
            match last {
                Some(last) if last == index => bail!("index {index} is there twice"),
                Some(last) if last > index => {
                    bail!("index {index} does not follow {last}; indices must ascend")
                }
                _ => last = Some(index),
            }
            self.indices.push(index);
            self.values.push(value);
        }
        self.indptr.push(self.values.len());
        Ok(())
    }

    /// The indices of the last sample.
    fn last(&self) -> &[u32] {
        let start = self.indptr.iter().rev().nth(1).copied().unwrap_or(0);
        &self.indices[start..]
    }

    /// The entries of the first features, counted from 0, and how many others there are.
    fn select(self, base: u8, n_features: usize) -> Result<(Sparse, usize)> {
        let Self { mut indptr, mut indices, mut values } = self;
        let (mut start, mut kept) = (0, 0);
        for end in &mut indptr[1..] {
            for entry in start..*end {
                let feature = indices[entry] - u32::from(base);
                if (feature as usize) < n_features {
                    (indices[kept], values[kept]) = (feature, values[entry]);
                    kept += 1;
                }
            }
            (start, *end) = (*end, kept);
        }
        let beyond = indices.len() - kept;
        indices.truncate(kept);
        values.truncate(kept);
        let sparse = Sparse::new(indptr, indices, values, n_features).map_err(explain)?;
        Ok((sparse, beyond))
    }
}

/// Lines, whatever ends them, with their numbers.
struct Lines<R> {
    source: R,
    text: Vec<u8>,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    /// Those that follow so many others.
    fn after(line: u64, source: R) -> Self {
        Self { source, text: Vec::new(), line }
    }

    /// The next line and its number, from 1; without its end.
    fn next(&mut self) -> Result<Option<(u64, &str)>> {
        let number = self.line + 1;
        let text = &mut self.text;
        text.clear();
        let length = take_line(&mut self.source, |piece| {
            text.extend_from_slice(piece);
            if text.len() as u64 > MAX_LINE {
                bail!("line {number} has more than {} MiB", MAX_LINE >> 20);
            }
            Ok(())
        })?;
        if length == 0 {
            return Ok(None);
        }
        self.line = number;
        let text = str::from_utf8(&self.text)
            .with_context(|| format!("line {number} is not UTF-8; save the file as UTF-8"))?;
        Ok(Some((number, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, options: &ReadOptions<'_>) -> Result<Dataset> {
        read(Source::new(text.as_bytes(), 1 << 20)?, options)
    }

    fn features(data: &Dataset) -> Vec<Vec<f32>> {
        let view = data.view().unwrap();
        (0..view.rows()).map(|row| view.row(row).unwrap()).collect()
    }

    #[test]
    fn lines_of_all_kinds() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["# c", "", "+1 1:2 3:0.5 # x", "-1", "1 qid:7 2:1", ""].join(end);
            let data = parse(&text, &ReadOptions::default()).unwrap();
            assert_eq!(features(&data), [[2.0, 0.0, 0.5], [0.0; 3], [0.0, 1.0, 0.0]], "{end:?}");
            let labels = data.labels.unwrap();
            assert_eq!(labels.codes(), [1, 0, 1]);
            let bad = ["1 1:2", "", "1 2:x"].join(end);
            let error = format!("{:#}", parse(&bad, &ReadOptions::default()).unwrap_err());
            assert!(error.starts_with("line 3: \"2:x\""), "{end:?}: {error}");
        }
    }

    /// A file as so many processes read it, in blocks of so many bytes at least: what is counted of each block, what is
    /// read by each process, and what all know.
    fn shared(text: &str, least: u64, processes: usize) -> Result<(Vec<Count>, Dataset)> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.svm");
        std::fs::write(&path, text)?;
        let text = Source::open(&path, 0)?.plain_text()?.context("a plain file")?;
        let blocks = Blocks::of(text, least);
        let counted = (0..processes).map(|rank| blocks.count(blocks.of_rank(rank, processes)));
        let counts = counted.collect::<Result<Vec<_>>>()?.concat();
        let n = counts.iter().map(|count| count.samples as usize).sum::<usize>();
        let (mut all, mut summary) = (Entries::default(), Summary::of_nothing());
        for rank in 0..processes {
            let rows = rank * n / processes..(rank + 1) * n / processes;
            let (entries, next) = blocks.parse(&counts, rows.clone())?;
            assert_eq!(entries.indptr.len() - 1, rows.len());
            let start = all.values.len();
            all.indptr.extend(entries.indptr[1..].iter().map(|end| start + end));
            all.indices.extend(entries.indices);
            all.values.extend(entries.values);
            // As it is sent.
            summary.append(serde_json::from_slice(&serde_json::to_vec(&next)?)?);
        }
        Ok((counts, dataset(all, summary, &ReadOptions::default())?))
    }

    #[test]
    fn shares_of_a_file_are_the_file() {
        let long = format!("b 4:1 # {}", "long ".repeat(20));
        for end in ["\n", "\r\n", "\r"] {
            let lines = [
                "# 1 1:1",
                "",
                " \t",
                "x 1:2 3:0.5 # x",
                "b",
                "# c",
                &long,
                "x 2:1",
                "#",
                " y 0:3",
                "",
                "x 1:1 9:4",
                "# end",
            ];
            for last in ["", end] {
                for mark in ["", "\u{feff}"] {
                    let text = format!("{mark}{}{last}", lines.join(end));
                    let whole = parse(&text, &ReadOptions::default()).unwrap();
                    for least in [1, 2, 3, 10, 64, 1000] {
                        let (of_one, _) = shared(&text, least, 1).unwrap();
                        for processes in [1, 2, 3, 4, 7] {
                            let (counts, data) = shared(&text, least, processes).unwrap();
                            assert_eq!(counts, of_one, "{least} {processes} {text:?}");
                            assert_eq!(features(&data), features(&whole));
                            assert_eq!(data.notes, whole.notes);
                            let [labels, expected] = [data.labels, whole.labels.clone()]
                                .map(|labels| format!("{:?}", labels.unwrap()));
                            assert_eq!(labels, expected);
                        }
                    }
                }
            }
            // The line that is wrong is the one of the file, whoever reads it.
            for wrong in ["x 2:y", "x 1:1 1:1", "nan 1:1", "x:1"] {
                for place in 0..lines.len() {
                    let lines = [&lines[..place], &[wrong], &lines[place..]].concat();
                    let text = lines.join(end);
                    let whole = parse(&text, &ReadOptions::default()).unwrap_err();
                    for (least, processes) in [(1, 4), (10, 3), (1000, 2)] {
                        let error = shared(&text, least, processes).unwrap_err();
                        assert_eq!(format!("{error:#}"), format!("{whole:#}"));
                    }
                }
            }
        }
    }

    #[test]
    fn what_indices_count_from() {
        let zero = parse("1 0:5 1:6\n2 1:7\n", &ReadOptions::default()).unwrap();
        assert_eq!(features(&zero), [[5.0, 6.0], [0.0, 7.0]]);
        assert_eq!(zero.schema.index_base, Some(0));
        let one = parse("1 1:6\n2 2:7\n", &ReadOptions::default()).unwrap();
        assert_eq!(features(&one), [[6.0, 0.0], [0.0, 7.0]]);
        // As the model has them, not as the file looks.
        let options = ReadOptions { schema: Some(&zero.schema), ..ReadOptions::default() };
        assert_eq!(features(&parse("1 1:6\n", &options).unwrap()), [[0.0, 6.0]]);
        // A file that counts from 1, unless it is said otherwise.
        let error = parse("1 1:5\n2 1:5 2:6\n", &options).unwrap_err().to_string();
        for word in ["line 2", "index 2", "2 features", "count from 0", "--index-base 1"] {
            assert!(error.contains(word), "{error}");
        }
        for (base, expected) in [(IndexBase::One, [5.0, 6.0]), (IndexBase::Zero, [0.0, 5.0])] {
            let options = ReadOptions { index_base: base, ..options.clone() };
            assert_eq!(features(&parse("2 1:5 2:6\n", &options).unwrap()), [expected]);
        }
        assert_eq!(features(&parse("1 0:5 2:7\n", &options).unwrap()), [[5.0, 0.0]]);
        let options = ReadOptions { schema: Some(&one.schema), ..ReadOptions::default() };
        let error = parse("1 1:6\n1 0:1 1:6\n", &options).unwrap_err().to_string();
        for word in ["line 2", "index 0", "--index-base 0", "--index-base 1"] {
            assert!(error.contains(word), "{error}");
        }
        // Features that training never saw; and fewer.
        let data = parse("1 1:6 3:1 9:2\n2\n", &options).unwrap();
        assert_eq!(features(&data), [[6.0, 0.0], [0.0, 0.0]]);
        assert!(data.notes.iter().any(|note| note.contains("2 values")), "{:?}", data.notes);
        let options = ReadOptions { index_base: IndexBase::Zero, ..ReadOptions::default() };
        assert_eq!(features(&parse("1 1:6\n", &options).unwrap()), [[0.0, 6.0]]);
    }

    #[test]
    fn lines_that_are_wrong() {
        for (text, words) in [
            ("0 1:2 1:3\n", &["line 1", "twice"][..]),
            ("0 2:2 1:3\n", &["line 1", "does not follow 2"]),
            ("0 1:nan\n", &["line 1", "not finite"]),
            ("0 1:1e39\n", &["line 1", "too large for f32"]),
            ("1,3 1:1\n", &["line 1", "several labels"]),
            ("0 1:1\n0.5 1:1\n", &["line 2", "no class"]),
            ("0 1:1\nnan 1:1\n", &["line 2", "missing"]),
            ("1:1 2:1\n", &["line 1", "no label, with which a line begins"]),
            ("0 1:1\n1 1000000000:3\n", &["--max-unpacked"]),
            ("0 1:1\n1 99999999999:3\n", &["line 2", "too large an index"]),
            ("# nothing\n", &["no samples"]),
            ("1\n2\n", &["no features"]),
            ("1,2,0\n3,4,1\n", &["line 1", "several labels", "--format csv"]),
            ("0 2 1\n3 4 1\n", &["line 1", "\"2\" is no index:value", "--format csv"]),
            ("0 1:x\n", &["line 1", "\"1:x\" is no index:value"]),
            ("0 1:1\n0 2 3:1\n", &["line 2", "\"2\" is no index:value"]),
        ] {
            let error = format!("{:#}", parse(text, &ReadOptions::default()).unwrap_err());
            for word in words {
                assert!(error.contains(word), "{text:?}: {error}");
            }
            assert!(words.contains(&"--format csv") == error.contains("--format csv"), "{error}");
        }
        // A table of names, also where a model says how many features there are.
        let schema = Schema { index_base: Some(1), ..Schema::of_features(2) };
        for schema in [None, Some(&schema)] {
            let options = ReadOptions { schema, ..ReadOptions::default() };
            for text in ["a,b,label\n1,2,x\n", "x\n1;2;y\n"] {
                let error = parse(text, &options).unwrap_err().to_string();
                for word in ["no line has an index:value", "--format csv"] {
                    assert!(error.contains(word), "{text:?}: {error}");
                }
            }
            assert!(parse("a,b 1:1\nc\n", &options).is_ok(), "a name with a comma");
        }
    }
}
