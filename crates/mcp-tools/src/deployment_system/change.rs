//! One change from request to record. The order is the point: check everything, read what the
//! action touches, commit the intent, record what will act, act, read again, commit the outcome. A
//! key that was used is answered from the record; a change that began is never begun again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::mcp::deployment::{Change, ChangeRequest, ChangeState, Difference};
use jiff::Timestamp;
use rpc::mcp::server::ToolError;
use serde_json::{Value, json};
use service::{Process, Secret};
use store::{Store, StoreError};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::act::Acted;
use super::action::Action;
use super::check::Checked;
use super::executor::{
    Ansible, Effect, Executor, ExecutorError, HttpAdmin, LocalProcess, Undo, redact,
};
use super::inventory::{ExecutorConfig, Inventory};
use super::playbook::Playbooks;
use super::record::{differences, split, unavailable};
use super::run::RunDirectory;
use super::takeover::Held;
use super::{Config, grant};

/// Between attempts to record an outcome, at first and at most.
const RECORD_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(super) struct Deployer {
    pub(super) config: Config,
    pub(super) targets: BTreeMap<String, Reachable>,
    pub(super) playbooks: Playbooks,
    pub(super) ansible: Ansible,
    pub(super) store: Arc<dyn Store>,
    pub(super) process: Process,
    /// Changes of other processes that this one has to bring to an end.
    pub(super) held: Mutex<Held>,
    /// Rung when there may be something to do about them.
    pub(super) bell: Notify,
    /// The changes in hand.
    pub(super) at_work: TaskTracker,
}

/// A target of the inventory with what changes it.
pub(super) struct Reachable {
    pub(super) service: String,
    pub(super) executor: Executor,
    pub(super) playbooks: Vec<String>,
}

/// A change whose intent is committed.
struct Begun {
    id: String,
    checked: Checked,
    before: Value,
    undo: Undo,
    started_at: Timestamp,
    directory: RunDirectory,
}

impl Deployer {
    pub(super) fn new(
        config: Config,
        inventory: Inventory,
        playbooks: Playbooks,
        store: Arc<dyn Store>,
        process: Process,
    ) -> anyhow::Result<Self> {
        let ansible =
            Ansible::new(&config.ansible_playbook, &config.ansible_directory, config.output_bytes)?;
        let identities = config.work_directory.join("processes");
        let mut targets = BTreeMap::new();
        for (name, target) in inventory.targets {
            let executor = match &target.executor {
                ExecutorConfig::HttpAdmin(admin) => {
                    Executor::HttpAdmin(HttpAdmin::new(&name, admin)?)
                }
                ExecutorConfig::Process(config) => {
                    Executor::Process(LocalProcess::new(&name, config, &identities)?)
                }
            };
            let reachable =
                Reachable { service: target.service, executor, playbooks: target.playbooks };
            targets.insert(name, reachable);
        }
        let (held, bell, at_work) = Default::default();
        Ok(Self { config, targets, playbooks, ansible, store, process, held, bell, at_work })
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
        self.target(&request.target)?;
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
        let checked = self.check(name, request, arguments_sha256).await?;
        // Goes on when the caller goes away, and shutdown waits for it.
        let id = format!("chg_{}", self.process.new_id());
        let (deployer, change_id) = (self.clone(), id.clone());
        let task = self.process.spawn(self.at_work.track_future(async move {
            let answer = deployer.run(change_id.clone(), checked).await;
            if matches!(answer, Err(ToolError::Unknown(_))) {
                deployer.doubt(change_id);
            }
            answer
        }));
        match task.await {
            Ok(answer) => answer,
            Err(error) => {
                self.doubt(id.clone());
                Err(ToolError::Unknown(format!("{id}: {error}")))
            }
        }
    }

    async fn run(&self, id: String, checked: Checked) -> Result<Change, ToolError> {
        let _at_work = self.at_work(&id);
        match self.begin(id, checked).await? {
            Ok(begun) => self.carry_out(begun).await,
            Err(recorded) => Ok(recorded),
        }
    }

    /// Commits the intent. The inner error is the recorded answer of a call that was faster.
    async fn begin(
        &self,
        id: String,
        checked: Checked,
    ) -> Result<Result<Begun, Change>, ToolError> {
        let before = self.observe(&checked).await?;
        self.check_left(&checked, &before)?;
        let undo = self.undo(&checked, &before);
        let started_at = self.process.now();
        let directory = RunDirectory::create(&self.runs(), &id)
            .map_err(|error| ToolError::Unavailable(format!("the run's directory: {error}")))?;
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
                // Nothing has acted before an executor is recorded.
                "is_gated": true,
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
        let error = match self.store.begin_change(intent, checked.request.fencing_token).await {
            Ok(()) => return Ok(Ok(Begun { id, checked, before, undo, started_at, directory })),
            Err(error) => error,
        };
        directory.clear();
        if error.is_transient() {
            self.doubt(id);
        }
        Err(match error {
            StoreError::Exists { .. } => {
                match self.recorded(&checked.request, &checked.arguments_sha256).await? {
                    Some(recorded) => return Ok(Err(recorded)),
                    None => ToolError::refused("grant.id", "was used by another change"),
                }
            }
            StoreError::Fenced { target, seen } => {
                fenced(&target, checked.request.fencing_token, seen)
            }
            StoreError::Busy { target, by } => self.busy(&target, &by).await,
            // No record, no action.
            error => unavailable(&error),
        })
    }

