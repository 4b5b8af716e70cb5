//! Threads: rayon's global pool, but in a process that was forked, whose pool has no threads any more.

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::{
    cell::RefCell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How often this process and those that it comes from were forked.
static FORKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The pool of a thread in a forked process, and the fork that it was made after.
    static POOL: RefCell<Option<(usize, ThreadPool)>> = const { RefCell::new(None) };
}

/// To be called in the child after every fork.
#[pyfunction]
#[pyo3(name = "_forked")]
pub(crate) fn forked() {
    FORKS.fetch_add(1, Relaxed);
}

/// Does work for which other Python threads need not wait, on threads that are there.
pub(crate) fn detached<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    py.detach(|| match FORKS.load(Relaxed) {
        0 => work(),
        forks => POOL.with_borrow_mut(|place| {
            if place.as_ref().is_none_or(|(made, _)| *made != forks) {
                // The threads that dropping a pool would wake are those of the parent.
                core::mem::forget(place.take());
                *place = ThreadPoolBuilder::new().build().ok().map(|pool| (forks, pool));
            }
            match place {
                Some((_, pool)) => pool.install(work),
                None => work(),
            }
        }),
    })
}
