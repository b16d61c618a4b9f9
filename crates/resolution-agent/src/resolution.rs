//! One resolution from its request to its outcome. Every state it can be interrupted in is durable
//! (the plan in its task, the attempts in the database), so that a restart goes on where it was, in
//! this process or in another replica. A run that has lost its task stops without acting: it finds
//! out at its next write of the task, at the lock, at its next intent, or at deployment-system.

mod act;
mod call;
mod decide;
pub(crate) mod step;
mod undo;
mod verify;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use a2a_types::{Task, TaskStoreError};
use incident::{AttemptId, CheckReport, Outcome, OutcomeResult, Plan, StepReport};
use jiff::Timestamp;
use rpc::a2a::{AgentError, Job};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::AttemptRow;
use tokio_util::sync::CancellationToken;

use self::step::End;
use crate::agent::{Resolver, stored};
use crate::journal::{self, Journal};
use crate::request::Resolve;

pub(crate) struct Resolution {
    resolver: Arc<Resolver>,
    request: Resolve,
    task: Task,
    is_resumed: bool,
    cancelled: CancellationToken,
    stopped: CancellationToken,
    journal: Journal,
    /// Of the target's lock, once this run has it.
    token: i64,
    /// What the gates knew, once they were asked.
    surveyed: Option<Surveyed>,
}

/// When the gates looked, and the attempts on the target that they knew of.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(crate) at: Timestamp,
    pub(crate) attempts: BTreeSet<AttemptId>,
}

/// An attempt as it is stored: which step of which plan, and exactly what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ActBody {
    pub(crate) plan: String,
    pub(crate) runbook: String,
    pub(crate) kind: ActKind,
    pub(crate) step: usize,
    pub(crate) action: String,
    pub(crate) parameters: Map<String, Value>,
    /// Fencing token of the target's lock.
    pub(crate) token: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ActKind {
    #[default]
    Act,
    Undo,
}

/// A step that was attempted, with what it left.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    step: usize,
    end: End,
    report: StepReport,
}

/// What an outcome reports beside its result.
#[derive(Debug, Default)]
struct Account {
    steps: Vec<StepReport>,
    checks: Vec<CheckReport>,
    undo: Vec<StepReport>,
    undo_checks: Vec<CheckReport>,
}

impl Resolution {
    pub(crate) fn new(resolver: Arc<Resolver>, request: Resolve, job: Job) -> Self {
        let clock = resolver.process.clock().clone();
        let journal = Journal::of(&job.task, job.updates.clone(), clock);
        let Job { task, is_resumed, cancelled, stopped, .. } = job;
        let (token, surveyed) = (0, None);
        Self { resolver, request, task, is_resumed, cancelled, stopped, journal, token, surveyed }
    }

    pub(crate) async fn run(mut self) -> Result<(), AgentError> {
        if let Some(outcome) = journal::outcome_of(&self.task) {
            self.release(journal::plan_of(&self.task).as_ref()).await?;
            return self.complete(outcome).await;
        }
        let rows = self.attempts().await?;
        match journal::plan_of(&self.task) {
            Some(plan) if !rows.is_empty() => self.carry_out(plan, rows).await,
            Some(plan) => self.gate(plan).await,
            None => self.plan().await,
        }
    }

    async fn attempts(&self) -> Result<Vec<AttemptRow>, AgentError> {
        self.resolver.store.attempts_of_task(self.task.id.clone()).await.map_err(stored)
    }

