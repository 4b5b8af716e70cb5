//! What a caller says of how data is to be read, and what a model remembers of the data it was trained on.

use serde::{Deserialize, Serialize};
use std::{fmt, path::Path, str::FromStr};

/// The format of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The one that the contents show, or else the suffix
    #[default]
    Auto,
    /// Text with one sample a line, separated by commas, semicolons, tabs, bars or spaces
    Csv,
    /// The sparse text of SVMlight and LIBSVM
    Svmlight,
    /// One array of NumPy
    Npy,
    /// Several arrays of NumPy, or a sparse matrix of SciPy
    Npz,
    /// Tensors
    Safetensors,
    /// Images as MNIST has them
    Idx,
}

impl Format {
    /// As messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Auto => "known",
            Self::Csv => "CSV",
            Self::Svmlight => "SVMlight",
            Self::Npy => "NPY",
            Self::Npz => "NPZ",
            Self::Safetensors => "safetensors",
            Self::Idx => "IDX",
        }
    }
}

/// Whether the first line of a CSV file names its columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Header {
    /// As the first lines show
    #[default]
    Auto,
    /// It does
    Yes,
    /// It is a sample
    No,
}

/// What the indices of an SVMlight file count from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum IndexBase {
    /// As in the data of the model, or else from 0 if there is an index 0, and from 1 otherwise
    #[default]
    Auto,
    /// The first feature has the index 0
    #[value(name = "0")]
    Zero,
    /// The first feature has the index 1
    #[value(name = "1")]
    One,
}

/// Which part of a folder of IDX files, or of an NPZ file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Split {
    /// Images and labels whose names have "train"
    #[default]
    Train,
    /// Those whose names have "t10k" or "test"
    Test,
}

/// A column of a CSV file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LabelColumn {
    /// The one of this number, from 0.
    Index(usize),
    /// The one of this name.
    Name(String),
}

impl FromStr for LabelColumn {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index))
    }
}

impl fmt::Display for LabelColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// Parses what separates the cells of a line: one character, or `tab` or `space`.
///
/// # Errors
/// If it is something else.
pub fn separator(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => Ok(b'\t'),
        "space" => Ok(b' '),
        _ => match text.as_bytes() {
            [b'"' | b'\r' | b'\n'] => Err("it cannot separate cells".to_owned()),
            [byte] if byte.is_ascii() => Ok(*byte),
            _ => Err("must be one ASCII character, tab or space".to_owned()),
        },
    }
}

/// How data is to be read.
#[derive(Clone, Debug)]
pub struct ReadOptions<'a> {
    /// The format of the file.
    pub format: Format,
    /// A file with the labels.
    pub labels: Option<&'a Path>,
    /// Which part of a folder, or of a file with both.
    pub split: Split,
    /// CSV: the column of the labels.
    pub label_column: Option<LabelColumn>,
    /// CSV: the column of the sample weights.
    pub weight_column: Option<LabelColumn>,
    /// CSV: columns to leave out.
    pub ignore_columns: &'a [LabelColumn],
    /// CSV: whether the first line names the columns.
    pub header: Header,
    /// CSV: what separates cells; found if it is not given.
    pub separator: Option<u8>,
    /// SVMlight: what indices count from.
    pub index_base: IndexBase,
    /// What the model that the data is for was trained on.
    pub schema: Option<&'a Schema>,
    /// The bytes to which compressed or piped data may grow, and what a model of sparse data may take up.
    pub max_unpacked: u64,
    /// The bytes of features that are converted in memory; more are converted again whenever they are used.
    pub max_memory: u64,
}

impl Default for ReadOptions<'_> {
    /// Everything found by itself, with the limits of the program.
    fn default() -> Self {
        Self {
            format: Format::Auto,
            labels: None,
            split: Split::Train,
            label_column: None,
            weight_column: None,
            ignore_columns: &[],
            header: Header::Auto,
            separator: None,
            index_base: IndexBase::Auto,
            schema: None,
            max_unpacked: 1 << 30,
            max_memory: 4 << 30,
        }
    }
}

/// How the features lie in the file that a model was trained on; kept in the model file as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// D.
    pub n_features: usize,
    /// The names of the features, in order, if the file had a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The column of the labels: its name if there was a header, else its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_column: Option<LabelColumn>,
    /// The column of the sample weights, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_column: Option<LabelColumn>,
    /// Columns that were left out, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored_columns: Vec<LabelColumn>,
    /// What the indices of an SVMlight file counted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_base: Option<u8>,
}

impl Schema {
    /// Of features of which only the number is known.
    pub fn of_features(n_features: usize) -> Self {
        Self { n_features, ..Self::default() }
    }
}
