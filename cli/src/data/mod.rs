//! Data sets: features with labels, from a folder of IDX files, from NPY, NPZ, CSV, SVMlight or safetensors
//! files, or the sample that is part of the program. What a file is, and what its columns are, is found in
//! it, noted for the user to see, and overruled by options.

mod array;
mod columns;
mod compute;
mod csv;
mod detect;
mod header;
mod idx;
mod labels;
mod lost;
mod names;
pub mod npy;
mod npz;
mod number;
mod options;
mod records;
mod safetensors;
mod sample;
mod scaling;
mod share;
mod source;
mod sparse;
mod svmlight;

pub use compute::Compute;
pub use labels::{Classes, Label, Labels};
pub use lost::Lost;
pub use options::{Format, Header, IndexBase, LabelColumn, ReadOptions, Schema, Split, separator};
pub use sample::sample;
pub use scaling::Scaling;
pub(crate) use scaling::{Moments, Ranges, add_entries};
pub(crate) use share::Divisible;

use anyhow::{Context, Result, bail};
use array::{Array, BadValue};
use share::Share;
use softmargin::{Error, Features, MatrixView, NonFinite};
use source::Source;
use sparse::{Sparse, check_weights};
use std::{
    iter,
    ops::{Deref, Range},
    path::Path,
};

/// Samples.
#[derive(Debug)]
pub struct Dataset {
    /// Of the file, for messages.
    name: String,
    stored: Stored,
    /// Which samples are stored, if not all.
    share: Option<Share>,
    /// What turns what is stored into the features.
    scaling: Option<Scaling>,
    /// Whether what is in memory has been scaled.
    scaled: bool,
    /// What is lost of the features where they are read.
    lost: Lost,
    max_memory: u64,
    max_unpacked: u64,
    schema: Schema,
    /// N.
    pub n_samples: usize,
    /// D.
    pub n_features: usize,
    /// One label a sample, if they are known.
    pub labels: Option<Labels>,
    /// One weight a sample, if the data has weights.
    pub weights: Option<Vec<f32>>,
    /// The height and width of the samples, if they are images.
    pub image_shape: Option<(usize, usize)>,
    /// What was found out about the file, for the user to see.
    pub notes: Vec<String>,
}

/// N × D values.
#[derive(Debug)]
enum Stored {
    /// Row by row.
    Memory(Vec<f32>),
    File(Array),
    Sparse(Sparse),
}

/// What pixels are multiplied by.
const PIXEL: f64 = 1.0 / 255.0;

/// Bytes of features converted at a time.
const CHUNK_BYTES: usize = 32 << 20;

/// Values and rows that tell whether features are coarse, at most.
const COARSE_VALUES: usize = 1 << 22;
const COARSE_ROWS: usize = 200;

/// The share of a deviation by which rounding to `f32` may move values before that is worth a word.
const COARSE_STEP: f64 = 1e-3;

/// Whether a folder or file has data of its own for a split.
pub fn has_split(path: &Path, split: Split) -> bool {
    if path.is_dir() {
        return idx::has_split(path, split);
    }
    path.is_file() && npz::has_split(path, split)
}

impl Dataset {
    /// Features in memory, row by row.
    pub fn new(features: Vec<f32>, n_samples: usize, n_features: usize) -> Self {
        Self::with(Stored::Memory(features), n_samples, n_features)
    }

    /// Images whose pixels, 0 to 255, stand for 0 to 1.
    fn of_pixels(images: Array) -> Self {
        let (n_samples, n_features) = images.sizes();
        let image_shape = images.image_shape();
        let scaling = Some(Scaling::by(PIXEL));
        Self { scaling, image_shape, ..Self::with(Stored::File(images), n_samples, n_features) }
    }

    fn of_sparse(sparse: Sparse, options: &ReadOptions<'_>) -> Self {
        let (n_samples, n_features) = (sparse.n_samples(), sparse.n_features());
        let max_unpacked = options.max_unpacked;
        Self { max_unpacked, ..Self::with(Stored::Sparse(sparse), n_samples, n_features) }
    }

