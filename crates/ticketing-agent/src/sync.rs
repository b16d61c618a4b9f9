//! Makes a ticket say what its incident says. The order is create, comment, move: a failure in
//! between leaves a ticket that is behind but not wrong, and the repeated update catches up. What
//! is done already is asked of the tracker, so nothing is done twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use incident::{IncidentId, TicketComment, TicketRef, TicketUpdate};
use jiff::Timestamp;
use store::{FileStore, StoreError};

use crate::document::{Document, Span};
use crate::error::TrackerError;
use crate::tracker::{NewComment, NewTicket, Ticket, Tracker};

/// Text that goes into one comment, counting what each entry adds around itself. A tracker takes
/// at least this much, so entries are not cut unless one alone is longer.
const COMMENT_CHARS: usize = 20_000;
const ENTRY_CHARS: usize = 300;

#[derive(Debug)]
pub(crate) struct Desk {
    tracker: Tracker,
    store: FileStore,
    turns: Mutex<HashMap<IncidentId, Arc<tokio::sync::Mutex<()>>>>,
}

/// What became of an update.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) ticket: TicketRef,
    pub(crate) title: String,
    /// Why the ticket's status is not the one asked for, if it is not.
    pub(crate) not_moved: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SyncError {
    /// Whether the same update can be repeated later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Tracker(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
        }
    }
}

type Result<T> = std::result::Result<T, SyncError>;