    /// Acts, verifies, and undoes what is not proven; goes on where the attempts so far end.
    async fn carry_out(&mut self, plan: Plan, known: Vec<AttemptRow>) -> Result<(), AgentError> {
        match self.lock(&plan).await? {
            Ok(()) => {}
            Err(why) if known.is_empty() => return self.refuse(&plan, "lock", why).await,
            Err(why) => return self.give_up(&plan, &known, why).await,
        }
        failpoints::hit(failpoints::AFTER_CLAIM);
        // Read under the lock: another run of this task can begin no attempt from here on, as the
        // lock is not its own any more, and what it had begun is seen here. So no step is begun twice.
        let rows = self.attempts().await?;
        if rows.is_empty()
            && let Some(why) = self.acted_since(&plan).await?
        {
            return self.refuse(&plan, "lock", why).await;
        }
        let acted = self.act(&plan, &rows).await?;
        let account = Account {
            steps: acted.taken.iter().map(|taken| taken.report.clone()).collect(),
            ..Account::default()
        };
        let stop = match acted.stop {
            None => None,
            Some(act::Stop::Cancelled) if acted.taken.is_empty() => {
                let summary = "cancelled before anything was done";
                return self
                    .conclude(Some(&plan), OutcomeResult::Cancelled, summary, account)
                    .await;
            }
            // What was done is verified like any other act.
            Some(act::Stop::Cancelled) => None,
            Some(act::Stop::Killed) => return self.killed(&plan, account).await,
            Some(act::Stop::Unknown(why)) => {
                let summary = format!("{why}; {} is left to a person", plan.target);
                self.quarantine(&plan, &summary).await?;
                return self
                    .conclude(Some(&plan), OutcomeResult::StepFailed, summary, account)
                    .await;
            }
            Some(act::Stop::Failed(why)) => Some(why),
        };
        match stop {
            Some(why) => {
                self.undo(&plan, acted.taken, &rows, account, undo::Cause::Step(why)).await
            }
            None => self.prove(&plan, acted.taken, &rows, account).await,
        }
    }

    /// The gates looked at a target that was not locked yet: whatever has been done to it since they
    /// asked, they do not know of. Found by the attempts, as the clock may have been set since.
    async fn acted_since(&self, plan: &Plan) -> Result<Option<String>, AgentError> {
        let Some(surveyed) = &self.surveyed else { return Ok(None) };
        let earlier = surveyed.at.min(self.resolver.process.now());
        let since = earlier - self.resolver.policy.memory();
        let rows = self.resolver.store.attempts_since(since).await.map_err(stored)?;
        let other = rows.into_iter().map(|row| row.attempt).find(|attempt| {
            attempt.target == plan.target && !surveyed.attempts.contains(&attempt.id)
        });
        Ok(other.map(|attempt| {
            let task = attempt.task_id;
            format!("task {task} worked on {} while this was planned", plan.target)
        }))
    }

    async fn prove(
        &mut self,
        plan: &Plan,
        taken: Vec<Taken>,
        rows: &[AttemptRow],
        mut account: Account,
    ) -> Result<(), AgentError> {
        let is_undoing = rows.iter().any(|row| body(row).kind == ActKind::Undo);
        if is_undoing {
            let cause = undo::Cause::Checks("not proven before the restart".into());
            return self.undo(plan, taken, rows, account, cause).await;
        }
        let proof = self.verify(plan, &taken).await?;
        account.checks = proof.checks;
        match proof.failure {
            Some(why) => self.undo(plan, taken, rows, account, undo::Cause::Checks(why)).await,
            None => {
                let symptom =
                    account.checks.first().map(|check| format!("{}: {}", check.name, check.reason));
                let summary = format!(
                    "{} on {} is proven: {}",
                    plan.runbook,
                    plan.target,
                    symptom.unwrap_or_default()
                );
                self.conclude(Some(plan), OutcomeResult::Proven, summary, account).await
            }
        }
    }

    /// The kill switch stops everything, undo as well; what was begun is left to a person.
    async fn killed(&mut self, plan: &Plan, account: Account) -> Result<(), AgentError> {
        let path = self.resolver.policy.kill_switch.display().to_string();
        if account.steps.is_empty() {
            return self
                .refuse(plan, "kill_switch", format!("{path} exists: nothing is done"))
                .await;
        }
        let done = account.steps.len();
        let summary = format!(
            "stopped by the kill switch {path} after {done} of {} steps; nothing was undone",
            plan.steps.len()
        );
        self.quarantine(plan, &summary).await?;
        self.conclude(Some(plan), OutcomeResult::StepFailed, summary, account).await
    }

