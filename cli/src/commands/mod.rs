//! The commands and their arguments.

pub(crate) mod bench;
mod completions;
mod convert;
mod evaluate;
mod gradcheck;
mod predict;
mod train;

use crate::data::{
    self, Classes, Dataset, Format, Header, IndexBase, LabelColumn, Labels, ReadOptions, Schema,
    Split, sample,
};
use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use softmargin::{Isa, Objective};
use std::{
    io::{Write, stdout},
    path::PathBuf,
};

/// Multiclass linear classifiers (hinge SVM and softmax cross-entropy), trained at the speed of the CPU.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  softmargin train
  softmargin train --data table.csv --out model.safetensors
  softmargin predict --model model.safetensors --data new.csv --out labels.csv

`softmargin help <COMMAND>` has more of them."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model; without arguments, on a bundled sample of Fashion-MNIST
    Train(Box<train::Train>),
    /// Compute the loss and the accuracy of a model
    Evaluate(evaluate::Evaluate),
    /// Predict labels, or probabilities, as CSV
    Predict(predict::Predict),
    /// Turn a model into NPY files, or NPY files into a model
    Convert(convert::Convert),
    /// Compare the gradient with central differences, on your own data
    Gradcheck(gradcheck::Gradcheck),
    /// Measure the speed of an evaluation, beside what this machine can do at most
    Bench(bench::Bench),
    /// Print what a shell needs to complete arguments
    Completions(completions::Completions),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever is wrong with the data or the files, to be told in one line.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Train(command) => command.run(),
            Command::Evaluate(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Gradcheck(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Completions(command) => command.run(),
        }
    }
}

/// What is minimised.
#[derive(Debug, Args)]
struct ObjectiveArgs {
    /// The loss of a sample
    #[arg(long, value_enum, default_value_t = LossName::CrossEntropy)]
    loss: LossName,
    /// The margin Δ of the hinge loss
    #[arg(long, default_value_t = 1.0, value_parser = non_negative, allow_negative_numbers = true)]
    margin: f64,
    /// The coefficient λ of the sum of squared weights
    #[arg(long, default_value_t = 1e-4, value_parser = non_negative, allow_negative_numbers = true)]
    l2: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LossName {
    CrossEntropy,
    Hinge,
}

impl ObjectiveArgs {
    fn objective(&self) -> Objective {
        match self.loss {
            LossName::CrossEntropy => Objective::cross_entropy(),
            LossName::Hinge => Objective::hinge(self.margin),
        }
        .with_l2(self.l2)
    }

    /// For the model file.
    fn metadata(&self) -> crate::model_file::Metadata {
        let mut metadata = crate::model_file::Metadata::new();
        match self.loss {
            LossName::CrossEntropy => {
                metadata.insert("loss".to_owned(), "cross_entropy".to_owned())
            }
            LossName::Hinge => {
                metadata.insert("margin".to_owned(), self.margin.to_string());
                metadata.insert("loss".to_owned(), "hinge".to_owned())
            }
        };
        metadata
    }
}

/// Which data.
#[derive(Debug, Args)]
struct DataArgs {
    /// A folder of IDX files in the layout of MNIST or EMNIST, or a file: CSV, SVMlight, NPY, NPZ (X and y),
    /// safetensors (the tensors "features" and "labels") or IDX, gzipped or not; - is standard input.
    /// The bundled sample by default
    #[arg(long)]
    data: Option<PathBuf>,
    /// The labels of features that come without: NPY, IDX, or text with one label a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The format of the data. By default its contents tell, or else its suffix
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Auto)]
    format: Format,
    /// CSV: the column of the labels, a name, or a number from 0. By default that of the model; in training the
    /// column named "label", "class" or "target", or else the last one
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<LabelColumn>,
    /// CSV: the column of the sample weights, a name, or a number from 0
    #[arg(long, value_name = "COLUMN")]
    weight_column: Option<LabelColumn>,
    /// CSV: columns to leave out, names or numbers from 0
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    ignore_columns: Vec<LabelColumn>,
    /// CSV: whether the first line names the columns. By default it does if its cells are no numbers where the
    /// next lines have some, and none is merely missing or mistyped
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = Header::Auto)]
    header: Header,
    /// CSV: what separates cells: one character, tab or space. By default what makes most cells numbers
    #[arg(long, value_name = "CHARACTER", value_parser = data::separator)]
    separator: Option<u8>,
    /// SVMlight: what indices count from. By default that of the model; in training 0 if there is an index 0,
    /// and 1 otherwise
    #[arg(long, value_enum, value_name = "BASE", default_value_t = IndexBase::Auto)]
    index_base: IndexBase,
    /// Distinct labels, and the largest number that is one: more are refused, as amounts, years and identifiers
    /// are no classes
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = positive)]
    max_classes: usize,
    /// What gzipped, piped or sparse data may grow to, in MiB: a small file may hold more than there is memory
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    max_unpacked: u64,
    /// Features of an .npy or .safetensors file that are converted in memory, in MiB. Those of a larger file are
    /// converted again for every evaluation (float32 in C order is never converted, but read where it is)
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    max_memory: u64,
}

