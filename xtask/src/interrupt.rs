//! Ctrl-C, SIGTERM and SIGHUP: noted here, looked at wherever a task waits, so that every way out
//! runs the same clean-up.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
const SLICE: Duration = Duration::from_millis(20);

/// The task was told to stop.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupted {
    /// What a shell expects of a program ended by SIGINT.
    pub(crate) fn exit_code() -> ExitCode {
        ExitCode::from(130)
    }
}

/// Takes over the signals; the programs a task starts are told to stop by the task.
///
/// # Errors
/// The handler cannot be installed.
pub(crate) fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst)).context("listen for signals")
}

/// Fails once a signal came.
pub(crate) fn check() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(Interrupted) } else { Ok(()) }
}

/// Waits, unless a signal comes first.
pub(crate) fn pause(length: Duration) -> Result<(), Interrupted> {
    let started = std::time::Instant::now();
    while started.elapsed() < length {
        check()?;
        rest(SLICE.min(length));
    }
    check()
}

/// Waits a moment, whatever happens: the clean-up itself has to wait, too.
#[expect(clippy::disallowed_methods, reason = "xtask has no runtime and no worker threads")]
pub(crate) fn rest(length: Duration) {
    std::thread::sleep(length);
}