    /// The target was closed to this task before a restart: all that is left is to say so.
    async fn give_up(
        &mut self,
        plan: &Plan,
        rows: &[AttemptRow],
        why: String,
    ) -> Result<(), AgentError> {
        let mut account = Account::default();
        let mut result = OutcomeResult::StepFailed;
        for row in rows {
            let body = body(row);
            let Some(step) = plan.steps.get(body.step) else { continue };
            if row.outcome.is_none() {
                self.leave_unknown(row, &why).await?;
            }
            let report = act::reported(&step.name, &body.action, row);
            match body.kind {
                ActKind::Act => account.steps.push(report),
                ActKind::Undo => {
                    result = OutcomeResult::UndoFailed;
                    account.undo.push(report);
                }
            }
        }
        self.conclude(Some(plan), result, why, account).await
    }

    /// Records that nobody knows what became of an attempt: each has an outcome in the end.
    async fn leave_unknown(&self, row: &AttemptRow, why: &str) -> Result<(), AgentError> {
        self.resolver.leave_unknown(row.attempt.id, why).await.map_err(stored)
    }

    async fn conclude(
        &mut self,
        plan: Option<&Plan>,
        result: OutcomeResult,
        summary: impl Into<String>,
        account: Account,
    ) -> Result<(), AgentError> {
        let outcome = Outcome {
            incident_id: self.request.brief.incident.id,
            plan_id: plan.map(|plan| plan.id),
            result,
            summary: summary.into(),
            steps: account.steps,
            checks: account.checks,
            undo: account.undo,
            undo_checks: account.undo_checks,
            finished_at: self.resolver.process.now(),
        };
        failpoints::hit(failpoints::BEFORE_COMMIT);
        self.journal.put_outcome(&outcome).await?;
        self.release(plan).await?;
        self.complete(outcome).await
    }

    /// A task its caller cancelled before any act ends as canceled; every other one is complete.
    async fn complete(&self, outcome: Outcome) -> Result<(), AgentError> {
        if outcome.result == OutcomeResult::Cancelled && self.cancelled.is_cancelled() {
            return Ok(());
        }
        Ok(self.journal.updates().complete(outcome.summary).await?)
    }

    /// Gives the target's lock back once the outcome is stored. A quarantine outlasts it. A run that
    /// froze before this and wakes much later takes nothing from anybody: with its outcome stored
    /// this task locks no more, and the lock of another task stays with that one.
    async fn release(&self, plan: Option<&Plan>) -> Result<(), AgentError> {
        let Some(plan) = plan else { return Ok(()) };
        let (target, task) = (plan.target.clone(), self.task.id.clone());
        self.resolver.store.unlock_target(target, task).await.map_err(stored)
    }

    async fn quarantine(&self, plan: &Plan, why: &str) -> Result<(), AgentError> {
        self.resolver.quarantine(plan.target.clone(), why.to_owned()).await.map_err(stored)
    }

    /// Whether the task is this replica's still; if not, this run ends here.
    async fn check_owned(&self) -> Result<(), AgentError> {
        let id = self.task.id.clone();
        match self.resolver.tasks.held(vec![id.clone()]).await?.is_empty() {
            true => Err(TaskStoreError::Lost { id }.into()),
            false => Ok(()),
        }
    }

    /// This run has been overtaken. If the task is this replica's still, it is worked on again from
    /// what the store says, after a check of just that.
    fn overtaken(&self, why: impl fmt::Display) -> AgentError {
        tracing::warn!(task.id = self.task.id, %why, "another run was faster");
        TaskStoreError::Unavailable(why.to_string()).into()
    }

    /// The process is going down, or another replica has the task: what is unfinished stays so, and
    /// whoever has it then resumes it.
    fn is_stopped(&self) -> bool {
        self.stopped.is_cancelled()
    }
}

/// What an attempt was for. A body nobody can read matches no step.
fn body(row: &AttemptRow) -> ActBody {
    serde_json::from_value(row.attempt.body.clone())
        .unwrap_or_else(|_| ActBody { step: usize::MAX, ..ActBody::default() })
}

/// Said to the A2A server, which keeps the task for the next process.
fn shutting_down() -> AgentError {
    AgentError::transient("interrupted by a shutdown")
}
