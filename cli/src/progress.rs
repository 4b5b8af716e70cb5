//! How far a fit is: a bar on a terminal, a few plain lines elsewhere. Both go to standard error, so that
//! standard output is the result alone.

use crate::units;
use indicatif::{ProgressBar, ProgressStyle};
use softmargin::train::Progress;
use std::{
    cell::Cell,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

/// Plain lines in all, about.
const LINES: usize = 10;

pub(crate) struct Reporter {
    bar: Option<ProgressBar>,
    unit: &'static str,
    total: usize,
    start: Instant,
    last: Option<usize>,
}

impl Reporter {
    /// For `total` iterations or epochs, whichever `unit` is.
    pub(crate) fn new(total: usize, unit: &'static str) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template(
                "{spinner} {bar:30} {pos}/{len} {prefix}  {msg}  {eta} left",
            );
            bar.set_style(style.expect("a valid template").progress_chars("━╸ "));
            bar.set_prefix(unit);
            bar
        });
        Self { bar, unit, total, start: Instant::now(), last: None }
    }

    /// Tells of an iteration or epoch, once.
    pub(crate) fn report(&mut self, progress: &Progress) {
        if self.last.replace(progress.iteration) == Some(progress.iteration) {
            return;
        }
        let rate = progress.samples as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let message = format!(
            "loss {:.6}  gradient {:.1e}  {} samples/s",
            progress.objective,
            progress.gradient_norm,
            units::count(rate)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress.iteration as u64);
                bar.set_message(message);
            }
            None if progress.iteration.is_multiple_of(self.total.div_ceil(LINES).max(1)) => {
                eprintln!("{} {}/{}  {message}", self.unit, progress.iteration, self.total);
            }
            None => {}
        }
    }

    /// Tells something else.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Steps of work that take a while each: a line that changes on a terminal, a line each elsewhere.
pub(crate) struct Steps {
    bar: Option<ProgressBar>,
    done: Cell<usize>,
    total: usize,
}

impl Steps {
    pub(crate) fn new(total: usize) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len}  {msg}");
            bar.set_style(style.expect("a valid template").progress_chars("━╸ "));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, done: Cell::new(0), total }
    }

    /// Begins the next step.
    pub(crate) fn next(&self, name: &str) {
        let done = self.done.get();
        self.done.set(done + 1);
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(name.to_owned());
            }
            None => eprintln!("{}/{}  {name}", done + 1, self.total),
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
