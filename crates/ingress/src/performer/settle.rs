//! Performs one row and says what becomes of it: ended, put off, or given up.

use std::time::Duration;

use incident::Event;
use jiff::{SignedDuration, Timestamp};
use store::{OutboxEnd, OutboxRow, StoreError, Stored};

use super::{Failure, Performer, Tried};
use crate::backoff::full_jitter;
use crate::engine::{Subject, Work};

/// Bounds of the wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// The longest wait for a peer that is away: it may be back at any moment.
const AWAY: Duration = Duration::from_secs(5);
/// The longest that a peer is left alone because it asked for it.
const RETRY_AFTER: Duration = Duration::from_secs(300);
/// The wait before a row is tried again whose incident this version cannot read, or at which the last
/// try panicked: it keeps no place from others meanwhile.
const HOPELESS: Duration = Duration::from_secs(60);
/// How long an effect of an incident that does not change is tried without a definite answer.
const TIME: SignedDuration = SignedDuration::from_hours(24);
/// Tries to store what became of a row, and bounds of the wait between two.
const STORE_TRIES: u32 = 30;
const STORE_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Definite failures after which an effect is given up. Of the agents an incident waits for these are
/// few: a person is asked sooner.
fn attempts(work: Work) -> u32 {
    match work {
        Work::Diagnose | Work::Resolve => 4,
        Work::SyncTicket | Work::CancelResolution => 20,
    }
}

/// Whether time alone has an effect given up. What an incident waits for has its deadline.
fn has_time_budget(work: Work) -> bool {
    matches!(work, Work::SyncTicket | Work::CancelResolution)
}

impl Performer {
    /// Performs a row and stores what became of it, for as long as it is this replica's.
    pub(super) async fn perform(&self, row: &OutboxRow, work: Work) {
        let mut failures = 0;
        let stored = loop {
            match self.engine.store.incident(row.incident_id).await {
                Ok(stored) => break stored,
                Err(error @ StoreError::Unreadable { .. }) => {
                    return self.put_off(row, work, error.to_string()).await;
                }
                Err(error) => match self.store_failed(row, work, &error, &mut failures).await {
                    true => {}
                    false => return,
                },
            }
        };
        let tried = match &stored {
            Some(stored) => {
                failpoints::hit(failpoints::BEFORE_EFFECT);
                let tried = self.try_row(&stored.incident, row, work).await;
                failpoints::hit(failpoints::AFTER_EFFECT);
                tried
            }
            None => Tried::Done(Vec::new()),
        };
        let end = self.judge(row, work, stored.as_ref(), tried);
        let mut failures = 0;
        loop {
            match self.settle(row, work, stored.as_ref(), &end).await {
                Ok(()) => return,
                Err(StoreError::Lost { what }) => {
                    tracing::info!(incident.id = %row.incident_id, what, "result dropped");
                    return;
                }
                Err(error) => {
                    if !self.store_failed(row, work, &error, &mut failures).await {
                        return;
                    }
                }
            }
        }
    }

    pub(super) async fn panicked(&self, row: &OutboxRow, work: Work) {
        self.put_off(row, work, "its last try panicked".to_owned()).await;
    }

    /// Leaves a row alone for a while that fails through no fault of a peer.
    async fn put_off(&self, row: &OutboxRow, work: Work, why: String) {
        tracing::error!(incident.id = %row.incident_id, kind = row.kind, why, "put off");
        let until = self.engine.outbox_now().checked_add(HOPELESS).unwrap_or(Timestamp::MAX);
        if let Err(error) = self.engine.store.delay_outbox(row.id, false, why, until).await {
            self.places.doubt(work);
            tracing::error!(incident.id = %row.incident_id, kind = row.kind, ?error, "outbox");
        }
    }

    /// Whether it is worth another try, after a wait; else the row is free for anybody.
    async fn store_failed(
        &self,
        row: &OutboxRow,
        work: Work,
        error: &StoreError,
        failures: &mut u32,
    ) -> bool {
        tracing::error!(incident.id = %row.incident_id, kind = row.kind, ?error, "outbox");
        *failures += 1;
        if *failures > STORE_TRIES {
            if self.engine.store.release_outbox(vec![row.id]).await.is_err() {
                self.places.doubt(work);
            }
            return false;
        }
        let process = &self.engine.process;
        let wait = full_jitter(process, *failures, STORE_BACKOFF.0, STORE_BACKOFF.1);
        process.clock().sleep(wait).await;
        true
    }

