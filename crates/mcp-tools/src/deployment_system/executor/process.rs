//! A process of this machine: started from a configured argument list as the leader of its own
//! group, and recognised later by its identity, never by a pid alone. It runs only once that identity
//! is on disk, so there are never two of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use a2a_types::mcp::deployment::RESTART_SERVICE;
use serde_json::{Value, json};

use super::{Effect, ExecutorError, not_offered};
use crate::deployment_system::action::Action;
use crate::deployment_system::deadline::Deadline;
use crate::deployment_system::gate::{Gated, launcher};
use crate::deployment_system::identity::Identity;
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
        deadline: &Deadline,
    ) -> Result<Effect, ExecutorError> {
        if *action != Action::RestartService {
            return Err(not_offered(action));
        }
        let failed =
            |what: &str, error: io::Error| ExecutorError::Failed(format!("{what}: {error}"));
        if let Some(running) = self.leader() {
            let grace = Duration::from_millis(self.config.stop_grace_ms).min(deadline.left());
            running.end(grace).await.map_err(|error| failed("stop", error))?;
        }
        let started = self.start().await.map_err(|error| failed("start", error))?;
        tokio::time::sleep(SETTLE.min(deadline.left())).await;
        if !started.is_alive() {
            let log = self.config.log_file.display();
            return Err(ExecutorError::Failed(format!(
                "it ended right after its start, see {log}"
            )));
        }
        Ok(Effect { output: format!("started as pid {}", started.pid), ..Effect::default() })
    }

    pub(super) fn status(&self) -> (Value, bool) {
        match self.leader().filter(Identity::is_alive) {
            Some(leader) => (json!({"running": true, "process": leader}), true),
            None => (json!({"running": false, "process": null}), false),
        }
    }

    fn leader(&self) -> Option<Identity> {
        serde_json::from_slice(&std::fs::read(&self.identity).ok()?).ok()
    }

    async fn start(&self) -> io::Result<Identity> {
        let (program, arguments) =
            self.config.command.split_first().ok_or_else(|| io::Error::other("no command"))?;
        let log = OpenOptions::new().create(true).append(true).open(&self.config.log_file)?;
        let mut command = launcher(Path::new(program));
        command
            .args(arguments)
            .current_dir(&self.config.directory)
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(&self.config.environment)
            .stdout(log.try_clone()?)
            .stderr(log);
        let gated = Gated::start(&mut command)?;
        let leader = gated.leader.clone();
        self.keep(&leader)?;
        // The process outlives this program on purpose; tokio reaps it if it ends before.
        gated.open().await?;
        Ok(leader)
    }

    /// Puts the identity on disk, whole or not at all.
    fn keep(&self, leader: &Identity) -> io::Result<()> {
        let next = self.identity.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec(leader)?)?;
        file.sync_all()?;
        std::fs::rename(&next, &self.identity)?;
        File::open(self.identity.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(directory: &Path) -> LocalProcess {
        let started = directory.join("started").display().to_string();
        let config = ProcessConfig {
            command: vec![
                "/bin/sh".into(),
                "-c".into(),
                "echo $$ >> \"$0\"; exec sleep 600".into(),
                started,
            ],
            directory: directory.to_owned(),
            environment: Default::default(),
            log_file: directory.join("log"),
            stop_grace_ms: 1000,
        };
        LocalProcess::new("worker", &config, &directory.join("processes")).unwrap()
    }

    #[tokio::test]
    async fn a_process_whose_identity_cannot_be_kept_does_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let process = process(directory.path());
        std::fs::remove_dir_all(directory.path().join("processes")).unwrap();
        let deadline = Deadline::after(&service::Clock::System, Duration::from_secs(60));
        process.carry_out(&Action::RestartService, &deadline).await.unwrap_err();
        assert!(!process.status().1);
        // Once it can, exactly one runs: the first had its time and did not.
        std::fs::create_dir(directory.path().join("processes")).unwrap();
        process.carry_out(&Action::RestartService, &deadline).await.unwrap();
        let running = process.leader().unwrap();
        let started = std::fs::read_to_string(directory.path().join("started")).unwrap();
        assert_eq!(started, format!("{}\n", running.pid));
        running.end(Duration::from_secs(1)).await.unwrap();
    }
}
