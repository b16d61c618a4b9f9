//! Faults beginning and ending. A fault remembers what it changed, so that its end by time can put
//! that back; its end by repair leaves what the repair set.

use std::time::Duration;

use super::host::REPORT_JOB;
use super::settings::{POOL_SIZE, Settings};
use super::{Fault, Fleet, GIB, Level, Millis, Server};

/// What a rollout leaves of the pool, and the size that carries the load.
const SHRUNK_POOL: u64 = 2;
const SUFFICIENT_POOL: u64 = 6;
/// What a scale-in leaves of the gateway, how many carry the load, and the usual number.
const SCALED_IN: u32 = 1;
const SUFFICIENT_REPLICAS: u32 = 2;
const USUAL_REPLICAS: u32 = 3;
/// Old files that stay when a full disk heals by itself.
const USUAL_OLD_FILES: f64 = 1.1 * GIB;
/// Ended faults remembered.
const HISTORY: usize = 50;

#[derive(Clone, Debug)]
pub struct ActiveFault {
    pub fault: Fault,
    pub(crate) since: Millis,
    pub(crate) until: Millis,
    restore: Restore,
}

#[derive(Clone, Copy, Debug)]
enum Restore {
    Pool(u64),
    Replicas(u32),
    Leak,
    OldFiles,
    Job,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Repaired,
    Expired,
    Deleted,
}

impl Ending {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repaired => "repaired",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }
}

/// A fault that is over.
#[derive(Clone, Debug)]
pub struct EndedFault {
    pub fault: Fault,
    pub(crate) how: Ending,
    pub(crate) at: Millis,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FaultError {
    #[error("fault {fault} is already active for another {remaining_seconds} s")]
    AlreadyActive { fault: Fault, remaining_seconds: u64 },
    #[error("fault {fault} needs the connection pool that active fault {holder} holds")]
    PoolHeld { fault: Fault, holder: Fault },
    #[error("fault {fault} is not active")]
    NotActive { fault: Fault },
}

impl Fleet {
    /// Starts a fault that lasts `duration` unless repaired.
    ///
    /// # Errors
    /// It is active already, or another fault holds the pool it needs.
    pub fn trigger(&mut self, fault: Fault, duration: Duration) -> Result<(), FaultError> {
        self.check_free(fault)?;
        let restore = self.strike(fault);
        let (since, until) = (self.now, self.now + duration.as_millis().max(1) as Millis);
        self.faults.push(ActiveFault { fault, since, until, restore });
        Ok(())
    }

    /// Heals a fault as if its duration were over.
    ///
    /// # Errors
    /// It is not active.
    pub fn heal(&mut self, fault: Fault) -> Result<(), FaultError> {
        if !self.is_active(fault) {
            return Err(FaultError::NotActive { fault });
        }
        self.end(fault, Ending::Deleted);
        Ok(())
    }

    /// The faults that are active, oldest first.
    pub fn active_faults(&self) -> &[ActiveFault] {
        &self.faults
    }

    pub(crate) fn ended_faults(&self) -> &[EndedFault] {
        &self.ended
    }

    /// Time until `active` would end by itself.
    pub(crate) fn remaining(&self, active: &ActiveFault) -> Duration {
        Duration::from_millis(active.until.saturating_sub(self.now))
    }