impl DataArgs {
    /// How to read data of a model, if there is one yet.
    fn options<'a>(&'a self, split: Split, schema: Option<&'a Schema>) -> ReadOptions<'a> {
        ReadOptions {
            format: self.format,
            labels: self.labels.as_deref(),
            split,
            label_column: self.label_column.clone(),
            weight_column: self.weight_column.clone(),
            ignore_columns: &self.ignore_columns,
            header: self.header,
            separator: self.separator,
            index_base: self.index_base,
            schema,
            max_unpacked: self.max_unpacked.saturating_mul(1 << 20),
            max_memory: self.max_memory.saturating_mul(1 << 20),
        }
    }

    /// Reads the data, and says what was found out about it.
    fn read(&self, split: Split, schema: Option<&Schema>) -> Result<Dataset> {
        let Some(path) = &self.data else { return sample(split) };
        let data = Dataset::read(path, &self.options(split, schema))?;
        print_notes(&data);
        Ok(data)
    }

    /// The classes of the labels, by these names if there are any.
    fn classes(&self, names: &[String], labels: &Labels) -> Result<Classes> {
        match names {
            [] => Classes::of(labels, self.max_classes),
            names => Classes::named(names, labels, self.max_classes),
        }
    }
}

/// The share of samples whose prediction is right.
fn accuracy(classes: &[u32], predictions: &[u32]) -> f64 {
    let right = classes.iter().zip(predictions).filter(|(class, prediction)| class == prediction);
    right.count() as f64 / classes.len() as f64
}

/// What was found out about data, on standard error.
fn print_notes(data: &Dataset) {
    for note in &data.notes {
        eprintln!("{}: {note}", data.name());
    }
}

/// What computes.
#[derive(Debug, Args)]
struct ComputeArgs {
    /// Threads; all processors by default
    #[arg(long, value_parser = positive)]
    threads: Option<usize>,
    /// The instruction set: portable, avx2 or avx512; the best of this machine by default
    #[arg(long)]
    isa: Option<Isa>,
}

impl ComputeArgs {
    fn isa(&self) -> Isa {
        self.isa.unwrap_or_else(Isa::detect)
    }

    /// Runs `work` on a pool of the threads asked for, and tells it their number.
    fn install<T: Send>(&self, work: impl FnOnce(usize) -> Result<T> + Send) -> Result<T> {
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(self.threads.unwrap_or(0)).build()?;
        let threads = pool.current_num_threads();
        pool.install(|| work(threads))
    }
}

fn non_negative(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value >= 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err("must be finite and at least 0".to_owned())
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(value) => Ok(value),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

/// Prints one JSON object on one line.
fn print_json(object: &impl Serialize) -> Result<()> {
    Ok(writeln!(stdout(), "{}", serde_json::to_string(object)?)?)
}

/// Prints rows of names and values with the values below each other.
fn print_table(rows: &[(&str, String)]) -> Result<()> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = stdout().lock();
    for (name, value) in rows {
        writeln!(out, "{name:<width$}  {value}")?;
    }
    Ok(())
}
