//! `softmargin train`: its arguments, and what is done with them. `cross_validation` chooses λ, `fit` runs the solver,
//! `checkpoint` saves it on its way, `ranks` has other processes do their part, `outcome` tells how it went.

mod checkpoint;
mod cross_validation;
mod fit;
mod outcome;
mod ranks;

use super::{
    ComputeArgs, DataArgs, ObjectiveArgs,
    classes::{ClassNames, ClassWeight},
    is_written_finite, non_negative, positive, print_json, print_table, print_text, said, warn,
};
use crate::{
    apply::Applied,
    data::{Classes, Dataset, Lost, Scaling, Split},
    interrupt,
    model_file::{About, ModelFile, Parameters},
    mpi::World,
    output::{Output, check_distinct},
    report,
};
use anyhow::{Context, Result, bail};
use checkpoint::CheckpointArgs;
use clap::{ArgMatches, Args, FromArgMatches, Id, ValueEnum, parser::ValueSource};
use fit::Samples;
use outcome::{Measured, Outcome};
use ranks::Leader;
use softmargin::{
    LinearModel, Loss,
    train::{DualAscent, Fold, Lbfgs, NewtonCg, Schedule, Sgd, StopReason, Summary},
};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  softmargin train
  softmargin train --data /usr/share/datasets/fashion-mnist --out model.safetensors --report report
  softmargin train --data table.csv --label-column class --loss hinge --solver sgd --epochs 50
  softmargin train --data embeddings.npy --labels labels.npy --standardize --validation 0.1 \\
      --l2-path 1,0.1,0.01,0.001,0.0001
  softmargin train --data table.csv --standardize --cv 5 --report report
  softmargin train --data big.npy --labels labels.npy --out model.safetensors --checkpoint fit.checkpoint

