//! One change from request to record. The order is the point: check everything, read what the
//! action touches, commit the intent, act, read again, commit the outcome. A key that was used is
//! answered from the record; a change that began and has no outcome is never repeated.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::mcp::deployment::{Change, ChangeRequest, ChangeState, Difference, RunPlaybook};
use jiff::Timestamp;
use rpc::mcp::server::ToolError;
use serde_json::{Value, json};
use service::Process;
use store::{FileStore, StoreError};
use tokio::sync::OwnedMutexGuard;

use super::action::{Action, Asked, parse};
use super::executor::{Ansible, Effect, Executor, ExecutorError, HttpAdmin, LocalProcess, Undo};
use super::inventory::{ExecutorConfig, Inventory};
use super::playbook::Playbooks;
use super::record::{differences, read_change, split, unavailable};
use super::{Config, executor, grant};

/// Changes of a target that `status` lists.
const RECENT: usize = 10;

pub(super) struct Deployer {
    config: Config,
    targets: BTreeMap<String, Reachable>,
    pub(super) playbooks: Playbooks,
    ansible: Ansible,
    pub(super) store: FileStore,
    pub(super) process: Process,
}

/// A target of the inventory with what changes it.
pub(super) struct Reachable {
    pub(super) service: String,
    pub(super) executor: Executor,
    pub(super) playbooks: Vec<String>,
    /// Held by the change in progress.
    writer: Arc<tokio::sync::Mutex<()>>,
    /// Ids of changes since this process started, newest first.
    pub(super) recent: Mutex<VecDeque<String>>,
}

/// A request that passed every check.
struct Checked {
    target: String,
    /// The name asked for, `rollback` where it is one.
    name: String,
    action: Action,
    /// Of a rollback: what its change left of the values that the action sets. `null`: not known.
    left: Value,
    request: ChangeRequest,
    arguments_sha256: String,
}

/// A change whose intent is committed.
struct Begun {
    id: String,
    checked: Checked,
    before: Value,
    undo: Undo,
    started_at: Timestamp,
}

impl Deployer {
    pub(super) fn new(
        config: Config,
        inventory: Inventory,
        playbooks: Playbooks,
        store: FileStore,
        process: Process,
    ) -> anyhow::Result<Self> {
        let ansible = Ansible::new(
            &config.ansible_playbook,
            &config.ansible_directory,
            config.work_directory.join("runs"),
            config.output_bytes,
        )?;
        let identities = config.work_directory.join("processes");
        let mut targets = BTreeMap::new();
        for (name, target) in inventory.targets {
            let executor = match &target.executor {
                ExecutorConfig::HttpAdmin(admin) => Executor::HttpAdmin(HttpAdmin::new(admin)?),
                ExecutorConfig::Process(config) => {
                    Executor::Process(LocalProcess::new(&name, config, &identities)?)
                }
            };
            let reachable = Reachable {
                service: target.service,
                executor,
                playbooks: target.playbooks,
                writer: Arc::default(),
                recent: Mutex::default(),
            };
            targets.insert(name, reachable);
        }
        Ok(Self { config, targets, playbooks, ansible, store, process })
    }

    pub(super) fn concurrent_calls(&self) -> usize {
        self.config.concurrent_calls
    }

    pub(super) fn target(&self, name: &str) -> Result<&Reachable, ToolError> {
        self.targets.get(name).ok_or_else(|| {
            let known = self.targets.keys().cloned().collect::<Vec<_>>().join(", ");
            ToolError::refused("target", format!("no target {name:?}; there are: {known}"))
        })
    }

