//! `softmargin bench`: the time of one evaluation by shape, beside what this machine can do at most.

use super::{ComputeArgs, STDOUT, objective::LossName, positive};
use crate::{
    machine::{self, Limits},
    output::Output,
    plot, progress, units,
};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use half::{bf16, f16};
use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{Rng, SeedableRng},
};
use rayon::prelude::*;
use serde::Serialize;
use softmargin::{Batch, CsrView, Evaluator, Features, LinearModel, MatrixView, Scalar};
use std::{
    io::{Write, stdout},
    ops::Deref,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What is measured: a kind of data by its size.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Shape {
    /// MNIST, all of it: 60000 × 784, 10 classes
    Images,
    /// Rows of a multiple of 4096 bytes: 50000 × 3072, 10 classes
    Cifar,
    /// One step of SGD, on one thread: 256 × 784, 10 classes
    Minibatch,
    /// A linear probe: 100000 × 384, 100 classes
    #[value(name = "probe-100")]
    Probe100,
    /// A probe with as many classes as ImageNet: 20000 × 1024, 1000 classes
    #[value(name = "probe-1000")]
    Probe1000,
    /// A whole ImageNet probe, 5.2 GB of features: 1281167 × 1024, 1000 classes
    Imagenet,
    /// A tall table: 1000000 × 32, 2 classes
    Binary,
    /// Few features: 20000 × 16, 26 classes
    Letters,
    /// No size a multiple of anything: 4097 × 1023, 37 classes
    Odd,
    /// Twice the classes of images: 20000 × 784, 20 classes
    Twenty,
    /// Embeddings: 20000 × 768, 64 classes
    #[value(name = "probe-64")]
    Probe64,
    /// Embeddings: 20000 × 768, 200 classes
    #[value(name = "probe-200")]
    Probe200,
    /// Long rows of a power of two: 20000 × 4096, 5 classes
    Long,
    /// A tall table: 500000 × 100, 3 classes
    Tall,
    /// Far more features than samples: 1000 × 100000, 10 classes
    Wide,
}

impl Shape {
    /// N, D and C.
    fn sizes(self) -> (usize, usize, usize) {
        match self {
            Self::Images => (60_000, 784, 10),
            Self::Cifar => (50_000, 3072, 10),
            Self::Minibatch => (256, 784, 10),
            Self::Probe100 => (100_000, 384, 100),
            Self::Probe1000 => (20_000, 1024, 1000),
            Self::Imagenet => (1_281_167, 1024, 1000),
            Self::Binary => (1_000_000, 32, 2),
            Self::Letters => (20_000, 16, 26),
            Self::Odd => (4097, 1023, 37),
            Self::Twenty => (20_000, 784, 20),
            Self::Probe64 => (20_000, 768, 64),
            Self::Probe200 => (20_000, 768, 200),
            Self::Long => (20_000, 4096, 5),
            Self::Tall => (500_000, 100, 3),
            Self::Wide => (1000, 100_000, 10),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().expect("no shape is hidden").get_name().to_owned()
    }

    /// What is to be measured of it.
    fn task(self) -> Task {
        let (samples, features, classes) = self.sizes();
        let one_thread = self == Self::Minibatch;
        Task { name: self.name(), samples, features, classes, one_thread }
    }
}

/// A shape to measure.
struct Task {
    name: String,
    samples: usize,
    features: usize,
    classes: usize,
    /// Whether there is too little work for more.
    one_thread: bool,
}

/// How X is stored.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Storage {
    /// As the numbers that are computed with
    Same,
    /// In bytes
    U8,
    /// In bytes with a sign
    I8,
    /// In half precision
    F16,
    /// In bfloat16
    Bf16,
    /// As sparse rows with --density of the values, spread evenly, in the type that is computed in
    Csr,
}

impl Storage {
    fn name(self) -> String {
        self.to_possible_value().expect("no storage is hidden").get_name().to_owned()
    }

    /// What numbers from −1.5 to 1.5 are multiplied by.
    fn unit(self) -> f64 {
        match self {
            Self::U8 | Self::I8 => 84.0,
            _ => 1.0,
        }
    }
}

/// The classes of the sweep.
const SWEEP: [usize; 26] = [
    1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 100, 112,
    128,
];

/// All but the one that takes 5 GB of memory and minutes.
const DEFAULT_SHAPES: &str = "images,cifar,minibatch,probe-100,probe-1000,binary,letters,odd,\
    twenty,probe-64,probe-200,long,tall,wide";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin bench
  softmargin bench --shapes images,probe-100 --threads 1 --plot roofline.svg
  softmargin bench --shapes images,binary --storage u8
  softmargin bench --shapes wide --storage csr --density 0.002")]
pub(super) struct Bench {
    /// The shapes to measure
    #[arg(long, value_enum, value_delimiter = ',', default_value = DEFAULT_SHAPES)]
    shapes: Vec<Shape>,
    /// The losses to measure
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cross-entropy,hinge")]
    losses: Vec<LossName>,
    /// Measure in f64 instead of f32
    #[arg(long)]
    f64: bool,
    /// How X is stored
    #[arg(long, value_enum, default_value_t = Storage::Same)]
    storage: Storage,
    /// The share of the values that sparse rows have
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = density)]
    density: f64,
    /// Seconds for each measurement, at least; never fewer than three evaluations
    #[arg(long, default_value_t = 2, value_parser = positive)]
    seconds: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Draw the roofline with the shapes into this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Measure 20000 × 784 with 1 to 128 classes instead, and draw the efficiencies into this SVG file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shapes", "plot"])]
    sweep: Option<PathBuf>,
    #[command(flatten)]
    compute: ComputeArgs,
}

