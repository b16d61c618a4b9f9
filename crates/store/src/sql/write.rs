//! Everything that is written outside of a batch, as values: one transaction takes many of them.

use incident::{AttemptId, IncidentId, TicketRef};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::owner::Me;
use super::{attempts, batch, changes, journal, outbox, targets, tickets};
use crate::database::Transaction;
use crate::{Attempt, Batch, Change, ChangeRow, DeadLetter, Refusal, StoreError, TargetLock};

#[derive(Debug)]
pub(super) enum Write {
    Batch(Batch),
    Delay { id: i64, counts: bool, error: String, not_before: Timestamp },
    ReleaseRows { ids: Vec<i64> },
    Replay { id: i64, now: Timestamp },
    BeginAttempt { attempt: Attempt, token: i64 },
    FinishAttempt { id: AttemptId, outcome: Json, at: Timestamp },
    Lock { target: String, holder: String, at: Timestamp },
    Unlock { target: String, holder: String },
    Quarantine { target: String, reason: String },
    Release { target: String },
    Approve { plan_hash: String, approved: bool, by: String, at: Timestamp },
    BeginChange { change: Change, token: Option<i64> },
    RecordExecutor { id: String, executor: Json },
    FinishChange { id: String, outcome: Json, at: Timestamp },
    AdoptChanges,
    RaiseFence { target: String, token: i64 },
    PutTicket { incident: IncidentId, ticket: TicketRef },
    Prune { before: Timestamp, excess: i64 },
    AddRefusals { refusals: Vec<Refusal> },
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Flag(bool),
    Number(i64),
    Lock(TargetLock),
    Changes(Vec<ChangeRow>),
    DeadLetter(Option<DeadLetter>),
}

/// Writes one; what it has written when it fails is to be rolled back.
pub(super) async fn apply(
    transaction: &mut Transaction,
    me: Me<'_>,
    write: &Write,
) -> Result<Answer, StoreError> {
    let to = transaction;
    match write {
        Write::Batch(batch) => match batch::write_all(to, me, &[batch]).await?.pop() {
            None => Ok(Answer::Done),
            Some((_, error)) => Err(error),
        },
        Write::Delay { id, counts, error, not_before } => {
            outbox::delay(to, me.key, *id, *counts, error, *not_before).await
        }
        Write::ReleaseRows { ids } => outbox::release(to, me.key, ids).await,
        Write::Replay { id, now } => outbox::replay(to, *id, *now).await,
        Write::BeginAttempt { attempt, token } => attempts::begin(to, attempt, *token).await,
        Write::FinishAttempt { id, outcome, at } => attempts::finish(to, *id, outcome, *at).await,
        Write::Lock { target, holder, at } => targets::lock(to, target, holder, *at).await,
        Write::Unlock { target, holder } => targets::unlock(to, target, holder).await,
        Write::Quarantine { target, reason } => targets::quarantine(to, target, reason).await,
        Write::Release { target } => targets::release(to, target).await,
        Write::Approve { plan_hash, approved, by, at } => {
            targets::approve(to, plan_hash, *approved, by, *at).await
        }
        Write::BeginChange { change, token } => changes::begin(to, me.key, change, *token).await,
        Write::RecordExecutor { id, executor } => {
            changes::record_executor(to, me.key, id, executor).await
        }
        Write::FinishChange { id, outcome, at } => {
            changes::finish(to, me.key, id, outcome, *at).await
        }
        Write::AdoptChanges => changes::adopt(to, me.key).await,
        Write::RaiseFence { target, token } => changes::raise_fence(to, target, *token).await,
        Write::PutTicket { incident, ticket } => tickets::put(to, *incident, ticket).await,
        Write::Prune { before, excess } => journal::prune(to, *before, *excess).await,
        Write::AddRefusals { refusals } => journal::add_refusals(to, refusals).await,
    }
}

macro_rules! answers {
    ($($method:ident: $variant:ident -> $type:ty),+) => {$(
        pub(super) fn $method(self) -> Result<$type, StoreError> {
            match self {
                Self::$variant(value) => Ok(value),
                other => unreachable!("the answer of another write: {other:?}"),
            }
        }
    )+};
}

impl Answer {
    pub(super) fn done(self) -> Result<(), StoreError> {
        Ok(())
    }

    answers! {
        flag: Flag -> bool,
        number: Number -> i64,
        lock: Lock -> TargetLock,
        changes: Changes -> Vec<ChangeRow>,
        dead_letter: DeadLetter -> Option<DeadLetter>
    }
}