    pub(super) async fn change(
        self: Arc<Self>,
        name: &'static str,
        request: ChangeRequest,
    ) -> Result<Change, ToolError> {
        let target = self.target(&request.target)?;
        let arguments_sha256 = grant::arguments_sha256(name, &request);
        if request.dry_run {
            if self.config.dry_run_needs_grant || request.grant.is_some() {
                let grant = grant::matching(&request, &arguments_sha256)?;
                grant::check_valid(grant, self.process.now())?;
            }
            let checked = self.check(name, request, arguments_sha256).await?;
            return self.dry_run(checked).await;
        }
        let grant = grant::matching(&request, &arguments_sha256)?.clone();
        if let Some(recorded) = self.recorded(&request, &arguments_sha256).await? {
            return Ok(recorded);
        }
        grant::check_valid(&grant, self.process.now())?;
        let writer = target.writer.clone().try_lock_owned().map_err(|_| {
            let message = format!("another change of {} is in progress", request.target);
            ToolError::Unavailable(message)
        })?;
        let checked = self.check(name, request, arguments_sha256).await?;
        let begun = match self.begin(checked).await? {
            Ok(begun) => begun,
            Err(recorded) => return Ok(recorded),
        };
        tracing::info!(
            change.id = begun.id,
            target = begun.checked.target,
            action = begun.checked.name,
            principal = grant.principal,
            "change begins"
        );
        // Goes on when the caller goes away, and shutdown waits for it.
        let id = begun.id.clone();
        let deployer = self.clone();
        let task = self.process.spawn(async move { deployer.carry_out(begun, writer).await });
        task.await.unwrap_or_else(|error| Err(ToolError::Unknown(format!("{id}: {error}"))))
    }

    /// Everything that can be wrong with a request besides its grant.
    async fn check(
        &self,
        name: &str,
        request: ChangeRequest,
        arguments_sha256: String,
    ) -> Result<Checked, ToolError> {
        if request.deadline <= self.process.now() {
            let message = format!("{} has passed", request.deadline);
            return Err(ToolError::refused("deadline", message));
        }
        let (action, left) = match parse(name, &request.parameters)? {
            Asked::Action(action) => (action, Value::Null),
            Asked::Rollback(rollback) => {
                self.inverse_of(&rollback.change_id, &request.target).await?
            }
        };
        let target = self.target(&request.target)?;
        match &action {
            Action::RunPlaybook(run) => {
                self.playbooks.check(run)?;
                if !self.config.ansible_playbook.is_file() {
                    let program = self.config.ansible_playbook.display();
                    return Err(ToolError::Unavailable(format!("{program} is not installed")));
                }
                if !target.playbooks.contains(&run.playbook) {
                    let message = format!("{} may not be run for {}", run.playbook, request.target);
                    return Err(ToolError::refused("parameters.playbook", message));
                }
            }
            other if !target.executor.actions().contains(&other.name()) => {
                let message = format!("{} has no {}", request.target, other.name());
                return Err(ToolError::refused("target", message));
            }
            _ => {}
        }
        let name = name.to_owned();
        let target = request.target.clone();
        Ok(Checked { target, name, action, left, request, arguments_sha256 })
    }

    /// What undoes a change, and what the change left of the values that this sets.
    async fn inverse_of(
        &self,
        change_id: &str,
        target: &str,
    ) -> Result<(Action, Value), ToolError> {
        let refused = |message: String| ToolError::refused("parameters.change_id", message);
        let row = self.store.change(change_id).await.map_err(|error| unavailable(&error))?;
        let row = row.ok_or_else(|| refused(format!("no change {change_id:?}")))?;
        if row.change.target != target {
            return Err(refused(format!("{change_id} is a change of {}", row.change.target)));
        }
        let change = read_change(&row);
        let Some(inverse) = change.inverse else {
            let reason = change.no_inverse.unwrap_or_else(|| "it is not known".to_owned());
            return Err(refused(format!("{change_id} has no inverse: {reason}")));
        };
        match parse(&inverse.action, &inverse.parameters)? {
            Asked::Action(action) => {
                let left = match (&action, row.change.request["playbook"].as_str()) {
                    (Action::RunPlaybook(_), Some(ran)) => {
                        self.playbooks.settings(ran, &change.after)
                    }
                    _ => self.target(target)?.executor.settings(&action, &change.after),
                };
                Ok((action, left))
            }
            Asked::Rollback(_) => Err(refused(format!("{change_id} has a rollback as inverse"))),
        }
    }

    /// Refuses to undo what somebody has changed since: their change would be undone with ours.
    fn check_left(&self, checked: &Checked, now: &Value) -> Result<(), ToolError> {
        let executor = &self.target(&checked.target)?.executor;
        let now = executor.settings(&checked.action, now);
        match differences(&checked.left, &now).first() {
            None => Ok(()),
            Some(Difference { path, before, after }) => {
                let message = format!("{path} was changed since: it left {before}, now {after}");
                Err(ToolError::refused("parameters.change_id", message))
            }
        }
    }

