//! Steps: the intent is committed before the effect, the effect happens at most once, and its end
//! is committed before anything follows from it.

use std::time::Duration;

use a2a_types::mcp::deployment::{
    Change, ChangeRequest, ChangeState, Grant, ROLLBACK, StatusInput, canonical_arguments,
};
use incident::{AttemptId, EffectClass, EntryKind, Plan, StepReport};
use jiff::{SignedDuration, Timestamp};
use rpc::a2a::AgentError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Attempt, AttemptRow};

use super::{ActBody, ActKind, End, Resolution, Taken, body};
use crate::NAME;
use crate::agent::stored;

/// Calls repeated because deployment-system was not there and so did nothing.
const RETRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Least time given to find out what became of a call.
const SETTLE: SignedDuration = SignedDuration::from_secs(5);

/// The steps that were attempted, and why the later ones were not.
#[derive(Debug, Default)]
pub(super) struct Acted {
    pub(super) taken: Vec<Taken>,
    pub(super) stop: Option<Stop>,
}

#[derive(Debug)]
pub(super) enum Stop {
    Cancelled,
    Killed,
    /// The last step failed, or could not be begun.
    Failed(String),
    /// It is not known whether the last step took effect.
    Unknown(String),
}

impl Resolution {
    /// Takes the plan's steps in order; those with an attempt in `rows` are not taken again.
    pub(super) async fn act(
        &mut self,
        plan: &Plan,
        rows: &[AttemptRow],
        token: i64,
    ) -> Result<Acted, AgentError> {
        let mut acted = Acted::default();
        for (index, step) in plan.steps.iter().enumerate() {
            let begun = rows.iter().find(|row| {
                let body = body(row);
                body.kind == ActKind::Act && body.step == index
            });
            if begun.is_none()
                && let Some(stop) = self.halt()?
            {
                acted.stop = Some(stop);
                break;
            }
            let wanted = ActBody {
                plan: plan.id.to_string(),
                runbook: plan.runbook.clone(),
                kind: ActKind::Act,
                step: index,
                action: step.action.clone(),
                parameters: step.parameters.clone(),
                token,
            };
            let taken = self.attempt(plan, &step.name, step.effect, wanted, begun).await?;
            let stop = match &taken.end {
                End::Done { .. } => None,
                End::Failed { error, .. } | End::Untouched { error } => {
                    Some(Stop::Failed(format!("step {:?} failed: {error}", step.name)))
                }
                End::Unknown { error } => Some(Stop::Unknown(format!(
                    "the outcome of step {:?} is unknown: {error}",
                    step.name
                ))),
            };
            acted.taken.push(taken);
            if stop.is_some() {
                acted.stop = stop;
                break;
            }
        }
        Ok(acted)
    }

    /// Looked at right before every effect.
    fn halt(&self) -> Result<Option<Stop>, AgentError> {
        if self.is_shutting_down() {
            return Err(super::shutting_down());
        }
        if self.resolver.is_killed() {
            return Ok(Some(Stop::Killed));
        }
        Ok(self.cancelled.is_cancelled().then_some(Stop::Cancelled))
    }

    /// One attempt: a new one, or the end of the one a former process began.
    pub(super) async fn attempt(
        &mut self,
        plan: &Plan,
        name: &str,
        effect: EffectClass,
        wanted: ActBody,
        begun: Option<&AttemptRow>,
    ) -> Result<Taken, AgentError> {
        let (id, started_at, end) = match begun {
            Some(AttemptRow { attempt, outcome: Some(outcome), finished_at }) => {
                let end: End =
                    serde_json::from_value(outcome.clone()).map_err(AgentError::failed)?;
                let report = report(name, &wanted.action, &end, attempt.started_at, *finished_at);
                self.tell(&wanted, &report, &end).await?;
                return Ok(Taken { step: wanted.step, end, report });
            }
            Some(AttemptRow { attempt, .. }) => {
                let summary = format!("{name}: finding out what became of it before the restart");
                self.journal
                    .note_once(EntryKind::Note, summary, json!({"attempt": attempt.id}))
                    .await?;
                let end =
                    self.settle(plan, &wanted, effect, attempt.id, attempt.started_at, true).await;
                (attempt.id, attempt.started_at, end)
            }
            None => {
                let (id, started_at) = self.begin(plan, name, &wanted).await?;
                failpoints::hit(failpoints::BEFORE_EFFECT);
                let end = self.call(plan, &wanted, effect, id, started_at).await;
                failpoints::hit(failpoints::AFTER_EFFECT);
                (id, started_at, end)
            }
        };
        let now = self.resolver.process.now();
        let outcome = serde_json::to_value(&end).map_err(AgentError::failed)?;
        self.resolver.store.finish_attempt(&id, &outcome, now).await.map_err(stored)?;
        let report = report(name, &wanted.action, &end, started_at, Some(now));
        self.tell(&wanted, &report, &end).await?;
        Ok(Taken { step: wanted.step, end, report })
    }

