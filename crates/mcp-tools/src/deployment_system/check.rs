//! Everything that is checked before a change begins, and what is read of its target.

use a2a_types::mcp::deployment::{Change, ChangeRequest, ChangeState, Difference};
use rpc::mcp::server::ToolError;
use serde_json::Value;

use super::action::{Action, Asked, parse};
use super::change::Deployer;
use super::executor::{ExecutorError, Undo};
use super::record::{differences, read_change, unavailable};

/// A request that passed every check.
pub(super) struct Checked {
    pub(super) target: String,
    /// The name asked for, `rollback` where it is one.
    pub(super) name: String,
    pub(super) action: Action,
    /// Of a rollback: what its change left of the values that the action sets. `null`: not known.
    pub(super) left: Value,
    pub(super) request: ChangeRequest,
    pub(super) arguments_sha256: String,
}

impl Deployer {
    /// Everything that can be wrong with a request besides its grant.
    pub(super) async fn check(
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
        let row =
            self.store.change(change_id.to_owned()).await.map_err(|error| unavailable(&error))?;
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
    pub(super) fn check_left(&self, checked: &Checked, now: &Value) -> Result<(), ToolError> {
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
    pub(super) async fn recorded(
        &self,
        request: &ChangeRequest,
        arguments_sha256: &str,
    ) -> Result<Option<Change>, ToolError> {
        let row = self.store.change_by_key(request.idempotency_key.clone()).await;
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

    pub(super) async fn observe(&self, checked: &Checked) -> Result<Value, ToolError> {
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

    pub(super) fn undo(&self, checked: &Checked, before: &Value) -> Undo {
        let Some(target) = self.targets.get(&checked.target) else {
            return Err("the target is not in the inventory".to_owned());
        };
        match &checked.action {
            Action::RunPlaybook(run) => self.playbooks.undo(&checked.target, &run.playbook, before),
            action => target.executor.undo(&checked.target, action, before),
        }
    }
}
