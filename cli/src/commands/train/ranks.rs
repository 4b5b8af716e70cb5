//! A fit on many processes. Rank 0 leads: it runs the command and the solver, as one process alone does. The others
//! follow: they open the same data, and compute what rank 0 asks for, of their part of the rows, until it is done.
//! What goes wrong on one of them is its answer, so that rank 0 ends the run with the message.
//!
//! The rows are summed up in chunks that depend on their number alone, and the chunks joined in the order of a
//! [`PartialTree`]: the bits of the model are the same on any number of ranks.

use super::{
    Prepared, Train,
    fit::{Part, Samples},
};
use crate::{
    apply::Applied,
    commands::objective::{of_numbers, to_numbers},
    data::{Dataset, Divisible, Moments, Ranges, Scaling, Split, add_entries, sample},
    interrupt,
    metrics::Metrics,
    model_file::Parameters,
    mpi::World,
};
use anyhow::{Result, anyhow, bail};
use bytemuck::Pod;
use softmargin::{
    Error, Evaluator, Features, Isa, LinearModel, NonFinite, Partial, PartialTree,
    train::{Fold, Sums},
};
use std::{iter, mem, ops::Range, path::Path, sync::OnceLock, thread};

/// How the rows are divided.
#[derive(Clone, Copy)]
struct Chunks {
    n_samples: usize,
    /// Of a chunk; the last one may have fewer.
    rows: usize,
}

impl Chunks {
    /// Some hundreds, so that each of many ranks has nearly as many as the others; but not so small that joining them
    /// takes as long as summing up their rows, nor larger than that asks for.
    fn of(n_samples: usize) -> Self {
        Self { n_samples, rows: n_samples.div_ceil(256).clamp(2048, 8192) }
    }

    fn count(&self) -> usize {
        self.n_samples.div_ceil(self.rows)
    }

    /// Those of a rank, in the order of the ranks.
    fn of_rank(&self, rank: usize, size: usize) -> Range<usize> {
        rank * self.count() / size..(rank + 1) * self.count() / size
    }

    fn rows(&self, chunk: usize) -> Range<usize> {
        chunk * self.rows..self.n_samples.min((chunk + 1) * self.rows)
    }

    fn rows_of_rank(&self, rank: usize, size: usize) -> Range<usize> {
        let chunks = self.of_rank(rank, size);
        let row = |chunk: usize| self.n_samples.min(chunk * self.rows);
        row(chunks.start)..row(chunks.end)
    }
}

/// What rank 0 asks all to do.
#[derive(Clone, Copy)]
enum Task {
    /// To read the data, or their part of it.
    Read,
    /// To say what their data is.
    Describe,
    /// To compute the sums of their rows that a scaling takes.
    Moments,
    /// To go on with such sums of the entries before theirs.
    Entries,
    /// To scale their features.
    Scale,
    /// To compute sums of their rows at a model: losses and gradients, or Hessian products.
    Sum,
    /// To bring some of their rows.
    Bring,
    /// To predict their rows by a model.
    Predict,
    /// To go home.
    Stop,
}

impl Task {
    const ALL: [Self; 9] = [
        Self::Read,
        Self::Describe,
        Self::Moments,
        Self::Entries,
        Self::Scale,
        Self::Sum,
        Self::Bring,
        Self::Predict,
        Self::Stop,
    ];
}

/// Instead of the number of a fold: that all samples are trained on.
const ALL: f64 = -1.0;

/// Values of sparse rows that the curvature is learnt from, at most: 8 bytes each, of which rank 0 has all.
const MAX_BROUGHT: usize = 16 << 20;

/// Rank 0, which has the others wait for what to do until it is dropped.
pub(super) struct Leader<'a> {
    world: &'a World,
    lost: OnceLock<String>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        // After a panic they may wait for something else, and the end of `World` ends them.
        if !thread::panicking() {
            self.ask::<f32>(Task::Stop, &[]);
        }
    }
}

impl<'a> Leader<'a> {
    pub(super) fn of(world: &'a World) -> Self {
        Self { world, lost: OnceLock::new() }
    }

