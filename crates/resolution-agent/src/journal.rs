//! What a task tells while it runs: timeline entries, the plan and the outcome, as artifacts. The
//! list of entries is replaced as a whole, and survives a restart with its task.

use a2a_types::{Artifact, Task};
use incident::{EntryKind, Outcome, Payload, Plan, TimelineEntry};
use jiff::Timestamp;
use rpc::a2a::{AgentError, Updates};
use serde_json::Value;
use service::Clock;

use crate::NAME;

const PLAN: &str = "plan";
const PROGRESS: &str = "progress";
const OUTCOME: &str = "outcome";

#[derive(Debug)]
pub(crate) struct Journal {
    updates: Updates,
    clock: Clock,
    entries: Vec<TimelineEntry>,
}

impl Journal {
    /// Goes on with what the task has told already.
    pub(crate) fn of(task: &Task, updates: Updates, clock: Clock) -> Self {
        let entries = match payload(task, PROGRESS) {
            Some(Payload::Progress { entries }) => entries,
            _ => Vec::new(),
        };
        Self { updates, clock, entries }
    }

    pub(crate) fn updates(&self) -> &Updates {
        &self.updates
    }

    pub(crate) async fn note(
        &mut self,
        kind: EntryKind,
        summary: impl Into<String>,
        detail: Value,
    ) -> Result<Timestamp, AgentError> {
        let now = self.clock.now();
        let summary = summary.into();
        tracing::info!(task.id = %self.updates.task_id(), ?kind, "{summary}");
        self.entries.push(TimelineEntry::new(now, NAME, kind, summary).with_detail(detail));
        self.put(PROGRESS, Payload::Progress { entries: self.entries.clone() }).await?;
        Ok(now)
    }

    /// As `note`, unless the task has told so already before a restart.
    pub(crate) async fn note_once(
        &mut self,
        kind: EntryKind,
        summary: impl Into<String>,
        detail: Value,
    ) -> Result<(), AgentError> {
        let summary = summary.into();
        let is_known = |entry: &TimelineEntry| entry.kind == kind && entry.summary == summary;
        if !self.entries.iter().any(is_known) {
            self.note(kind, summary, detail).await?;
        }
        Ok(())
    }

    pub(crate) async fn put_plan(&self, plan: &Plan) -> Result<(), AgentError> {
        self.put(PLAN, Payload::Plan(plan.clone())).await
    }

    pub(crate) async fn put_outcome(&self, outcome: &Outcome) -> Result<(), AgentError> {
        self.put(OUTCOME, Payload::Outcome(outcome.clone())).await
    }

    async fn put(&self, id: &str, payload: Payload) -> Result<(), AgentError> {
        Ok(self.updates.put_artifact(Artifact::new(id, vec![rpc::part(&payload)])).await?)
    }
}

/// The plan a task has made already.
pub(crate) fn plan_of(task: &Task) -> Option<Plan> {
    match payload(task, PLAN) {
        Some(Payload::Plan(plan)) => Some(plan),
        _ => None,
    }
}

/// The outcome a task has come to already.
pub(crate) fn outcome_of(task: &Task) -> Option<Outcome> {
    match payload(task, OUTCOME) {
        Some(Payload::Outcome(outcome)) => Some(outcome),
        _ => None,
    }
}

fn payload(task: &Task, id: &str) -> Option<Payload> {
    rpc::payloads(&task.artifact(id)?.parts).ok()?.pop()
}
