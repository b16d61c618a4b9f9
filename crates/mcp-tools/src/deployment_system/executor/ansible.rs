//! `ansible-playbook`, for catalogued playbooks only. Values reach it through a vars file that only
//! this program can read, marked unsafe so that they are never templates; nothing of them is on the
//! command line. It waits at the gate until it is recorded, and everything it started ends with it.

use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};
use service::Secret;
use tokio::process::Child;

use super::output::{Tail, end_of, redact_value};
use super::{Effect, ExecutorError};
use crate::deployment_system::deadline::Deadline;
use crate::deployment_system::gate::{Gated, launcher};
use crate::deployment_system::group::{self, MARK};
use crate::deployment_system::identity::Identity;
use crate::deployment_system::run::RunDirectory;

/// Time for Ansible to end by SIGTERM, after the deadline or with what it left in the background.
const GRACE: Duration = Duration::from_secs(1);
/// How long the rest of the output is waited for, once everything was ended.
const READ_ON: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(in crate::deployment_system) struct Ansible {
    program: PathBuf,
    configuration: PathBuf,
    output_bytes: usize,
}

/// One run of a playbook.
#[derive(Debug)]
pub(in crate::deployment_system) struct Run {
    pub(in crate::deployment_system) id: String,
    pub(in crate::deployment_system) playbook: PathBuf,
    pub(in crate::deployment_system) variables: Map<String, Value>,
    pub(in crate::deployment_system) secrets: Vec<Secret>,
    /// Ansible's check mode: reads, changes nothing.
    pub(in crate::deployment_system) check: bool,
}

/// A run that waits at the gate. Dropped, it never acts.
#[derive(Debug)]
pub(in crate::deployment_system) struct Waiting<'a> {
    run: Run,
    directory: &'a RunDirectory,
    gated: Gated,
    output_bytes: usize,
}

/// What the playbook recorded by `firebreak_record`, and its output.
pub(in crate::deployment_system) type Ran = (Effect, Result<(), ExecutorError>);

enum End {
    Itself(io::Result<ExitStatus>),
    Deadline,
    Stopped,
}

impl Ansible {
    pub(in crate::deployment_system) fn new(
        program: &Path,
        directory: &Path,
        output_bytes: usize,
    ) -> io::Result<Self> {
        let configuration = std::path::absolute(directory.join("ansible.cfg"))?;
        Ok(Self { program: program.to_owned(), configuration, output_bytes })
    }

    /// Starts a run up to the gate.
    pub(in crate::deployment_system) fn prepare<'a>(
        &self,
        run: Run,
        directory: &'a RunDirectory,
    ) -> Result<Waiting<'a>, ExecutorError> {
        let gated = self.start(&run, directory.path()).map_err(|error| not_started(&error))?;
        Ok(Waiting { run, directory, gated, output_bytes: self.output_bytes })
    }

    fn start(&self, run: &Run, directory: &Path) -> io::Result<Gated> {
        let mut variables = run.variables.clone();
        let record = directory.join("record.json");
        variables.insert("firebreak_record_file".into(), record.display().to_string().into());
        let vars_file = directory.join("vars.yml");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&vars_file)?;
        file.write_all(vars_yaml(&variables).as_bytes())?;
        let mut command = launcher(&self.program);
        command.arg("--extra-vars").arg(format!("@{}", vars_file.display()));
        if run.check {
            command.arg("--check");
        }
        command
            .arg(std::path::absolute(&run.playbook)?)
            .current_dir(directory)
            .env(MARK, &run.id)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", directory)
            .env("ANSIBLE_CONFIG", &self.configuration)
            .env("ANSIBLE_LOCAL_TEMP", directory)
            .env("ANSIBLE_REMOTE_TEMP", directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Gated::start(&mut command)
    }
}

impl Waiting<'_> {
    /// The leader of its group.
    pub(in crate::deployment_system) fn leader(&self) -> &Identity {
        &self.gated.leader
    }

    /// Lets it act until it ends, or until the deadline, or until `stop`. What it recorded is returned
    /// however it ended; nothing that it started goes on.
    pub(in crate::deployment_system) async fn act(
        self,
        deadline: &Deadline,
        stop: impl Future<Output = ()>,
    ) -> Ran {
        let Self { run, directory, gated, output_bytes } = self;
        let guard = Guard(Some(gated.leader.clone()));
        let (output, ended) = match gated.open().await {
            Ok(child) => wait(child, guard, &run, output_bytes, deadline, stop).await,
            Err(_) => {
                let message = "the playbook was ended before it could act".to_owned();
                (String::new(), Err(ExecutorError::Unreachable(message)))
            }
        };
        let output = end_of(output, output_bytes);
        let mut effect = Effect { output, ..read_record(directory.path()) };
        for value in effect.before.iter_mut().chain(&mut effect.after) {
            redact_value(value, &run.secrets);
        }
        let ended = match effect.refused.take() {
            Some(message) => Err(ExecutorError::Refused { field: "target".into(), message }),
            None => ended,
        };
        (effect, ended)
    }
}