impl Desk {
    pub(crate) fn new(tracker: Tracker, store: FileStore) -> Self {
        Self { tracker, store, turns: Mutex::default() }
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Brings a ticket up to an update. Updates of one incident take turns. `interrupted` is the
    /// time, if a former process was stopped in the middle of this update: it may have asked for a
    /// ticket whose key it never saw.
    ///
    /// # Errors
    /// The tracker's or the database's; after a transient one the update can be repeated.
    pub(crate) async fn sync(
        &self,
        update: &TicketUpdate,
        interrupted: Option<Timestamp>,
    ) -> Result<Synced> {
        let turn = self.turn(update.incident_id);
        let _turn = turn.lock().await;
        let known = match self.store.ticket(update.incident_id).await? {
            Some(known) => known,
            None => self.create(update, interrupted).await?,
        };
        match self.bring_up(&known, update).await {
            // A person deleted it, or another tracker had it: the incident still needs a ticket.
            Err(SyncError::Tracker(TrackerError::NotFound { key, .. })) => {
                tracing::warn!(incident.id = %update.incident_id, ticket.key = key, "ticket gone");
                let again = self.create(update, interrupted).await?;
                self.bring_up(&again, update).await
            }
            other => other,
        }
    }

    async fn create(
        &self,
        update: &TicketUpdate,
        interrupted: Option<Timestamp>,
    ) -> Result<TicketRef> {
        let new = NewTicket { unanswered_since: interrupted, ..new_ticket(update) };
        failpoints::hit(failpoints::BEFORE_EFFECT);
        let made = self.tracker.create(&new).await?;
        failpoints::hit(failpoints::AFTER_EFFECT);
        tracing::info!(incident.id = %update.incident_id, ticket.key = made.key, "ticket linked");
        let ticket = TicketRef { key: made.key, url: made.url, status: made.status, sequence: 0 };
        self.store.put_ticket(update.incident_id, &ticket).await?;
        Ok(ticket)
    }

    async fn bring_up(&self, known: &TicketRef, update: &TicketUpdate) -> Result<Synced> {
        let (id, key) = (update.incident_id, &known.key);
        let last = update.comments.iter().map(|comment| comment.sequence).max().unwrap_or(0);
        let mut recorded = known.sequence;
        if last > recorded {
            // The answer to an earlier comment may have been lost: the tracker knows.
            recorded = recorded.max(self.tracker.recorded_up_to(key, id).await?);
        }
        self.comment(key, update, recorded).await?;
        // An update older than the ticket came late: its status is history.
        let (ticket, not_moved) = match last < recorded {
            true => (self.existing(key).await?, None),
            false => self.move_ticket(key, update).await?,
        };
        let sequence = last.max(recorded);
        let ticket_ref =
            TicketRef { key: ticket.key, url: ticket.url, status: ticket.status, sequence };
        if ticket_ref != *known {
            self.store.put_ticket(id, &ticket_ref).await?;
        }
        Ok(Synced { ticket: ticket_ref, title: ticket.title, not_moved })
    }

    /// Adds the comments after `recorded`.
    async fn comment(&self, key: &str, update: &TicketUpdate, recorded: u64) -> Result<()> {
        let mut new: Vec<&TicketComment> =
            update.comments.iter().filter(|comment| comment.sequence > recorded).collect();
        new.sort_by_key(|comment| comment.sequence);
        new.dedup_by_key(|comment| comment.sequence);
        for batch in batches(&new) {
            let sequence = batch.last().map_or(recorded, |comment| comment.sequence);
            let body = batch.iter().fold(Document::new(), |body, comment| {
                let at = comment.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
                body.paragraph([Span::strong(&at)]).followed_by(Document::from_text(&comment.text))
            });
            let comment = NewComment { incident: update.incident_id, sequence, body };
            self.tracker.comment(key, &comment).await?;
        }
        Ok(())
    }

    /// A workflow that offers no way to the status is the project's business, and must not keep
    /// the incident from going on: the ticket stays where it is, and the answer says so.
    async fn move_ticket(
        &self,
        key: &str,
        update: &TicketUpdate,
    ) -> Result<(Ticket, Option<String>)> {
        match self.tracker.transition(key, update.status).await {
            Ok(ticket) => Ok((ticket, None)),
            Err(error @ (TrackerError::NoTransition { .. } | TrackerError::Refused { .. })) => {
                tracing::warn!(
                    incident.id = %update.incident_id,
                    ticket.key = key,
                    %error,
                    "ticket not moved"
                );
                Ok((self.existing(key).await?, Some(error.to_string())))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn existing(&self, key: &str) -> Result<Ticket> {
        let missing = || TrackerError::NotFound { operation: "get ticket", key: key.to_owned() };
        Ok(self.tracker.get(key).await?.ok_or_else(missing)?)
    }

    fn turn(&self, incident: IncidentId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().expect("no panic while turns are held");
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(incident).or_default())
    }
}

fn new_ticket(update: &TicketUpdate) -> NewTicket {
    let description = Document::from_text(&update.description)
        .paragraph([Span::strong("Incident"), Span::text_of(&format!(" {}", update.incident_id))]);
    NewTicket {
        incident: update.incident_id,
        title: update.title.clone(),
        description,
        severity: update.severity,
        labels: update.labels.clone(),
        unanswered_since: None,
    }
}

fn batches<'a>(comments: &[&'a TicketComment]) -> Vec<Vec<&'a TicketComment>> {
    let mut batches: Vec<Vec<&TicketComment>> = Vec::new();
    let mut left = 0;
    for comment in comments {
        let size = comment.text.chars().count() + ENTRY_CHARS;
        if size > left || batches.is_empty() {
            batches.push(Vec::new());
            left = COMMENT_CHARS;
        }
        left = left.saturating_sub(size);
        batches.last_mut().expect("one was pushed").push(*comment);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_grouped_up_to_the_size_of_a_comment_and_none_is_lost() {
        let sizes = [100, 19_000, 50_000, 10, 10];
        let comments: Vec<TicketComment> = (1..)
            .zip(sizes)
            .map(|(sequence, size)| TicketComment {
                sequence,
                at: Timestamp::UNIX_EPOCH,
                text: "x".repeat(size),
            })
            .collect();
        let comments: Vec<&TicketComment> = comments.iter().collect();
        let grouped: Vec<Vec<u64>> = batches(&comments)
            .iter()
            .map(|batch| batch.iter().map(|comment| comment.sequence).collect())
            .collect();
        assert_eq!(grouped, [vec![1, 2], vec![3], vec![4, 5]]);
        assert!(batches(&[]).is_empty());
    }
}
