//! What the diagnostic agent concludes, with everything that shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Confidence, IncidentId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub incident_id: IncidentId,
    /// A catalogued cause such as `db.connection_pool_exhausted`; `None` is inconclusive.
    pub cause: Option<String>,
    /// One sentence for a person.
    pub summary: String,
    /// The inventory name of what is at fault.
    pub target: Option<String>,
    pub confidence: Confidence,
    /// Verified outcomes behind the confidence.
    #[serde(default)]
    pub cases: u32,
    /// The rule that found the cause.
    #[serde(default)]
    pub rule: Option<String>,
    pub evidence: Vec<Evidence>,
    /// Queries that gave nothing, each of which lowered the confidence.
    #[serde(default)]
    pub missing: Vec<MissingEvidence>,
    #[serde(default)]
    pub alternatives: Vec<Alternative>,
    /// Runbooks the rule recommends, best first.
    #[serde(default)]
    pub runbooks: Vec<String>,
    /// Facts a runbook may use, such as the pool's size.
    #[serde(default)]
    pub facts: BTreeMap<String, Value>,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
}

/// One query and what it gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub name: String,
    /// The MCP tool that answered, such as `system-monitor.query`.
    pub tool: String,
    pub query: String,
    pub start: Timestamp,
    pub end: Timestamp,
    pub value: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// One line for a person, with the value in it.
    pub summary: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingEvidence {
    pub name: String,
    pub tool: String,
    pub query: String,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    pub cause: String,
    pub confidence: Confidence,
    /// Why it lost.
    pub why_not: String,
}