async fn wait(
    mut child: Child,
    mut guard: Guard,
    run: &Run,
    output_bytes: usize,
    deadline: &Deadline,
    stop: impl Future<Output = ()>,
) -> (String, Result<(), ExecutorError>) {
    let (mut out, mut err) = (Tail::new(output_bytes), Tail::new(output_bytes));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (end, cleared) = {
        let mut read = std::pin::pin!(async { tokio::join!(out.read(stdout), err.read(stderr)) });
        let mut waited = std::pin::pin!(async {
            tokio::select! {
                status = child.wait() => End::Itself(status),
                () = deadline.passed_by(Duration::ZERO) => End::Deadline,
                () = stop => End::Stopped,
            }
        });
        let mut is_read = false;
        let end = loop {
            tokio::select! {
                end = &mut waited => break end,
                _ = &mut read, if !is_read => is_read = true,
            }
        };
        // Also after a regular end: nothing it left in the background may go on.
        let clear = group::end_all(guard.0.as_ref(), &run.id, GRACE);
        let read_on = async {
            if !is_read {
                let _ = tokio::time::timeout(READ_ON, &mut read).await;
            }
        };
        (end, tokio::join!(clear, read_on).0)
    };
    let _ = child.wait().await;
    let mut output = out.into_text(&run.secrets);
    output.push_str(&err.into_text(&run.secrets));
    let outcome = match (cleared, end) {
        (Err(error), _) => return (output, Err(ExecutorError::Unknown(error.to_string()))),
        (Ok(left), end) => {
            if !left.is_empty() {
                let left = left.join(", ");
                tracing::warn!(change.id = run.id, "ended what the playbook left behind: {left}");
                output.push_str(&format!("\nfirebreak: ended what it left behind: {left}\n"));
            }
            outcome_of(end)
        }
    };
    guard.0 = None;
    (output, outcome)
}

fn outcome_of(end: End) -> Result<(), ExecutorError> {
    match end {
        End::Itself(Ok(status)) if status.success() => Ok(()),
        End::Itself(Ok(status)) => {
            Err(ExecutorError::Failed(format!("ansible-playbook: {status}")))
        }
        End::Itself(Err(error)) => {
            Err(ExecutorError::Unknown(format!("ansible-playbook: {error}")))
        }
        End::Deadline => {
            Err(ExecutorError::Failed("the deadline passed: the playbook was ended".into()))
        }
        End::Stopped => {
            let message = "deployment-system was stopped: the playbook was ended";
            Err(ExecutorError::Failed(message.into()))
        }
    }
}

/// Ends the group when the run is abandoned, as it is at a forced shutdown.
struct Guard(Option<Identity>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take() {
            leader.kill();
        }
    }
}

fn not_started(error: &io::Error) -> ExecutorError {
    ExecutorError::Unreachable(format!("ansible-playbook cannot be run: {error}"))
}

/// Strings become `!unsafe "…"`: a JSON string is a YAML string, and Ansible never renders it.
fn vars_yaml(variables: &Map<String, Value>) -> String {
    let mut text = String::from("---\n");
    for (name, value) in variables {
        let tag = if value.is_string() { "!unsafe " } else { "" };
        writeln!(text, "{name}: {tag}{value}").expect("writing to a string cannot fail");
    }
    text
}

/// What a playbook recorded in the directory of its run.
pub(in crate::deployment_system) fn read_record(directory: &Path) -> Effect {
    let record = std::fs::read(directory.join("record.json")).ok();
    let record: Value =
        record.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    Effect {
        output: String::new(),
        before: record.get("before").cloned(),
        after: record.get("after").cloned(),
        refused: record.get("refused").and_then(Value::as_str).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_in_the_vars_file_cannot_become_templates_or_yaml() {
        let variables = json!({
            "hostile": "{{ lookup('pipe', 'id') }}\"\n- x: \u{0}é: #",
            "size": 20,
            "flag": true
        });
        let text = vars_yaml(variables.as_object().unwrap());
        assert_eq!(
            text,
            "---\nflag: true\nhostile: !unsafe \
             \"{{ lookup('pipe', 'id') }}\\\"\\n- x: \\u0000é: #\"\nsize: 20\n"
        );
    }
}
