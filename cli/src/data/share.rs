//! Samples of which each of several processes has some: those that it computes with, of a file that can be read from
//! anywhere.

use super::{
    Dataset, Format, ReadOptions, Stored, check_options, detect, name,
    source::{PlainText, Source},
    sparse::{Sparse, explain},
    svmlight,
};
use crate::mpi::World;
use anyhow::{Context, Result};
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

/// Values of sparse samples that are brought to one process from all, at most.
const MAX_BROUGHT: usize = 16 << 20;

impl Dataset {
    /// As a share of more samples.
    pub(super) fn of_share(self, share: Share) -> Self {
        Self { n_samples: share.n_samples, share: Some(share), ..self }
    }

    /// Whether only a share of the samples is at hand.
    pub(crate) fn is_share(&self) -> bool {
        self.share.is_some()
    }

    /// Some of the samples, or of some rows in ascending order, spread evenly: no more than one process can have.
    pub(crate) fn spread_of_shares(&self, rows: Option<&[u32]>) -> Vec<u64> {
        let of_each = self.n_entries().unwrap_or(0).div_ceil(self.n_samples.max(1)).max(1);
        self.spread((MAX_BROUGHT / of_each).max(1), rows).map(|row| row as u64).collect()
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

    /// The samples of these rows, as all processes together [pack](Self::pack) them.
    ///
    /// # Errors
    /// If they are not these.
    pub(crate) fn unpack(&self, rows: &[u64], mut words: &[u32]) -> Result<Self> {
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        while let Some((length, rest)) = words.split_first() {
            let (of_row, rest) = rest.split_at_checked(2 * *length as usize).context("cut off")?;
            let (features, bits) = of_row.split_at(*length as usize);
            indices.extend(features);
            values.extend(bits.iter().map(|bits| f32::from_bits(*bits)));
            indptr.push(indices.len());
            words = rest;
        }
        let sparse = Sparse::new(indptr, indices, values, self.n_features).map_err(explain)?;
        let n_samples = sparse.n_samples();
        let rows: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
        let chosen = Self::with(Stored::Sparse(sparse), n_samples, self.n_features);
        Ok(Self { scaling: self.scaling.clone(), ..chosen }.described_by(self, &rows))
    }
}
