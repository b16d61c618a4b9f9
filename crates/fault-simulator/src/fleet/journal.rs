//! The log lines the fleet writes: the evidence a diagnosis can find. Frequent lines are sampled.

use std::fmt;

use jiff::Timestamp;

use super::database::{Answer, Failure};
use super::host::{GIB, MIB, REPORT_JOB};
use super::{Fault, Fleet, Server};

/// Lines held between two drains; what comes beyond is dropped, as a real logger under pressure does.
const CAPACITY: usize = 2000;
/// One in this many successful requests is written down.
const SAMPLE: u64 = 20;
/// Lock waits below this are not worth a line.
const LOCK_WAIT_MS: u64 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warn,
    Error,
}

/// One line of a server's log file.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub at: Timestamp,
    pub server: Server,
    pub level: Level,
    pub component: &'static str,
    pub message: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Info => "INFO ",
            Level::Warn => "WARN ",
            Level::Error => "ERROR",
        };
        write!(f, "{:.3} {level} {} {}", self.at, self.component, self.message)
    }
}

impl Fleet {
    /// Takes the lines written since the last call.
    pub fn drain_log(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn write(
        &mut self,
        server: Server,
        level: Level,
        component: &'static str,
        message: impl Into<String>,
    ) {
        if self.log.len() < CAPACITY {
            let at = self.at(self.now);
            self.log.push(LogLine { at, server, level, component, message: message.into() });
        }
    }

    /// Writes a line unless this server wrote it within the same drain.
    pub(super) fn write_some(
        &mut self,
        server: Server,
        level: Level,
        component: &'static str,
        message: &str,
    ) {
        let is_repeated = |line: &LogLine| line.server == server && line.message == message;
        if !self.log.iter().any(is_repeated) {
            self.write(server, level, component, message);
        }
    }

    pub(super) fn log_rejected(&mut self, places: usize) {
        let host = self.host(Server::Gateway);
        let text = format!(
            "rejected request: queue full (queued={} limit={places} workers={} replicas={}) status=503",
            self.gateway.queued(),
            host.serving(),
            host.replicas.ready,
        );
        self.write(Server::Gateway, Level::Error, "proxy", text);
    }

    pub(super) fn log_answer(&mut self, answer: &Answer, took: u64) {
        self.log_lock_wait(answer);
        match answer.result {
            Ok(()) if self.app.http.total().is_multiple_of(SAMPLE) => {
                let text = format!("GET /orders (status=200 after {took} ms)");
                self.write(Server::App, Level::Info, "http", text);
            }
            Ok(()) => {}
            Err(failure) => self.log_failure(failure, took),
        }
    }

    fn log_failure(&mut self, failure: Failure, took: u64) {
        if let Some((component, text)) = self.database_line(failure) {
            self.write(Server::Database, Level::Error, component, text);
        }
        let cause = match failure {
            Failure::AcquireTimeout => "database connection timed out",
            Failure::StatementTimeout => "canceling statement due to statement timeout",
            Failure::OutOfMemory => "database error: out of memory",
            Failure::DiskFull => "database error: could not extend file: No space left on device",
            Failure::Unavailable => "database connection refused",
        };
        let text = format!("GET /orders failed: {cause} (status=500 after {took} ms)");
        self.write(Server::App, Level::Error, "http", text);
    }

    fn database_line(&self, failure: Failure) -> Option<(&'static str, String)> {
        let on = self.conditions();
        Some(match failure {
            Failure::AcquireTimeout => {
                let (active, waiting) = (self.database.active(), self.database.waiting());
                let text = format!(
                    "connection acquire timed out after {} ms (active={active} size={} waiting={waiting})",
                    on.acquire_timeout, on.pool_size,
                );
                ("pool", text)
            }
            Failure::StatementTimeout => {
                ("postgres", "canceling statement due to statement timeout".to_owned())
            }
            Failure::OutOfMemory => {
                let used = on.pool_size as f64 * super::BACKEND_BYTES;
                let free = ((self.free_for_backends() - used) / MIB).max(0.0);
                let text = format!(
                    "out of memory: failed on request of size 4194304 (backends={} free={free:.0} MiB)",
                    on.pool_size,
                );
                ("postgres", text)
            }
            Failure::DiskFull => {
                let disk = &self.host(Server::Database).disk;
                let text = format!(
                    "could not extend file \"base/16384/2619\": No space left on device (avail={:.0} MiB of {:.0} MiB)",
                    disk.avail() / MIB,
                    disk.size / MIB,
                );
                ("storage", text)
            }
            Failure::Unavailable => return None,
        })
    }

    fn log_lock_wait(&mut self, answer: &Answer) {
        if answer.lock_wait < LOCK_WAIT_MS {
            return;
        }
        let waiters = self.database.lock_waiters(self.now);
        let wait = answer.lock_wait;
        let text = format!("lock wait of {wait} ms on relation \"orders\" (waiters={waiters})");
        self.write(Server::Database, Level::Warn, "postgres", text);
    }

    /// Writes the lines that come by the clock.
    pub(super) fn report(&mut self) {
        if self.now.is_multiple_of(5000) {
            self.report_normal();
        }
        if self.now.is_multiple_of(1000) {
            self.report_memory();
        }
        if self.now.is_multiple_of(2000) {
            self.report_disks();
            self.report_runaway();
        }
    }

    fn report_normal(&mut self) {
        let (active, waiting) = (self.database.active(), self.database.waiting());
        let size = self.conditions().pool_size;
        let text = format!("stats active={active} size={size} waiting={waiting}");
        self.write(Server::Database, Level::Info, "pool", text);
        let heap = self.host(Server::App).resident() / MIB;
        let text = format!("stats requests={} resident={heap:.0} MiB", self.app.http.total());
        self.write(Server::App, Level::Info, "http", text);
        let text = format!(
            "stats requests={} queued={} workers_busy={}/{}",
            self.gateway.http.total(),
            self.gateway.queued(),
            self.gateway.busy(),
            self.host(Server::Gateway).serving(),
        );
        self.write(Server::Gateway, Level::Info, "proxy", text);
    }

    fn report_memory(&mut self) {
        let host = self.host(Server::App);
        if host.memory_ratio() < 0.8 {
            return;
        }
        let (used, limit) = (host.resident() / MIB, host.memory_limit / MIB);
        let pause = (host.memory_ratio() - 0.75) * 400.0;
        let text = format!(
            "heap pressure: {used:.0} MiB of {limit:.0} MiB in use after full collection, paused {pause:.0} ms",
        );
        self.write(Server::App, Level::Warn, "gc", text);
    }

    fn report_disks(&mut self) {
        for server in Server::ALL {
            let disk = &self.host(server).disk;
            if disk.avail_ratio() < 0.1 {
                let (count, bytes) = (disk.old_file_count(), disk.old_files / GIB);
                let text =
                    format!("{count} old log files hold {bytes:.1} GiB under /var/log/archive");
                self.write(server, Level::Warn, "archiver", text);
            }
        }
    }

    fn report_runaway(&mut self) {
        let Some(active) = self.faults.iter().find(|active| active.fault == Fault::HighCpu) else {
            return;
        };
        let seconds = (self.now - active.since) / 1000;
        let cores = super::RUNAWAY_SHARE * self.host(Server::App).cores();
        let text = format!(
            "job {REPORT_JOB} running for {seconds} s using {cores:.2} cores (expected below 0.10)",
        );
        self.write(Server::App, Level::Warn, "scheduler", text);
    }
}
