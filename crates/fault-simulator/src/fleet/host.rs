//! What all three servers have: a life cycle, memory, CPU, a disk, jobs, replicas.

use std::collections::BTreeMap;

use super::settings::{self, Settings};
use super::{Millis, Server};

pub(crate) const MIB: f64 = 1024.0 * 1024.0;
pub(crate) const GIB: f64 = 1024.0 * MIB;

/// How long a restart, or the start of a replica, takes.
pub(crate) const START_MS: Millis = 800;
pub(crate) const REPORT_JOB: &str = "report-generator";
/// What a job costs that behaves, in cores.
const JOB_CORES: f64 = 0.03;
/// Archive files are about this big.
const OLD_FILE_BYTES: f64 = 9.5 * MIB;

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) size: f64,
    pub(crate) used: f64,
    pub(crate) old_files: f64,
}

impl Disk {
    pub(crate) fn avail(&self) -> f64 {
        (self.size - self.used - self.old_files).max(0.0)
    }

    pub(crate) fn avail_ratio(&self) -> f64 {
        self.avail() / self.size
    }

    pub(crate) fn old_file_count(&self) -> u64 {
        (self.old_files / OLD_FILE_BYTES).ceil() as u64
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Replicas {
    pub(crate) desired: u32,
    pub(crate) ready: u32,
    /// When the replicas that are starting will be ready.
    ready_at: Millis,
}

impl Replicas {
    fn new(count: u32) -> Self {
        Self { desired: count, ready: count, ready_at: 0 }
    }

    /// Fewer is at once, more takes a start.
    pub(crate) fn set(&mut self, desired: u32, now: Millis) {
        self.desired = desired;
        self.ready = self.ready.min(desired);
        self.ready_at = now + START_MS;
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) settings: Settings,
    pub(crate) replicas: Replicas,
    pub(crate) disk: Disk,
    pub(crate) jobs: BTreeMap<&'static str, bool>,
    pub(crate) generation: u64,
    pub(crate) started: Millis,
    pub(crate) restart_until: Option<Millis>,
    pub(crate) memory_limit: f64,
    /// Memory that requests leaked.
    pub(crate) leaked: f64,
    /// As the supervisor accounts it: restarts do not begin it anew.
    pub(crate) cpu_seconds: f64,
    /// CPU use over the last step, in cores.
    pub(crate) cpu_cores: f64,
}

impl Host {
    pub(crate) fn new(server: Server) -> Self {
        let (disk, memory_limit, replicas) = match server {
            Server::Database => ((20.0, 8.0, 1.1), 2048.0, 1),
            Server::App => ((10.0, 3.2, 0.4), 512.0, 1),
            Server::Gateway => ((10.0, 2.4, 0.3), 256.0, 3),
        };
        let jobs: &[(&str, bool)] = match server {
            Server::Database => &[("backup", false)],
            Server::App => &[(REPORT_JOB, false), ("session-cleaner", true)],
            Server::Gateway => &[("access-log-shipper", true)],
        };
        let (size, used, old_files) = disk;
        Self {
            server,
            settings: Settings::new(server),
            replicas: Replicas::new(replicas),
            disk: Disk { size: size * GIB, used: used * GIB, old_files: old_files * GIB },
            jobs: jobs.iter().copied().collect(),
            generation: 1,
            started: 0,
            restart_until: None,
            memory_limit: memory_limit * MIB,
            leaked: 0.0,
            cpu_seconds: 0.0,
            cpu_cores: 0.0,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.restart_until.is_none()
    }

    /// Replicas that take work. A gateway restart rolls through its replicas one by one.
    pub(crate) fn serving(&self) -> u32 {
        match self.server {
            Server::Gateway if !self.is_running() => self.replicas.ready.saturating_sub(1),
            _ => self.replicas.ready,
        }
    }

    /// Cores of all replicas together.
    pub(crate) fn cores(&self) -> f64 {
        let each = if self.server == Server::Gateway { 1.0 } else { 2.0 };
        each * f64::from(self.replicas.ready.max(1))
    }

    /// Resident memory of the (first) process.
    pub(crate) fn resident(&self) -> f64 {
        let base = match self.server {
            Server::Database => 600.0 + 48.0 * self.settings.get(settings::POOL_SIZE) as f64,
            Server::App => 150.0 + self.settings.get(settings::CACHE_SIZE) as f64,
            Server::Gateway => 92.0,
        };
        (base * MIB + self.leaked).min(self.memory_limit)
    }

    pub(crate) fn memory_ratio(&self) -> f64 {
        self.resident() / self.memory_limit
    }

    pub(crate) fn has_job(&self, name: &str) -> bool {
        self.jobs.get(name).copied().unwrap_or_default()
    }

    /// Starts a restart, or joins the one under way. Returns the generation it leads to.
    pub(crate) fn restart(&mut self, now: Millis) -> u64 {
        if self.restart_until.is_none() {
            self.restart_until = Some(now + START_MS);
            self.generation += 1;
        }
        self.generation
    }

    /// Finishes what is due; true when a restart has just ended.
    pub(crate) fn advance(&mut self, now: Millis) -> bool {
        if self.replicas.ready < self.replicas.desired && now >= self.replicas.ready_at {
            self.replicas.ready = self.replicas.desired;
        }
        if self.restart_until.is_none_or(|until| now < until) {
            return false;
        }
        self.restart_until = None;
        self.started = now;
        self.settings.reload();
        self.leaked = 0.0;
        true
    }

    /// Charges one step: `work` CPU seconds of requests, and the jobs' share.
    pub(crate) fn spend(&mut self, work: f64, extra_cores: f64, step: f64) {
        let jobs = self.jobs.values().filter(|running| **running).count() as f64 * JOB_CORES;
        let used = (work + (0.02 + jobs + extra_cores) * step).min(0.995 * self.cores() * step);
        self.cpu_seconds += used;
        // Smoothed over about a second, for the log.
        self.cpu_cores += (used / step - self.cpu_cores) * step.min(1.0);
    }
}
