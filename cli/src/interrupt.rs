//! Ctrl-C: the first one asks for an orderly end, the second one does not wait for it.

use anyhow::Result;
use std::{
    error::Error,
    fmt,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

/// That the user stopped a run, whose result so far is safe.
#[derive(Debug)]
pub struct Interrupted;

impl Interrupted {
    /// What shells report for a program that SIGINT ended.
    pub const EXIT_CODE: u8 = 130;
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; this is the best model so far")
    }
}

impl Error for Interrupted {}

/// From now on Ctrl-C does not end the program, but what is returned here says that it was pressed.
pub(crate) fn watch() -> Result<impl Fn() -> bool> {
    static PRESSED: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| {
        if PRESSED.swap(true, SeqCst) {
            std::process::exit(Interrupted::EXIT_CODE.into());
        }
    })?;
    Ok(|| PRESSED.load(SeqCst))
}
