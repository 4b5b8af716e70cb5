//! The commands and their arguments.

pub(crate) mod bench;
mod cells;
mod classes;
mod completions;
mod convert;
mod evaluate;
mod gradcheck;
mod info;
mod objective;
mod predict;
mod train;

use cells::{Columns, cells};
use objective::ObjectiveArgs;

use crate::{
    data::{
        self, Dataset, Format, Header, IndexBase, LabelColumn, ReadOptions, Schema, Split, sample,
    },
    model_file::About,
    mpi::World,
    progress::say,
    standard_output,
};
use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use softmargin::Isa;
use std::{
    any::TypeId,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

/// Lets each option that takes a number take one with a sign, however it is written: what is wrong with it, its parser says.
fn with_signs(command: clap::Command) -> clap::Command {
    let numbers = [
        TypeId::of::<f64>(),
        TypeId::of::<usize>(),
        TypeId::of::<u64>(),
        TypeId::of::<(usize, usize)>(),
    ];
    // A name or a number.
    let columns = [TypeId::of::<LabelColumn>(), TypeId::of::<Columns>()];
    command.mut_args(|option| {
        let kind = option.get_value_parser().type_id();
        let is_any = |kinds: &[TypeId]| kinds.iter().any(|other| kind == *other);
        let (numbers, columns) = (is_any(&numbers), is_any(&columns));
        option.allow_hyphen_values(numbers).allow_negative_numbers(columns)
    })
}

/// Multiclass linear classifiers (hinge SVM and softmax cross-entropy), trained at the speed of the CPU.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    max_term_width = 100,
    mut_subcommands(with_signs),
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
    /// Show what a model file says of its model
    Info(info::Info),
    /// Turn a model into NPY files, or NPY files into a model
    Convert(convert::Convert),
    /// Compare the gradient with central differences, on your own data
    Gradcheck(gradcheck::Gradcheck),
    /// Measure the speed of an evaluation, beside what this machine can do at most
    Bench(bench::Bench),
    /// Print what a shell needs to complete arguments
    Completions(completions::Completions),
}

impl Command {
    /// Whether its result goes to standard output, and not to files alone.
    fn prints(&self) -> bool {
        match self {
            Self::Predict(command) => command.prints(),
            Self::Convert(command) => command.prints(),
            _ => true,
        }
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever is wrong with the data or the files, to be told in one line.
    pub fn run(self) -> Result<()> {
        let world = World::start()?;
        let rank = world.as_ref().map_or(0, World::rank);
        let size = world.as_ref().map_or(1, World::size);
        // Of several processes, the first one prints.
        if rank == 0 && self.command.prints() {
            standard_output::check()?;
        }
        match self.command {
            Command::Train(command) => match &world {
                Some(world) if rank > 0 => command.follow(world),
                _ => command.run(world.as_ref()),
            },
            // What there is to say, the first one says.
            _ if rank > 0 => Ok(()),
            _ if size > 1 => {
                bail!("only train is for several processes, and mpirun started {size}")
            }
            Command::Evaluate(command) => command.run(),
            Command::Predict(command) => command.run(),
            Command::Info(command) => command.run(),
            Command::Gradcheck(command) => command.run(),
            Command::Convert(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Completions(command) => command.run(),
        }
    }
}

/// Which data.
#[derive(Debug, Args)]
struct DataArgs {
    /// A folder of IDX files in the layout of MNIST or EMNIST, or a file: CSV, SVMlight, NPY, NPZ (X and y, or a CSR
    /// matrix that SciPy saved), safetensors (the tensors "features" and "labels") or IDX, gzipped or not; - is
    /// standard input.
    /// The bundled sample by default
    #[arg(long)]
    data: Option<PathBuf>,
    /// The labels of features that come without: NPY, IDX, or text with one label a line
    #[arg(long, value_name = "FILE", requires = "data")]
    labels: Option<PathBuf>,
    /// The format of the data. By default its contents tell, or else its suffix
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Auto, requires = "data")]
    format: Format,
    /// CSV: the column of the labels, a name, or a number from 0. By default that of the model; in training the
    /// column named "label", "class" or "target", or else the last one
    #[arg(long, value_name = "COLUMN", requires = "data")]
    label_column: Option<LabelColumn>,
    /// CSV: the column of the sample weights, a name, or a number from 0
    #[arg(long, value_name = "COLUMN", requires = "data")]
    weight_column: Option<LabelColumn>,
    /// CSV: columns to leave out, names or numbers from 0; as CSV, with quotes where a name has a comma
    #[arg(long, value_name = "COLUMN,…", requires = "data")]
    ignore_columns: Option<Columns>,
    /// CSV: whether the first line names the columns. By default it does if its cells are no numbers where the
    /// next lines have some, and none is merely missing or mistyped
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = Header::Auto, requires = "data")]
    header: Header,
    /// CSV: what separates cells: one character, tab or space. By default what makes most cells numbers
    #[arg(long, value_name = "CHARACTER", value_parser = data::separator, requires = "data")]
    separator: Option<u8>,
    /// SVMlight: what indices count from. By default that of the model; in training 0 if there is an index 0,
    /// and 1 otherwise
    #[arg(long, value_enum, value_name = "BASE", default_value_t = IndexBase::Auto, requires = "data")]
    index_base: IndexBase,
    /// Distinct labels, and the largest number that is one: more are refused, as amounts, years and identifiers
    /// are no classes
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = positive)]
    max_classes: usize,
    /// What gzipped or piped data, or the weights for sparse data, may take up, in MiB: a small file may hold more
    /// than there is memory
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    max_unpacked: u64,
    /// Features of an .npy or .safetensors file that are converted in memory, in MiB. Those of a larger file are
    /// converted again for every evaluation (float32, float16, bfloat16, uint8 and int8 are never converted, but read
    /// where they are)
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    max_memory: u64,
}

