//! Samples of which each of several processes has some: those that it computes with, of a file that can be read from
//! anywhere.

use super::{
    Dataset, Format, ReadOptions, Stored, check_options, detect, name,
    source::{PlainText, Source},
    sparse::{Sparse, explain},
    svmlight,
};
use crate::mpi::World;
use anyhow::{Context, Result, bail};
use std::{ops::Range, path::Path};

/// Which of all samples are at hand.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) rows: Range<usize>,
    /// Of all samples.
    pub(super) n_samples: usize,
    /// The values that are stored, of all samples.
    pub(super) n_entries: usize,
}

/// A file of which each of several processes can read its share.
pub(crate) struct Divisible<'a> {
    path: &'a Path,
    text: PlainText,
}

impl<'a> Divisible<'a> {
    /// This file, if it is one.
    ///
    /// # Errors
    /// If it cannot be read, or is not as `options` say.
    pub(crate) fn open(path: &'a Path, options: &ReadOptions<'_>) -> Result<Option<Self>> {
        // What comes from a pipe could not be read again.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(None);
        }
        let open = || -> Result<_> {
            let source = Source::open(path, options.max_unpacked)?;
            let format = detect::format(source.head(), path, options)?;
            check_options(format, options)?;
            if format == Format::Svmlight { source.plain_text() } else { Ok(None) }
        };
        let text = open().with_context(|| name(path))?;
        Ok(text.map(|text| Self { path, text }))
    }

    /// The bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.text.size()
    }

    /// Reads the samples that `rows_of` makes of how many there are. Every process must take part.
    ///
    /// # Errors
    /// Whatever is wrong with the file, wherever it is: on all processes.
    pub(crate) fn read(
        self,
        options: &ReadOptions<'_>,
        world: &World,
        rows_of: impl Fn(usize) -> Range<usize>,
    ) -> Result<Dataset> {
        let name = name(self.path);
        let data = svmlight::read_share(self.text, options, world, rows_of);
        let mut data = data.with_context(|| name.clone())?;
        data.finish(name, options)?;
        Ok(data)
    }
}

impl Dataset {
    /// As a share of more samples.
    pub(super) fn of_share(self, share: Share) -> Self {
        Self { n_samples: share.n_samples, share: Some(share), ..self }
    }

    /// Whether only a share of the samples is at hand.
    pub(crate) fn is_share(&self) -> bool {
        self.share.is_some()
    }

    /// Some of the samples, or of some rows in ascending order, spread evenly, with about so many values at most.
    pub(crate) fn spread_values(&self, most: usize, rows: Option<&[u32]>) -> Vec<u64> {
        let of_each = self.n_entries().unwrap_or(0).div_ceil(self.n_samples.max(1)).max(1);
        self.spread((most / of_each).max(1), rows).map(|row| row as u64).collect()
    }

    /// Those of some samples that are at hand, in words: of each the number of values, the features, and the values.
    pub(crate) fn pack(&self, rows: &[u64]) -> Result<Vec<u32>> {
        let mut words = Vec::new();
        let (Stored::Sparse(sparse), Some(share)) = (&self.stored, &self.share) else {
            return Ok(words);
        };
        let view = sparse.view(sparse.values())?;
        for row in rows.iter().map(|row| *row as usize).filter(|row| share.rows.contains(row)) {
            let (indices, values) = view.row(row - share.rows.start).unwrap_or_default();
            words.push(indices.len() as u32);
            words.extend(indices);
            words.extend(values.iter().map(|value| value.to_bits()));
        }
        Ok(words)
    }

    /// The samples of these rows, as the processes [pack](Self::pack) them, one after the other. All parts are taken, whatever
    /// is wrong with one.
    ///
    /// # Errors
    /// That of the first part that is one; or if they are not these rows.
    pub(crate) fn unpack(
        &self,
        rows: &[u64],
        parts: impl IntoIterator<Item = Result<Vec<u32>>>,
    ) -> Result<Self> {
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        let mut add = |words: &[u32]| {
            let mut words = words;
            while let Some((length, rest)) = words.split_first() {
                let (features, rest) = rest.split_at_checked(*length as usize)?;
                let (bits, rest) = rest.split_at_checked(*length as usize)?;
                indices.extend(features);
                values.extend(bits.iter().map(|bits| f32::from_bits(*bits)));
                indptr.push(indices.len());
                words = rest;
            }
            Some(())
        };
        let mut added = Ok(());
        for part in parts {
            added = added.and_then(|()| add(&part?).context("a row is cut off"));
        }
        added?;
        let sparse = Sparse::new(indptr, indices, values, self.n_features).map_err(explain)?;
        let n_samples = sparse.n_samples();
        if n_samples != rows.len() {
            bail!("{n_samples} rows were brought, not {}", rows.len());
        }
        let rows: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
        let chosen = Self::with(Stored::Sparse(sparse), n_samples, self.n_features);
        Ok(Self { scaling: self.scaling.clone(), ..chosen }.described_by(self, &rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(data: &Dataset) -> Vec<Vec<f32>> {
        let view = data.view().unwrap();
        (0..view.rows()).map(|row| view.row(row).unwrap()).collect()
    }

    #[test]
    fn rows_of_several_shares_are_brought_together() {
        let lines: Vec<String> =
            (0..10).map(|i| format!("{} {}:{i} 9:1\n", i % 3, i / 2 + 1)).collect();
        let read = |rows: Range<usize>| {
            let text = lines[rows].concat();
            Dataset::parse(text.as_bytes(), Path::new("a.svm"), &ReadOptions::default()).unwrap()
        };
        let whole = read(0..10);
        let share = |rows: Range<usize>| {
            let share = Share { rows: rows.clone(), n_samples: 10, n_entries: 20 };
            Dataset { labels: whole.labels.clone(), ..read(rows).of_share(share) }
        };
        let shares = [share(0..4), share(4..9), share(9..10)];
        let odd = [1, 3, 4, 5, 7, 9];
        for (most, rows, expected) in [
            (20, None, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..]),
            (8, None, &[0, 3, 6, 9]),
            (1, None, &[0]),
            (100, Some(&odd[..]), &[1, 3, 4, 5, 7, 9]),
            (6, Some(&odd), &[1, 4, 7]),
        ] {
            let chosen = shares[0].spread_values(most, rows);
            let parts = shares.iter().map(|share| share.pack(&chosen));
            let brought = shares[0].unpack(&chosen, parts).unwrap();
            assert_eq!(chosen, expected);
            let of_all = |i: &u64| features(&whole)[*i as usize].clone();
            assert_eq!(features(&brought), expected.iter().map(of_all).collect::<Vec<_>>());
            let labels: Vec<u32> = expected.iter().map(|i| *i as u32 % 3).collect();
            assert_eq!(brought.labels().unwrap().codes(), labels);
        }
        let chosen = shares[0].spread_values(20, None);
        assert!(shares[0].unpack(&chosen, [shares[0].pack(&chosen)]).is_err());
        let failed = [Err(anyhow::anyhow!("lost")), shares[0].pack(&chosen)];
        assert_eq!(shares[0].unpack(&chosen, failed).unwrap_err().to_string(), "lost");
        // No others are taken for all.
        assert!(shares[0].view().is_none() && !shares[0].is_in_place());
        assert_eq!((shares[0].n_entries(), whole.n_entries()), (Some(20), Some(20)));
    }
}
