//! What the ticketing agent is told, and what it answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{IncidentId, Severity};

/// The ticket as it should be. Repeating an update changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketUpdate {
    pub incident_id: IncidentId,
    pub title: String,
    pub description: String,
    pub severity: Severity,
    pub status: TicketStatus,
    #[serde(default)]
    pub labels: Vec<String>,
    /// All comments so far, in order; those above the ticket's own sequence are added.
    #[serde(default)]
    pub comments: Vec<TicketComment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketComment {
    /// Grows within one incident.
    pub sequence: u64,
    pub at: Timestamp,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketStatus {
    Investigating,
    Identified,
    Resolving,
    NeedsHuman,
    Resolved,
    Closed,
}

/// The ticket as it is after an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRef {
    /// Such as `FB-12`.
    pub key: String,
    pub url: String,
    /// The tracker's own name of the status.
    pub status: String,
    /// The highest comment sequence on the ticket.
    pub sequence: u64,
}