fn density(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("must be greater than 0, and at most 1".to_owned()),
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) cpu: String,
    pub(crate) isa: String,
    pub(crate) threads: usize,
    pub(crate) element: &'static str,
    /// How X is stored: "same" is as `element`.
    pub(crate) storage: String,
    /// Operations a second in registers.
    pub(crate) peak_flops: f64,
    /// Bytes a second read from memory.
    pub(crate) read_bandwidth: f64,
    pub(crate) measurements: Vec<Measurement>,
}

impl Report {
    /// What is computed in, and from what.
    pub(crate) fn numbers(&self) -> String {
        match &*self.storage {
            "same" => self.element.to_owned(),
            storage => format!("{} from {storage}", self.element),
        }
    }
}

/// One shape and loss.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) shape: String,
    pub(crate) samples: usize,
    pub(crate) features: usize,
    pub(crate) classes: usize,
    pub(crate) loss: String,
    pub(crate) evaluations: usize,
    pub(crate) median_seconds: f64,
    pub(crate) fastest_seconds: f64,
    /// 4 C for each value of X that is stored, a second.
    pub(crate) flops: f64,
    /// Bytes of X as it is stored, each counted once, a second.
    pub(crate) bytes: f64,
    /// The time below which this machine cannot get.
    pub(crate) limit_seconds: f64,
    /// `limit_seconds / median_seconds`.
    pub(crate) efficiency: f64,
    /// By how much the memory of the process grew from the first evaluation on, where the system tells.
    pub(crate) scratch_bytes: Option<u64>,
}

impl Bench {
    pub(super) fn run(self) -> Result<()> {
        let plot = self.plot.as_deref().map(Output::create).transpose()?;
        let sweep = self.sweep.as_deref().map(Output::create).transpose()?;
        let report = self.compute.install(|threads| {
            if self.f64 {
                self.measure::<f64>(threads, "f64")
            } else {
                self.measure::<f32>(threads, "f32")
            }
        })?;
        if let Some(plot) = plot {
            plot.write(plot::roofline(&report)?.as_bytes())?;
        }
        if let Some(sweep) = sweep {
            sweep.write(plot::sweep(&report)?.as_bytes())?;
        }
        if self.json {
            writeln!(stdout(), "{}", serde_json::to_string_pretty(&report)?).context(STDOUT)?;
        } else {
            print(&report).context(STDOUT)?;
        }
        Ok(())
    }

