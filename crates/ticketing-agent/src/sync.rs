//! Makes a ticket say what its incident says. The order is create, comment, move: a failure in
//! between leaves a ticket that is behind but not wrong, and the repeated update catches up. What
//! is done already is asked of the tracker, so nothing is done twice.
//!
//! Of several replicas one at a time works on the ticket of an incident, by a claim. A tracker knows
//! no claims: one that freezes between the claim and a create may still send it when another has the
//! claim. So the intent to create is stored first, and whoever finds it asks the tracker for the
//! ticket until even a late create shows, before it makes one of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use incident::{IncidentId, TicketComment, TicketRef, TicketUpdate};
use jiff::Timestamp;
use service::Process;
use store::{Claim, Store, StoreError};
use tokio::sync::OwnedMutexGuard;

use crate::document::{Document, Span};
use crate::error::TrackerError;
use crate::tracker::{NewComment, NewTicket, Ticket, Tracker};

/// Text that goes into one comment, counting what each entry adds around itself. A tracker takes
/// at least this much, so entries are not cut unless one alone is longer.
const COMMENT_CHARS: usize = 20_000;
const ENTRY_CHARS: usize = 300;

/// Pause before a claim that another replica has is asked for again.
const TURN_PAUSE: Duration = Duration::from_millis(100);
/// Pause before a claim is given back again that could not be.
const UNCLAIM_PAUSE: Duration = Duration::from_secs(1);
/// How long another replica is waited for; after that the caller repeats its request.
const TURN_PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Desk {
    tracker: Tracker,
    store: Arc<dyn Store>,
    process: Process,
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

/// What is stored of an incident's ticket.
#[derive(Debug, PartialEq)]
enum Known {
    Nothing,
    /// A create was sent at that time, and nobody saw its answer.
    Asked(Timestamp),
    Ticket(TicketRef),
}

/// This replica's claim on one ticket, given back when it is dropped, also in the middle of work. The
/// next update of the ticket has its turn after that, so that it claims anew.
struct Claimed {
    store: Arc<dyn Store>,
    process: Process,
    name: String,
    turn: Option<OwnedMutexGuard<()>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    #[error("another replica is updating the ticket of {0}")]
    Busy(IncidentId),
    #[error(transparent)]
    Tracker(#[from] TrackerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SyncError {
    /// Whether the same update can be repeated later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Busy(_) => true,
            Self::Tracker(error) => error.is_transient(),
            // A claim that is lost, to a freeze that outlived the lease, is for its next holder.
            Self::Store(error) => error.is_transient() || matches!(error, StoreError::Lost { .. }),
        }
    }
}

type Result<T> = std::result::Result<T, SyncError>;

impl Desk {
    pub(crate) fn new(tracker: Tracker, store: Arc<dyn Store>, process: &Process) -> Self {
        Self { tracker, store, process: process.clone(), turns: Mutex::default() }
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Brings a ticket up to an update. Updates of one incident take turns, over all replicas.
    ///
    /// # Errors
    /// The tracker's or the database's; after a transient one the update can be repeated.
    pub(crate) async fn sync(&self, update: &TicketUpdate) -> Result<Synced> {
        let _claimed = self.claim(update.incident_id).await?;
        failpoints::hit(failpoints::AFTER_CLAIM);
        let known = match self.known(update.incident_id).await? {
            Known::Ticket(known) => known,
            Known::Asked(since) => self.create(update, Some(since)).await?,
            Known::Nothing => self.create(update, None).await?,
        };
        match self.bring_up(&known, update).await {
            // A person deleted it, or another tracker had it: the incident still needs a ticket.
            Err(SyncError::Tracker(TrackerError::NotFound { key, .. })) => {
                tracing::warn!(incident.id = %update.incident_id, ticket.key = key, "ticket gone");
                let again = self.create(update, None).await?;
                self.bring_up(&again, update).await
            }
            other => other,
        }
    }

    async fn claim(&self, incident: IncidentId) -> Result<Claimed> {
        let turn = Some(self.turn(incident).lock_owned().await);
        let (store, process) = (self.store.clone(), self.process.clone());
        let name = format!("ticket:{incident}");
        // From before it is asked for: a claim whose answer is lost is given back too.
        let claimed = Claimed { store, process, name, turn };
        let clock = self.process.clock();
        let until = clock.instant() + TURN_PATIENCE;
        while self.store.claim(claimed.name.clone()).await? == Claim::Busy {
            if clock.instant() >= until {
                return Err(SyncError::Busy(incident));
            }
            clock.sleep(TURN_PAUSE).await;
        }
        Ok(claimed)
    }

    async fn known(&self, incident: IncidentId) -> Result<Known> {
        Ok(match self.store.ticket(incident).await? {
            None => Known::Nothing,
            Some(row) if !row.key.is_empty() => Known::Ticket(row),
            Some(row) => row.status.parse().map_or(Known::Nothing, Known::Asked),
        })
    }

    /// Stores that a create is about to be sent, or, with `None`, that none is on its way.
    async fn intend(&self, incident: IncidentId, since: Option<Timestamp>) -> Result<()> {
        let status = since.map(|since| since.to_string()).unwrap_or_default();
        let row = TicketRef { key: String::new(), url: String::new(), status, sequence: 0 };
        Ok(self.store.put_ticket(incident, row).await?)
    }

    /// Makes the ticket, or finds the one that an earlier create has made. `asked`: when the last one
    /// was sent, if its answer is not known.
    async fn create(&self, update: &TicketUpdate, asked: Option<Timestamp>) -> Result<TicketRef> {
        let (id, now) = (update.incident_id, self.process.now());
        // A clock that was set back says that it was sent in the future: then it was just now.
        let unanswered_since = asked.map(|since| since.min(now)).filter(|since| {
            now.duration_since(*since).unsigned_abs() < self.tracker.settles_within()
        });
        if unanswered_since != asked || asked.is_none() {
            self.intend(id, Some(unanswered_since.unwrap_or(now))).await?;
        }
        failpoints::hit(failpoints::BEFORE_EFFECT);
        let made = self.tracker.create(&NewTicket { unanswered_since, ..new_ticket(update) }).await;
        failpoints::hit(failpoints::AFTER_EFFECT);
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                if unanswered_since.is_none() && !error.may_have_happened() {
                    self.intend(id, None).await?;
                }
                return Err(error.into());
            }
        };
        tracing::info!(incident.id = %id, ticket.key = made.key, "ticket linked");
        let ticket = TicketRef { key: made.key, url: made.url, status: made.status, sequence: 0 };
        failpoints::hit(failpoints::BEFORE_COMMIT);
        self.store.put_ticket(id, ticket.clone()).await?;
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
            self.store.put_ticket(id, ticket_ref.clone()).await?;
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

impl Drop for Claimed {
    fn drop(&mut self) {
        let (store, name) = (self.store.clone(), std::mem::take(&mut self.name));
        let turn = self.turn.take();
        let (clock, shutdown) = (self.process.clock().clone(), self.process.shutdown_token());
        self.process.spawn(async move {
            // Others could not work on the ticket for as long as this replica lives.
            while let Err(error) = store.unclaim(name.clone()).await {
                tracing::warn!(%error, "a claim was not given back");
                let pause = clock.sleep(UNCLAIM_PAUSE);
                if !error.is_transient() || shutdown.run_until_cancelled(pause).await.is_none() {
                    break;
                }
            }
            drop(turn);
        });
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
