//! Ctrl-C, and the signals by which a batch system ends a job: the first one asks for an orderly end, the second one
//! does not wait for it.

use anyhow::Result;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// That the user stopped a run.
#[derive(Debug)]
pub enum Interrupted {
    /// Nothing was computed yet, and nothing was written.
    AtStart,
    /// The result so far is safe.
    OnTheWay,
}

impl Interrupted {
    /// What shells report for a program that SIGINT ended.
    pub const EXIT_CODE: u8 = 130;
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtStart => "interrupted before the first step; nothing was written",
            Self::OnTheWay => "interrupted; this is the best model so far",
        })
    }
}

impl Error for Interrupted {}

/// From now on Ctrl-C, SIGTERM and SIGHUP do not end the program, but what is returned here says that one of them
/// came.
pub(crate) fn watch() -> Result<impl Fn() -> bool> {
    let came = Arc::new(AtomicBool::new(false));
    for signal in signals() {
        // In this order: the second signal finds the flag that the first one set.
        let status = Interrupted::EXIT_CODE.into();
        flag::register_conditional_shutdown(signal, status, Arc::clone(&came))?;
        flag::register(signal, Arc::clone(&came))?;
    }
    Ok(move || came.load(SeqCst))
}

/// From now on a file that may not grow further (`ulimit -f`) is an error where it is written, as a full disk is, and does
/// not end the program.
///
/// # Errors
/// If the system takes no handler of signals.
pub fn survive_the_limit_of_files() -> Result<()> {
    // A handler is enough; what it does is of no interest.
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    Ok(())
}

fn signals() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    if !is_ignored(signal_hook::consts::SIGHUP) {
        signals.push(signal_hook::consts::SIGHUP);
    }
    signals
}

/// Whether the program was started with this signal ignored, as `nohup` does: then it is to stay so.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
