//! Where tickets live: files of our own, or Jira. One ticket per incident in either, however often
//! an answer is lost, and comments that say which timeline entries are already in.

use std::time::Duration;

use incident::{IncidentId, Severity, TicketStatus};
use jiff::Timestamp;

use crate::document::Document;
use crate::error::TrackerError;
use crate::file::FileTracker;
use crate::jira::JiraTracker;

pub(crate) type Result<T> = std::result::Result<T, TrackerError>;

/// A ticket to be made. Text is cleaned and bounded by the tracker that takes it.
#[derive(Clone, Debug)]
pub struct NewTicket {
    pub incident: IncidentId,
    pub title: String,
    pub description: Document,
    pub severity: Severity,
    pub labels: Vec<String>,
    /// When an earlier create for this incident got no answer, if one did.
    pub unanswered_since: Option<Timestamp>,
}

/// A ticket as its tracker shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub incident: IncidentId,
    pub sequence: u64,
    pub body: Document,
}

/// The status on the board, unless a site's configuration says another.
pub(crate) fn board_status(status: TicketStatus) -> &'static str {
    match status {
        TicketStatus::Investigating | TicketStatus::Resolving => "In Progress",
        TicketStatus::Identified | TicketStatus::NeedsHuman => "To Do",
        TicketStatus::Resolved | TicketStatus::Closed => "Done",
    }
}

#[derive(Debug)]
pub enum Tracker {
    File(FileTracker),
    Jira(Box<JiraTracker>),
}

impl Tracker {
    pub fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Jira(_) => "jira",
        }
    }

    /// How long after a create was sent a search may miss what it made.
    pub(crate) fn settles_within(&self) -> Duration {
        match self {
            Self::File(_) => Duration::ZERO,
            Self::Jira(tracker) => tracker.settles_within(),
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
    pub async fn find(&self, incident: IncidentId) -> Result<Option<Ticket>> {
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
    pub async fn recorded_up_to(&self, key: &str, incident: IncidentId) -> Result<u64> {
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
