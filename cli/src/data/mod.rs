//! Data sets: features with labels, from a folder of IDX files, from NPY, CSV, SVMlight or safetensors
//! files, or the sample that is part of the program.

mod csv;
pub mod idx;
pub mod npy;
mod safetensors;
mod sample;
mod scaling;
mod svmlight;

pub use csv::{LabelColumn, parse_csv, read_csv};
pub use safetensors::parse_safetensors;
pub use sample::sample;
pub use scaling::Scaling;
pub use svmlight::parse_svmlight;

use anyhow::{Context, Result, bail};
use npy::Npy;
use softmargin::{Batch, Error, MatrixView};
use std::{ops::Range, path::Path};

/// Samples.
#[derive(Debug)]
pub struct Dataset {
    features: Features,
    scaling: Option<Scaling>,
    max_memory: u64,
    /// N.
    pub n_samples: usize,
    /// D.
    pub n_features: usize,
    /// One class a sample, if they are known.
    pub labels: Option<Vec<u32>>,
    /// The height and width of the samples, if they are images.
    pub image_shape: Option<(usize, usize)>,
}

/// N × D values, row-major.
#[derive(Debug)]
enum Features {
    Memory(Vec<f32>),
    File(Npy),
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
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Which column of a CSV file has the labels.
    pub label_column: LabelColumn,
    /// The features that a model has, which sparse data may not reach.
    pub n_features: Option<usize>,
    /// The bytes that a gzipped or sparse file may unpack to.
    pub max_unpacked: u64,
    /// The bytes of features that are converted in memory; more are converted again whenever they are used.
    pub max_memory: u64,
}

/// Bytes of features converted at a time.
const CHUNK_BYTES: usize = 32 << 20;

impl Dataset {
    /// Features in memory.
    pub fn new(
        features: Vec<f32>,
        n_samples: usize,
        n_features: usize,
        labels: Option<Vec<u32>>,
    ) -> Self {
        let features = Features::Memory(features);
        let (scaling, max_memory, image_shape) = (None, u64::MAX, None);
        Self { features, scaling, max_memory, n_samples, n_features, labels, image_shape }
    }

    /// Reads a folder of IDX files, or a file, by its suffix: `.npy`, `.safetensors`, `.svm`, `.libsvm` or
    /// `.svmlight`, or else CSV. The labels of an NPY file are in another one.
    pub fn read(
        path: &Path,
        labels: Option<&Path>,
        split: Split,
        options: &ReadOptions,
    ) -> Result<Self> {
        let context = || format!("{}", path.display());
        let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
        let mut dataset = match suffix.to_ascii_lowercase().as_str() {
            _ if path.is_dir() => idx::read_folder(path, split, options.max_unpacked)?,
            "npy" => Self::of_npy(Npy::open(path).with_context(context)?, options),
            "safetensors" => {
                let bytes = std::fs::read(path).with_context(context)?;
                parse_safetensors(&bytes).with_context(context)?
            }
            "svm" | "libsvm" | "svmlight" => {
                svmlight::read_svmlight(path, options).with_context(context)?
            }
            _ => read_csv(path, &options.label_column).with_context(context)?,
        };
        if let Some(path) = labels {
            let context = || format!("{}", path.display());
            let labels = npy::read_labels(path).with_context(context)?;
            if labels.len() != dataset.n_samples {
                let n = dataset.n_samples;
                return Err(anyhow::anyhow!("{} labels for {n} samples", labels.len()))
                    .with_context(context);
            }
            dataset.labels = Some(labels);
        }
        Ok(dataset)
    }

    fn of_npy(file: Npy, options: &ReadOptions) -> Self {
        let (n_samples, n_features) = (file.rows(), file.cols());
        let at_hand = file.values().is_some();
        let features = Features::File(file);
        let (scaling, max_memory, labels) = (None, options.max_memory, None);
        let mut dataset = Self {
            features,
            scaling,
            max_memory,
            n_samples,
            n_features,
            labels,
            image_shape: None,
        };
        if !at_hand {
            dataset.load_if_small();
        }
        dataset
    }