    async fn carry_out(&self, begun: Begun) -> Result<Change, ToolError> {
        failpoints::hit(failpoints::AFTER_CLAIM);
        let grant = begun.checked.request.grant.as_ref();
        tracing::info!(
            change.id = begun.id,
            target = begun.checked.target,
            action = begun.checked.name,
            principal = grant.map(|grant| &grant.principal),
            "change begins"
        );
        let acted = match self.check_unchanged(&begun).await {
            Ok(()) => self.act(&begun.checked, &begun.id, &begun.directory).await,
            Err(error) => Acted::Ended(Effect::default(), Err(error)),
        };
        let (effect, ended) = match acted {
            Acted::Ended(effect, ended) => (effect, ended),
            Acted::GivenUp(why) => {
                tracing::warn!(change.id = begun.id, "given up: {why}");
                return Err(ToolError::Unknown(format!("{}: {why}", begun.id)));
            }
        };
        failpoints::hit(failpoints::AFTER_EFFECT);
        let change = self.ended(&begun, effect, ended).await;
        tracing::info!(
            change.id = begun.id,
            state = ?change.state,
            error = change.error,
            "change ended"
        );
        failpoints::hit(failpoints::BEFORE_COMMIT);
        match self.record_end(&begun.id, &change).await {
            Ok(()) => {
                begun.directory.clear();
                Ok(change)
            }
            Err(error) => {
                let id = begun.id;
                tracing::error!(change.id = id, %error, "the outcome could not be recorded");
                Err(ToolError::Unknown(format!("{id}: the outcome could not be recorded: {error}")))
            }
        }
    }

    /// Looks again at what the action sets, now that nobody else changes the target: it must be what
    /// the intent says, or the inverse would restore something else.
    async fn check_unchanged(&self, begun: &Begun) -> Result<(), ExecutorError> {
        let Begun { checked, before, .. } = begun;
        let executor = match (&checked.action, self.targets.get(&checked.target)) {
            // A playbook looks itself.
            (Action::RunPlaybook(_), _) | (_, None) => return Ok(()),
            (_, Some(target)) => &target.executor,
        };
        let now = executor.observe(&checked.action).await?;
        let settings = |state| executor.settings(&checked.action, state);
        match differences(&settings(before), &settings(&now)).first() {
            None => Ok(()),
            Some(Difference { path, before, after }) => {
                let message = format!("{path} was changed meanwhile: it was {before}, now {after}");
                Err(ExecutorError::Refused { field: "target".to_owned(), message })
            }
        }
    }

    /// The record of a change that came to an end.
    async fn ended(
        &self,
        begun: &Begun,
        effect: Effect,
        ended: Result<(), ExecutorError>,
    ) -> Change {
        let Begun { id, checked, started_at, .. } = begun;
        let before = effect.before.unwrap_or_else(|| begun.before.clone());
        let after = match effect.after {
            Some(after) => after,
            None => self.observe(checked).await.unwrap_or(Value::Null),
        };
        let undo = match (&checked.action, &ended) {
            (_, Err(error)) if error.did_nothing() => Err("nothing was done".to_owned()),
            (Action::RunPlaybook(_), _) => self.undo(checked, &before),
            _ => begun.undo.clone(),
        };
        let (inverse, no_inverse) = split(undo);
        let secrets = self.secrets(&checked.target);
        let (state, error) = match ended {
            Ok(()) => (ChangeState::Done, None),
            Err(error) => {
                let state = match error {
                    ExecutorError::Unknown(_) => ChangeState::Unknown,
                    _ => ChangeState::Failed,
                };
                (state, Some(redact(error.to_string(), &secrets)))
            }
        };
        let finished_at = self.process.now();
        Change {
            change_id: Some(id.clone()),
            target: checked.target.clone(),
            action: checked.name.clone(),
            state,
            diff: differences(&before, &after),
            before,
            after,
            inverse,
            no_inverse,
            started_at: *started_at,
            finished_at: (state != ChangeState::Unknown).then_some(finished_at),
            output: redact(effect.output, &secrets),
            error,
        }
    }

    /// Commits the end of a change, however long the database is away: until then its target takes no
    /// other change.
    pub(super) async fn record_end(&self, id: &str, change: &Change) -> Result<(), StoreError> {
        let outcome = serde_json::to_value(change).expect("a change is plain fields");
        let at = change.finished_at.unwrap_or_else(|| self.process.now());
        let shutdown = self.process.shutdown_token();
        let (mut pause, longest) = RECORD_PAUSE;
        let mut is_adopted = false;
        loop {
            let error = match self.store.finish_change(id.to_owned(), outcome.clone(), at).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error {
                // An answer that was lost on the way is no failure.
                StoreError::Lost { .. } => {
                    let row = self.store.change(id.to_owned()).await?;
                    match row.and_then(|row| row.outcome) {
                        Some(recorded) if recorded == outcome => return Ok(()),
                        // Nobody has taken it over while this process gave no sign of life.
                        None if !is_adopted => self.adopt().await?,
                        _ => return Err(error),
                    }
                    is_adopted = true;
                }
                error if error.is_transient() && !shutdown.is_cancelled() => {
                    tracing::warn!(change.id = id, %error, "the outcome is not recorded yet");
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(longest);
                }
                error => return Err(error),
            }
        }
    }

    /// What must not be told of a target.
    pub(super) fn secrets(&self, target: &str) -> Vec<Secret> {
        match self.targets.get(target).map(|target| &target.executor) {
            Some(Executor::HttpAdmin(admin)) => admin.secrets(),
            _ => Vec::new(),
        }
    }
}

/// The fault of a caller whose lock somebody else has by now.
pub(super) fn fenced(target: &str, token: Option<i64>, seen: i64) -> ToolError {
    let token = token.unwrap_or_default();
    let message = format!("{token} is smaller than {seen}, the greatest that {target} has seen");
    ToolError::refused("fencing_token", message)
}

impl std::fmt::Debug for Deployer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployer").finish_non_exhaustive()
    }
}
