//! The sparse text of SVMlight and LIBSVM: `label index:value index:value … # comment`, a sample a line, the
//! indices ascending. The features that a line leaves out are zero; here they are filled in.

use super::{Dataset, ReadOptions};
use anyhow::{Context, Result, bail};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// Reads a file.
pub(super) fn read_svmlight(path: &Path, options: &ReadOptions) -> Result<Dataset> {
    parse_svmlight(BufReader::new(File::open(path)?), options)
}

/// Reads samples. Indices count from 1, or from 0 if a 0 is among them.
pub fn parse_svmlight(source: impl BufRead, options: &ReadOptions) -> Result<Dataset> {
    let (mut labels, mut entries, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut smallest, mut end) = (usize::MAX, 0);
    for (i, line) in source.lines().enumerate() {
        let line = line?;
        let place = || format!("line {}", i + 1);
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(label) = words.next() else { continue };
        let whole =
            label.parse::<f64>().ok().filter(|l| l.fract() == 0.0 && (-1.0..4e9).contains(l));
        labels.push(
            whole
                .with_context(|| format!("{}: {label:?} is no label (0, 1, 2, … or -1)", place()))?
                as i64,
        );
        let mut least = 0;
        for word in words.filter(|word| !word.starts_with("qid:")) {
            let pair = word.split_once(':').and_then(|(index, value)| {
                Some((index.parse::<usize>().ok()?, value.parse::<f32>().ok()?))
            });
            let (index, value) =
                pair.with_context(|| format!("{}: {word:?} is no index:value", place()))?;
            if !value.is_finite() {
                bail!("{}: {word:?} is not finite", place());
            }
            if index < least {
                bail!("{}: index {index} does not follow {}", place(), least - 1);
            }
            least = index.checked_add(1).with_context(|| format!("{}: index {index}", place()))?;
            smallest = smallest.min(index);
            end = end.max(least);
            entries.push((index, value));
        }
        ends.push(entries.len());
    }
    if labels.is_empty() {
        bail!("there are no samples");
    }

    let first = usize::from(smallest != 0);
    let n_features = (end - first.min(end)).max(options.n_features.unwrap_or(0));
    if n_features == 0 {
        bail!("there are no features");
    }
    let n_samples = labels.len();
    let bytes = n_samples.checked_mul(n_features).and_then(|n| n.checked_mul(size_of::<f32>()));
    if bytes.is_none_or(|bytes| bytes as u64 > options.max_unpacked) {
        bail!(
            "{n_samples} samples of {n_features} features take up more than {} MiB when the zeros are \
             filled in (--max-unpacked raises the limit)",
            options.max_unpacked >> 20
        );
    }
    let mut features = vec![0.0; n_samples * n_features];
    let mut start = 0;
    for (row, end) in features.chunks_exact_mut(n_features).zip(ends) {
        for &(index, value) in &entries[start..end] {
            row[index - first] = value;
        }
        start = end;
    }
    Ok(Dataset::new(features, n_samples, n_features, Some(classes(&labels)?)))
}

/// Labels as classes: −1 and +1, as LIBSVM has them for two classes, are 0 and 1.
fn classes(labels: &[i64]) -> Result<Vec<u32>> {
    if labels.contains(&-1) {
        if let Some(other) = labels.iter().find(|label| ![-1, 1].contains(label)) {
            bail!("there is a label -1 and a label {other}; beside -1 there may only be 1");
        }
        return Ok(labels.iter().map(|label| u32::from(*label == 1)).collect());
    }
    Ok(labels.iter().map(|label| *label as u32).collect())
}