    /// Tells all what to do, and with which numbers.
    fn ask<T: Pod>(&self, task: Task, numbers: &[T]) {
        self.world.broadcast(&mut vec![task as u8]);
        self.world.broadcast(&mut numbers.to_vec());
    }

    fn answers<T: Pod>(&self) -> Vec<Result<Vec<T>>> {
        (1..self.world.size()).map(|rank| self.world.receive_answer(rank)).collect()
    }

    /// Has all read the data, with what was asked of this one.
    pub(super) fn read(&self, train: &Train) -> Result<Dataset> {
        self.ask::<f32>(Task::Read, &[]);
        train.read_share(self.world, Ok(()))
    }

    /// Samples that all ranks together have, of those that are trained on.
    pub(super) fn bring(&self, samples: &Samples<'_>) -> Result<Dataset> {
        let rows = samples.data.spread_values(MAX_BROUGHT, samples.rows_of(Part::Training));
        self.ask(Task::Bring, &rows);
        let own = samples.data.pack(&rows);
        let others = (1..self.world.size()).map(|rank| self.world.receive_answer(rank));
        samples.data.unpack(&rows, iter::once(own).chain(others))
    }

    /// Checks that all ranks have the same data, and compute alike.
    pub(super) fn check(&self, samples: &Samples<'_>, isa: Isa) -> Result<()> {
        let own = samples.describe(isa);
        self.ask::<f32>(Task::Describe, &[]);
        for (i, answer) in self.answers::<u8>().into_iter().enumerate() {
            let theirs = String::from_utf8(answer?)?;
            if theirs != own {
                let rank = i + 1;
                bail!(
                    "rank {rank} has {theirs}, but rank 0 {own}: all take the same data, and --isa where machines differ"
                );
            }
        }
        Ok(())
    }

    /// Has all bring their features to mean 0 and variance 1 over the samples of all ranks. Returns by what; here they are
    /// as they were.
    pub(super) fn standardize(&self, data: &Dataset) -> Result<Scaling> {
        let d = data.n_features;
        let scaling = if data.is_share() {
            Scaling::standardize_sparse(data, |means, sums| {
                self.ask(Task::Entries, means);
                hand_on(self.world, Ok(data), means, Some(sums))
            })?
        } else if data.n_entries().is_some() {
            // It is in the memory of every rank.
            Scaling::standardize(data)?
        } else {
            let pass = |means: &[f64]| -> Result<(Vec<f64>, Ranges)> {
                self.ask(Task::Moments, means);
                let (own, mut ranges) = moments(self.world, data, means);
                let joined = join(self.world, own);
                for theirs in self.answers::<f32>() {
                    let theirs = theirs?;
                    let (least, most) = theirs.split_at(theirs.len() / 2);
                    for (range, (least, most)) in ranges.iter_mut().zip(least.iter().zip(most)) {
                        *range = (range.0.min(*least), range.1.max(*most));
                    }
                }
                let total = match joined {
                    Some(Ok(tree)) => tree.total(Chunks::of(data.n_samples).count() as u64)?,
                    Some(Err(Fault::Error(error))) => return Err(data.explain(error)),
                    Some(Err(Fault::Other(message))) => bail!(message),
                    None => bail!("this is not rank 0"),
                };
                Ok((total.sums()[..d].to_vec(), ranges))
            };
            let (means, ranges) = pass(&[])?;
            let (variances, _) = pass(&means)?;
            Scaling::of_moments(means, variances, &ranges)?
        };
        self.ask(Task::Scale, &scaling.numbers(d));
        self.answers::<u8>().into_iter().try_for_each(|answer| answer.map(drop))?;
        Ok(scaling)
    }