    /// The answer to a key that was used before.
    async fn recorded(
        &self,
        request: &ChangeRequest,
        arguments_sha256: &str,
    ) -> Result<Option<Change>, ToolError> {
        let row = self.store.change_by_key(&request.idempotency_key).await;
        let Some(row) = row.map_err(|error| unavailable(&error))? else { return Ok(None) };
        if row.change.arguments_sha256 != arguments_sha256 {
            let message = format!("was used by {} with other arguments", row.change.id);
            return Err(ToolError::refused("idempotency_key", message));
        }
        let mut change = read_change(&row);
        if change.state == ChangeState::Done {
            change.state = ChangeState::AlreadyDone;
        }
        Ok(Some(change))
    }

    async fn observe(&self, checked: &Checked) -> Result<Value, ToolError> {
        match &checked.action {
            // A playbook records itself what it finds.
            Action::RunPlaybook(_) => Ok(Value::Null),
            action => self
                .target(&checked.target)?
                .executor
                .observe(action)
                .await
                .map_err(ExecutorError::into_tool_error),
        }
    }

    fn undo(&self, checked: &Checked, before: &Value) -> Undo {
        let Some(target) = self.targets.get(&checked.target) else {
            return Err("the target is not in the inventory".to_owned());
        };
        match &checked.action {
            Action::RunPlaybook(run) => self.playbooks.undo(&checked.target, &run.playbook, before),
            action => target.executor.undo(&checked.target, action, before),
        }
    }

