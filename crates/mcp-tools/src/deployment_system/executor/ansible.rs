//! `ansible-playbook`, for catalogued playbooks only. Values reach it through a vars file that only
//! this program can read, marked unsafe so that they are never templates; nothing of them is on the
//! command line. The whole process group ends at the deadline. Output is bounded and redacted.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value};
use service::Secret;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::{Effect, ExecutorError};
use crate::deployment_system::group::{GROUP_FILE, Leader};

/// Time for Ansible to end by SIGTERM after the deadline.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::deployment_system) struct Ansible {
    program: PathBuf,
    configuration: PathBuf,
    runs: PathBuf,
    output_bytes: usize,
}

/// One run of a playbook.
#[derive(Debug)]
pub(in crate::deployment_system) struct Run<'a> {
    pub(in crate::deployment_system) id: &'a str,
    pub(in crate::deployment_system) playbook: &'a Path,
    pub(in crate::deployment_system) variables: Map<String, Value>,
    pub(in crate::deployment_system) secrets: Vec<Secret>,
    /// Ansible's check mode: reads, changes nothing.
    pub(in crate::deployment_system) check: bool,
    pub(in crate::deployment_system) time: Duration,
}

/// What the playbook recorded by `firebreak_record`, and its output.
pub(in crate::deployment_system) type Ran = (Effect, Result<(), ExecutorError>);

impl Ansible {
    pub(in crate::deployment_system) fn new(
        program: &Path,
        directory: &Path,
        runs: PathBuf,
        output_bytes: usize,
    ) -> std::io::Result<Self> {
        let configuration = std::path::absolute(directory.join("ansible.cfg"))?;
        Ok(Self { program: program.to_owned(), configuration, runs, output_bytes })
    }

    /// Runs a playbook. What it recorded is returned however it ended.
    pub(in crate::deployment_system) async fn run(&self, run: Run<'_>) -> Ran {
        let directory = match std::path::absolute(self.runs.join(run.id)) {
            Ok(directory) => directory,
            Err(error) => return (Effect::default(), Err(not_started(&error))),
        };
        let (output, ended) = match self.start(&run, &directory) {
            Ok((child, guard)) => self.wait(child, guard, run.time).await,
            Err(error) => (String::new(), Err(not_started(&error))),
        };
        let mut effect = Effect { output: redact(output, &run.secrets), ..read_record(&directory) };
        let ended = match effect.refused.take() {
            Some(message) => Err(ExecutorError::Refused { field: "target".into(), message }),
            None => ended,
        };
        if effect.output.len() > self.output_bytes {
            effect.output = end_of(&effect.output, self.output_bytes);
        }
        // The vars file holds a credential.
        if let Err(error) = std::fs::remove_dir_all(&directory) {
            tracing::warn!(%error, directory = %directory.display(), "run not cleared");
        }
        (effect, ended)
    }