Exit status: 0 if the fit converged, or was stopped by a limit (which a warning says, and \"converged\": false in the
JSON); 1 if it failed, and then nothing is written; 130 after Ctrl-C, SIGTERM or SIGHUP, with the best model saved, or
none while --cv is still choosing λ.")]
pub(super) struct Train {
    // The first one, as those after it take their arguments away.
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    data: DataArgs,
    /// Data to test on, of any kind that --data takes. By default the test images (t10k-…) of the folder
    /// that is trained on, if it has any
    #[arg(long)]
    test: Option<PathBuf>,
    /// The labels of the data to test on, as --labels
    #[arg(long, value_name = "FILE", requires = "test")]
    test_labels: Option<PathBuf>,
    /// Bring every feature to mean 0 and variance 1. The model that is saved takes the features as they are
    #[arg(long, conflicts_with_all = ["scale", "start"])]
    standardize: bool,
    /// Multiply every feature by this: 0.00392157 for pixels from 0 to 255 (those of IDX files are divided
    /// already). The model that is saved takes the features as they are
    #[arg(long, value_name = "FACTOR", value_parser = factor, conflicts_with = "start")]
    scale: Option<f64>,
    #[command(flatten)]
    objective: ObjectiveArgs,
    /// What the samples of each class count: "balanced" (as many in all for each class), or factors by name,
    /// as CSV. Classes that are not named count 1
    #[arg(long, value_name = "balanced|NAME=W,…")]
    class_weight: Option<ClassWeight>,
    /// How the optimum is looked for [default: dual for hinge and crammer-singer, with --l2 above 0 and data in
    /// memory; otherwise lbfgs]
    #[arg(long, value_enum)]
    solver: Option<Solver>,
    /// Dual ascent stops when the loss is no further above the optimum, as a share of it
    #[arg(long, default_value_t = DualAscent::default().tolerance, value_parser = non_negative)]
    tolerance: f64,
    /// Iterations of L-BFGS or of Newton's method, at most
    #[arg(long, default_value_t = 500)]
    max_iter: usize,
    /// L-BFGS and Newton's method stop when no entry of the gradient exceeds this (scikit-learn's tol); L-BFGS, when its next
    /// step promises next to nothing, too
    #[arg(long, default_value_t = Lbfgs::default().gradient_tolerance, value_parser = non_negative)]
    gradient_tolerance: f64,
    /// L-BFGS stops when the loss falls by less, relative to itself (SciPy's ftol)
    #[arg(long, default_value_t = Lbfgs::default().relative_decrease, value_parser = non_negative)]
    relative_decrease: f64,
    /// Epochs, at most [default: 20 of sgd, 1000 of dual]
    #[arg(long)]
    epochs: Option<usize>,
    /// Samples a step of SGD
    #[arg(long, default_value_t = 256, value_parser = positive)]
    batch_size: usize,
    /// Length of the first steps of SGD
    #[arg(long, default_value_t = Sgd::default().learning_rate, value_parser = non_negative)]
    learning_rate: f64,
    /// How the steps of SGD become shorter
    #[arg(long, value_enum, default_value_t = ScheduleName::Cosine)]
    schedule: ScheduleName,
    /// What SGD keeps of its last step, less than 1
    #[arg(long, default_value_t = 0.9, value_parser = momentum)]
    momentum: f64,
    /// Nesterov's momentum
    #[arg(long)]
    nesterov: bool,
    /// Directions in which the features vary most, along which SGD takes shorter steps
    #[arg(long, value_name = "NUMBER", default_value_t = Sgd::default().principal)]
    principal: usize,
    /// Answer with the average of the iterates of SGD
    #[arg(long)]
    average: bool,
    /// Where SGD and dual ascent draw the order of the samples from, and --validation and --cv what they hold out
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A model to start from, instead of zeros
    #[arg(long, value_name = "FILE")]
    start: Option<PathBuf>,
    /// Hold out this share of the samples, and stop when their loss falls no further; or choose λ by them (--l2-path)
    #[arg(long, value_name = "SHARE", value_parser = share, group = "held out")]
    validation: Option<f64>,
    /// Choose λ by cross-validation: hold out each of so many parts of the samples in turn, fit the rest for every λ,
    /// and keep the λ with the least mean loss of what was held out; then fit all samples. For when there are too few
    /// samples to hold out some for good, or to see how sure the choice is; --validation takes one fit for each λ
    /// instead of so many. [default --l2-path: 1, 0.3, 0.1, … 0.00003]
    #[arg(long, value_name = "FOLDS", value_parser = folds, group = "held out", conflicts_with = "l2")]
    cv: Option<usize>,
    /// Iterations or epochs without a lower loss of the held-out samples, after which to stop
    #[arg(long, default_value_t = 10, requires = "validation", conflicts_with_all = ["cv", "l2_path"],
          value_parser = positive)]
    patience: usize,
    /// Try these λ instead of --l2, from the largest on, and keep the model that predicts most of the held-out
    /// samples, or the λ that --cv finds best. For all solvers but sgd
    #[arg(long, value_name = "λ,λ,…", value_delimiter = ',', requires = "held out",
          value_parser = non_negative, conflicts_with = "l2")]
    l2_path: Vec<f64>,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Write the model here, as safetensors with the keys of PyTorch's nn.Linear
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Names of the classes, for the report and the model file, as CSV: name i is that of label i, or, where labels
    /// are no numbers from 0 on, of the i-th label in their order. Labels that are among the names are classes in
    /// the order of the names
    #[arg(long, value_name = "NAME,NAME,…")]
    class_names: Option<ClassNames>,
    /// Write a page with pictures of the fit into this folder
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Height and width of the images that the features are, for the report; IDX files say it themselves
    #[arg(long, value_name = "HEIGHTxWIDTH", value_parser = image_shape)]
    image_shape: Option<(usize, usize)>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Solver {
    /// Goes to the optimum, in most cases the fastest way; of hinge, perhaps to no more than a kink on the way
    Lbfgs,
    /// Goes to the optimum of the hinge losses, past their kinks, and says how far from it the fit is at most; of
    /// squared-hinge, in the least time where hardly a margin is violated. Takes --l2 above 0, the longer the smaller it
    /// is
    Dual,
    /// Goes to the optimum to more digits, for losses without kinks: with a small --gradient-tolerance, or where
    /// L-BFGS takes hundreds of iterations
    Newton,
    /// Goes near the optimum in a few epochs, and on past kinks
    Sgd,
}

