//! The program as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use a2a_types::mcp::deployment::{STATUS, StatusInput, StatusOutput};
use mcp_tools::deployment_system::Config;
use rpc::mcp::client::{Client, Options};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::effects::until;
use super::{PATIENCE, client};

/// A run of the program, killed with its executors when the test ends.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
}

impl Program {
    pub(crate) fn start(directory: &Path, config: &Config) -> Self {
        Self::start_with(directory, config, &[])
    }

    /// With variables of its environment.
    pub(crate) fn start_with(
        directory: &Path,
        config: &Config,
        environment: &[(&str, &str)],
    ) -> Self {
        let listen = service::own_loopback_address();
        let child = spawn(directory, config, &listen, environment);
        let address = listen.parse().unwrap();
        Self { child, client: client(address, Options::default()), address }
    }

    pub(crate) async fn call<O: serde::de::DeserializeOwned>(
        &self,
        tool: &str,
        input: &impl serde::Serialize,
    ) -> O {
        self.client.call(tool, input, PATIENCE).await.unwrap()
    }

    pub(crate) async fn is_ready(&self) {
        let input = StatusInput { change_id: Some("none".into()), ..StatusInput::default() };
        let wait = async {
            while self.client.call::<_, StatusOutput>(STATUS, &input, PATIENCE).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(3 * PATIENCE, wait).await.expect("the program answers");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(self.child.id(), signal);
    }

    pub(crate) async fn has_ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the program has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal_to(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn spawn(directory: &Path, config: &Config, listen: &str, environment: &[(&str, &str)]) -> Child {
    let file = directory.join(format!("{}.yaml", listen.replace(':', "-")));
    let settings = json!({
        "listen": listen,
        "access": {"allowed_hosts": [listen.split(':').next()]},
        "inventory": config.inventory,
        "ansible_directory": config.ansible_directory,
        "ansible_playbook": config.ansible_playbook,
        "database": config.database,
        "work_directory": config.work_directory,
        "lease_seconds": config.lease_seconds
    });
    std::fs::write(&file, settings.to_string()).unwrap();
    let log = directory.join("program.log");
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    Command::new(env!("CARGO_BIN_EXE_deployment-system"))
        .arg("--config")
        .arg(file)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