    /// Tells of the end of a step, once: a restart may fall between its record and its entry.
    async fn tell(
        &mut self,
        wanted: &ActBody,
        report: &StepReport,
        end: &End,
    ) -> Result<(), AgentError> {
        if wanted.kind == ActKind::Undo {
            return Ok(());
        }
        let verb = if report.error.is_none() { "done" } else { "failed" };
        let summary = format!("{}: {verb}", report.name);
        self.journal.note_once(EntryKind::StepFinished, summary, finished(report, end)).await
    }

    async fn begin(
        &mut self,
        plan: &Plan,
        name: &str,
        wanted: &ActBody,
    ) -> Result<(AttemptId, Timestamp), AgentError> {
        let process = &self.resolver.process;
        let (id, started_at) = (AttemptId::new(process.new_id()), process.now());
        let attempt = Attempt {
            id,
            task_id: self.task.id.clone(),
            target: plan.target.clone(),
            body: serde_json::to_value(wanted).map_err(AgentError::failed)?,
            started_at,
        };
        self.resolver.store.begin_attempt(&attempt).await.map_err(stored)?;
        if wanted.kind == ActKind::Act {
            let detail = json!({
                "attempt": id, "action": wanted.action, "target": plan.target,
                "parameters": wanted.parameters, "fencing_token": wanted.token,
            });
            self.journal.note(EntryKind::StepStarted, name.to_owned(), detail).await?;
        }
        Ok((id, started_at))
    }

    async fn call(
        &self,
        plan: &Plan,
        wanted: &ActBody,
        effect: EffectClass,
        id: AttemptId,
        started_at: Timestamp,
    ) -> End {
        let resolver = &self.resolver;
        let timeout = resolver.config.step_deadline();
        let request = self.request(plan, wanted, id);
        let mut tries = 0;
        loop {
            match resolver.tools.change(&wanted.action, &request, timeout).await {
                Ok(change) => match end_of(change) {
                    Some(end) => return end,
                    None => break,
                },
                Err(error) if error.may_have_acted() => break,
                Err(error) if error.is_transient() && tries < RETRIES => {
                    tries += 1;
                    tracing::info!(%error, "nothing was done, trying again");
                    resolver.process.clock().sleep(RETRY_PAUSE).await;
                    if resolver.is_killed() {
                        return End::Untouched { error: "the kill switch is on".into() };
                    }
                }
                Err(error) => return End::Untouched { error: error.to_string() },
            }
        }
        Box::pin(self.settle(plan, wanted, effect, id, started_at, false)).await
    }

    /// Finds out what became of a call that gave no answer. A call that never arrived is made again
    /// under the same idempotency key, once, if its effect class allows that.
    async fn settle(
        &self,
        plan: &Plan,
        wanted: &ActBody,
        effect: EffectClass,
        id: AttemptId,
        started_at: Timestamp,
        may_repeat: bool,
    ) -> End {
        let unknown = |error: String| End::Unknown { error };
        match self.recorded(id, started_at).await {
            Err(why) => unknown(why),
            Ok(Some(change)) => {
                let why = "deployment-system has no end of it".to_owned();
                end_of(change).unwrap_or_else(|| unknown(why))
            }
            Ok(None) if effect == EffectClass::AtMostOnce => {
                unknown("deployment-system has no record of it, and it is not repeatable".into())
            }
            Ok(None) if self.resolver.is_killed() => {
                End::Untouched { error: "the kill switch is on".into() }
            }
            Ok(None) if may_repeat => {
                Box::pin(self.call(plan, wanted, effect, id, self.resolver.process.now())).await
            }
            Ok(None) => unknown("deployment-system gave no answer and has no record of it".into()),
        }
    }

