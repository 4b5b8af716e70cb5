//! How far a run is: a bar on a terminal, as wide as it, a few plain lines elsewhere. Both go to standard error, so
//! that standard output is the result alone.

use crate::units;
use indicatif::{ProgressBar, ProgressStyle};
use softmargin::train::Progress;
use std::{
    cell::Cell,
    fmt,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

/// Writes a line to standard error. Where that fails, as in a pipe that nobody reads any more, the work goes on: its
/// result is worth more than the line.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Plain lines in all, about.
const LINES: usize = 10;

/// A bar for `total` steps, if there is a terminal to show it on. It clears itself away when it is dropped.
struct Bar(ProgressBar);

impl Bar {
    fn new(total: usize, prefix: &'static str) -> Option<Self> {
        stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            bar.set_prefix(prefix);
            let bar = Self(bar);
            bar.fit();
            bar.0.enable_steady_tick(Duration::from_millis(100));
            bar
        })
    }

    /// Leaves out what a narrow terminal has no room for; the message is cut off where the line ends.
    fn fit(&self) {
        let width = console::Term::stderr().size().1;
        let template = match width {
            0..60 => "{spinner} {pos}/{len} {wide_msg}",
            60..100 => "{spinner} {pos}/{len} {prefix} {wide_msg} {eta} left",
            _ => "{spinner} {bar:30} {pos}/{len} {prefix}  {wide_msg}  {eta} left",
        };
        let style = ProgressStyle::with_template(template).expect("a valid template");
        self.0.set_style(style.progress_chars("━╸ "));
    }

    fn set(&self, done: usize, message: String) {
        self.fit();
        self.0.set_position(done as u64);
        self.0.set_message(message);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Reports the iterations or epochs of a fit.
pub(crate) struct Reporter {
    bar: Option<Bar>,
    unit: &'static str,
    total: usize,
    /// Samples that were evaluated before.
    before: u64,
    start: Instant,
    last: Option<usize>,
}

impl Reporter {
    /// For `total` iterations or epochs, whichever `unit` is, of a fit in which so many samples were evaluated before.
    pub(crate) fn new(total: usize, unit: &'static str, before: u64) -> Self {
        Self { bar: Bar::new(total, unit), unit, total, before, start: Instant::now(), last: None }
    }

    /// Reports an iteration or epoch, once.
    pub(crate) fn report(&mut self, progress: &Progress) {
        if self.last.replace(progress.iteration) == Some(progress.iteration) {
            return;
        }
        let samples = (progress.samples - self.before) as f64;
        let rate = samples / self.start.elapsed().as_secs_f64().max(1e-9);
        let message = format!(
            "loss {}  gradient {:.1e}  {} samples/s",
            units::loss(progress.objective),
            progress.gradient_norm,
            units::count(rate)
        );
        match &self.bar {
            Some(bar) => bar.set(progress.iteration, message),
            None if progress.iteration.is_multiple_of(self.total.div_ceil(LINES).max(1)) => {
                say(format_args!("{} {}/{}  {message}", self.unit, progress.iteration, self.total));
            }
            None => {}
        }
    }

    /// Says something else.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.0.println(line),
            None => say(line),
        }
    }
}

/// Steps of work that take a while each: a line that changes on a terminal, plain lines elsewhere.
pub(crate) struct Steps {
    bar: Option<Bar>,
    done: Cell<usize>,
    total: usize,
    /// Steps for each plain line.
    every: usize,
}

impl Steps {
    /// With a plain line each.
    pub(crate) fn new(total: usize) -> Self {
        Self { bar: Bar::new(total, ""), done: Cell::new(0), total, every: 1 }
    }

    /// With a few plain lines in all.
    pub(crate) fn many(total: usize, unit: &'static str) -> Self {
        let every = total.div_ceil(LINES).max(1);
        Self { bar: Bar::new(total, unit), done: Cell::new(0), total, every }
    }

    /// Begins the next step.
    pub(crate) fn next(&self, name: &str) {
        let done = self.done.get();
        self.done.set(done + 1);
        match &self.bar {
            Some(bar) => bar.set(done, name.to_owned()),
            None if done.is_multiple_of(self.every) => {
                say(format_args!("{}/{}  {name}", done + 1, self.total));
            }
            None => {}
        }
    }
}

/// Rows of data that are done, where that takes a while.
pub(crate) struct Rows {
    bar: Option<Bar>,
    total: usize,
    start: Instant,
    said: Instant,
}

/// Less is not worth a word.
const QUIET: Duration = Duration::from_secs(2);

impl Rows {
    pub(crate) fn new(total: usize) -> Self {
        let start = Instant::now();
        Self { bar: None, total, start, said: start }
    }

    /// Says how many of the rows are done.
    pub(crate) fn done(&mut self, done: usize) {
        if self.start.elapsed() < QUIET {
            return;
        }
        if self.bar.is_none() {
            self.bar = Bar::new(self.total, "rows");
        }
        let rate = done as f64 / self.start.elapsed().as_secs_f64();
        let message = format!("{} rows/s", units::count(rate));
        match &self.bar {
            Some(bar) => bar.set(done, message),
            None if self.said.elapsed() >= 5 * QUIET => {
                self.said = Instant::now();
                say(format_args!("row {done}/{}  {message}", self.total));
            }
            None => {}
        }
    }
}