/// The arguments of which not every solver takes each.
const OF_SOLVERS: [(&str, &[Solver]); 12] = [
    ("tolerance", &[Solver::Dual]),
    ("max_iter", &[Solver::Lbfgs, Solver::Newton]),
    ("gradient_tolerance", &[Solver::Lbfgs, Solver::Newton]),
    ("relative_decrease", &[Solver::Lbfgs]),
    ("epochs", &[Solver::Sgd, Solver::Dual]),
    ("batch_size", &[Solver::Sgd]),
    ("learning_rate", &[Solver::Sgd]),
    ("schedule", &[Solver::Sgd]),
    ("momentum", &[Solver::Sgd]),
    ("nesterov", &[Solver::Sgd]),
    ("principal", &[Solver::Sgd]),
    ("average", &[Solver::Sgd]),
];

impl Solver {
    /// Whether sums over all samples are all that it takes of them; others take one sample after the other.
    fn takes_sums(self) -> bool {
        matches!(self, Self::Lbfgs | Self::Newton)
    }

    /// As it is asked for.
    fn name(self) -> String {
        self.to_possible_value().expect("no solver is hidden").get_name().to_owned()
    }
}

/// The arguments that were given, of all that there are: a default looks the same otherwise.
#[derive(Debug)]
struct Given(Vec<String>);

impl Given {
    fn has(&self, argument: &str) -> bool {
        self.0.iter().any(|given| given == argument)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Ok(Self(matches.ids().filter(given).map(ToString::to_string).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// They are those of all others.
impl Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScheduleName {
    Constant,
    Cosine,
}

/// Data to train on.
struct Prepared {
    data: Dataset,
    classes: Classes,
    /// The class of each sample.
    labels: Vec<u32>,
    class_weights: Option<Vec<f32>>,
    /// Which samples are trained on and which are held out, if not all are trained on.
    folds: Vec<Fold>,
}

impl Prepared {
    fn samples<'a>(&'a mut self, leader: Option<&'a Leader<'a>>) -> Samples<'a> {
        let class_weights = self.class_weights.clone();
        let Self { data, classes, labels, folds, .. } = self;
        Samples { data, classes, labels, class_weights, folds, fold: None, leader }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        _ => Err("must be a number between 0 and 1".to_owned()),
    }
}

fn folds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if value >= 2 => Ok(value),
        _ => Err("must be a whole number, at least 2".to_owned()),
    }
}

/// Says that labels may be identifiers or amounts, where the limit on their number does not: a class that most samples have
/// for themselves is none that could be learned.
fn warn_of_too_many_classes(data: &Dataset) {
    const FEW: usize = 20;
    let Some(labels) = &data.labels else { return };
    let (distinct, samples) = (labels.distinct().len(), labels.len());
    if distinct > FEW && 2 * distinct > samples {
        warn(&format!(
            "{}: {distinct} distinct labels of {samples} samples, less than 2 samples a class: identifiers and amounts are \
             no classes",
            data.name()
        ));
    }
}

fn momentum(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("must be a number from 0 to 1, and less than 1".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value as f32 != 0.0 => Ok(value),
        Ok(value) if value != 0.0 && value.is_finite() => Err("too small for f32".to_owned()),
        Ok(value) if value.is_infinite() && is_written_finite(text) => {
            Err("too large for f64".to_owned())
        }
        _ => Err("must be a finite number, and not 0".to_owned()),
    }
}

fn image_shape(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once(['x', '×']).map(|(height, width)| (height.parse(), width.parse()));
    match sides {
        Some((Ok(height), Ok(width))) if height > 0 && width > 0 => Ok((height, width)),
        _ => Err("must be two numbers, as in 28x28".to_owned()),
    }
}

/// The first of some features, by their names.
fn few_names(data: &Dataset, features: &[usize]) -> String {
    const MOST: usize = 5;
    let name = |l: &usize| match &data.schema().columns {
        Some(names) => format!("{:?}", names[*l]),
        None => format!("feature {l}"),
    };
    let mut names: Vec<String> = features.iter().take(MOST).map(name).collect();
    if features.len() > MOST {
        names.push(format!("and {} more", features.len() - MOST));
    }
    names.join(", ")
}