    fn start(&self, run: &Run<'_>, directory: &Path) -> std::io::Result<(Child, Guard)> {
        std::fs::DirBuilder::new().mode(0o700).create(directory)?;
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
        let mut command = Command::new(&self.program);
        command.arg("--extra-vars").arg(format!("@{}", vars_file.display()));
        if run.check {
            command.arg("--check");
        }
        let child = command
            .arg(std::path::absolute(run.playbook)?)
            .current_dir(directory)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", directory)
            .env("ANSIBLE_CONFIG", &self.configuration)
            .env("ANSIBLE_LOCAL_TEMP", directory)
            .env("ANSIBLE_REMOTE_TEMP", directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let leader =
            Leader::of(child.id().ok_or_else(|| std::io::Error::other("it ended at once"))?)?;
        let guard = Guard(Some(leader));
        if let Some(leader) = &guard.0 {
            std::fs::write(directory.join(GROUP_FILE), serde_json::to_vec(leader)?)?;
        }
        Ok((child, guard))
    }

    async fn wait(
        &self,
        mut child: Child,
        mut guard: Guard,
        time: Duration,
    ) -> (String, Result<(), ExecutorError>) {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = async {
            // More than the bound is read and dropped, so that the child never waits for us.
            tokio::join!(read_end(stdout, self.output_bytes), read_end(stderr, self.output_bytes))
        };
        let mut output = String::new();
        let ended = tokio::time::timeout(time, async {
            let (out, err) = read.await;
            output = out;
            output.push_str(&err);
            child.wait().await
        })
        .await;
        let leader = guard.0.take();
        let outcome = match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(ExecutorError::Failed(format!("ansible-playbook: {status}"))),
            Ok(Err(error)) => Err(ExecutorError::Unknown(format!("ansible-playbook: {error}"))),
            Err(_) => {
                Err(ExecutorError::Failed("the deadline passed: the playbook was ended".into()))
            }
        };
        // Also after a regular end: nothing it left in the background may go on.
        let cleared = match leader {
            Some(leader) => leader.end(GRACE).await,
            None => Ok(()),
        };
        let _ = child.wait().await;
        match cleared {
            Ok(()) => (output, outcome),
            Err(error) => (output, Err(ExecutorError::Unknown(error.to_string()))),
        }
    }
}

/// Ends the group when the run is abandoned, as it is at a forced shutdown.
struct Guard(Option<Leader>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take() {
            leader.kill();
        }
    }
}

fn not_started(error: &std::io::Error) -> ExecutorError {
    ExecutorError::Unreachable(format!("ansible-playbook cannot be run: {error}"))
}

/// The last `bound` bytes of a stream.
async fn read_end(stream: Option<impl tokio::io::AsyncRead + Unpin>, bound: usize) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut is_cut = false;
    let mut chunk = vec![0; 8192];
    while let Ok(length) = stream.read(&mut chunk).await {
        if length == 0 {
            break;
        }
        kept.extend_from_slice(&chunk[..length]);
        if kept.len() > 2 * bound {
            kept.drain(..kept.len() - bound);
            is_cut = true;
        }
    }
    if is_cut {
        // Half a line may hold half a secret, which redaction would not know.
        let end = kept.iter().position(|&byte| byte == b'\n').map_or(kept.len(), |at| at + 1);
        kept.drain(..end);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn end_of(text: &str, bound: usize) -> String {
    let mut start = text.len() - bound;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!("…{}", &text[start..])
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

fn redact(text: String, secrets: &[Secret]) -> String {
    static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?i)((?:authorization|passw(?:or)?d|secret|token|api_?key)["']?\s*[:=]\s*["']?)(?:(?:bearer|basic)\s+)?[^\s"',}]+"#)
            .expect("a valid pattern")
    });
    let text = secrets.iter().fold(text, |text, secret| text.replace(secret.reveal(), "***"));
    ASSIGNED.replace_all(&text, "${1}***").into_owned()
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

    #[test]
    fn secrets_are_redacted_wherever_they_stand() {
        let secrets = [Secret::new("hunter2")];
        let text = redact(
            "url http://u:hunter2@h/ Authorization: Bearer abc.def token=xyz ok".into(),
            &secrets,
        );
        assert_eq!(text, "url http://u:***@h/ Authorization: *** token=*** ok");
    }

    #[tokio::test]
    async fn a_long_output_is_kept_from_its_end_by_whole_lines() {
        let long: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        let kept = read_end(Some(long.as_bytes()), 1000).await;
        assert!(kept.starts_with("line ") && kept.ends_with("line 9999\n"));
        assert!((900..=2000).contains(&kept.len()), "{}", kept.len());
        assert_eq!(read_end(Some(&b"short"[..]), 1000).await, "short");
    }

    #[test]
    fn the_end_of_an_output_is_cut_at_a_character() {
        assert_eq!(end_of("aéé", 3), "…é");
    }
}
