//! Whether there is a standard output. Where it is closed, the standard library opens `/dev/null` in its place before `main`
//! begins; and where it can only be read, it takes what is written for written. What a command prints would be lost, and
//! the exit status would say that all is well.

use crate::commands::STDOUT;
use anyhow::{Context, Result};

/// Checks that what is printed can get anywhere. To be called before the work whose result is printed.
///
/// # Errors
/// If standard output was closed when the program began, or cannot be written.
pub fn check() -> Result<()> {
    if at_start::is_closed() {
        return Err(anyhow::anyhow!("it is not open for writing")).context(STDOUT);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod at_start {
    use rustix::fs::{OFlags, fcntl_getfl};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    static CLOSED: AtomicBool = AtomicBool::new(false);

    pub(super) fn is_closed() -> bool {
        CLOSED.load(Relaxed)
    }

    extern "C" fn look() {
        let flags = fcntl_getfl(rustix::stdio::stdout());
        let writable = flags.is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::RDONLY);
        CLOSED.store(!writable, Relaxed);
    }

    // SAFETY: what stands in this section is called before `main`, with arguments that `look` does not take. It makes one
    // system call and needs nothing of the standard library.
    #[unsafe(link_section = ".init_array")]
    #[used]
    static LOOK: extern "C" fn() = look;
}

#[cfg(not(target_os = "linux"))]
mod at_start {
    pub(super) fn is_closed() -> bool {
        false
    }
}