    /// Adds up the samples of a part that all ranks have. What goes wrong on one of them that is no error of the library is
    /// kept for [`lost`](Self::lost).
    pub(super) fn sum(
        &self,
        samples: &Samples<'_>,
        part: Part,
        sums: &Sums<'_, f32>,
        evaluator: &mut Evaluator<f32>,
        partial: &mut Partial<f32>,
    ) -> Result<u64, Error> {
        let n_samples = samples.data.n_samples;
        let lost = |message| {
            // The first one is the cause of all others.
            self.lost.get_or_init(|| message);
            Error::NoSamples
        };
        let objective = to_numbers(sums.objective).map_err(|error| lost(error.to_string()))?;
        let parameters = [Some(sums.model), sums.direction].into_iter().flatten();
        let parameters: Vec<f32> =
            parameters.flat_map(|model| model.parameters()).copied().collect();
        self.ask(Task::Sum, &parameters);
        let fold = samples.fold.map_or(ALL, |fold| fold as f64);
        let rest = [sums.model.n_classes() as f64, fold, f64::from(part as u8)];
        self.world.broadcast(&mut [&objective[..], &rest].concat());
        let own = sum(self.world, samples, part, sums, evaluator).map_err(Fault::Error);
        match join(self.world, own) {
            Some(Ok(tree)) => {
                *partial = tree.total(Chunks::of(n_samples).count() as u64)?;
                Ok(samples.rows_of(part).map_or(n_samples, <[u32]>::len) as u64)
            }
            Some(Err(Fault::Error(error))) => Err(error),
            Some(Err(Fault::Other(message))) => Err(lost(message)),
            None => Err(Error::NoSamples),
        }
    }

    /// What went wrong on a rank, if anything did: whatever has become of it here, it ends the run.
    pub(super) fn lost(&self) -> Option<anyhow::Error> {
        self.lost.get().map(|message| anyhow!(message.clone()))
    }

    /// How well a model predicts the samples of all ranks: those that are trained on, and those that are held out.
    pub(super) fn measure(
        &self,
        model: &LinearModel<f32>,
        isa: Isa,
        data: &Dataset,
        labels: &[u32],
        fold: Option<&Fold>,
    ) -> Result<(Metrics, Option<Metrics>)> {
        self.ask(Task::Predict, model.parameters());
        let own = predict(self.world, model.clone(), isa, data);
        // What was asked for is received, whatever became of it here.
        let others = self.answers();
        let predicted = iter::once(own).chain(others).collect::<Result<Vec<_>>>()?.concat();
        let of_rows = |rows: &mut dyn Iterator<Item = usize>| {
            let mut metrics = Metrics::new(model.n_classes());
            for row in rows {
                let weight = data.weights.as_ref().map_or(1.0, |weights| weights[row].into());
                metrics.add(labels[row], predicted[row], weight);
            }
            metrics
        };
        let of_part = |rows: &[u32]| of_rows(&mut rows.iter().map(|row| *row as usize));
        Ok(match fold {
            None => (of_rows(&mut (0..predicted.len())), None),
            Some(fold) => (of_part(&fold.training), Some(of_part(&fold.validation))),
        })
    }
}

impl Train {
    /// Prepares for a fit on many processes.
    ///
    /// # Errors
    /// If it is not for many.
    pub(super) fn divide(&mut self) -> Result<()> {
        // How the data is read depends on it.
        self.solver = Some(self.solver.unwrap_or_else(|| self.default_solver(true)));
        if self.data.files().any(|path| path == Path::new("-")) {
            bail!(
                "standard input is not for processes that mpirun started: run one, without mpirun"
            );
        }
        // Each converts no rows but its own.
        self.data.max_memory = 0;
        Ok(())
    }

    /// Does what rank 0 asks for, until it is done.
    pub(in crate::commands) fn follow(mut self, world: &World) -> Result<()> {
        // The first signal is for rank 0, which ends the run in order.
        let ready = self.divide().and_then(|()| interrupt::watch().map(drop));
        let served = self.compute.install(|_| {
            serve(world, &self, ready);
            Ok(())
        });
        if let Err(error) = served {
            // There are no threads for it: nothing was served.
            serve(world, &self, Err(error));
        }
        Ok(())
    }

