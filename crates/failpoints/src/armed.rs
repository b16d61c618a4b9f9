//! The points when they are armed: hits are counted per process, from its start.

use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Signal, getpid, kill_process};

use crate::NAMES;
use crate::entry::{Action, Entry, parse};

const WHAT: &str = "FIREBREAK_FAILPOINTS";
/// The driver counts by it what was hit.
const LOG: &str = "FIREBREAK_FAILPOINT_LOG";

#[derive(Debug, Default)]
struct Points {
    entries: Vec<Entry>,
    hits: [AtomicU64; NAMES.len()],
}

/// Passes the place called `name`: the process does not come back from it where it is to be killed
/// there, and comes back after SIGCONT where it is to be frozen.
///
/// # Panics
/// `name` is none of [`NAMES`].
pub fn hit(name: &'static str) {
    static POINTS: OnceLock<Points> = OnceLock::new();
    let points = POINTS.get_or_init(read);
    if points.entries.is_empty() {
        return;
    }
    let place = NAMES.iter().position(|known| *known == name).expect("a name of NAMES");
    let hits = points.hits[place].fetch_add(1, Ordering::SeqCst) + 1;
    for entry in points.entries.iter().filter(|entry| entry.name == name && entry.at == hits) {
        act(entry);
    }
}

fn read() -> Points {
    let text = std::env::var(WHAT).unwrap_or_default();
    match parse(&text) {
        Ok(entries) => Points { entries, hits: Default::default() },
        Err(why) => stop(&format!("{WHAT}: {why}")),
    }
}

fn act(entry: &Entry) {
    if let Err(error) = log(entry) {
        stop(&format!("{LOG}: {error}"));
    }
    let signal = match entry.action {
        Action::Kill => Signal::KILL,
        Action::Stop => Signal::STOP,
    };
    if let Err(error) = kill_process(getpid(), signal) {
        stop(&format!("{}={}: {error}", entry.name, entry.action.name()));
    }
    stay_until_frozen();
}

/// The kernel may give the signal to another thread: this one would go on until that one is scheduled.
fn stay_until_frozen() {
    while is_stop_pending() {
        std::thread::yield_now();
    }
    pause();
}

fn is_stop_pending() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = pending.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    pending.is_some_and(|bits| bits & (1 << (Signal::STOP.as_raw() - 1)) != 0)
}

/// The thread that took the signal tells the others to stop a moment later.
#[expect(clippy::disallowed_methods, reason = "whoever comes here is to be frozen")]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

/// One line in one write: several processes share the file.
fn log(entry: &Entry) -> std::io::Result<()> {
    let Some(path) = std::env::var_os(LOG) else { return Ok(()) };
    let mut file = File::options().create(true).append(true).open(path)?;
    let (name, action, pid) = (entry.name, entry.action.name(), getpid().as_raw_nonzero());
    let line = format!("{name} {action} {pid} {:.6}\n", seconds());
    file.write_all(line.as_bytes())
}

#[expect(clippy::disallowed_methods, reason = "the line is for the driver's clock, no decision")]
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "a test that tests nothing must not go on")]
fn stop(why: &str) -> ! {
    eprintln!("error: {why}");
    std::process::exit(2);
}