    fn measure<T: Scalar>(&self, threads: usize, element: &'static str) -> Result<Report> {
        let isa = self.compute.isa();
        let tasks: Vec<Task> = match &self.sweep {
            Some(_) => SWEEP.into_iter().map(sweep_task).collect(),
            None => self.shapes.iter().map(|shape| shape.task()).collect(),
        };
        let steps = progress::Steps::new(1 + self.losses.len() * tasks.len());
        steps.next("peak of the processor and of its memory");
        let limits = Limits::new(isa, size_of::<T>());
        let mut of_machine = Times::default();
        of_machine.measure(&limits);
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            cpu: machine::cpu_name(),
            isa: isa.name().to_owned(),
            threads,
            element,
            storage: self.storage.name(),
            peak_flops: 0.0,
            read_bandwidth: 0.0,
            measurements: Vec::new(),
        };
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        for task in tasks {
            let Task { name, samples: n, features: d, classes: c, .. } = task;
            let data = Data::<T>::new(n, d, c, self.storage, self.density);
            for loss in &self.losses {
                let (loss, objective) = (loss.name(), loss.objective(1.0).with_l2(1e-4));
                steps.next(&format!("{name} {loss}"));
                let mut evaluator = Evaluator::new(objective).with_isa(isa);
                let mut time = || self.time(&data, &mut evaluator, &limits);
                let (mut times, scratch_bytes) = match task.one_thread {
                    true => one_thread.install(time)?,
                    false => time()?,
                };
                let (values, bytes) = data.x.sizes();
                let (flop, bytes) = ((4 * values * c) as f64, bytes as f64);
                let (peak, bandwidth) = (median(&mut times.flops), median(&mut times.bandwidths));
                let limit = (flop / peak).max(bytes / bandwidth);
                if !task.one_thread {
                    of_machine.flops.append(&mut times.flops);
                    of_machine.bandwidths.append(&mut times.bandwidths);
                }
                let times = &mut times.evaluations;
                let median = median(times);
                report.measurements.push(Measurement {
                    shape: name.clone(),
                    samples: n,
                    features: d,
                    classes: c,
                    loss,
                    evaluations: times.len(),
                    median_seconds: median,
                    fastest_seconds: times[0],
                    flops: flop / median,
                    bytes: bytes / median,
                    limit_seconds: limit,
                    efficiency: limit / median,
                    scratch_bytes,
                });
            }
        }
        drop(steps);
        report.peak_flops = median(&mut of_machine.flops);
        report.read_bandwidth = median(&mut of_machine.bandwidths);
        Ok(report)
    }

    /// The times of evaluations in the steady state and, in between, what the machine can do; and the memory that the
    /// evaluations took.
    fn time<T: Scalar>(
        &self,
        data: &Data<T>,
        evaluator: &mut Evaluator<T>,
        limits: &Limits,
    ) -> Result<(Times, Option<u64>)> {
        let features = data.x.features(data.labels.len(), data.model.n_features())?;
        let batch = Batch::new(features, &data.labels)?;
        let mut gradient = data.model.clone();
        let before = machine::resident_bytes();
        evaluator.loss_and_gradient(&data.model, &batch, &mut gradient)?;
        let after = machine::resident_bytes();
        let scratch = before.zip(after).map(|(before, after)| after.saturating_sub(before));

        let mut times = Times::default();
        let start = Instant::now();
        while times.evaluations.len() < 3
            || start.elapsed() < Duration::from_secs(self.seconds as u64)
        {
            times.measure(limits);
            // The first one finds the caches full of other data.
            evaluator.loss_and_gradient(&data.model, &batch, &mut gradient)?;
            let turn = Instant::now();
            while turn.elapsed() < TURN {
                let start = Instant::now();
                evaluator.loss_and_gradient(&data.model, &batch, &mut gradient)?;
                times.evaluations.push(start.elapsed().as_secs_f64());
            }
        }
        Ok((times, scratch))
    }
}

/// How long evaluations are timed until the limits are measured again.
const TURN: Duration = Duration::from_millis(100);

/// What was measured.
#[derive(Default)]
struct Times {
    /// Seconds.
    evaluations: Vec<f64>,
    /// Operations a second.
    flops: Vec<f64>,
    /// Bytes a second.
    bandwidths: Vec<f64>,
}

impl Times {
    fn measure(&mut self, limits: &Limits) {
        self.flops.push(limits.flop_rate());
        self.bandwidths.push(limits.read_bandwidth());
    }
}

/// The median of some numbers, which it sorts.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Images with another number of classes.
fn sweep_task(classes: usize) -> Task {
    let name = format!("{classes} classes");
    Task { name, samples: 20_000, features: 784, classes, one_thread: false }
}

/// Random data of a shape.
struct Data<T> {
    x: Stored<T>,
    labels: Vec<u32>,
    model: LinearModel<T>,
}

impl<T: Scalar> Data<T> {
    fn new(n: usize, d: usize, c: usize, storage: Storage, density: f64) -> Self {
        let x = Stored::new(n, d, storage, density);
        let mut random = uniform(u64::MAX);
        let labels = (0..n).map(|_| (random() * c as f64) as u32).collect();
        let mut model = LinearModel::zeros(c, d);
        // Scores that are as large, whatever X is stored in.
        let width = 0.05 / storage.unit();
        model.weights_mut().iter_mut().for_each(|w| *w = T::from_f64(width * (random() - 0.5)));
        Self { x, labels, model }
    }
}

/// X.
enum Stored<T> {
    Same(Aligned<T>),
    U8(Aligned<u8>),
    I8(Aligned<i8>),
    F16(Aligned<f16>),
    Bf16(Aligned<bf16>),
    Csr { indptr: Vec<usize>, indices: Vec<u32>, values: Aligned<T> },
}

