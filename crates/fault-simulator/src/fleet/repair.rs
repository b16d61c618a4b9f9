//! What an operator can do to a server. Each repair says what was and what is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::Values;
use super::trigger::Ending;
use super::{Fault, Fleet, HttpStats, Level, Server};

const MAX_REPLICAS: u64 = 10;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AdminError {
    #[error("{server} has no setting {key:?}; it has {known}")]
    UnknownSetting { server: Server, key: String, known: String },
    #[error("{field} must be {min} to {max}, not {value}")]
    OutOfBounds { field: &'static str, value: u64, min: u64, max: u64 },
    #[error("no setting given")]
    NothingToChange,
    #[error("{server} cannot be scaled")]
    NotScalable { server: Server },
    #[error("{server} has no job {job:?}; it has {known}")]
    UnknownJob { server: Server, job: String, known: String },
}

/// A value before and after a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<T> {
    pub before: T,
    pub after: T,
}

/// What a cleanup did.
#[derive(Clone, Debug)]
pub struct Cleaned {
    pub deleted_files: u64,
    pub freed_bytes: u64,
    pub avail_bytes: Change<u64>,
}

/// A server at a glance.
#[derive(Clone, Debug)]
pub struct Status {
    pub is_running: bool,
    pub generation: u64,
    pub uptime: Duration,
    pub replicas_desired: u32,
    pub replicas_ready: u32,
    pub pending_config: BTreeMap<&'static str, u64>,
    pub jobs: BTreeMap<&'static str, bool>,
}

impl Fleet {
    pub fn status(&self, server: Server) -> Status {
        let host = self.host(server);
        Status {
            is_running: host.is_running(),
            generation: host.generation,
            uptime: Duration::from_millis(self.now - host.started),
            replicas_desired: host.replicas.desired,
            replicas_ready: host.serving(),
            pending_config: host.settings.pending(),
            jobs: host.jobs.clone(),
        }
    }

    /// Saves settings, all or none. Those that need a restart wait for one.
    ///
    /// # Errors
    /// A key this server does not have, or a value out of its bounds.
    pub fn configure(
        &mut self,
        server: Server,
        wanted: &BTreeMap<String, u64>,
    ) -> Result<Change<Values>, AdminError> {
        if wanted.is_empty() {
            return Err(AdminError::NothingToChange);
        }
        let (before, after) = self.host_mut(server).settings.change(wanted)?;
        for (key, value) in &after {
            let text = format!("{key} changed from {} to {value} (operator)", before[key]);
            self.write(server, Level::Info, "config", text);
        }
        Ok(Change { before, after })
    }

    /// Restarts a server, or joins the restart under way; returns the generation it leads to.
    pub fn restart(&mut self, server: Server) -> u64 {
        let now = self.now;
        let is_new = self.host(server).is_running();
        let generation = self.host_mut(server).restart(now);
        if is_new {
            let text = format!("restarting (generation {generation})");
            self.write(server, Level::Info, "lifecycle", text);
            self.interrupt(server);
        }
        generation
    }

    /// Fails the requests that were in the hands of a server that goes down.
    fn interrupt(&mut self, server: Server) {
        match server {
            Server::Database => {
                for answer in self.database.drop_connections() {
                    self.answer(answer);
                }
            }
            Server::App => {
                let computing: Vec<_> =
                    self.app.busy.drain(..).map(|(_, request)| request).collect();
                let querying = self.database.abandon();
                for request in computing.into_iter().chain(querying) {
                    self.finish_at_gateway(request, 502);
                }
            }
            Server::Gateway => {}
        }
    }

    pub(super) fn restarted(&mut self, server: Server) {
        let generation = self.host(server).generation;
        let text = format!("ready after {} ms (generation {generation})", super::START_MS);
        self.write(server, Level::Info, "lifecycle", text);
        match server {
            Server::App => {
                self.app.http = HttpStats::default();
                self.end(Fault::MemoryLeak, Ending::Repaired);
            }
            Server::Gateway => self.gateway.http = HttpStats::default(),
            // Its metrics are seen from its clients, which live on.
            Server::Database => {}
        }
    }

    /// Sets the number of replicas.
    ///
    /// # Errors
    /// The server cannot be scaled, or not to that number.
    pub fn scale(&mut self, server: Server, replicas: u64) -> Result<Change<u32>, AdminError> {
        if server == Server::Database {
            return Err(AdminError::NotScalable { server });
        }
        if !(1..=MAX_REPLICAS).contains(&replicas) {
            let (value, max) = (replicas, MAX_REPLICAS);
            return Err(AdminError::OutOfBounds { field: "replicas", value, min: 1, max });
        }
        let now = self.now;
        let after = replicas as u32;
        let host = self.host_mut(server);
        let before = host.replicas.desired;
        host.replicas.set(after, now);
        let text = format!("replicas changed from {before} to {after} (operator)");
        self.write(server, Level::Info, "scaler", text);
        Ok(Change { before, after })
    }

    /// Deletes old log files.
    pub fn clean_up(&mut self, server: Server) -> Cleaned {
        let disk = &mut self.host_mut(server).disk;
        let before = disk.avail();
        let (deleted_files, freed) = (disk.old_file_count(), disk.old_files);
        disk.old_files = 0.0;
        let avail_bytes = Change { before: before as u64, after: disk.avail() as u64 };
        let text =
            format!("deleted {deleted_files} old files, freed {:.1} GiB", freed / super::GIB);
        self.write(server, Level::Info, "archiver", text);
        if server == Fault::DiskFull.server() {
            self.end(Fault::DiskFull, Ending::Repaired);
        }
        Cleaned { deleted_files, freed_bytes: freed as u64, avail_bytes }
    }

    /// Starts or stops a job.
    ///
    /// # Errors
    /// The server has no such job.
    pub fn set_job(
        &mut self,
        server: Server,
        job: &str,
        is_running: bool,
    ) -> Result<Change<bool>, AdminError> {
        let jobs = &mut self.host_mut(server).jobs;
        let Some(running) = jobs.get_mut(job) else {
            let known = jobs.keys().copied().collect::<Vec<_>>().join(", ");
            return Err(AdminError::UnknownJob { server, job: job.to_owned(), known });
        };
        let before = std::mem::replace(running, is_running);
        if before != is_running {
            let verb = if is_running { "started" } else { "stopped" };
            let text = format!("job {job} {verb} (operator)");
            self.write(server, Level::Info, "scheduler", text);
        }
        Ok(Change { before, after: is_running })
    }
}