    fn load_if_small(&mut self) {
        let bytes = self.n_samples as u64 * self.n_features as u64 * size_of::<f32>() as u64;
        if bytes <= self.max_memory {
            self.load();
        }
    }

    /// From now on the features are those that `scaling` makes of them.
    pub fn scale(&mut self, scaling: Scaling) {
        match &mut self.features {
            Features::Memory(values) => scaling.apply(values),
            Features::File(_) => {
                self.scaling = Some(scaling);
                self.load_if_small();
            }
        }
    }

    /// The features, if they are at hand: not where a file is to be converted.
    pub fn view(&self) -> Option<MatrixView<'_, f32>> {
        let values = match &self.features {
            Features::Memory(values) => values,
            Features::File(_) if self.scaling.is_some() => return None,
            Features::File(file) => file.values()?,
        };
        MatrixView::new(values, self.n_samples, self.n_features).ok()
    }

    /// Calls `f` with all samples, in their order: at once if they are at hand, else so many as are converted
    /// at a time.
    pub fn for_each_chunk(
        &self,
        mut f: impl FnMut(Range<usize>, MatrixView<'_, f32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (n, d) = (self.n_samples, self.n_features);
        let file = match (&self.features, self.view()) {
            (_, Some(view)) => return f(0..n, view),
            (Features::File(file), None) => file,
            (Features::Memory(_), None) => unreachable!("values in memory are at hand"),
        };
        let rows = (CHUNK_BYTES / size_of::<f32>() / d).max(1);
        for start in (0..n).step_by(rows) {
            let range = start..n.min(start + rows);
            let mut values = file.read_rows(range.clone());
            if let Some(scaling) = &self.scaling {
                scaling.apply(&mut values);
            }
            f(range.clone(), MatrixView::new(&values, range.len(), d)?)?;
        }
        Ok(())
    }

    /// Brings all features into memory.
    pub fn load(&mut self) {
        if self.view().is_some() {
            return;
        }
        if let Features::File(file) = &self.features {
            let mut values = file.read_rows(0..self.n_samples);
            if let Some(scaling) = self.scaling.take() {
                scaling.apply(&mut values);
            }
            self.features = Features::Memory(values);
        }
    }

    /// As [`for_each_chunk`](Self::for_each_chunk), with labels.
    pub fn for_each_batch(
        &self,
        labels: &[u32],
        mut f: impl FnMut(&Batch<'_, f32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.for_each_chunk(|rows, chunk| f(&Batch::new(chunk, &labels[rows])?))
    }

    /// At most so many of the samples, spread evenly, in memory.
    pub fn sample(&self, most: usize) -> Result<Self> {
        let (n, d) = (self.n_samples, self.n_features);
        let labels = self.labels()?;
        let step = n.div_ceil(most).max(1);
        let rows: Vec<usize> = (0..n).step_by(step).collect();
        let mut features = Vec::with_capacity(rows.len() * d);
        self.for_each_chunk(|range, chunk| {
            for row in rows.iter().filter(|row| range.contains(row)) {
                features.extend_from_slice(chunk.row(row - range.start).unwrap_or_default());
            }
            Ok(())
        })?;
        let labels = rows.iter().map(|row| labels[*row]).collect();
        Ok(Self::new(features, rows.len(), d, Some(labels)))
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

    /// The label that `model` predicts for each sample.
    pub fn predictions(&self, model: &softmargin::LinearModel<f32>) -> Result<Vec<u32>> {
        let mut predictions = Vec::with_capacity(self.n_samples);
        self.for_each_chunk(|_, chunk| {
            predictions.extend(model.predict(chunk)?);
            Ok(())
        })?;
        Ok(predictions)
    }

    /// The share of samples for which `predictions` has the label.
    pub fn accuracy(&self, predictions: &[u32]) -> Result<f64> {
        let right = predictions.iter().zip(self.labels()?).filter(|(p, label)| p == label).count();
        Ok(right as f64 / self.n_samples as f64)
    }
}
