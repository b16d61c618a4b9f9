//! What agents send one another as `data` parts: the A2A extension `incident/v1`. Each part is an
//! object whose `type` names one of these.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Alert, Diagnosis, IncidentId, Outcome, Plan, Severity, TicketRef, TicketUpdate, TimelineEntry,
};

/// The extension's identifier in cards and messages.
pub const EXTENSION_URI: &str = "https://firebreak.dev/a2a/extensions/incident/v1";

/// What an agent needs to know of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    pub incident: IncidentSummary,
    pub alerts: Vec<Alert>,
    #[serde(default)]
    pub timeline: Vec<TimelineEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentSummary {
    pub id: IncidentId,
    pub title: String,
    #[serde(default)]
    pub description: String,
    pub severity: Severity,
    #[serde(default)]
    pub affected_systems: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    pub opened_at: Timestamp,
}

/// One data part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Payload {
    Brief(Brief),
    Diagnosis(Diagnosis),
    Plan(Plan),
    /// What has happened so far in a running task, oldest first.
    Progress {
        entries: Vec<TimelineEntry>,
    },
    Outcome(Outcome),
    TicketUpdate(TicketUpdate),
    Ticket(TicketRef),
    /// A person's decision on a plan.
    Approval {
        plan_hash: String,
        approved: bool,
        by: String,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("not an incident/v1 payload: {0}")]
pub struct PayloadError(#[from] serde_json::Error);

impl Payload {
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("payloads have string keys only")
    }

    /// Reads the content of one data part.
    ///
    /// # Errors
    /// The value is not a payload of this extension; the field that does not fit is named.
    pub fn from_value(data: &Value) -> Result<Self, PayloadError> {
        Ok(Self::deserialize(data)?)
    }
}