    fn with(stored: Stored, n_samples: usize, n_features: usize) -> Self {
        Self {
            name: String::new(),
            stored,
            share: None,
            scaling: None,
            scaled: false,
            lost: Lost::default(),
            max_memory: u64::MAX,
            max_unpacked: u64::MAX,
            schema: Schema::of_features(n_features),
            n_samples,
            n_features,
            labels: None,
            weights: None,
            image_shape: None,
            notes: Vec::new(),
        }
    }

    /// Features as they lie in a file; if they cannot be read there, converted at once unless they are too many.
    fn of_array(array: Array, options: &ReadOptions<'_>) -> Result<Self> {
        let (n_samples, n_features) = array.sizes();
        let image_shape = array.image_shape();
        let lost = array.lost(COARSE_VALUES);
        let mut data = Self::with(Stored::File(array), n_samples, n_features);
        data.lost = lost;
        data.max_memory = options.max_memory;
        data.image_shape = image_shape;
        data.load_if_small()?;
        Ok(data)
    }

    /// Reads a folder of IDX files, or a file, or standard input for `-`.
    ///
    /// # Errors
    /// Whatever is wrong with the file, with its name and the line or row; and if it is not as `options` say.
    pub fn read(path: &Path, options: &ReadOptions<'_>) -> Result<Self> {
        if path.is_dir() {
            check_options(Format::Idx, options).with_context(|| path.display().to_string())?;
            let mut data = idx::read_folder(path, options)?;
            data.finish(path.display().to_string(), options)?;
            return Ok(data);
        }
        if path == Path::new("-") && options.labels == Some(path) {
            bail!("the data and its labels cannot both come from standard input");
        }
        let name = name(path);
        let source = Source::open(path, options.max_unpacked).with_context(|| name.clone())?;
        Self::read_source(source, path, options)
    }