impl DataArgs {
    /// The files that are read.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.data.iter().chain(&self.labels).map(PathBuf::as_path)
    }

    /// How to read data for a model with this schema, if there is one yet.
    fn options<'a>(&'a self, split: Split, schema: Option<&'a Schema>) -> ReadOptions<'a> {
        ReadOptions {
            format: self.format,
            labels: self.labels.as_deref(),
            split,
            label_column: self.label_column.clone(),
            weight_column: self.weight_column.clone(),
            ignore_columns: self.ignore_columns.as_ref().map_or(&[], |Columns(columns)| columns),
            header: self.header,
            separator: self.separator,
            index_base: self.index_base,
            schema,
            max_unpacked: self.max_unpacked.saturating_mul(1 << 20),
            max_memory: self.max_memory.saturating_mul(1 << 20),
        }
    }

    /// Reads data to train on.
    fn read(&self, split: Split) -> Result<Dataset> {
        match &self.data {
            Some(path) => read(path, &self.options(split, None)),
            None => sample(split),
        }
    }

    /// Reads data for a model, as that which the model was trained on.
    fn read_for_model(&self, split: Split, about: &About, n_features: usize) -> Result<Dataset> {
        let unknown = Schema::of_features(n_features);
        let schema = about.schema.as_ref().unwrap_or(&unknown);
        let Some(path) = &self.data else {
            let data = sample(split)?;
            data.check_features(n_features).context("the bundled sample, as there is no --data")?;
            return Ok(data);
        };
        read(path, &self.options(split, Some(schema)))
    }

    /// Reads data to test on, as `trained`: from `path`, or from where that came from, if it is there.
    fn read_test(
        &self,
        path: Option<&Path>,
        labels: Option<&Path>,
        trained: &Dataset,
    ) -> Result<Option<Dataset>> {
        let options = self.options(Split::Test, Some(trained.schema()));
        let options = ReadOptions { labels, ..options };
        match (path, &self.data) {
            (Some(path), _) => read(path, &options).map(Some),
            (None, None) => sample(Split::Test).map(Some),
            (None, Some(own)) if data::has_split(own, Split::Test) => read(own, &options).map(Some),
            (None, Some(_)) => Ok(None),
        }
    }
}

/// Reads data, and says what was found out about it.
fn read(path: &Path, options: &ReadOptions<'_>) -> Result<Dataset> {
    Dataset::read(path, options).map(said)
}

/// Data of which it is said what was found out about it.
fn said(data: Dataset) -> Dataset {
    for note in &data.notes {
        say(format_args!("{}: {note}", data.name()));
    }
    data
}

/// What computes.
#[derive(Debug, Args)]
struct ComputeArgs {
    /// Threads; all processors by default
    #[arg(long, value_parser = threads)]
    threads: Option<usize>,
    #[arg(long, help = isa_help())]
    isa: Option<Isa>,
}

fn isa_help() -> String {
    let names = Isa::NAMES.join(", ");
    format!("The instruction set, of {names}; the best of this machine by default")
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
    if value.is_infinite() && is_written_finite(text) {
        return Err("too large for f64".to_owned());
    }
    if value >= 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err("must be finite and at least 0".to_owned())
    }
}

/// Whether a number is infinite only because it is too large for its type.
fn is_written_finite(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(value) => Ok(value),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

/// More threads than any machine has are a slip of the keyboard, and would take gigabytes.
const MAX_THREADS: usize = 1024;

fn threads(text: &str) -> Result<usize, String> {
    match positive(text)? {
        threads if threads > MAX_THREADS => Err(format!("must be at most {MAX_THREADS}")),
        threads => Ok(threads),
    }
}

/// Says what the user should know, where the result is not disturbed.
fn warn(message: &str) {
    say(format_args!("warning: {message}"));
}

/// What failed where nothing can be printed.
pub const STDOUT: &str = "cannot write to standard output";

/// Prints text that has its own line ends.
fn print_text(text: &str) -> Result<()> {
    stdout().write_all(text.as_bytes()).context(STDOUT)
}

/// Prints one JSON object on one line.
fn print_json(object: &impl Serialize) -> Result<()> {
    writeln!(stdout(), "{}", serde_json::to_string(object)?).context(STDOUT)
}

/// Prints rows of names and values with the values below each other.
fn print_table(rows: &[(&str, String)]) -> Result<()> {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = stdout().lock();
    for (name, value) in rows {
        writeln!(out, "{name:<width$}  {value}").context(STDOUT)?;
    }
    Ok(())
}
