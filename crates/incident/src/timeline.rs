//! The append-only account of an incident: who, what, when, why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    pub at: Timestamp,
    /// The program or person that did it.
    pub actor: String,
    pub kind: EntryKind,
    pub summary: String,
    /// Queries, values, before and after: what shows that the summary is true.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

impl TimelineEntry {
    pub fn new(at: Timestamp, actor: &str, kind: EntryKind, summary: impl Into<String>) -> Self {
        Self { at, actor: actor.into(), kind, summary: summary.into(), detail: Value::Null }
    }

    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    AlertFired,
    AlertResolved,
    FlappingBegan,
    FlappingEnded,
    IncidentOpened,
    IncidentReopened,
    DiagnosisStarted,
    Diagnosed,
    Planned,
    GateStopped,
    ApprovalAsked,
    Approved,
    StepStarted,
    StepFinished,
    VerificationStarted,
    Verified,
    NotProven,
    RollbackStarted,
    RolledBack,
    RollbackFailed,
    Concluded,
    Resolved,
    Closed,
    HandedOver,
    Suppressed,
    TicketSynced,
    Note,
    #[serde(untagged)]
    Other(String),
}