    /// Reads the data; where each rank can read its rows only, no others. Every rank must take part, ready or not.
    fn read_share(&self, world: &World, ready: Result<()>) -> Result<Dataset> {
        let options = self.data.options(Split::Train, None);
        let open = || match &self.data.data {
            Some(path) if self.solver().takes_sums() => Divisible::open(path, &options),
            _ => Ok(None),
        };
        let (divisible, what) = match ready.and_then(|()| open()) {
            Ok(Some(divisible)) => {
                let what = format!("an SVMlight file of {} bytes", divisible.size());
                (Some(divisible), Ok(what))
            }
            Ok(None) => (None, Ok("data that each rank reads".to_owned())),
            Err(error) => (None, Err(error)),
        };
        let all = world.exchange(what)?;
        if let Some(rank) = all.iter().position(|what| *what != all[0]) {
            bail!("rank {rank} has {}, but rank 0 {}: all take the same data", all[rank], all[0]);
        }
        match (divisible, &self.data.data) {
            (Some(divisible), _) => divisible.read(&options, world, |n_samples| {
                Chunks::of(n_samples).rows_of_rank(world.rank(), world.size())
            }),
            (None, Some(path)) => Dataset::read(path, &options),
            (None, None) => sample(Split::Train),
        }
    }

    fn follower(&self, world: &World, ready: Result<()>) -> Result<Follower> {
        let data = self.read_share(world, ready)?;
        let mut prepared = self.prepare(data)?;
        // But --standardize, which takes the rows of all.
        if let Some(factor) = self.scale {
            prepared.data.scale(&Scaling::by(factor))?;
        }
        Ok(Follower { prepared, evaluator: self.evaluator() })
    }
}

/// A rank other than 0, ready for what is asked of it.
struct Follower {
    prepared: Prepared,
    evaluator: Evaluator<f32>,
}

impl Follower {
    fn model(&self, parameters: Vec<f32>) -> Result<LinearModel<f32>, Error> {
        let (c, d) = (self.prepared.classes.n(), self.prepared.data.n_features);
        LinearModel::from_parameters(c, d, parameters)
    }

    fn describe(&mut self) -> Vec<u8> {
        let isa = self.evaluator.isa();
        self.prepared.samples(None).describe(isa).into_bytes()
    }

    fn sum(
        &mut self,
        world: &World,
        mut parameters: Vec<f32>,
        numbers: &[f64],
    ) -> Result<PartialTree<f32>, Fault> {
        let [place, margin, smoothing, n_classes, fold, part] =
            numbers.try_into().unwrap_or_default();
        let held_out = part == f64::from(Part::HeldOut as u8);
        let part = if held_out { Part::HeldOut } else { Part::Training };
        let objective = of_numbers([place, margin, smoothing]);
        let objective = objective.map_err(|error| Fault::Other(error.to_string()))?;
        let d = self.prepared.data.n_features;
        let model = |parameters| {
            LinearModel::from_parameters(n_classes as usize, d, parameters).map_err(Fault::Error)
        };
        let rest = parameters.split_off(parameters.len().min(n_classes as usize * (d + 1)));
        let of_model = model(parameters)?;
        let direction = (!rest.is_empty()).then(|| model(rest)).transpose()?;
        let sums = Sums { objective, model: &of_model, direction: direction.as_ref() };
        let mut samples = self.prepared.samples(None);
        samples.fold = (fold != ALL).then_some(fold as usize);
        sum(world, &samples, part, &sums, &mut self.evaluator).map_err(Fault::Error)
    }

    fn predict(&mut self, world: &World, parameters: Vec<f32>) -> Result<Vec<u32>> {
        let model = self.model(parameters)?;
        predict(world, model, self.evaluator.isa(), &self.prepared.data)
    }
}

