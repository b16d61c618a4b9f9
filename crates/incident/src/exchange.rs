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
        Ok(Self::deserialize(&whole_numbers(data.clone()))?)
    }
}

/// The value with `3` for every `3.0`. Protocol Buffers know no integers in free-form data: a peer
/// that read a payload through them, as the official Python SDK does, passes it on in floats.
pub fn whole_numbers(data: Value) -> Value {
    /// The integers that a float holds exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match data {
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float.fract() == 0.0 && float.abs() <= EXACT => {
                Value::from(float as i64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, whole_numbers(value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_went_through_protocol_buffers_are_whole_again() {
        let through =
            json!({"a": [3.0, -0.0, 0.9, {"b": 9_007_199_254_740_992.0_f64}], "c": 1e300});
        let whole = json!({"a": [3, 0, 0.9, {"b": 9_007_199_254_740_992_i64}], "c": 1e300});
        assert_eq!(whole_numbers(through), whole);
    }
}
