//! The act itself: what will act is recorded, then let act, within its time and until this program is
//! stopped.

use std::path::PathBuf;
use std::time::Duration;

use a2a_types::mcp::deployment::{Change, ChangeRequest, ChangeState, RunPlaybook};
use rpc::mcp::server::ToolError;
use serde_json::Value;
use store::StoreError;

use super::action::Action;
use super::change::Deployer;
use super::check::Checked;
use super::deadline::Deadline;
use super::executor::{Effect, Executor, ExecutorError, Ran, Run};
use super::identity::Identity;
use super::record::{differences, split, unavailable};
use super::run::{ExecutorKind, ExecutorRecord, RunDirectory};

/// What an executor may take beyond its time before it is given up.
const OVERTIME: Duration = Duration::from_secs(6);
/// How long a change may go on once this program is asked to stop. Less than shutdown waits.
const DRAIN: Duration = Duration::from_secs(5);

/// How acting ended.
pub(super) enum Acted {
    Ended(Effect, Result<(), ExecutorError>),
    /// Another process brings the change to its end; why.
    GivenUp(String),
}

impl Deployer {
    pub(super) async fn act(&self, checked: &Checked, id: &str, directory: &RunDirectory) -> Acted {
        match &checked.action {
            Action::RunPlaybook(run) => self.run_playbook(checked, run, id, directory).await,
            action => self.act_here(checked, action, id, directory).await,
        }
    }

    /// This process acts itself.
    async fn act_here(
        &self,
        checked: &Checked,
        action: &Action,
        id: &str,
        directory: &RunDirectory,
    ) -> Acted {
        let Some(target) = self.targets.get(&checked.target) else {
            return nothing_done("the target is not in the inventory".to_owned());
        };
        let record = ExecutorRecord::new(ExecutorKind::InProcess, Identity::current(), directory);
        let deadline = match self.admit(checked, id, record).await {
            Ok(deadline) => deadline,
            Err(denied) => return denied,
        };
        tokio::select! {
            acted = target.executor.carry_out(action, &deadline) => match acted {
                Ok(effect) => Acted::Ended(effect, Ok(())),
                Err(error) => Acted::Ended(Effect::default(), Err(error)),
            },
            // The executor watches the time; this only bounds what it does not.
            () = deadline.passed_by(OVERTIME) => {
                let message = "no answer by the deadline".to_owned();
                Acted::Ended(Effect::default(), Err(ExecutorError::Unknown(message)))
            }
            () = self.stopped() => Acted::GivenUp("deployment-system was stopped".to_owned()),
        }
    }

    async fn run_playbook(
        &self,
        checked: &Checked,
        run: &RunPlaybook,
        id: &str,
        directory: &RunDirectory,
    ) -> Acted {
        let run = self.playbook_run(checked, run, id, false);
        let waiting = match self.ansible.prepare(run, directory) {
            Ok(waiting) => waiting,
            Err(error) => return Acted::Ended(Effect::default(), Err(error)),
        };
        let record = ExecutorRecord::new(ExecutorKind::Group, waiting.leader().clone(), directory);
        match self.admit(checked, id, record).await {
            Ok(deadline) => {
                let (effect, ended) = waiting.act(&deadline, self.stopped()).await;
                Acted::Ended(effect, ended)
            }
            Err(denied) => denied,
        }
    }

    /// Records what will act. It may, until the deadline returned; otherwise nothing was done.
    async fn admit(
        &self,
        checked: &Checked,
        id: &str,
        record: ExecutorRecord,
    ) -> Result<Deadline, Acted> {
        match self.store.record_executor(id.to_owned(), record.to_value()).await {
            Ok(()) => {}
            Err(StoreError::Lost { .. }) => {
                let why = "another process has taken it over; this one did nothing";
                return Err(Acted::GivenUp(why.to_owned()));
            }
            Err(error) => return Err(nothing_done(unavailable(&error).to_string())),
        }
        failpoints::hit(failpoints::BEFORE_EFFECT);
        let deadline = self.deadline_of(&checked.request);
        match deadline.left() {
            Duration::ZERO => Err(nothing_done("the deadline passed before it began".to_owned())),
            _ => Ok(deadline),
        }
    }

    /// Ends when this program must not wait any longer for what it does.
    async fn stopped(&self) {
        self.process.shutdown_token().cancelled().await;
        tokio::time::sleep(DRAIN).await;
    }

    pub(super) async fn dry_run(&self, checked: Checked) -> Result<Change, ToolError> {
        let started_at = self.process.now();
        let (before, after, output, error) = match &checked.action {
            Action::RunPlaybook(run) => {
                let id = format!("dry_{}", self.process.new_id());
                let (effect, ended) = self.dry_run_playbook(&checked, run, &id).await;
                let before = effect.before.unwrap_or_default();
                let after = effect.after.unwrap_or_default();
                (before, after, effect.output, ended.err().map(|error| error.to_string()))
            }
            action => {
                let before = self.observe(&checked).await?;
                self.check_left(&checked, &before)?;
                let after = self.target(&checked.target)?.executor.expected(action, &before);
                (before, after, String::new(), None)
            }
        };
        let (inverse, no_inverse) = split(self.undo(&checked, &before));
        Ok(Change {
            change_id: None,
            target: checked.target,
            action: checked.name,
            state: ChangeState::DryRun,
            diff: differences(&before, &after),
            before,
            after: Value::Null,
            inverse,
            no_inverse,
            started_at,
            finished_at: Some(self.process.now()),
            output,
            error,
        })
    }

    async fn dry_run_playbook(&self, checked: &Checked, run: &RunPlaybook, id: &str) -> Ran {
        let directory = match RunDirectory::create(&self.runs(), id) {
            Ok(directory) => directory,
            Err(error) => {
                let message = format!("the run's directory: {error}");
                return (Effect::default(), Err(ExecutorError::Unreachable(message)));
            }
        };
        let deadline = self.deadline_of(&checked.request);
        let run = self.playbook_run(checked, run, id, true);
        let ran = match self.ansible.prepare(run, &directory) {
            Ok(waiting) => waiting.act(&deadline, self.stopped()).await,
            Err(error) => (Effect::default(), Err(error)),
        };
        directory.clear();
        ran
    }

    fn playbook_run(&self, checked: &Checked, run: &RunPlaybook, id: &str, check: bool) -> Run {
        let mut variables = run.variables.clone();
        if !checked.left.is_null() {
            // The playbook finds out itself: what it reads first must be what was left.
            variables.insert("firebreak_expected".into(), checked.left.to_string().into());
        }
        let target = self.targets.get(&checked.target);
        if let Some(Executor::HttpAdmin(admin)) = target.map(|target| &target.executor) {
            variables.extend(admin.playbook_variables());
        }
        let playbook = self.playbooks.file(&run.playbook);
        let secrets = self.secrets(&checked.target);
        Run { id: id.to_owned(), playbook, variables, secrets, check }
    }

    /// Where runs have their directories.
    pub(super) fn runs(&self) -> PathBuf {
        self.config.work_directory.join("runs")
    }

    fn deadline_of(&self, request: &ChangeRequest) -> Deadline {
        let left = request.deadline.duration_since(self.process.now());
        let longest = Duration::from_secs(self.config.longest_change_seconds.into());
        let left = Duration::try_from(left).unwrap_or_default().min(longest);
        Deadline::after(self.process.clock(), left)
    }
}

fn nothing_done(why: String) -> Acted {
    Acted::Ended(Effect::default(), Err(ExecutorError::Unreachable(why)))
}