    async fn dry_run(&self, checked: Checked) -> Result<Change, ToolError> {
        let started_at = self.process.now();
        let (before, after, output, error) = match &checked.action {
            Action::RunPlaybook(run) => {
                let id = format!("dry_{}", self.process.new_id());
                let time = self.time_left(&checked.request);
                let (effect, ended) = self.run_playbook(&checked, run, &id, true, time).await;
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

    /// Commits the intent. The inner error is the recorded answer of a call that was faster.
    async fn begin(&self, checked: Checked) -> Result<Result<Begun, Change>, ToolError> {
        let before = self.observe(&checked).await?;
        self.check_left(&checked, &before)?;
        let undo = self.undo(&checked, &before);
        let started_at = self.process.now();
        let id = format!("chg_{}", self.process.new_id());
        let grant = checked.request.grant.as_ref();
        let (inverse, no_inverse) = split(undo.clone());
        // Of a rollback, the playbook that it runs.
        let playbook = match &checked.action {
            Action::RunPlaybook(run) => Some(&run.playbook),
            _ => None,
        };
        let intent = store::Change {
            id: id.clone(),
            idempotency_key: checked.request.idempotency_key.clone(),
            grant_id: grant.map(|grant| grant.id.clone()),
            arguments_sha256: checked.arguments_sha256.clone(),
            target: checked.target.clone(),
            action: checked.name.clone(),
            request: json!({
                "parameters": checked.request.parameters,
                "principal": grant.map(|grant| &grant.principal),
                "deadline": checked.request.deadline,
                "playbook": playbook,
                "before": before,
                "inverse": inverse,
                "no_inverse": no_inverse,
            }),
            started_at,
        };
        match self.store.begin_change(&intent).await {
            Ok(()) => {
                let mut recent =
                    self.target(&checked.target)?.recent.lock().expect("no panic while held");
                recent.push_front(id.clone());
                recent.truncate(RECENT);
                drop(recent);
                Ok(Ok(Begun { id, checked, before, undo, started_at }))
            }
            Err(StoreError::Exists { .. }) => {
                match self.recorded(&checked.request, &checked.arguments_sha256).await? {
                    Some(recorded) => Ok(Err(recorded)),
                    None => Err(ToolError::refused("grant.id", "was used by another change")),
                }
            }
            // No record, no action.
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn carry_out(
        &self,
        begun: Begun,
        writer: OwnedMutexGuard<()>,
    ) -> Result<Change, ToolError> {
        let Begun { id, checked, before, undo, started_at } = begun;
        let time = self.time_left(&checked.request);
        failpoints::hit(failpoints::BEFORE_EFFECT);
        let (effect, ended) = self.act(&checked, &id, time).await;
        failpoints::hit(failpoints::AFTER_EFFECT);
        let before = effect.before.unwrap_or(before);
        let after = match effect.after {
            Some(after) => after,
            None => self.observe(&checked).await.unwrap_or(Value::Null),
        };
        let undo = match (&checked.action, &ended) {
            (_, Err(error)) if error.did_nothing() => Err("nothing was done".to_owned()),
            (Action::RunPlaybook(_), _) => self.undo(&checked, &before),
            _ => undo,
        };
        let (inverse, no_inverse) = split(undo);
        let (state, error) = match ended {
            Ok(()) => (ChangeState::Done, None),
            Err(error @ ExecutorError::Unknown(_)) => {
                (ChangeState::Unknown, Some(error.to_string()))
            }
            Err(error) => (ChangeState::Failed, Some(error.to_string())),
        };
        let finished_at = self.process.now();
        let change = Change {
            change_id: Some(id.clone()),
            target: checked.target,
            action: checked.name,
            state,
            diff: differences(&before, &after),
            before,
            after,
            inverse,
            no_inverse,
            started_at,
            finished_at: (state != ChangeState::Unknown).then_some(finished_at),
            output: effect.output,
            error,
        };
        tracing::info!(change.id = id, state = ?change.state, error = change.error, "change ended");
        let outcome = serde_json::to_value(&change).expect("a change is plain fields");
        let recorded = self.store.finish_change(&id, &outcome, finished_at).await;
        drop(writer);
        match recorded {
            Ok(()) => Ok(change),
            Err(error) => {
                tracing::error!(change.id = id, %error, "the outcome could not be recorded");
                Err(ToolError::Unknown(format!("{id}: the outcome could not be recorded: {error}")))
            }
        }
    }

    async fn act(
        &self,
        checked: &Checked,
        id: &str,
        time: Duration,
    ) -> (Effect, Result<(), ExecutorError>) {
        let target = match self.target(&checked.target) {
            Ok(target) => target,
            Err(error) => {
                return (Effect::default(), Err(ExecutorError::Failed(error.to_string())));
            }
        };
        match &checked.action {
            Action::RunPlaybook(run) => self.run_playbook(checked, run, id, false, time).await,
            // The executor watches the deadline; this only bounds what it does not.
            action => match tokio::time::timeout(
                time + Duration::from_secs(6),
                target.executor.carry_out(action, time),
            )
            .await
            {
                Ok(Ok(effect)) => (effect, Ok(())),
                Ok(Err(error)) => (Effect::default(), Err(error)),
                Err(_) => {
                    let message = "no answer by the deadline".to_owned();
                    (Effect::default(), Err(ExecutorError::Unknown(message)))
                }
            },
        }
    }

    async fn run_playbook(
        &self,
        checked: &Checked,
        run: &RunPlaybook,
        id: &str,
        check: bool,
        time: Duration,
    ) -> executor::Ran {
        let mut variables = run.variables.clone();
        let mut secrets = Vec::new();
        if !checked.left.is_null() {
            // The playbook finds out itself: what it reads first must be what was left.
            variables.insert("firebreak_expected".into(), checked.left.to_string().into());
        }
        let target = self.targets.get(&checked.target);
        if let Some(Executor::HttpAdmin(admin)) = target.map(|target| &target.executor) {
            variables.extend(admin.playbook_variables());
            secrets = admin.secrets();
        }
        let playbook = self.playbooks.file(&run.playbook);
        self.ansible
            .run(executor::Run { id, playbook: &playbook, variables, secrets, check, time })
            .await
    }

    fn time_left(&self, request: &ChangeRequest) -> Duration {
        let left = request.deadline.duration_since(self.process.now());
        let longest = Duration::from_secs(self.config.longest_change_seconds.into());
        Duration::try_from(left).unwrap_or_default().min(longest)
    }
}

impl std::fmt::Debug for Deployer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployer").finish_non_exhaustive()
    }
}
