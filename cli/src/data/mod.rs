//! Data sets: features with labels, from a folder of IDX files, a CSV file, or the sample that is part of
//! the program.

mod csv;
pub mod idx;
mod sample;

pub use csv::{LabelColumn, parse_csv, read_csv};
pub use sample::sample;

use anyhow::{Context, Result, bail};
use softmargin::{Batch, MatrixView};
use std::path::Path;

/// Samples in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// N × D values.
    pub features: Vec<f32>,
    /// N.
    pub n_samples: usize,
    /// D.
    pub n_features: usize,
    /// One class a sample, if they are known.
    pub labels: Option<Vec<u32>>,
}

/// Which part of a folder of IDX files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`.
    Train,
    /// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`.
    Test,
}

/// How data is to be read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Which column of a CSV file has the labels.
    pub label_column: LabelColumn,
    /// The bytes that a gzipped file may unpack to.
    pub max_unpacked: u64,
}

impl Dataset {
    /// Reads a folder of IDX files, or a CSV file.
    pub fn read(path: &Path, split: Split, options: &ReadOptions) -> Result<Self> {
        if path.is_dir() {
            idx::read_folder(path, split, options.max_unpacked)
        } else {
            read_csv(path, &options.label_column).with_context(|| format!("{}", path.display()))
        }
    }

    /// The features.
    pub fn view(&self) -> Result<MatrixView<'_, f32>> {
        Ok(MatrixView::new(&self.features, self.n_samples, self.n_features)?)
    }

    /// The features with their labels.
    pub fn batch(&self) -> Result<Batch<'_, f32>> {
        Ok(Batch::new(self.view()?, self.labels()?)?)
    }

    /// The labels.
    pub fn labels(&self) -> Result<&[u32]> {
        self.labels.as_deref().context("the data has no labels")
    }

    /// One more than the largest label.
    pub fn n_classes(&self) -> Result<usize> {
        let largest = self.labels()?.iter().max().context("there are no samples")?;
        Ok(*largest as usize + 1)
    }

    /// Checks that a model for `n_features` features can be applied.
    pub fn check_features(&self, n_features: usize) -> Result<()> {
        if self.n_features != n_features {
            bail!("the model has {n_features} features, the data {}", self.n_features);
        }
        Ok(())
    }

    /// The share of samples for which `predictions` has the label.
    pub fn accuracy(&self, predictions: &[u32]) -> Result<f64> {
        let right = predictions.iter().zip(self.labels()?).filter(|(p, label)| p == label).count();
        Ok(right as f64 / self.n_samples as f64)
    }
}