fn serve(world: &World, train: &Train, ready: Result<()>) {
    let mut begin = Some(ready);
    let mut follower = Err("nothing is read yet".to_owned());
    loop {
        let task: Vec<u8> = told(world);
        let task = Task::ALL.into_iter().find(|one| task == [*one as u8]).unwrap_or(Task::Stop);
        let ready = follower.as_mut().map_err(|message| anyhow!(message.clone()));
        match task {
            Task::Stop => {
                told::<f32>(world);
                return;
            }
            Task::Read => {
                told::<f32>(world);
                let ready = begin.take().unwrap_or(Ok(()));
                follower = train.follower(world, ready).map_err(|error| format!("{error:#}"));
            }
            Task::Describe => {
                told::<f32>(world);
                world.send_answer(0, ready.map(Follower::describe));
            }
            Task::Moments => {
                let means: Vec<f64> = told(world);
                let (own, ranges) = match ready {
                    Ok(ready) => moments(world, &ready.prepared.data, &means),
                    Err(error) => (Err(Fault::Other(error.to_string())), Vec::new()),
                };
                join(world, own);
                let (least, most): (Vec<f32>, Vec<f32>) = ranges.into_iter().unzip();
                world.send_answer(0, Ok([least, most].concat()));
            }
            Task::Entries => {
                let means: Vec<f64> = told(world);
                let data = ready.map(|ready| &ready.prepared.data);
                // Rank 0 hears of it.
                let _ = hand_on(world, data, &means, None);
            }
            Task::Bring => {
                let rows: Vec<u64> = told(world);
                world.send_answer(0, ready.and_then(|ready| ready.prepared.data.pack(&rows)));
            }
            Task::Scale => {
                let numbers: Vec<f64> = told(world);
                let scale = |ready: &mut Follower| {
                    ready.prepared.data.scale(&Scaling::of_numbers(&numbers)?)?;
                    Ok(Vec::<u8>::new())
                };
                world.send_answer(0, ready.and_then(scale));
            }
            Task::Predict => {
                let parameters = told(world);
                world.send_answer(0, ready.and_then(|ready| ready.predict(world, parameters)));
            }
            Task::Sum => {
                let (parameters, numbers): (_, Vec<f64>) = (told(world), told(world));
                let own = match ready {
                    Ok(ready) => ready.sum(world, parameters, &numbers),
                    Err(error) => Err(Fault::Other(error.to_string())),
                };
                join(world, own);
            }
        }
    }
}

/// What rank 0 tells all.
fn told<T: Pod>(world: &World) -> Vec<T> {
    let mut numbers = Vec::new();
    world.broadcast(&mut numbers);
    numbers
}

