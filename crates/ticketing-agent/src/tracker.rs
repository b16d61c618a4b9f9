//! Where tickets live: files of our own, or Jira. One ticket per incident in either, however often
//! an answer is lost, and comments that say which timeline entries are already in.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::error::TrackerError;
use crate::file::FileTracker;
use crate::jira::JiraTracker;

pub type Result<T> = std::result::Result<T, TrackerError>;

/// Where an incident stands, in words a ticket knows. A tracker maps each to a status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketStatus {
    Investigating,
    Identified,
    Resolving,
    NeedsHuman,
    Resolved,
    Closed,
}

impl TicketStatus {
    pub const ALL: [Self; 6] = [
        Self::Investigating,
        Self::Identified,
        Self::Resolving,
        Self::NeedsHuman,
        Self::Resolved,
        Self::Closed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Investigating => "investigating",
            Self::Identified => "identified",
            Self::Resolving => "resolving",
            Self::NeedsHuman => "needs_human",
            Self::Resolved => "resolved",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for TicketStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A ticket to be made. Text is cleaned and bounded by the tracker that takes it.
#[derive(Clone, Debug)]
pub struct NewTicket {
    pub incident: String,
    pub title: String,
    pub description: Document,
    /// Lower-case severity, the key of a tracker's priority map.
    pub severity: String,
    pub labels: Vec<String>,
    /// When an earlier create for this incident got no answer, if one did.
    pub unanswered_since: Option<Timestamp>,
}

/// A ticket as its tracker shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub key: String,
    pub url: String,
    pub title: String,
    /// The tracker's own status name.
    pub status: String,
}

/// A comment that covers the timeline up to and including `sequence`.
#[derive(Clone, Debug)]
pub struct NewComment {
    pub incident: String,
    pub sequence: u64,
    pub body: Document,
}

#[derive(Debug)]
pub enum Tracker {
    File(FileTracker),
    Jira(JiraTracker),
}

impl Tracker {
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Jira(_) => "jira",
        }
    }

    /// Makes the ticket of an incident, or returns the one that exists.
    pub async fn create(&self, ticket: &NewTicket) -> Result<Ticket> {
        match self {
            Self::File(tracker) => tracker.create(ticket).await,
            Self::Jira(tracker) => tracker.create(ticket).await,
        }
    }

    /// The ticket of an incident, the oldest if people made copies.
    pub async fn find(&self, incident: &str) -> Result<Option<Ticket>> {
        match self {
            Self::File(tracker) => tracker.find(incident).await,
            Self::Jira(tracker) => tracker.find(incident).await,
        }
    }

    pub async fn get(&self, key: &str) -> Result<Option<Ticket>> {
        match self {
            Self::File(tracker) => tracker.get(key).await,
            Self::Jira(tracker) => tracker.get(key).await,
        }
    }

    /// The last timeline entry that the ticket's comments cover; 0 where there is none.
    pub async fn recorded_up_to(&self, key: &str, incident: &str) -> Result<u64> {
        match self {
            Self::File(tracker) => tracker.recorded_up_to(key).await,
            Self::Jira(tracker) => tracker.recorded_up_to(key, incident).await,
        }
    }

    /// Adds a comment. A repeat after a lost answer is told apart by `recorded_up_to`.
    pub async fn comment(&self, key: &str, comment: &NewComment) -> Result<()> {
        match self {
            Self::File(tracker) => tracker.comment(key, comment).await,
            Self::Jira(tracker) => tracker.comment(key, comment).await,
        }
    }

    /// Moves the ticket to the status that stands for `status`; there already is success.
    pub async fn transition(&self, key: &str, status: TicketStatus) -> Result<Ticket> {
        match self {
            Self::File(tracker) => tracker.transition(key, status).await,
            Self::Jira(tracker) => tracker.transition(key, status).await,
        }
    }
}