impl<T: Scalar> Stored<T> {
    fn new(n: usize, d: usize, storage: Storage, density: f64) -> Self {
        let unit = storage.unit();
        match storage {
            Storage::Same => Self::Same(random(n * d, T::from_f64)),
            Storage::U8 => Self::U8(random(n * d, |x| (unit * (x + 1.5)) as u8)),
            Storage::I8 => Self::I8(random(n * d, |x| (unit * x) as i8)),
            Storage::F16 => Self::F16(random(n * d, f16::from_f64)),
            Storage::Bf16 => Self::Bf16(random(n * d, bf16::from_f64)),
            Storage::Csr => {
                let of_row = ((d as f64 * density).round() as usize).max(1);
                let mut random_place = uniform(0);
                // One in each of as many equal parts of the row: in order, and none twice.
                let mut place = |part: usize| {
                    let (start, end) = (part * d / of_row, (part + 1) * d / of_row);
                    start + (random_place() * (end - start) as f64) as usize
                };
                let indices = (0..n * of_row).map(|e| place(e % of_row) as u32).collect();
                let values = random(n * of_row, T::from_f64);
                Self::Csr { indptr: (0..=n).map(|row| row * of_row).collect(), indices, values }
            }
        }
    }

    fn features(&self, n: usize, d: usize) -> Result<Features<'_, T>> {
        Ok(match self {
            Self::Same(x) => MatrixView::new(x, n, d)?.into(),
            Self::U8(x) => MatrixView::new(x, n, d)?.into(),
            Self::I8(x) => MatrixView::new(x, n, d)?.into(),
            Self::F16(x) => MatrixView::new(x, n, d)?.into(),
            Self::Bf16(x) => MatrixView::new(x, n, d)?.into(),
            Self::Csr { indptr, indices, values } => {
                CsrView::new(n, d, indptr, indices, values)?.into()
            }
        })
    }

    /// The number of values, and the bytes that they take up, with their places.
    fn sizes(&self) -> (usize, usize) {
        match self {
            Self::Same(x) => (x.len(), size_of_val(&**x)),
            Self::U8(x) => (x.len(), x.len()),
            Self::I8(x) => (x.len(), x.len()),
            Self::F16(x) => (x.len(), size_of_val(&**x)),
            Self::Bf16(x) => (x.len(), size_of_val(&**x)),
            Self::Csr { indptr, indices, values } => {
                let places = size_of_val(&**indptr) + size_of_val(&**indices);
                (values.len(), size_of_val(&**values) + places)
            }
        }
    }
}

/// Numbers that begin at a cache line, as those of a mapped NPY file or of a tensor of PyTorch do.
struct Aligned<E> {
    values: Vec<E>,
    start: usize,
}

impl<E: Default + Clone> Aligned<E> {
    fn new(n: usize) -> Self {
        const LINE: usize = 64;
        let values = vec![E::default(); n + LINE];
        let start = values.as_ptr().align_offset(LINE).min(LINE);
        Self { values, start }
    }
}

impl<E> Deref for Aligned<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.values[self.start..]
    }
}

/// What `of` makes of random numbers from −1.5 to 1.5.
fn random<E: Default + Clone + Send>(n: usize, of: impl Fn(f64) -> E + Sync) -> Aligned<E> {
    let mut aligned = Aligned::new(n);
    let values = &mut aligned.values[aligned.start..][..n];
    values.par_chunks_mut(1 << 16).enumerate().for_each(|(i, part)| {
        let mut random = uniform(i as u64);
        part.iter_mut().for_each(|x| *x = of(3.0 * (random() - 0.5)));
    });
    aligned.values.truncate(aligned.start + n);
    aligned
}

/// Numbers from 0 to 1, and less than 1.
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    move || (random.next_u64() >> 40) as f64 / f64::from(1 << 24)
}

fn print(report: &Report) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(
        out,
        "{}, {}, {} threads, {}",
        report.cpu,
        report.isa,
        report.threads,
        report.numbers()
    )?;
    writeln!(
        out,
        "peak {:.0} GFLOP/s in registers, {:.1} GB/s read from memory\n",
        report.peak_flops / 1e9,
        report.read_bandwidth / 1e9
    )?;
    writeln!(
        out,
        "{:<11} {:<14} {:>8} {:>9} {:>9} {:>8} {:>11} {:>9}",
        "shape", "loss", "time", "GFLOP/s", "GB/s", "limit", "efficiency", "scratch"
    )?;
    for m in &report.measurements {
        let scratch = m
            .scratch_bytes
            .map_or("–".to_owned(), |b| format!("{:.0} MiB", b as f64 / 1048576.0));
        writeln!(
            out,
            "{:<11} {:<14} {:>8} {:>9.1} {:>9.1} {:>8} {:>11.2} {:>9}",
            m.shape,
            m.loss,
            units::seconds(m.median_seconds),
            m.flops / 1e9,
            m.bytes / 1e9,
            units::seconds(m.limit_seconds),
            m.efficiency,
            scratch,
        )?;
    }
    Ok(())
}