/// The sums over the chunks of a rank: `add` adds all rows of a chunk, or some of them, to `sums`; then `take` empties it.
fn sum_chunks<A>(
    world: &World,
    data: &Dataset,
    sums: &mut A,
    mut add: impl FnMut(&mut A, Range<usize>, Features<'_, f32>) -> Result<(), Error>,
    take: impl Fn(&mut A) -> Result<Partial<f32>, Error>,
) -> Result<PartialTree<f32>, Error> {
    let chunks = Chunks::of(data.n_samples);
    let own = chunks.of_rank(world.rank(), world.size());
    let mut tree = PartialTree::new();
    // In the same pieces whether they are in memory, as on rank 0 perhaps, or converted.
    let step = data.rows_at_once();
    let pieces = own.flat_map(|chunk| {
        let rows = chunks.rows(chunk);
        let end = rows.end;
        rows.step_by(step).map(move |start| start..end.min(start.saturating_add(step)))
    });
    data.for_each_chunk_of(pieces, |rows, x| {
        let (chunk, end) = (rows.start / chunks.rows, rows.end);
        add(sums, rows, x)?;
        if end == chunks.rows(chunk).end {
            let chunk = chunk as u64;
            tree.push(chunk..chunk + 1, take(sums)?)?;
        }
        Ok(())
    })?;
    Ok(tree)
}

/// The sums of the rows of a rank that standardizing takes, without means or with them, as partials of one class; and the
/// smallest and the largest value of each feature.
fn moments(
    world: &World,
    data: &Dataset,
    means: &[f64],
) -> (Result<PartialTree<f32>, Fault>, Ranges) {
    let means = (!means.is_empty()).then_some(means);
    let (d, mut moments) = (data.n_features, Moments::of(data));
    let tree = sum_chunks(
        world,
        data,
        &mut moments,
        |moments, _, x| moments.add(&x, means),
        |moments| {
            let mut sums = mem::replace(&mut moments.sums, vec![0.0; d]);
            // A partial has a bias, a loss and a weight, too.
            sums.extend([0.0; 3]);
            Partial::from_sums(1, d, sums)
        },
    );
    (tree.map_err(Fault::Error), moments.ranges)
}

/// Adds the entries of a rank to the sums that the rank before has handed on, and hands them on, from rank 0 through all
/// and back to it. So they are added in one order, that of the file. Returns on rank 0 what comes back.
fn hand_on(
    world: &World,
    data: Result<&Dataset>,
    means: &[f64],
    begin: Option<Vec<f64>>,
) -> Result<Vec<f64>> {
    let (rank, size) = (world.rank(), world.size());
    let before = begin.map_or_else(|| world.receive_answer(rank - 1), Ok);
    let sums = before.and_then(|mut sums| {
        add_entries(data?, means, &mut sums);
        Ok(sums)
    });
    if size == 1 {
        return sums;
    }
    world.send_answer((rank + 1) % size, sums);
    if rank == 0 { world.receive_answer(size - 1) } else { Ok(Vec::new()) }
}

/// The sums of the rows of a rank that are asked for.
fn sum(
    world: &World,
    samples: &Samples<'_>,
    part: Part,
    sums: &Sums<'_, f32>,
    evaluator: &mut Evaluator<f32>,
) -> Result<PartialTree<f32>, Error> {
    let mut places = Vec::new();
    let new = || Partial::new(sums.model.n_classes(), sums.model.n_features());
    sum_chunks(
        world,
        samples.data,
        &mut new(),
        |partial, rows, x| match samples.batch_of(part, rows, x, &mut places)? {
            Some(batch) => sums.add(evaluator, &batch, partial),
            None => Ok(()),
        },
        |partial| Ok(mem::replace(partial, new())),
    )
}

/// The classes that a model predicts of the rows of a rank.
fn predict(world: &World, model: LinearModel<f32>, isa: Isa, data: &Dataset) -> Result<Vec<u32>> {
    let rows = Chunks::of(data.n_samples).rows_of_rank(world.rank(), world.size());
    let mut predicted = Vec::with_capacity(rows.len());
    let applied = Applied { parameters: &Parameters::F32(model), isa };
    applied.predict_rows(data, rows, |_, classes| {
        predicted.extend(classes);
        Ok(())
    })?;
    Ok(predicted)
}

/// Why there are no sums of some rank.
enum Fault {
    /// Of the library: perhaps a step that was too long, which the solver mends.
    Error(Error),
    Other(String),
}

/// Joins the sums of all ranks: in pairs of neighbours, then in pairs of those that have the sums of such a pair, and
/// so on. Returns them on rank 0, or what went wrong in the first rows where something did.
fn join(
    world: &World,
    own: Result<PartialTree<f32>, Fault>,
) -> Option<Result<PartialTree<f32>, Fault>> {
    let (rank, size, mut sums, mut step) = (world.rank(), world.size(), own, 1);
    while step < size {
        if !rank.is_multiple_of(2 * step) {
            send_sums(world, rank - step, &sums);
            return None;
        }
        if rank + step < size {
            let theirs = receive_sums(world, rank + step);
            sums = sums.and_then(|mut tree| {
                for (chunks, partial) in theirs?.into_nodes() {
                    tree.push(chunks, partial).map_err(Fault::Error)?;
                }
                Ok(tree)
            });
        }
        step *= 2;
    }
    Some(sums)
}

/// The words of a message that a fault follows, instead of the nodes of a tree.
const FAULT: u64 = u64::MAX;

/// Sends the chunks and the shape of each node, and then their sums; or what went wrong.
fn send_sums(world: &World, to: usize, sums: &Result<PartialTree<f32>, Fault>) {
    match sums {
        Ok(tree) => {
            let nodes = tree.nodes().flat_map(|(chunks, partial)| {
                let (c, d) = (partial.n_classes() as u64, partial.n_features() as u64);
                [chunks.start, chunks.end, c, d]
            });
            world.send(to, &nodes.collect::<Vec<_>>());
            tree.nodes().for_each(|(_, partial)| world.send(to, partial.sums()));
        }
        Err(fault) => {
            let (words, message) = fault.pack(world.rank());
            world.send(to, &words);
            world.send(to, message.as_bytes());
        }
    }
}

fn receive_sums(world: &World, from: usize) -> Result<PartialTree<f32>, Fault> {
    let words: Vec<u64> = world.receive(from);
    if let [FAULT, fault @ ..] = &words[..] {
        let message = world.receive(from);
        return Err(Fault::unpack(fault, String::from_utf8_lossy(&message).into_owned()));
    }
    let mut tree = PartialTree::new();
    for node in words.as_chunks::<4>().0 {
        let [start, end, c, d] = *node;
        let partial = Partial::from_sums(c as usize, d as usize, world.receive(from));
        partial.and_then(|partial| tree.push(start..end, partial)).map_err(Fault::Error)?;
    }
    Ok(tree)
}

impl Fault {
    /// As words, or, where only its text matters, as a message.
    fn pack(&self, rank: usize) -> ([u64; 5], String) {
        let (row, cause) = match self {
            Self::Error(Error::NonFinite { row, cause }) => (*row as u64, cause),
            Self::Error(error) => return ([FAULT, 0, 0, 0, 0], format!("rank {rank}: {error}")),
            Self::Other(message) => return ([FAULT, 0, 0, 0, 0], message.clone()),
        };
        let [kind, feature, value] = match *cause {
            NonFinite::Feature { feature, value } => [1, feature as u64, value.to_bits()],
            NonFinite::Loss => [2, 0, 0],
            NonFinite::Gradient => [3, 0, 0],
            NonFinite::Scaled { feature, value } => [5, feature as u64, value.to_bits()],
            // Of a model that all have from rank 0, and whose parameters are finite.
            _ => [4, 0, 0],
        };
        ([FAULT, kind, row, feature, value], String::new())
    }

    fn unpack(words: &[u64], message: String) -> Self {
        let &[kind, row, feature, value] = words else { return Self::Other(message) };
        let cause = match kind {
            0 => return Self::Other(message),
            1 => NonFinite::Feature { feature: feature as usize, value: f64::from_bits(value) },
            2 => NonFinite::Loss,
            3 => NonFinite::Gradient,
            5 => NonFinite::Scaled { feature: feature as usize, value: f64::from_bits(value) },
            _ => NonFinite::Score,
        };
        Self::Error(Error::NonFinite { row: row as usize, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_of_one_rank() {
        for n in [1, 1023, 1024, 1025, 60_000, 300_001, 5_000_000] {
            let chunks = Chunks::of(n);
            for size in [1, 2, 3, 4, 7, 100] {
                let (mut next, mut most, mut least) = (0, 0, usize::MAX);
                for rank in 0..size {
                    let rows = chunks.rows_of_rank(rank, size);
                    assert_eq!(rows.start, next, "{n} {size}");
                    next = rows.end;
                    let own = chunks.of_rank(rank, size);
                    (most, least) = (most.max(own.len()), least.min(own.len()));
                    let of_chunks: usize = own.map(|chunk| chunks.rows(chunk).len()).sum();
                    assert_eq!(of_chunks, rows.len());
                }
                assert_eq!(next, n);
                assert!(most - least <= 1);
            }
        }
    }

    #[test]
    fn faults_survive_a_message() {
        let cause = NonFinite::Feature { feature: 3, value: f64::NEG_INFINITY };
        let scaled = NonFinite::Scaled { feature: 3, value: 1e30 };
        for cause in [cause, scaled, NonFinite::Loss, NonFinite::Gradient, NonFinite::Score] {
            let error = Error::NonFinite { row: 7, cause };
            let (words, message) = Fault::Error(error.clone()).pack(2);
            let unpacked = Fault::unpack(&words[1..], message);
            assert!(matches!(unpacked, Fault::Error(same) if same == error), "{error}");
        }
        let (words, message) = Fault::Error(Error::NoSamples).pack(2);
        let Fault::Other(message) = Fault::unpack(&words[1..], message) else {
            panic!("not a message");
        };
        assert_eq!(message, "rank 2: there are no samples");
    }
}
