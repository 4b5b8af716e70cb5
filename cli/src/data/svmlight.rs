//! The sparse text of SVMlight and LIBSVM: `label index:value index:value … # comment`, a sample a line, the
//! indices ascending. The features that a line leaves out are zero.

use super::{
    Dataset,
    labels::Texts,
    number::{self, Unfit, quoted},
    options::{IndexBase, ReadOptions, Schema},
    source::Source,
    sparse::{Sparse, check_weights, explain},
};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};

/// The longest line, and what is read at once.
const MAX_LINE: u64 = 64 << 20;

/// The entries of all samples, sample by sample.
struct Entries {
    /// Where each sample begins, and the last one ends.
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
    /// The line of the first index 0, if there is one.
    zero: Option<u64>,
    /// The largest index, and the line where it is first.
    largest: Option<(u32, u64)>,
}

/// Reads samples.
pub(super) fn read(source: Source<'_>, options: &ReadOptions<'_>) -> Result<Dataset> {
    let mut labels = Texts::of_lines(None);
    let mut entries = Entries {
        indptr: vec![0],
        indices: Vec::new(),
        values: Vec::new(),
        zero: None,
        largest: None,
    };
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, source.text()));
    while let Some((line, text)) = lines.next()? {
        let text = text.split('#').next().unwrap_or_default();
        let mut words = text.split_ascii_whitespace();
        let Some(label) = words.next() else { continue };
        if label.contains(',') && label.split(',').all(|part| part.parse::<f64>().is_ok()) {
            bail!("line {line}: {} is several labels; a sample has one", quoted(label));
        }
        if label.contains(':') {
            bail!("line {line}: {} is no label", quoted(label));
        }
        labels.push(label, line)?;
        entries.push(words, line).with_context(|| format!("line {line}"))?;
        if entries.zero.is_none() && entries.last().first() == Some(&0) {
            entries.zero = Some(line);
        }
    }
    let n_samples = entries.indptr.len() - 1;
    if n_samples == 0 {
        bail!("there are no samples");
    }

    let (base, how) = base(&entries, options)?;
    let found =
        entries.largest.map_or(0, |(index, _)| (index as usize + 1).saturating_sub(base as usize));
    let n_features = options.schema.map_or(found, |schema| schema.n_features);
    if n_features == 0 {
        bail!("there are no features");
    }
    // Of a file that counts from 1, all features would be moved by one, and the last one be left out.
    if let Some((index, line)) = entries.largest
        && (options.index_base, base, entries.zero) == (IndexBase::Auto, 0, None)
        && index as usize >= n_features
    {
        bail!(
            "line {line}: there is an index {index}, and none is 0, but the {n_features} features of the model \
             count from 0{how} (--index-base 0 or --index-base 1 says what they count from)"
        );
    }
    if let Some((index, line)) = entries.largest.filter(|_| options.schema.is_none()) {
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
    let (labels, note) = labels.finish()?;
    data.labels = Some(labels);
    data.notes.extend(note);
    let known = options.schema.cloned();
    data.schema = known
        .unwrap_or_else(|| Schema { index_base: Some(base), ..Schema::of_features(n_features) });
    Ok(data)
}

/// What indices count from, and how that is known.
fn base(entries: &Entries, options: &ReadOptions<'_>) -> Result<(u8, &'static str)> {
    let known = match (options.index_base, options.schema.and_then(|schema| schema.index_base)) {
        (IndexBase::Zero, _) => Some((0, "")),
        (IndexBase::One, _) => Some((1, "")),
        (IndexBase::Auto, Some(base)) => Some((base, ", as in training")),
        (IndexBase::Auto, None) => None,
    };
    match (known, entries.zero) {
        (Some((1, how)), Some(line)) => bail!(
            "line {line}: there is an index 0, but indices count from 1{how} (--index-base 0 or \
             --index-base 1 says what they count from)"
        ),
        (Some(known), _) => Ok(known),
        (None, Some(_)) => Ok((0, ", as there is an index 0 (--index-base says otherwise)")),
        (None, None) => Ok((1, ", as there is no index 0 (--index-base says otherwise)")),
    }
}

impl Entries {
    /// Adds the entries of a sample.
    fn push<'a>(&mut self, words: impl Iterator<Item = &'a str>, line: u64) -> Result<()> {
        let mut last = None;
        for word in words.filter(|word| !word.starts_with("qid:")) {
            let pair = word.split_once(':');
            let pair = pair.and_then(|(index, value)| Some((index.parse::<u64>().ok()?, value)));
            let fault = |what: &dyn std::fmt::Display| anyhow::anyhow!("{} {what}", quoted(word));
            let (index, value) = pair.ok_or_else(|| fault(&"is no index:value"))?;
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
            if self.largest.is_none_or(|(largest, _)| largest < index) {
                self.largest = Some((index, line));
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
        let Self { mut indptr, mut indices, mut values, .. } = self;
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
    fn new(source: R) -> Self {
        Self { source, text: Vec::new(), line: 0 }
    }

    /// The next line and its number, from 1; without its end.
    fn next(&mut self) -> Result<Option<(u64, &str)>> {
        let number = self.line + 1;
        self.text.clear();
        loop {
            let buffer = self.source.fill_buf()?;
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let taken = end.unwrap_or(buffer.len());
            self.text.extend_from_slice(&buffer[..taken]);
            if self.text.len() as u64 > MAX_LINE {
                bail!("line {number} has more than {} MiB", MAX_LINE >> 20);
            }
            let at_end = buffer.is_empty();
            let cr = end.is_some_and(|end| buffer[end] == b'\r');
            self.source.consume(taken + usize::from(end.is_some()));
            if cr && self.source.fill_buf()?.first() == Some(&b'\n') {
                self.source.consume(1);
            }
            if end.is_some() {
                break;
            }
            if at_end {
                if self.text.is_empty() {
                    return Ok(None);
                }
                break;
            }
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
            ("1:1 2:1\n", &["line 1", "no label"]),
            ("0 1:1\n1 1000000000:3\n", &["--max-unpacked"]),
            ("0 1:1\n1 99999999999:3\n", &["line 2", "too large an index"]),
            ("# nothing\n", &["no samples"]),
            ("1\n2\n", &["no features"]),
        ] {
            let error = format!("{:#}", parse(text, &ReadOptions::default()).unwrap_err());
            for word in words {
                assert!(error.contains(word), "{text:?}: {error}");
            }
        }
    }
}