    /// Reads what is in memory, as if it came from a pipe of this name.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(bytes: &[u8], path: &Path, options: &ReadOptions<'_>) -> Result<Self> {
        Self::read_source(Source::new(bytes, options.max_unpacked)?, path, options)
    }

    fn read_source(source: Source<'_>, path: &Path, options: &ReadOptions<'_>) -> Result<Self> {
        let name = name(path);
        let context = || name.clone();
        let mut data = Self::read_format(source, path, options).with_context(context)?;
        data.finish(name.clone(), options)?;
        Ok(data)
    }

    fn read_format(source: Source<'_>, path: &Path, options: &ReadOptions<'_>) -> Result<Self> {
        let format = detect::format(source.head(), path, options)?;
        check_options(format, options)?;
        let looks = detect::by_contents(source.head());
        let read = Self::read_as(format, source, options);
        match looks.filter(|looks| *looks != format) {
            // Nobody would know it from what is wrong.
            Some(looks) => read.with_context(|| {
                let name = looks.name();
                format!("it looks like {name}, which --format {} reads", name.to_lowercase())
            }),
            None => read,
        }
    }

    fn read_as(format: Format, source: Source<'_>, options: &ReadOptions<'_>) -> Result<Self> {
        match format {
            Format::Auto | Format::Csv => csv::read(source, options),
            Format::Svmlight => svmlight::read(source, options),
            Format::Npy => {
                let bytes = source.bytes()?;
                let layout = npy::layout(&bytes)?;
                Self::of_array(Array::new(bytes, layout)?, options)
            }
            Format::Npz => npz::read(source, options),
            Format::Safetensors => safetensors::read(source, options),
            Format::Idx => idx::read_images(source),
        }
    }

    /// Adds the labels of a file of their own, and checks that all fits.
    fn finish(&mut self, name: String, options: &ReadOptions<'_>) -> Result<()> {
        if let Some(path) = options.labels {
            let context = || self::name(path);
            let (mut labels, notes) =
                read_labels(path, self.n_samples, options).with_context(context)?;
            labels.name_file(&context());
            if labels.len() != self.n_samples {
                let n = self.n_samples;
                return Err(anyhow::anyhow!("{} labels for {n} samples", labels.len()))
                    .with_context(context);
            }
            if self.labels.is_some() {
                self.notes.push(format!("labels: those of {}, not those in the data", context()));
            }
            self.notes.extend(notes);
            self.labels = Some(labels);
        } else if let Some(labels) = &mut self.labels {
            labels.name_file_once(&name);
            if labels.len() != self.n_samples {
                bail!("{name}: {} labels for {} samples", labels.len(), self.n_samples);
            }
        }
        if let Some([label]) = self.labels.as_ref().map(Labels::distinct) {
            self.notes.push(format!("labels: all samples have the label {label}"));
        }
        if let Some([one, other]) = self.labels.as_ref().and_then(Labels::alike) {
            self.notes.push(format!(
                "labels: {} and {} are two classes, which differ in case or spaces alone",
                number::quoted(one),
                number::quoted(other)
            ));
        }
        self.name = name;
        if self.n_samples == 0 {
            bail!("{}: there are no samples", self.name);
        }
        if let Some(schema) = options.schema {
            self.check_features(schema.n_features).with_context(|| self.name.clone())?;
            self.schema = schema.clone();
        }
        Ok(())
    }

    /// How the features lie in the file.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The name of the file; empty if there is none.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn load_if_small(&mut self) -> Result<()> {
        if self.is_in_place() {
            return Ok(());
        }
        let bytes = self.n_samples as u64 * self.n_features as u64 * size_of::<f32>() as u64;
        if bytes <= self.max_memory { self.load() } else { Ok(()) }
    }

    /// From now on the features are those that `scaling` makes of them: in memory in place, in a file when they are
    /// read.
    ///
    /// # Errors
    /// If a value of the file is not finite, or not in `f32`; or if the scaling is not.
    pub fn scale(&mut self, scaling: &Scaling) -> Result<()> {
        self.scaled = true;
        match &mut self.stored {
            Stored::Memory(values) => scaling.apply(values, self.n_features),
            Stored::Sparse(sparse) => match scaling.factor() {
                Some(factor) => {
                    let scaled = |x: &mut f32| *x = (f64::from(*x) * factor) as f32;
                    sparse.values_mut().iter_mut().for_each(scaled);
                }
                // Zeros would be others, too.
                None => self.scaling = Some(scaling.clone()),
            },
            Stored::File(file) => {
                let all = match &self.scaling {
                    Some(first) => scaling.after(first, self.n_features)?,
                    None => scaling.clone(),
                };
                if let Some(features) = file.features::<f32>() {
                    features.with_scaling(all.on_the_way())?;
                }
                self.scaling = Some(all);
                self.load_if_small()?;
            }
        }
        Ok(())
    }

    /// Whether all features can be read where they are: not where a file is to be converted, nor where others have some.
    pub fn is_in_place(&self) -> bool {
        match &self.stored {
            Stored::Memory(_) => true,
            Stored::Sparse(_) => self.share.is_none(),
            Stored::File(file) => file.features::<f32>().is_some(),
        }
    }

    /// The features where they are, if they can be read there.
    pub fn view(&self) -> Option<Features<'_, f32>> {
        match &self.stored {
            Stored::Sparse(_) if self.share.is_some() => None,
            Stored::Sparse(sparse) => {
                let features = sparse.view(sparse.values()).ok()?;
                self.scaled(features.into()).ok()
            }
            _ => self.dense().ok()?,
        }
    }

    /// The features, if all of them are stored, and can be read where they are.
    fn dense<T: Compute>(&self) -> Result<Option<Features<'_, T>>, Error> {
        let features = match &self.stored {
            Stored::Memory(values) => {
                Some(T::features(MatrixView::new(values, self.n_samples, self.n_features)?))
            }
            Stored::File(file) => file.features(),
            Stored::Sparse(_) => None,
        };
        features.map(|features| self.scaled(features)).transpose()
    }

    fn scaled<'a, T: Compute>(&'a self, x: Features<'a, T>) -> Result<Features<'a, T>, Error> {
        self.scaling.as_ref().map_or(Ok(x), |scaling| x.with_scaling(scaling.on_the_way()))
    }

    /// The number of values that are stored, where those that are zero are not.
    pub fn n_entries(&self) -> Option<usize> {
        match &self.stored {
            Stored::Sparse(sparse) => {
                let own = sparse.values().len();
                Some(self.share.as_ref().map_or(own, |share| share.n_entries))
            }
            Stored::Memory(_) | Stored::File(_) => None,
        }
    }

    /// Checks that a model of so many classes takes up no more memory than sparse data may, whatever its indices.
    ///
    /// # Errors
    /// If it takes more.
    pub fn check_weights(&self, n_classes: usize) -> Result<()> {
        let sparse = matches!(self.stored, Stored::Sparse(_));
        let check = || check_weights(n_classes, self.n_features, self.max_unpacked);
        if sparse { check().with_context(|| self.name.clone()) } else { Ok(()) }
    }

    /// Calls `f` with all samples, in their order: at once if they can be read where they are, else so many as are
    /// converted at a time. Rows in errors of `f` count from the first row that it was given; in the error that is
    /// returned, from the first of all.
    ///
    /// # Errors
    /// Those of `f`; and if a value of the file is not finite, or not in `f32`, which
    /// [`explain`](Self::explain) turns into a message.
    pub fn for_each_chunk<T: Compute>(
        &self,
        f: impl FnMut(Range<usize>, Features<'_, T>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.for_each_chunk_of(iter::once(0..self.n_samples), f)
    }

    /// How many rows of a file are converted at a time.
    pub fn rows_at_once(&self) -> usize {
        match self.stored {
            Stored::Sparse(_) => usize::MAX,
            _ => (CHUNK_BYTES / size_of::<f32>() / self.n_features).max(1),
        }
    }

    /// The same for some ranges of the samples, one after the other. No others are read.
    ///
    /// # Errors
    /// As [`for_each_chunk`](Self::for_each_chunk); [`Error::NoSamples`] for a range that is not there.
    pub fn for_each_chunk_of<T: Compute>(
        &self,
        ranges: impl IntoIterator<Item = Range<usize>>,
        mut f: impl FnMut(Range<usize>, Features<'_, T>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut call = |rows: Range<usize>, x: Features<'_, T>| {
            f(rows.clone(), x).map_err(|error| in_all_rows(error, rows.start))
        };
        let values;
        let in_place = match &self.stored {
            Stored::Sparse(sparse) => {
                values = T::numbers(sparse.values());
                Some(self.scaled(sparse.view(&values)?.into())?)
            }
            Stored::Memory(_) | Stored::File(_) => self.dense()?,
        };
        let (d, step) = (self.n_features, self.rows_at_once());
        let first = self.share.as_ref().map_or(0, |share| share.rows.start);
        let stored = |rows: &Range<usize>| {
            Some(rows.start.checked_sub(first)?..rows.end.checked_sub(first)?)
        };
        for rows in ranges {
            if let Some(features) = in_place {
                let slice = stored(&rows).and_then(|rows| features.slice_rows(rows));
                call(rows, slice.ok_or(Error::NoSamples)?)?;
                continue;
            }
            let Stored::File(file) = &self.stored else { continue };
            for start in rows.clone().step_by(step) {
                let range = start..rows.end.min(start + step);
                let mut values = file.read_rows(range.clone()).map_err(|bad| Error::NonFinite {
                    row: bad.row,
                    cause: NonFinite::Feature { feature: bad.column, value: bad.value },
                })?;
                if let Some(scaling) = &self.scaling {
                    scaling.apply(&mut values, d);
                }
                let chunk = T::features(MatrixView::new(&values, range.len(), d)?);
                call(range, chunk)?;
            }
        }
        Ok(())
    }

    /// An error of an evaluation of this data as a message: with the name of the file, and what is wrong
    /// with a value. Other errors are left as they are.
    pub fn explain(&self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let error = match error.into().downcast() {
            Ok(error) => error,
            Err(other) => return other,
        };
        let scaled = |row, feature| {
            anyhow::anyhow!("row {row}, feature {feature}: scaled, it is too large for f32")
        };
        let error = match error {
            Error::NonFinite { row, cause: NonFinite::Feature { feature, value } } => {
                match value.is_infinite() && self.scaled && self.is_finite_as_stored(row) {
                    true => scaled(row, feature),
                    false => BadValue { row, column: feature, value }.error(),
                }
            }
            Error::NonFinite { row, cause: NonFinite::Scaled { feature, .. } } => {
                scaled(row, feature)
            }
            Error::NonFinite { cause: NonFinite::Score | NonFinite::Loss, .. } => error.into(),
            other => return other.into(),
        };
        if self.name.is_empty() { error } else { error.context(self.name.clone()) }
    }

    /// Whether a row was finite before it was scaled: what is in memory was when it was brought there.
    fn is_finite_as_stored(&self, row: usize) -> bool {
        match &self.stored {
            Stored::Memory(_) | Stored::Sparse(_) => true,
            Stored::File(file) => file.read_rows(row..row + 1).is_ok(),
        }
    }

    /// Brings all features into memory, unless they can be read where they are.
    ///
    /// # Errors
    /// If a value of the file is not finite, or not in `f32`.
    pub fn load(&mut self) -> Result<()> {
        if self.is_in_place() { Ok(()) } else { self.convert() }
    }

    /// Brings features that lie column by column into memory, row by row: samples that are picked one by one cost a
    /// line of the cache for each feature otherwise.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_rows(&mut self) -> Result<()> {
        match &self.stored {
            Stored::File(file) if !file.is_in_rows() => self.convert(),
            _ => self.load(),
        }
    }

    fn convert(&mut self) -> Result<()> {
        if let Stored::File(file) = &self.stored {
            let values = file.read_rows(0..self.n_samples).map_err(BadValue::error);
            let mut values = match self.name.as_str() {
                "" => values?,
                name => values.with_context(|| name.to_owned())?,
            };
            if let Some(scaling) = self.scaling.take() {
                scaling.apply(&mut values, self.n_features);
            }
            self.stored = Stored::Memory(values);
        }
        Ok(())
    }

    /// At most so many of the samples, or of some rows in ascending order, spread evenly, in memory.
    ///
    /// # Errors
    /// If a value of the file is not finite, or not in `f32`.
    pub fn sample(&self, most: usize, rows: Option<&[u32]>) -> Result<Self> {
        let d = self.n_features;
        let rows: Vec<usize> = self.spread(most, rows).collect();
        let mut features = Vec::with_capacity(rows.len() * d);
        let pass = self.for_each_chunk_of::<f32>(rows.iter().map(|row| *row..row + 1), |_, one| {
            features.extend(one.row(0).unwrap_or_default());
            Ok(())
        });
        pass.map_err(|error| self.explain(error))?;
        Ok(Self::new(features, rows.len(), d).described_by(self, &rows))
    }

    /// The rows of a [`sample`](Self::sample).
    fn spread(&self, most: usize, rows: Option<&[u32]>) -> impl Iterator<Item = usize> {
        let n = rows.map_or(self.n_samples, <[u32]>::len);
        let step = n.div_ceil(most).max(1);
        (0..n).step_by(step).map(move |i| rows.map_or(i, |rows| rows[i] as usize))
    }

    /// With the labels and weights of some samples of other data, and its name.
    fn described_by(mut self, all: &Self, rows: &[usize]) -> Self {
        self.name.clone_from(&all.name);
        self.labels = all.labels.as_ref().map(|labels| labels.select(rows));
        self.weights =
            all.weights.as_ref().map(|weights| rows.iter().map(|row| weights[*row]).collect());
        self
    }

    /// What is lost of the features where they are read, by the first rows of the file.
    pub fn lost(&self) -> &Lost {
        &self.lost
    }

    /// The features that lie so far from zero, beside how much they vary, that `f32` hardly tells their values apart, by some
    /// of the samples. Those of sparse data have zeros.
    pub fn coarse_features(&self) -> Vec<usize> {
        let most = (COARSE_VALUES / self.n_features.max(1)).clamp(2, COARSE_ROWS);
        let sample = match &self.stored {
            Stored::Sparse(_) => return Vec::new(),
            Stored::Memory(_) | Stored::File(_) => self.sample(most, None),
        };
        // What is wrong with a value is said by the fit.
        let Ok(Self { stored: Stored::Memory(values), n_samples: n, .. }) = sample else {
            return Vec::new();
        };
        let column =
            |l: usize| values.iter().skip(l).step_by(self.n_features).map(|x| f64::from(*x));
        let is_coarse = |l: &usize| {
            let mean = column(*l).sum::<f64>() / n as f64;
            let variance = column(*l).map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let step = mean.abs() * f64::from(f32::EPSILON) / 2.0;
            let constant = column(*l).all(|x| x as f32 == values[*l]);
            match constant {
                true => self.lost.collapsed.contains(l),
                false => step > COARSE_STEP * variance.sqrt(),
            }
        };
        (0..self.n_features).filter(is_coarse).collect()
    }

    /// The labels.
    ///
    /// # Errors
    /// If there are none.
    pub fn labels(&self) -> Result<&Labels> {
        self.labels.as_ref().with_context(|| match &*self.name {
            "" => "the data has no labels".to_owned(),
            name => format!("{name}: the data has no labels"),
        })
    }

    /// Checks that a sample counts.
    ///
    /// # Errors
    /// If the weights of all are 0.
    pub fn check_sample_weights(&self) -> Result<()> {
        if self.weights.as_ref().is_some_and(|weights| weights.iter().all(|weight| *weight == 0.0))
        {
            let n = self.n_samples;
            return Err(anyhow::anyhow!("the sample weights of all {n} samples sum to 0"))
                .with_context(|| self.name.clone());
        }
        Ok(())
    }

    /// Checks that a model for `n_features` features can be applied.
    ///
    /// # Errors
    /// If it cannot.
    pub fn check_features(&self, n_features: usize) -> Result<()> {
        if self.n_features != n_features {
            bail!("the model has {n_features} features, the data {}", self.n_features);
        }
        Ok(())
    }
}