    fn judge(&self, row: &OutboxRow, work: Work, stored: Option<&Stored>, tried: Tried) -> End {
        let failure = match tried {
            Tried::Done(events) => return End::Finished(events),
            Tried::GivenUp { why } => return End::Buried { why },
            Tried::Again(failure) => failure,
        };
        let now = self.engine.process.now();
        let is_old = stored.is_some_and(|stored| now.duration_since(stored.changed_at) > TIME);
        let is_spent = match failure.counts {
            true => row.attempt + 1 >= attempts(work),
            false => is_old && has_time_budget(work),
        };
        if is_spent {
            return End::Buried { why: failure.why };
        }
        End::Delayed { until: self.retry_at(row, &failure), failure }
    }

    fn retry_at(&self, row: &OutboxRow, failure: &Failure) -> Timestamp {
        let most = if failure.counts { BACKOFF.1 } else { AWAY };
        let wait = full_jitter(&self.engine.process, row.tries, BACKOFF.0, most);
        let asked = failure.retry_after.unwrap_or_default().min(RETRY_AFTER);
        self.engine.outbox_now().checked_add(wait.max(asked)).unwrap_or(Timestamp::MAX)
    }

    async fn settle(
        &self,
        row: &OutboxRow,
        work: Work,
        stored: Option<&Stored>,
        end: &End,
    ) -> Result<(), StoreError> {
        match end {
            End::Finished(events) => {
                // A ticket is told of everything, whatever else waits.
                let last = if work == Work::SyncTicket { row.last } else { row.id };
                let end = OutboxEnd::Finished { id: row.id, last };
                self.end_row(row, work, stored, events.clone(), end).await
            }
            End::Buried { why } => {
                tracing::error!(incident.id = %row.incident_id, kind = row.kind, why, "given up");
                let (error, at) = (why.clone(), self.engine.process.now());
                let end = OutboxEnd::Buried { id: row.id, error, at };
                self.end_row(row, work, stored, given_up(work, why), end).await?;
                self.engine.metrics.given_up_of(work).inc();
                self.engine.metrics.dead_letters_of(work).inc();
                Ok(())
            }
            End::Delayed { failure, until } => {
                let Failure { why, counts, .. } = failure;
                tracing::warn!(incident.id = %row.incident_id, kind = row.kind, why, "again later");
                self.engine.store.delay_outbox(row.id, *counts, why.clone(), *until).await?;
                self.engine.wake.remind(work, *until, self.engine.outbox_now());
                Ok(())
            }
        }
    }

    async fn end_row(
        &self,
        row: &OutboxRow,
        work: Work,
        stored: Option<&Stored>,
        events: Vec<Event>,
        end: OutboxEnd,
    ) -> Result<(), StoreError> {
        let Some(stored) = stored.filter(|_| !events.is_empty()) else {
            return self.engine.end_row(end).await;
        };
        let subject = Subject::of(&stored.incident);
        // A ticket belongs to all rounds.
        let round = (work != Work::SyncTicket).then_some(row.round);
        #[cfg(feature = "planted-early-finish")]
        {
            self.engine.end_row(end).await?;
            return self.engine.take_events(&subject, round, events, None).await.map(drop);
        }
        #[cfg(not(feature = "planted-early-finish"))]
        self.engine.take_events(&subject, round, events, Some(end)).await.map(drop)
    }
}

/// What becomes of a row.
#[derive(Debug)]
enum End {
    Finished(Vec<Event>),
    Buried { why: String },
    Delayed { failure: Failure, until: Timestamp },
}

fn given_up(work: Work, why: &str) -> Vec<Event> {
    let why = why.to_owned();
    match work {
        Work::Diagnose => vec![Event::AgentFailed { agent: "diagnostic-agent".into(), why }],
        Work::Resolve => vec![Event::AgentFailed { agent: "resolution-agent".into(), why }],
        // A ticket that cannot be written blocks no incident, but nobody may be waiting unasked.
        Work::SyncTicket => vec![Event::TicketFailed { why }],
        // A task that cannot be stopped blocks none.
        Work::CancelResolution => Vec::new(),
    }
}
