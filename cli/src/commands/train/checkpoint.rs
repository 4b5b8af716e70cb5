//! The file that a fit by L-BFGS is saved in on its way, and goes on from when the same command is run again. It is whole
//! at any moment, and stays when the fit is done.

use super::{Solver, Train, fit::Samples};
use crate::{
    commands::{positive, warn},
    data::{self, Format},
    output::Output,
    progress::say,
};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use softmargin::{
    Error, Isa, LinearModel,
    train::{Checkpoint, Lbfgs, Progress, Resumable},
};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
pub(super) struct CheckpointArgs {
    /// Save the state of L-BFGS in this file on the way and, if the file is there, go on from it: the same command,
    /// run again after it was killed, ends with the same bits as if it had not been. The file stays when the fit is done.
    /// Only --max-iter may differ, and the number of processes under mpirun. For --solver lbfgs, also with --validation,
    /// but without --cv and --l2-path
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cv", "l2_path"])]
    pub(super) checkpoint: Option<PathBuf>,
    /// Iterations from one checkpoint to the next. The last iteration is saved, too
    #[arg(long, value_name = "ITERATIONS", default_value_t = 10, requires = "checkpoint", value_parser = positive)]
    checkpoint_every: usize,
}

impl CheckpointArgs {
    /// # Errors
    /// If the solver has no state that is saved.
    pub(super) fn check(&self, solver: Solver) -> Result<()> {
        if self.checkpoint.is_some() && solver != Solver::Lbfgs {
            let name = solver.name();
            bail!("--checkpoint is for --solver lbfgs; the state of {name} is not saved");
        }
        Ok(())
    }
}

/// Where a fit is saved.
pub(super) struct CheckpointFile<'a> {
    path: &'a Path,
    every: usize,
    /// What a run that goes on must have in common with this one, in addition to what the library asks for.
    metadata: HashMap<String, String>,
    from: Option<Checkpoint<f32>>,
}

impl Train {
    /// The file that is asked for, with the checkpoint to go on from if it is there.
    ///
    /// # Errors
    /// If it cannot be written, or is there and is no checkpoint of this run.
    pub(super) fn checkpoint_file(
        &self,
        samples: &Samples<'_>,
        start: &LinearModel<f32>,
        isa: Isa,
    ) -> Result<Option<CheckpointFile<'_>>> {
        let CheckpointArgs { checkpoint: Some(path), checkpoint_every: every } = &self.checkpoint
        else {
            return Ok(None);
        };
        // Now rather than after ten iterations.
        drop(Output::create(path)?);
        let mut start_hash = DefaultHasher::new();
        start.parameters().iter().for_each(|value| value.to_bits().hash(&mut start_hash));
        let sums = match samples.leader {
            Some(_) => "under mpirun",
            None if samples.data.is_in_place() => "in memory",
            None => "in chunks",
        };
        let metadata = [
            ("data", samples.describe(isa)),
            ("sums", sums.to_owned()),
            ("--standardize", self.standardize.to_string()),
            ("--scale", self.scale.map_or("none".to_owned(), |factor| factor.to_string())),
            ("model to start from", format!("of hash {:016x}", start_hash.finish())),
        ];
        let mut from = None;
        if path.exists() {
            let bytes = data::read_file(path, Format::Safetensors);
            let bytes = bytes.with_context(|| cannot(path))?;
            let (checkpoint, theirs) =
                Checkpoint::from_safetensors(&bytes).with_context(|| cannot(path))?;
            for (what, given) in &metadata {
                let saved = theirs.get(*what).map_or("unknown", String::as_str);
                if saved != given {
                    bail!("{}: its {what}: {saved}; of this run: {given}", cannot(path));
                }
            }
            let iteration = checkpoint.progress().iteration;
            say(format_args!("going on from iteration {iteration}, in {}", path.display()));
            from = Some(checkpoint);
        }
        let metadata = metadata.map(|(what, given)| (what.to_owned(), given)).into();
        Ok(Some(CheckpointFile { path, every: *every, metadata, from }))
    }
}

impl CheckpointFile<'_> {
    /// Where the fit goes on.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.from.as_ref().map(Checkpoint::progress)
    }

    /// Runs a fit that is saved here.
    pub(super) fn run<R>(
        self,
        solver: Lbfgs,
        fit: impl FnOnce(Resumable<'_, f32>) -> Result<R>,
    ) -> Result<R> {
        let Self { path, every, metadata, from } = self;
        let mut save = |checkpoint: &Checkpoint<f32>| {
            let contents = checkpoint.to_safetensors(&metadata).map_err(anyhow::Error::from);
            let saved = contents.and_then(|bytes| Output::create(path)?.write(&bytes));
            // The fit is worth more; and the next checkpoint may be written again.
            if let Err(error) = saved {
                warn(&format!("the checkpoint is not saved: {error:#}"));
            }
        };
        let solver = Resumable { solver, from, every, save: Some(&mut save) };
        fit(solver).map_err(|error| match error.downcast_ref() {
            Some(Error::Checkpoint { .. }) => anyhow!("{}: {error}", cannot(path)),
            _ => error,
        })
    }
}

fn cannot(path: &Path) -> String {
    format!("cannot go on from the checkpoint {}", path.display())
}
