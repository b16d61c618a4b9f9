//! A process of this machine: started from a configured argument list as the leader of its own
//! group, and recognised later by its identity, never by a pid alone.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use a2a_types::mcp::deployment::RESTART_SERVICE;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Effect, ExecutorError, not_offered};
use crate::deployment_system::action::Action;
use crate::deployment_system::group::Leader;
use crate::deployment_system::inventory::ProcessConfig;

pub(super) const ACTIONS: &[&str] = &[RESTART_SERVICE];

/// A process that ends sooner than this after its start has failed.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(in crate::deployment_system) struct LocalProcess {
    config: ProcessConfig,
    /// Holds the identity of the running process.
    identity: PathBuf,
}

impl LocalProcess {
    pub(in crate::deployment_system) fn new(
        target: &str,
        config: &ProcessConfig,
        directory: &Path,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let identity = directory.join(format!("{target}.json"));
        Ok(Self { config: config.clone(), identity })
    }

    pub(super) fn observe(&self, action: &Action) -> Result<Value, ExecutorError> {
        match action {
            Action::RestartService => Ok(self.status().0),
            _ => Err(not_offered(action)),
        }
    }

    pub(super) async fn carry_out(
        &self,
        action: &Action,
        time: Duration,
    ) -> Result<Effect, ExecutorError> {
        if *action != Action::RestartService {
            return Err(not_offered(action));
        }
        let failed =
            |what: &str, error: io::Error| ExecutorError::Failed(format!("{what}: {error}"));
        if let Some(running) = self.leader() {
            let grace = Duration::from_millis(self.config.stop_grace_ms).min(time);
            running.end(grace).await.map_err(|error| failed("stop", error))?;
        }
        let started = self.start().map_err(|error| failed("start", error))?;
        tokio::time::sleep(SETTLE.min(time)).await;
        if !started.is_alive() {
            let log = self.config.log_file.display();
            return Err(ExecutorError::Failed(format!(
                "it ended right after its start, see {log}"
            )));
        }
        Ok(Effect { output: format!("started as pid {}", started.pid), ..Effect::default() })
    }

    pub(super) fn status(&self) -> (Value, bool) {
        match self.leader().filter(Leader::is_alive) {
            Some(leader) => (json!({"running": true, "process": leader}), true),
            None => (json!({"running": false, "process": null}), false),
        }
    }

    fn leader(&self) -> Option<Leader> {
        serde_json::from_slice(&std::fs::read(&self.identity).ok()?).ok()
    }

    fn start(&self) -> io::Result<Leader> {
        let (program, arguments) =
            self.config.command.split_first().ok_or_else(|| io::Error::other("no command"))?;
        let log = OpenOptions::new().create(true).append(true).open(&self.config.log_file)?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&self.config.directory)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(&self.config.environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        // The process outlives this program on purpose; tokio reaps it if it ends before.
        let leader = Leader::of(child.id().ok_or_else(|| io::Error::other("it ended at once"))?)?;
        std::fs::write(&self.identity, serde_json::to_vec(&leader)?)?;
        Ok(leader)
    }
}
