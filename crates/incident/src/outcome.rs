//! How a remediation ended, and what shows it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{IncidentId, PlanId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub incident_id: IncidentId,
    pub plan_id: Option<PlanId>,
    pub result: OutcomeResult,
    /// One sentence for a person.
    pub summary: String,
    pub steps: Vec<StepReport>,
    /// Checks after the fix.
    pub checks: Vec<CheckReport>,
    /// Undo steps, in the order they ran.
    #[serde(default)]
    pub undo: Vec<StepReport>,
    /// Checks that the undo restored what was there before.
    #[serde(default)]
    pub undo_checks: Vec<CheckReport>,
    pub finished_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeResult {
    /// The checks held on fresh samples for their hold time.
    Proven,
    /// Not proven; undone, and the undo verified.
    Undone,
    /// Not proven, and the undo failed or could not be verified.
    UndoFailed,
    /// A gate stopped the plan; nothing was done.
    Refused,
    /// No runbook fits the diagnosis; nothing was done.
    NoRunbook,
    /// The mode only observes or recommends; nothing was done.
    Recommended,
    /// A step failed or its outcome is unknown.
    StepFailed,
    /// Cancelled before anything was done.
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    pub name: String,
    pub action: String,
    /// The change deployment-system recorded.
    pub change_id: Option<String>,
    pub before: Value,
    pub after: Value,
    /// `None` when it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    pub name: String,
    pub query: String,
    pub passed: bool,
    /// The newest value seen; `None` is no data, which is not proof.
    pub value: Option<f64>,
    pub sampled_at: Option<Timestamp>,
    /// Value, threshold and time held, or why it is not proven.
    pub reason: String,
}