    fn check_free(&self, fault: Fault) -> Result<(), FaultError> {
        for active in &self.faults {
            if active.fault == fault {
                let remaining_seconds = self.remaining(active).as_secs();
                return Err(FaultError::AlreadyActive { fault, remaining_seconds });
            }
            if active.fault.holds_pool() && fault.holds_pool() {
                return Err(FaultError::PoolHeld { fault, holder: active.fault });
            }
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault) -> Restore {
        match fault {
            Fault::DatabaseTimeout | Fault::FixThatFails | Fault::FixThatHurts => {
                let before = self.force_pool(SHRUNK_POOL, "rollout");
                let usual = Settings::default_of(Server::Database, POOL_SIZE);
                Restore::Pool(if before < SUFFICIENT_POOL { usual } else { before })
            }
            Fault::Api503 => {
                let before = self.force_replicas(SCALED_IN, "scale-in policy");
                let is_usable = before >= SUFFICIENT_REPLICAS;
                Restore::Replicas(if is_usable { before } else { USUAL_REPLICAS })
            }
            Fault::MemoryLeak => Restore::Leak,
            Fault::DiskFull => Restore::OldFiles,
            Fault::HighCpu => {
                self.host_mut(Server::App).jobs.insert(REPORT_JOB, true);
                let text = format!("job {REPORT_JOB} started (schedule)");
                self.write(Server::App, Level::Info, "scheduler", text);
                Restore::Job
            }
        }
    }

    fn force_pool(&mut self, size: u64, why: &str) -> u64 {
        let settings = &mut self.host_mut(Server::Database).settings;
        let before = settings.get(POOL_SIZE);
        settings.force(POOL_SIZE, size);
        let text = format!("{POOL_SIZE} changed from {before} to {size} ({why})");
        self.write(Server::Database, Level::Info, "config", text);
        before
    }

    fn force_replicas(&mut self, count: u32, why: &str) -> u32 {
        let now = self.now;
        let replicas = &mut self.host_mut(Server::Gateway).replicas;
        let before = replicas.desired;
        replicas.set(count, now);
        let text = format!("replicas changed from {before} to {count} ({why})");
        self.write(Server::Gateway, Level::Info, "scaler", text);
        before
    }

    /// Ends faults whose time is over, or whose condition a repair has removed.
    pub(super) fn end_faults(&mut self) {
        let over: Vec<_> = self
            .faults
            .iter()
            .filter_map(|active| Some((active.fault, self.ending_of(active)?)))
            .collect();
        for (fault, ending) in over {
            self.end(fault, ending);
        }
    }

    fn ending_of(&self, active: &ActiveFault) -> Option<Ending> {
        let database = self.host(Server::Database);
        let is_repaired = match active.fault {
            Fault::DatabaseTimeout => {
                database.is_running() && database.settings.get(POOL_SIZE) >= SUFFICIENT_POOL
            }
            Fault::Api503 => self.host(Server::Gateway).replicas.ready >= SUFFICIENT_REPLICAS,
            Fault::HighCpu => !self.host(Server::App).has_job(REPORT_JOB),
            // Ended by the repair itself, or by nothing.
            Fault::MemoryLeak | Fault::DiskFull | Fault::FixThatFails | Fault::FixThatHurts => {
                false
            }
        };
        match is_repaired {
            true => Some(Ending::Repaired),
            false => (self.now >= active.until).then_some(Ending::Expired),
        }
    }

    /// Ends `fault` where it is active.
    pub(super) fn end(&mut self, fault: Fault, how: Ending) {
        let Some(index) = self.faults.iter().position(|active| active.fault == fault) else {
            return;
        };
        let active = self.faults.remove(index);
        if how != Ending::Repaired {
            self.restore(active.restore);
        }
        if self.ended.len() == HISTORY {
            self.ended.remove(0);
        }
        self.ended.push(EndedFault { fault, how, at: self.now });
    }

    fn restore(&mut self, restore: Restore) {
        match restore {
            Restore::Pool(size) => {
                if self.host(Server::Database).settings.get(POOL_SIZE) < SUFFICIENT_POOL {
                    self.force_pool(size, "rollback of the rollout");
                }
            }
            Restore::Replicas(count) => {
                if self.host(Server::Gateway).replicas.desired < SUFFICIENT_REPLICAS {
                    self.force_replicas(count, "scale-in policy withdrawn");
                }
            }
            Restore::Leak => self.host_mut(Server::App).leaked = 0.0,
            Restore::OldFiles => {
                let disk = &mut self.host_mut(Server::Database).disk;
                disk.old_files = disk.old_files.min(USUAL_OLD_FILES);
            }
            Restore::Job => {
                self.host_mut(Server::App).jobs.insert(REPORT_JOB, false);
            }
        }
    }
}