impl Train {
    /// Runs the command, perhaps as the first of many processes.
    pub(super) fn run(mut self, world: Option<&World>) -> Result<()> {
        let leader = world.map(Leader::of);
        let leader = leader.as_ref();
        if leader.is_some() {
            self.divide()?;
        }
        self.check_path()?;
        let read = || {
            // But not --start: a model may be replaced by the one that goes on from it.
            let tested_on = self.test.iter().chain(&self.test_labels).map(PathBuf::as_path);
            self.data.files().chain(tested_on)
        };
        if let Some(out) = &self.out {
            check_distinct(out, read())?;
        }
        if let Some(checkpoint) = &self.checkpoint.checkpoint {
            check_distinct(checkpoint, read().chain(self.out.as_deref()))?;
        }
        let data = match leader {
            Some(leader) => said(leader.read(&self)?),
            None => self.data.read(Split::Train)?,
        };
        let in_memory = data.view().is_some();
        let solver = self.solver.unwrap_or_else(|| self.default_solver(in_memory));
        self.solver = Some(solver);
        self.warn_of_arguments_without_effect(solver);
        self.checkpoint.check(solver)?;
        let loss = self.objective.objective(None).loss();
        if matches!(loss, Loss::CrammerSinger { .. })
            && solver == Solver::Lbfgs
            && self.start.is_none()
        {
            bail!(
                "--loss crammer-singer takes --solver dual (with --l2 above 0) or sgd: where classes tie, as in a \
                 model of zeros, L-BFGS goes nowhere"
            );
        }
        let Prepared { mut data, classes, labels, class_weights, folds } = self.prepare(data)?;
        warn_of_too_many_classes(&data);
        self.warn_of_coarse_features(&data);
        let test = self.test_data(&data, &classes)?;
        let image_shape = self.image_shape_of(&data)?;
        let start = self.start_model(&data, &classes)?;
        let report = self.report.as_deref().map(report::Folder::create).transpose()?;
        let output = self.out.as_deref().map(Output::create).transpose()?;

        self.compute.install(|threads| {
            let schema = data.schema().clone();
            let mut samples = Samples {
                data: &mut data,
                classes: &classes,
                labels: &labels,
                class_weights,
                folds: &folds,
                fold: self.validation.is_some().then_some(0),
                leader,
            };
            if let Some(leader) = leader {
                leader.check(&samples, self.compute.isa())?;
            }
            let scaling = self.scaling(&samples)?;
            if let Some(scaling) = &scaling {
                samples.data.scale(scaling)?;
            }
            let checkpoint = self.checkpoint_file(&samples, &start, self.compute.isa())?;
            let fit = self.fit(&mut samples, start, checkpoint)?;
            let trained = Parameters::F32(fit.model.clone());
            let penalty = fit.l2 * trained.square_sum();
            let parameters = match &scaling {
                Some(scaling) => scaling.fold(&fit.model),
                None => trained,
            };
            let objective = self.objective.objective(None);
            let smoothing = objective.label_smoothing();
            let about = About {
                loss: Some(objective.loss()),
                label_smoothing: (smoothing > 0.0).then_some(smoothing),
                l2: Some(fit.l2),
                l2_penalty: Some(penalty),
                classes: Some(classes.clone()),
                schema: Some(schema),
                version: None,
            };
            let model = ModelFile { parameters, about };
            let Summary { stop_reason, progress, .. } = fit.summary;
            if stop_reason == StopReason::Interrupted && progress.iteration == 0 {
                return Err(interrupt::Interrupted::AtStart.into());
            }
            // Before anything else can go wrong.
            if let Some(output) = output {
                model.save(output)?;
            }

            let isa = self.compute.isa();
            let (training, held_out) = samples.measure(&fit.model, isa)?;
            let measured = Measured {
                train: training,
                validation: held_out,
                test: match &test {
                    Some((test, labels)) => {
                        let applied = Applied { parameters: &model.parameters, isa };
                        Some(applied.measure(test, labels)?)
                    }
                    None => None,
                },
            };
            let outcome = Outcome {
                train: &self,
                fit,
                measured,
                classes: &classes,
                data: &data,
                threads,
                processes: world.map_or(1, World::size),
            };
            if let Some(folder) = report {
                outcome.write_report(&folder, image_shape)?;
            }
            if self.json {
                print_json(&outcome.object())?;
            } else {
                print_table(&outcome.rows())?;
                print_text(&outcome.text())?;
            }
            outcome.warnings().iter().for_each(|warning| warn(warning));
            match stop_reason {
                StopReason::Interrupted => Err(interrupt::Interrupted::OnTheWay.into()),
                _ => Ok(()),
            }
        })
    }

