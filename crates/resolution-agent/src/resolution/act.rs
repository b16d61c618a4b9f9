//! Steps: the intent is committed before the effect, the effect happens at most once, and its end
//! is committed before anything follows from it.
//!
//! A run may freeze anywhere and wake when another replica has gone on with its task. That one holds
//! the target's lock with a greater token. So the frozen run cannot commit an intent (`begin_attempt`
//! wants its own token to be the lock's), cannot act (deployment-system refuses its token, from when
//! the other has asked for the status), and cannot record an end (the first one stays).

use a2a_types::mcp::deployment::ROLLBACK;
use incident::{AttemptId, EffectClass, EntryKind, Plan, StepReport};
use jiff::Timestamp;
use rpc::a2a::AgentError;
use serde_json::{Value, json};
use store::{Attempt, AttemptRow, StoreError};

use super::step::{Attempted, End};
use super::{ActBody, ActKind, Resolution, Taken, body};
use crate::agent::stored;

/// Attempts at one step. A second one only where the first was cut off for certain.
pub(super) const ATTEMPTS: usize = 2;

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
    ) -> Result<Acted, AgentError> {
        let mut acted = Acted::default();
        for index in 0..plan.steps.len() {
            acted.stop = self.take_step(plan, index, rows, &mut acted.taken).await?;
            if acted.stop.is_some() {
                break;
            }
        }
        Ok(acted)
    }

    async fn take_step(
        &mut self,
        plan: &Plan,
        index: usize,
        rows: &[AttemptRow],
        taken: &mut Vec<Taken>,
    ) -> Result<Option<Stop>, AgentError> {
        let step = &plan.steps[index];
        let is_of_step = |row: &&AttemptRow| {
            let body = body(row);
            body.kind == ActKind::Act && body.step == index
        };
        let mut begun = rows.iter().filter(is_of_step);
        let mut stop = None;
        for _ in 0..ATTEMPTS {
            let former = begun.next();
            if former.is_none()
                && let Some(stop) = self.halt()?
            {
                return Ok(Some(stop));
            }
            let wanted = ActBody {
                plan: plan.id.to_string(),
                runbook: plan.runbook.clone(),
                kind: ActKind::Act,
                step: index,
                action: step.action.clone(),
                parameters: step.parameters.clone(),
                token: self.token,
            };
            let attempted = self.attempt(plan, &step.name, step.effect, wanted, former).await?;
            stop = stop_of(&step.name, &attempted.end);
            let is_cut_off = matches!(attempted.end, End::Interrupted { .. });
            taken.push(attempted);
            if !is_cut_off {
                break;
            }
        }
        Ok(stop)
    }

    /// Looked at right before every effect.
    fn halt(&self) -> Result<Option<Stop>, AgentError> {
        if self.is_stopped() {
            return Err(super::shutting_down());
        }
        if self.resolver.is_killed() {
            return Ok(Some(Stop::Killed));
        }
        Ok(self.cancelled.is_cancelled().then_some(Stop::Cancelled))
    }

    /// One attempt: a new one, or the end of the one a former run began.
    pub(super) async fn attempt(
        &mut self,
        plan: &Plan,
        name: &str,
        effect: EffectClass,
        wanted: ActBody,
        begun: Option<&AttemptRow>,
    ) -> Result<Taken, AgentError> {
        let (id, started_at, attempted) = match begun {
            Some(AttemptRow { attempt, outcome: Some(outcome), finished_at }) => {
                let end: End =
                    serde_json::from_value(outcome.clone()).map_err(AgentError::failed)?;
                let report = report(name, &wanted.action, &end, attempt.started_at, *finished_at);
                self.tell(&wanted, attempt.id, &report, &end).await?;
                return Ok(Taken { step: wanted.step, end, report });
            }
            Some(AttemptRow { attempt, .. }) => {
                let summary = format!("{name}: finding out what became of it before the restart");
                self.journal
                    .note_once(EntryKind::Note, summary, json!({"attempt": attempt.id}))
                    .await?;
                (attempt.id, attempt.started_at, Attempted::found(effect))
            }
            None => {
                let (id, started_at) = self.begin(plan, name, &wanted).await?;
                (id, started_at, Attempted::new(effect))
            }
        };
        let end = self.see_through(plan, &wanted, id, started_at, attempted).await?;
        // Until the end is recorded this run can be killed and another one asks for it again: the
        // record of deployment-system under this attempt's key is the same for both.
        let now = self.resolver.process.now();
        let outcome = serde_json::to_value(&end).map_err(AgentError::failed)?;
        match self.resolver.store.finish_attempt(id, outcome, now).await {
            Ok(()) => self.resolver.metrics.count(&end),
            // Another run has recorded it: the task is worked on again with what that one found.
            Err(error @ StoreError::Conflict { .. }) => return Err(self.overtaken(error)),
            Err(error) => return Err(stored(error)),
        }
        let report = report(name, &wanted.action, &end, started_at, Some(now));
        self.tell(&wanted, id, &report, &end).await?;
        Ok(Taken { step: wanted.step, end, report })
    }

    /// Tells of the end of an attempt, once: a restart may fall between its record and its entry.
    async fn tell(
        &mut self,
        wanted: &ActBody,
        id: AttemptId,
        report: &StepReport,
        end: &End,
    ) -> Result<(), AgentError> {
        if wanted.kind == ActKind::Undo {
            return Ok(());
        }
        let verb = match end {
            End::Done { .. } => "done",
            End::Interrupted { .. } => "interrupted",
            _ => "failed",
        };
        let summary = format!("{}: {verb}", report.name);
        self.journal.note_once(EntryKind::StepFinished, summary, finished(id, report, end)).await
    }

    /// Commits the intent, then says so in the task. The first is refused to whoever has not the
    /// lock any more, the second to whoever has not the task any more; either way nothing is done.
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
        self.resolver.store.begin_attempt(attempt, wanted.token).await.map_err(
            |error| match error {
                StoreError::Lost { .. } => self.overtaken(error),
                error => stored(error),
            },
        )?;
        match wanted.kind {
            ActKind::Act => {
                let detail = json!({
                    "attempt": id, "action": wanted.action, "target": plan.target,
                    "parameters": wanted.parameters, "fencing_token": wanted.token,
                });
                self.journal.note(EntryKind::StepStarted, name.to_owned(), detail).await?;
            }
            ActKind::Undo => self.check_owned().await?,
        }
        Ok((id, started_at))
    }

    /// The attempt that undoes a change.
    pub(super) fn rollback_body(&self, plan: &Plan, step: usize, change_id: &str) -> ActBody {
        ActBody {
            plan: plan.id.to_string(),
            runbook: plan.runbook.clone(),
            kind: ActKind::Undo,
            step,
            action: ROLLBACK.into(),
            parameters: [("change_id".to_owned(), Value::from(change_id))].into_iter().collect(),
            token: self.token,
        }
    }
}

fn stop_of(name: &str, end: &End) -> Option<Stop> {
    match end {
        End::Done { .. } => None,
        End::Failed { error, .. } | End::Interrupted { error, .. } | End::Untouched { error } => {
            Some(Stop::Failed(format!("step {name:?} failed: {error}")))
        }
        End::Unknown { error } => {
            Some(Stop::Unknown(format!("the outcome of step {name:?} is unknown: {error}")))
        }
    }
}

fn report(
    name: &str,
    action: &str,
    end: &End,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
) -> StepReport {
    let (change, error) = (end.change(), end.error().map(str::to_owned));
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

fn finished(id: AttemptId, report: &StepReport, end: &End) -> Value {
    let took = report.finished_at.duration_since(report.started_at).as_millis();
    let mut detail = json!({
        "attempt": id, "end": end.name(),
        "action": report.action, "change_id": report.change_id, "before": report.before,
        "after": report.after, "milliseconds": i64::try_from(took).unwrap_or(i64::MAX),
    });
    if let Some(change) = end.change() {
        detail["diff"] = json!(change.diff);
        detail["inverse"] = json!(change.inverse);
        detail["state"] = json!(change.state);
    }
    if let Some(error) = &report.error {
        detail["error"] = json!(error);
    }
    detail
}
