//! One run of a change: its directory, and what is recorded of its executor before it may act. The
//! directory is locked for as long as the run goes on, so that whoever finds it can tell.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::identity::{Identity, Place};

const LOCK: &str = "lock";

/// The directory of a run. Only this program may read it: it may hold a credential.
#[derive(Debug)]
pub(super) struct RunDirectory {
    path: PathBuf,
    /// The kernel lets go of it with this process, however that ends.
    lock: File,
}

/// A child that is just being started has the file open too, until it becomes its program: closing it
/// here would leave it locked for that long.
impl Drop for RunDirectory {
    fn drop(&mut self) {
        // Fails for no lock that is held.
        let _ = rustix::fs::flock(&self.lock, rustix::fs::FlockOperation::Unlock);
    }
}

/// What carries a change out.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct ExecutorRecord {
    pub(super) kind: ExecutorKind,
    pub(super) process: Identity,
    pub(super) directory: PathBuf,
    /// Whether its program was the first process of its pid namespace, as in a container: no process
    /// there outlives it.
    #[serde(default)]
    pub(super) is_contained: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExecutorKind {
    /// A process group of its own, and what carries its mark.
    Group,
    /// This program itself.
    InProcess,
}

impl RunDirectory {
    pub(super) fn create(runs: &Path, id: &str) -> io::Result<Self> {
        let path = std::path::absolute(runs.join(id))?;
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        let lock = File::create_new(path.join(LOCK))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes over the directory of a run that has ended. `None`: it goes on, or nothing can be said.
    pub(super) fn of_ended(path: &Path) -> Option<Self> {
        let lock = File::open(path.join(LOCK)).ok()?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Self { path: path.to_owned(), lock })
    }

    /// Removes it with all that it holds.
    pub(super) fn clear(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, directory = %self.path.display(), "run not cleared");
        }
    }
}

impl ExecutorRecord {
    pub(super) fn new(kind: ExecutorKind, process: Identity, directory: &RunDirectory) -> Self {
        let is_contained = std::process::id() == 1;
        Self { kind, process, directory: directory.path().to_owned(), is_contained }
    }

    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("plain fields")
    }

    /// Whether the process that ran it, and did it itself, does so no more. The error says why that
    /// cannot be told.
    pub(super) fn has_let_go(&self) -> Result<(), String> {
        match self.process.place() {
            Place::EarlierBoot => Ok(()),
            // The lock is this kernel's: it holds also where the pid means nothing here.
            Place::Here | Place::Elsewhere(_) if self.is_unlocked() => Ok(()),
            Place::Here if !self.process.is_alive() => Ok(()),
            Place::Here => {
                Err(format!("deployment-system (pid {}) is carrying it out", self.process.pid))
            }
            Place::Elsewhere(why) => Err(why),
        }
    }

    /// Whether its group can be reached from here, to be ended; false: it has ended with its boot or
    /// its container. The error says why nothing is known.
    pub(super) fn can_be_ended(&self) -> Result<bool, String> {
        match self.process.place() {
            Place::Here => Ok(true),
            Place::EarlierBoot => Ok(false),
            Place::Elsewhere(_) if self.is_contained && self.is_unlocked() => Ok(false),
            Place::Elsewhere(why) => Err(why),
        }
    }

    fn is_unlocked(&self) -> bool {
        self.process.is_of_this_boot() && RunDirectory::of_ended(&self.directory).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_ran_has_ended_with_it() {
        let runs = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(runs.path(), "chg_1").unwrap();
        let here = ExecutorRecord::new(ExecutorKind::Group, Identity::current(), &directory);
        assert_eq!(here.can_be_ended(), Ok(true));
        let process = Identity { pid_namespace: "pid:[1]".into(), ..Identity::current() };
        let contained = ExecutorRecord { process, is_contained: true, ..here };
        assert!(contained.can_be_ended().is_err(), "its program still runs");
        drop(directory);
        assert_eq!(contained.can_be_ended(), Ok(false));
        let beside = ExecutorRecord { is_contained: false, ..contained };
        assert!(beside.can_be_ended().is_err(), "others of its namespace may live");
    }

    #[test]
    fn a_run_goes_on_for_as_long_as_its_directory_is_locked() {
        let runs = tempfile::tempdir().unwrap();
        let directory = RunDirectory::create(runs.path(), "chg_1").unwrap();
        let record = ExecutorRecord::new(ExecutorKind::InProcess, Identity::current(), &directory);
        assert!(RunDirectory::of_ended(directory.path()).is_none());
        assert!(record.has_let_go().unwrap_err().contains("is carrying it out"));
        let contained = Identity { pid_namespace: "pid:[1]".into(), ..Identity::current() };
        let contained = ExecutorRecord { process: contained, ..record.clone() };
        assert!(contained.has_let_go().unwrap_err().contains("another container"));
        drop(directory);
        record.has_let_go().unwrap();
        contained.has_let_go().unwrap();
        RunDirectory::of_ended(&record.directory).unwrap().clear();
        assert!(record.has_let_go().is_err(), "nothing can be said without the directory");
        let ended = Identity { start_time: 1, ..record.process.clone() };
        ExecutorRecord { process: ended, ..record }.has_let_go().unwrap();
    }
}