    /// Says which arguments are for other solvers, or another loss.
    fn warn_of_arguments_without_effect(&self, solver: Solver) {
        for (argument, solvers) in OF_SOLVERS {
            if self.given.has(argument) && !solvers.contains(&solver) {
                let (argument, solver) = (argument.replace('_', "-"), solver.name());
                warn(&format!("--{argument} has no effect: --solver {solver} does not take it"));
            }
        }
        let loss = self.objective.objective(None).loss();
        if self.given.has("margin") && loss.margin().is_none() {
            let loss = loss.name().replace('_', "-");
            warn(&format!("--margin has no effect: --loss {loss} has none"));
        }
    }

    /// Says that values are lost, or nearly, where features are read in `f32`, or tell nothing but the row.
    fn warn_of_coarse_features(&self, data: &Dataset) {
        let Lost { vanished, identifiers, counting, .. } = data.lost();
        let mut coarse = data.coarse_features();
        let mut identifiers = identifiers.clone();
        identifiers.retain(|l| !coarse.contains(l));
        coarse.retain(|l| !counting.contains(l));
        let hint = if self.standardize { "" } else { ", or at least --standardize" };
        let far = format!(
            "lie far from 0, beside how much they vary, and have few digits left of their differences where they are read in \
             f32; subtract a number near their mean from them{hint}"
        );
        for (features, what) in [
            (&coarse, &*far),
            (
                vanished,
                "are too small for f32, in which they are read, and are 0 there; multiply them by a large number",
            ),
            (
                &identifiers,
                "are whole numbers with more digits than f32 has, in which they are read, so that different ones become the \
                 same; identifiers are no features (--ignore-columns leaves out columns of CSV)",
            ),
            (
                counting,
                "count the rows; the order of the samples is no feature (--ignore-columns leaves out columns of CSV)",
            ),
        ] {
            if !features.is_empty() {
                let names = few_names(data, features);
                warn(&format!("{}: the values of {names} {what}", data.name()));
            }
        }
    }

    /// Brings data to where a fit may begin.
    fn prepare(&self, data: Dataset) -> Result<Prepared> {
        let classes = self.classes(&data)?;
        data.check_weights(classes.n())?;
        data.check_sample_weights()?;
        let labels = classes.encode(data.labels()?)?;
        let class_weights = match &self.class_weight {
            Some(weights) => Some(weights.weights(&classes, &labels, data.weights.as_deref())?),
            None => None,
        };
        let folds = self.folds(&data, &labels, class_weights.as_deref())?;
        Ok(Prepared { data, classes, labels, class_weights, folds })
    }

    fn classes(&self, data: &Dataset) -> Result<Classes> {
        let (labels, most) = (data.labels()?, self.data.max_classes);
        match &self.class_names {
            Some(ClassNames(names)) => Classes::named(names, labels, most).context("--class-names"),
            None => Classes::of(labels, most),
        }
    }

    /// The data to test on, with the class of each sample.
    fn test_data(&self, data: &Dataset, classes: &Classes) -> Result<Option<(Dataset, Vec<u32>)>> {
        let (path, labels) = (self.test.as_deref(), self.test_labels.as_deref());
        let read = || -> Result<_> {
            let Some(test) = self.data.read_test(path, labels, data)? else { return Ok(None) };
            let labels = classes.encode(test.labels()?)?;
            test.check_sample_weights()?;
            Ok(Some((test, labels)))
        };
        read().context("the test data cannot be used")
    }