/// Checks that nothing is asked for that data of this format has not.
fn check_options(format: Format, options: &ReadOptions<'_>) -> Result<()> {
    // These may be meant for a text of labels.
    let of_data = options.labels.is_none();
    for (given, option, kind) in [
        (options.label_column.is_some(), "--label-column", Format::Csv),
        (options.weight_column.is_some(), "--weight-column", Format::Csv),
        (!options.ignore_columns.is_empty(), "--ignore-columns", Format::Csv),
        (of_data && options.header != Header::Auto, "--header", Format::Csv),
        (of_data && options.separator.is_some(), "--separator", Format::Csv),
        (options.index_base != IndexBase::Auto, "--index-base", Format::Svmlight),
    ] {
        if given && format != kind {
            bail!("{option} is for {} files, and this is none", kind.name());
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// An error of a chunk that begins at row `start`, with the row counted from the first of all.
pub(crate) fn in_all_rows(error: Error, start: usize) -> Error {
    match error {
        Error::NonFinite { row, cause } => Error::NonFinite { row: row + start, cause },
        Error::Label { row, label, classes } => Error::Label { row: row + start, label, classes },
        Error::SampleWeight { row, value } => Error::SampleWeight { row: row + start, value },
        other => other,
    }
}

/// All bytes of a file that must be of a format, which its first bytes tell; of one without an end, that is said
/// before the rest is read.
///
/// # Errors
/// If it cannot be read, or is of another format.
pub(crate) fn read_file(path: &Path, format: Format) -> Result<impl Deref<Target = [u8]>> {
    let source = Source::open(path, u64::MAX)?;
    if detect::by_magic(source.head()) != Some(format) {
        bail!("it is no {} file", format.name());
    }
    source.bytes()
}

/// Reads a file of labels: NPY, IDX, or text with one label a line.
fn read_labels(
    path: &Path,
    n_samples: usize,
    options: &ReadOptions<'_>,
) -> Result<(Labels, Vec<String>)> {
    let source = Source::open(path, options.max_unpacked)?;
    labels_of(source, path, n_samples, options)
}

/// Reads labels from memory, as those of `n_samples` samples.
///
/// # Errors
/// Whatever is wrong with them.
pub fn parse_labels(
    bytes: &[u8],
    path: &Path,
    n_samples: usize,
    options: &ReadOptions<'_>,
) -> Result<Labels> {
    let source = Source::new(bytes, options.max_unpacked)?;
    labels_of(source, path, n_samples, options).map(|(labels, _)| labels)
}

fn labels_of(
    source: Source<'_>,
    path: &Path,
    n_samples: usize,
    options: &ReadOptions<'_>,
) -> Result<(Labels, Vec<String>)> {
    match detect::detect(source.head(), path)? {
        Format::Npy => {
            let bytes = source.bytes()?;
            Ok((npy::layout(&bytes)?.labels(&bytes)?, Vec::new()))
        }
        Format::Idx => Ok((idx::read_labels(source)?, Vec::new())),
        // Each line would be a class by itself.
        Format::Svmlight if detect::is_svmlight(source.head()) => {
            bail!("it is SVMlight, which has features beside the labels; labels are one a line")
        }
        Format::Csv | Format::Svmlight | Format::Auto => {
            csv::read_labels(source, options, n_samples)
        }
        Format::Npz | Format::Safetensors => {
            bail!("labels of their own are NPY, IDX or text with one a line")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are converted chunk by chunk.
    fn streamed(n: usize, d: usize) -> Dataset {
        let header = format!("{{'descr': '<i2', 'fortran_order': False, 'shape': ({n}, {d}), }}\n");
        let length = (header.len() as u16).to_le_bytes();
        let values: Vec<u8> = (0..n * d).flat_map(|i| ((i / d) as i16).to_le_bytes()).collect();
        let file = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &values].concat();
        let options =
            ReadOptions { max_memory: 0, max_unpacked: u64::MAX, ..ReadOptions::default() };
        Dataset::parse(&file, Path::new("short.npy"), &options).unwrap()
    }

    #[test]
    fn rows_in_errors_count_from_the_first_of_all() {
        let data = streamed(5, CHUNK_BYTES / 8);
        let mut ranges = Vec::new();
        let all = data.for_each_chunk::<f32>(|rows, chunk| {
            assert_eq!(chunk.row(0).unwrap()[7], rows.start as f32);
            ranges.push(rows.clone());
            let cause = NonFinite::Feature { feature: 3, value: f64::NAN };
            if rows.start == 2 { Err(Error::NonFinite { row: 1, cause }) } else { Ok(()) }
        });
        assert_eq!(ranges, [0..2, 2..4]);
        let message = format!("{:#}", data.explain(all.unwrap_err()));
        assert_eq!(message, "short.npy: row 3, feature 3: NaN is not finite");
    }

    #[test]
    fn a_sample_is_spread_over_all_chunks() {
        let mut data = streamed(5, CHUNK_BYTES / 8);
        data.labels = Some(Labels::of_numbers([0, 1, 2, 3, 4]));
        let sample = data.sample(3, None).unwrap();
        let view = sample.view().unwrap();
        let firsts: Vec<f32> = (0..3).map(|row| view.row(row).unwrap()[0]).collect();
        assert_eq!(firsts, [0.0, 2.0, 4.0]);
        assert_eq!(sample.labels().unwrap().codes(), [0, 2, 4]);
        let sample = data.sample(2, Some(&[1, 2, 4])).unwrap();
        assert_eq!(sample.labels().unwrap().codes(), [1, 4]);
    }
}