    /// What deployment-system has on record under an idempotency key. Waits for what still runs.
    async fn recorded(
        &self,
        id: AttemptId,
        started_at: Timestamp,
    ) -> Result<Option<Change>, String> {
        let process = &self.resolver.process;
        let input = StatusInput { idempotency_key: Some(id.to_string()), ..StatusInput::default() };
        let allowed = SignedDuration::try_from(self.resolver.config.step_deadline());
        let until = (started_at + allowed.unwrap_or(SETTLE)).max(process.now() + SETTLE);
        loop {
            let is_over = process.now() >= until;
            match self.resolver.tools.status(&input).await {
                Ok(status) => match status.changes.into_iter().next() {
                    Some(change) if may_still_act(&change) && !is_over => {}
                    found => return Ok(found),
                },
                Err(error) if is_over => return Err(error.to_string()),
                Err(error) => tracing::info!(%error, "status not known yet"),
            }
            process.clock().sleep(RETRY_PAUSE).await;
        }
    }

    fn request(&self, plan: &Plan, wanted: &ActBody, id: AttemptId) -> ChangeRequest {
        let allowed = SignedDuration::try_from(self.resolver.config.step_deadline());
        let deadline = self.resolver.process.now() + allowed.unwrap_or(SETTLE);
        let arguments = canonical_arguments(&wanted.action, &plan.target, &wanted.parameters);
        ChangeRequest {
            target: plan.target.clone(),
            parameters: wanted.parameters.clone(),
            idempotency_key: id.to_string(),
            grant: Some(Grant {
                id: id.to_string(),
                principal: NAME.into(),
                target: plan.target.clone(),
                arguments_sha256: hex::encode(Sha256::digest(arguments)),
                expires_at: deadline,
            }),
            deadline,
            fencing_token: None,
            dry_run: false,
        }
    }

    /// The attempt that undoes a change.
    pub(super) fn rollback_body(
        &self,
        plan: &Plan,
        step: usize,
        change_id: &str,
        token: i64,
    ) -> ActBody {
        ActBody {
            plan: plan.id.to_string(),
            runbook: plan.runbook.clone(),
            kind: ActKind::Undo,
            step,
            action: ROLLBACK.into(),
            parameters: [("change_id".to_owned(), Value::from(change_id))].into_iter().collect(),
            token,
        }
    }
}

/// The end a change came to; `None` while it has none.
fn end_of(change: Change) -> Option<End> {
    let change = Box::new(change);
    match change.state {
        ChangeState::Done | ChangeState::AlreadyDone => Some(End::Done { change }),
        ChangeState::Failed => {
            let error = change.error.clone().unwrap_or_else(|| "the executor failed".into());
            Some(End::Failed { change, error })
        }
        ChangeState::DryRun => Some(End::Untouched { error: "answered as a dry run".into() }),
        ChangeState::Unknown if may_still_act(&change) => None,
        // Nobody knows how far it came, but it goes no further: like a failure, it can be undone.
        ChangeState::Unknown => {
            let error = change.error.clone().unwrap_or_else(|| "it was interrupted".into());
            Some(End::Failed { change, error })
        }
    }
}

/// Whatever carries the change out may be at work still.
fn may_still_act(change: &Change) -> bool {
    change.state == ChangeState::Unknown && change.finished_at.is_none()
}

fn report(
    name: &str,
    action: &str,
    end: &End,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
) -> StepReport {
    let (change, error) = match end {
        End::Done { change } => (Some(change), None),
        End::Failed { change, error } => (Some(change), Some(error.clone())),
        End::Untouched { error } | End::Unknown { error } => (None, Some(error.clone())),
    };
    StepReport {
        name: name.into(),
        action: action.into(),
        change_id: change.and_then(|change| change.change_id.clone()),
        before: change.map(|change| change.before.clone()).unwrap_or_default(),
        after: change.map(|change| change.after.clone()).unwrap_or_default(),
        error,
        started_at,
        finished_at: finished_at.unwrap_or(started_at),
    }
}

/// The report of a stored attempt.
pub(super) fn reported(name: &str, action: &str, row: &AttemptRow) -> StepReport {
    let end = row.outcome.clone().and_then(|outcome| serde_json::from_value(outcome).ok());
    let end = end.unwrap_or_else(|| End::Unknown { error: "its end is not recorded".into() });
    report(name, action, &end, row.attempt.started_at, row.finished_at)
}

fn finished(report: &StepReport, end: &End) -> Value {
    let took = report.finished_at.duration_since(report.started_at).as_millis();
    let mut detail = json!({
        "action": report.action, "change_id": report.change_id, "before": report.before,
        "after": report.after, "milliseconds": i64::try_from(took).unwrap_or(i64::MAX),
    });
    if let End::Done { change } | End::Failed { change, .. } = end {
        detail["diff"] = json!(change.diff);
        detail["inverse"] = json!(change.inverse);
        detail["state"] = json!(change.state);
    }
    if let Some(error) = &report.error {
        detail["error"] = json!(error);
    }
    detail
}