    /// Height and width, of features that are pixels.
    fn image_shape_of(&self, data: &Dataset) -> Result<Option<(usize, usize)>> {
        let Some((height, width)) = self.image_shape else { return Ok(data.image_shape) };
        if height.checked_mul(width) != Some(data.n_features) {
            bail!("--image-shape {height}x{width} is not that of {} features", data.n_features);
        }
        Ok(self.image_shape)
    }

    fn start_model(&self, data: &Dataset, classes: &Classes) -> Result<LinearModel<f32>> {
        let (c, d) = (classes.n(), data.n_features);
        let Some(path) = &self.start else { return Ok(LinearModel::zeros(c, d)) };
        let ModelFile { parameters, about } = ModelFile::load(path)?;
        let place = path.display();
        if (parameters.n_classes(), parameters.n_features()) != (c, d) {
            let (classes, features) = (parameters.n_classes(), parameters.n_features());
            bail!("{place} has {classes} classes × {features} features, the data {c} × {d}");
        }
        if about.classes.as_ref().is_some_and(|theirs| !theirs.same_labels(classes)) {
            bail!("{place} is a model of other classes, or in another order");
        }
        let columns = about.schema.as_ref().and_then(|schema| schema.columns.as_ref());
        if columns.is_some()
            && data.schema().columns.is_some()
            && columns != data.schema().columns.as_ref()
        {
            bail!("{place} is a model of other columns, or in another order");
        }
        match parameters {
            Parameters::F32(model) => Ok(model),
            // Where a fit begins need not be exact.
            Parameters::F64(model) => {
                let narrow = model.parameters().iter().map(|value| *value as f32).collect();
                Ok(LinearModel::from_parameters(c, d, narrow)?)
            }
        }
    }

    /// What the features are scaled by, if that is asked for. The other ranks scale theirs.
    fn scaling(&self, samples: &Samples<'_>) -> Result<Option<Scaling>> {
        let standardize = || match samples.leader {
            Some(leader) => leader.standardize(samples.data),
            None => Scaling::standardize(samples.data),
        };
        match self.scale {
            Some(factor) => Ok(Some(Scaling::by(factor))),
            None => self.standardize.then(standardize).transpose(),
        }
    }

    /// The best for the loss, and for data that is in memory or not.
    fn default_solver(&self, in_memory: bool) -> Solver {
        let objective = self.objective.objective(None);
        let kinked = !objective.is_smooth();
        let above_zero = match self.cv.is_some() || !self.l2_path.is_empty() {
            true => self.tried_l2().iter().all(|l2| *l2 > 0.0),
            false => objective.l2() > 0.0,
        };
        // Cross-validation brings the features to memory.
        let takes_dual = above_zero && (self.cv.is_some() || in_memory);
        match kinked && takes_dual {
            true => Solver::Dual,
            false => Solver::Lbfgs,
        }
    }

    /// The solver that was asked for, or chosen.
    fn solver(&self) -> Solver {
        self.solver.unwrap_or(Solver::Lbfgs)
    }

    fn dual(&self) -> DualAscent {
        let default = DualAscent::default();
        DualAscent {
            tolerance: self.tolerance,
            max_epochs: self.epochs.unwrap_or(default.max_epochs),
            seed: self.seed,
        }
    }

    fn lbfgs(&self) -> Lbfgs {
        Lbfgs {
            max_iterations: self.max_iter,
            gradient_tolerance: self.gradient_tolerance,
            relative_decrease: self.relative_decrease,
            ..Lbfgs::default()
        }
    }

    fn newton(&self) -> NewtonCg {
        let gradient_tolerance = self.gradient_tolerance;
        NewtonCg { max_iterations: self.max_iter, gradient_tolerance, ..NewtonCg::default() }
    }

    fn sgd(&self) -> Sgd {
        Sgd {
            epochs: self.epochs.unwrap_or(Sgd::default().epochs),
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            schedule: match self.schedule {
                ScheduleName::Constant => Schedule::Constant,
                ScheduleName::Cosine => Schedule::Cosine,
            },
            momentum: self.momentum,
            nesterov: self.nesterov,
            principal: self.principal,
            average: self.average,
            seed: self.seed,
        }
    }
}
