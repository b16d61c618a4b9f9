//! The port: what a program asks of its database, whichever backend keeps it. A write names what it
//! was decided on; where that is history by now, nothing of it is stored and the caller decides anew.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use incident::{
    Alert, AlertStatus, AttemptId, Incident, IncidentId, IncidentKey, Severity, TicketRef,
    TimelineEntry,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::StoreError;
use crate::{Attempt, AttemptRow, Change, ChangeRow, OutboxRow, TargetLock};

pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// An incident as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub incident: Incident,
    pub changed_at: Timestamp,
    pub base: Base,
}

/// What a write was decided on: the state it replaces, and the end of the chain it adds to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Grows by one with every write of the incident; 0 before the first.
    pub version: i64,
    /// Rows of its timeline.
    pub sequence: i64,
    /// Hash of the last of them; empty before the first.
    pub hash: String,
}

/// The next state of an incident with the rows of its timeline and the effects that it asks for.
#[derive(Clone, Debug)]
pub struct IncidentWrite {
    pub incident: Incident,
    /// As it was read; the default for a new incident.
    pub base: Base,
    pub entries: Vec<TimelineEntry>,
    pub effects: Vec<NewEffect>,
    pub at: Timestamp,
}

/// An effect to perform, written with the change that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEffect {
    pub kind: &'static str,
    /// The round of the incident that asks for it.
    pub round: u32,
    pub not_before: Timestamp,
}

/// Who an alert is: every report of it has the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    pub source: String,
    pub fingerprint: String,
}

/// An accepted request body as it came.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub source: String,
    pub body: String,
    pub at: Timestamp,
}

/// What becomes of an outbox row that this process has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxEnd {
    /// Its effect is confirmed. It serves the unclaimed rows of the same incident and kind up to
    /// `last` too, which end with it; `last` is `id` where it serves itself alone.
    Finished { id: i64, last: i64 },
    /// It is given up, and kept as a dead letter.
    Buried { id: i64, error: String, at: Timestamp },
}

/// What a report says of its alert that decides whether it is news.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AlertState {
    pub status: AlertStatus,
    pub severity: Severity,
    pub starts_at: Timestamp,
}

/// An alert as it is stored: known once, however often it is reported.
#[derive(Clone, Debug)]
pub struct AlertRow {
    /// The last report that was news.
    pub alert: Alert,
    /// The incident it was last put into; `None` while it is held back.
    pub incident: Option<IncidentId>,
    /// Why it is held back.
    pub held: Option<String>,
    /// Reports of it, repeats among them.
    pub reports: i64,
    pub first_at: Timestamp,
    /// When the last report came, a repeat too.
    pub last_at: Timestamp,
    /// Grows by one with every report that is news; 0 before the first.
    pub version: i64,
}

/// The next state of an alert.
#[derive(Clone, Debug)]
pub struct AlertWrite {
    pub alert: Alert,
    pub incident: Option<IncidentId>,
    pub held: Option<String>,
    /// The version it was decided on; 0 for an alert that is new.
    pub version: i64,
    /// Reports that are counted with it.
    pub reports: u32,
    pub at: Timestamp,
}

/// Reports of an alert that say what is known. True only while the alert stands so in the store and,
/// where it fires, its incident is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    pub alert: AlertKey,
    pub state: AlertState,
    pub reports: u32,
    pub at: Timestamp,
}

/// A request body as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: i64,
    pub source: String,
    pub body: String,
    pub at: Timestamp,
}

/// Requests that were refused for who sent them, of one minute: counted, as a forger decides how many
/// there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub source: String,
    pub reason: String,
    /// The beginning of the minute.
    pub minute: Timestamp,
    /// Where the last of them came from.
    pub address: String,
    pub count: i64,
}

/// What the journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bodies, refusals and alerts that ended from before are forgotten.
    pub before: Timestamp,
    /// Bytes of bodies that are kept at most, about; the oldest go first.
    pub bytes: i64,
}

/// Writes that are committed together, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub delivered: Vec<Delivered>,
    pub incidents: Vec<IncidentWrite>,
    pub alerts: Vec<AlertWrite>,
    pub repeats: Vec<Repeat>,
    pub outbox: Vec<OutboxEnd>,
}

/// The incidents that some alerts may go into.
#[derive(Clone, Debug, Default)]
pub struct Related {
    /// The alerts that are known.
    pub alerts: BTreeMap<AlertKey, AlertRow>,
    /// The incidents that they were last put into, and of every key asked for the open one and the
    /// newest one.
    pub incidents: BTreeMap<IncidentId, Stored>,
    /// Those among them that cannot be read, with the key asked for that each keeps to itself, as it
    /// is open.
    pub unreadable: BTreeMap<IncidentId, Option<IncidentKey>>,
}

/// One row of an incident's timeline.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// From 1, without gaps.
    pub sequence: i64,
    pub entry: TimelineEntry,
}

/// An effect that was given up, for people to see and replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: i64,
    pub incident_id: IncidentId,
    pub kind: String,
    pub round: u32,
    pub attempt: u32,
    pub error: String,
    pub died_at: Timestamp,
}

/// Whether a name is claimed by this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Held,
    /// Another replica has it, and is alive as far as is known.
    Busy,
}

/// A target whose lock a task holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedTarget {
    pub target: String,
    /// The task, as it was given to `lock_target`.
    pub holder: String,
    /// When this holder took it with its present token; `None` where an earlier version did.
    pub since: Option<Timestamp>,
}

/// Bytes of stored texts in one page at most; of one row in any case.
pub const PAGE_BYTES: u32 = 4 << 20;

/// One program's database. A claim belongs to one replica, a process that keeps its lease alive by
/// `heartbeat`; what a replica claimed is free again when its lease has run out or its process is
/// proven dead. A write under a claim that is gone fails with [`StoreError::Lost`].
pub trait Store: Send + Sync + fmt::Debug {
    // Incidents.

    /// Commits a batch, alone or with others that wait.
    ///
    /// Fails with [`StoreError::Conflict`] where a base or an alert's version is history, a repeat is
    /// none, or another incident of the key is open, and with [`StoreError::Lost`] where an outbox row
    /// is not this replica's any more; then nothing of the batch is stored. Repeats are held against
    /// what was stored before the batch.
    fn commit(&self, batch: Batch) -> StoreFuture<'_, ()>;

    fn related(&self, alerts: Vec<AlertKey>, keys: Vec<IncidentKey>) -> StoreFuture<'_, Related>;

    fn incident(&self, id: IncidentId) -> StoreFuture<'_, Option<Stored>>;

    /// The newest incidents, newest first, [`PAGE_BYTES`] of them at most; `before` is the id to go on
    /// from. There are no more when there is none.
    fn incidents(&self, limit: u32, before: Option<IncidentId>) -> StoreFuture<'_, Vec<Stored>>;

    /// The timeline after `sequence`, oldest first, [`PAGE_BYTES`] of it at most.
    fn timeline(&self, id: IncidentId, after: i64, limit: u32) -> StoreFuture<'_, Vec<AuditRow>>;

    /// Recomputes the hash chain of an incident and returns how many rows it has. Fails with
    /// [`StoreError::BrokenChain`], which names the first row that was changed, added or is gone,
    /// be it the last.
    fn verify_audit(&self, id: IncidentId) -> StoreFuture<'_, i64>;

    /// The earliest deadline of any incident.
    fn next_deadline(&self) -> StoreFuture<'_, Option<Timestamp>>;

    /// Incidents whose deadline has come, the longest overdue first.
    fn overdue(&self, now: Timestamp, limit: u32) -> StoreFuture<'_, Vec<IncidentId>>;

    // Alerts and what was delivered.

    /// The alerts of an incident, by key, [`PAGE_BYTES`] of them at most; `after` is the one to go on
    /// from. There are no more when there is none.
    fn alerts_of(
        &self,
        incident: IncidentId,
        after: Option<AlertKey>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<AlertRow>>;

    /// The alerts of a source that fire and are held back or in an open incident, by fingerprint;
    /// `after` is the one to go on from.
    fn firing_alerts(
        &self,
        source: String,
        after: Option<String>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<AlertRow>>;

    /// Alerts that fire and are held back, by key; `after` is the one to go on from.
    fn held_alerts(&self, after: Option<AlertKey>, limit: u32) -> StoreFuture<'_, Vec<AlertRow>>;

    /// The journal after `id`, in the order of its commits.
    fn deliveries(&self, after: i64, limit: u32) -> StoreFuture<'_, Vec<DeliveryRow>>;

    /// Forgets some of what need not be kept, and says how many rows: call it until it says 0. Goes by
    /// the age and the bytes of bodies, of which the newest stays, by the age of refusals, and by the
    /// last report of alerts that are resolved and whose incident is over.
    fn prune(&self, retention: Retention) -> StoreFuture<'_, u64>;

    /// Adds to the counts of refused requests.
    fn record_refusals(&self, refusals: Vec<Refusal>) -> StoreFuture<'_, ()>;

    /// Refused requests, the newest minute first.
    fn refusals(&self, limit: u32) -> StoreFuture<'_, Vec<Refusal>>;

    // Outbox.

    /// Claims rows of one kind that are due, oldest first; with `one_each`, only the oldest row of an
    /// incident none of whose rows of that kind is claimed.
    fn claim_outbox(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: u32,
        one_each: bool,
    ) -> StoreFuture<'_, Vec<OutboxRow>>;

    /// Gives a claimed row back for later, after a failure; `counts` when the peer gave a definite
    /// answer.
    fn delay_outbox(
        &self,
        id: i64,
        counts: bool,
        error: String,
        not_before: Timestamp,
    ) -> StoreFuture<'_, ()>;

    /// Gives claimed rows back as they were, for a process that drains.
    fn release_outbox(&self, ids: Vec<i64>) -> StoreFuture<'_, ()>;

    /// The rows of a kind that this replica has: after an answer that was lost, also those that it
    /// does not know of.
    fn claimed_outbox(&self, kind: &'static str) -> StoreFuture<'_, Vec<i64>>;

    /// When the next unclaimed row that is not due yet falls due.
    fn next_outbox(&self, now: Timestamp) -> StoreFuture<'_, Option<Timestamp>>;

    /// Dead letters, newest first; `before` is the id to go on from.
    fn dead_letters(&self, limit: u32, before: Option<i64>) -> StoreFuture<'_, Vec<DeadLetter>>;

    /// Puts a dead letter back into the outbox, once, with its counts at zero. `None`: no such one.
    fn replay_dead_letter(&self, id: i64, now: Timestamp) -> StoreFuture<'_, Option<DeadLetter>>;

    // Attempts, targets and approvals: the resolution agent.

    /// Commits the intent. Fails with [`StoreError::Lost`] where the target's lock is not held with
    /// this token any more, and with `Exists` where the attempt was begun before.
    fn begin_attempt(&self, attempt: Attempt, token: i64) -> StoreFuture<'_, ()>;

    /// Records how an attempt ended. The first record stays: a later one fails with `Conflict`.
    fn finish_attempt(&self, id: AttemptId, outcome: Value, at: Timestamp) -> StoreFuture<'_, ()>;

    /// The attempts of one task, oldest first.
    fn attempts_of_task(&self, task_id: String) -> StoreFuture<'_, Vec<AttemptRow>>;

    /// The attempts on every target since a time, oldest first.
    fn attempts_since(&self, since: Timestamp) -> StoreFuture<'_, Vec<AttemptRow>>;

    /// Takes the lock of a target for `holder`, a task. The token is greater than any before it, also
    /// where this holder has the lock already: whoever acts with the former token is shut out.
    fn lock_target(&self, target: String, holder: String) -> StoreFuture<'_, TargetLock>;

    /// Gives the lock of a target back; the lock of another holder is left alone.
    fn unlock_target(&self, target: String, holder: String) -> StoreFuture<'_, ()>;

    /// Closes a target to every later plan until a person releases it.
    fn quarantine_target(&self, target: String, reason: String) -> StoreFuture<'_, ()>;

    /// Locked targets, by name; also those that are quarantined.
    fn locked_targets(&self) -> StoreFuture<'_, Vec<LockedTarget>>;

    /// Quarantined targets with the reason, by name.
    fn quarantined_targets(&self) -> StoreFuture<'_, Vec<(String, String)>>;

    /// Releases a quarantined target and its lock, by a person's word. False: it is not quarantined.
    fn release_target(&self, target: String) -> StoreFuture<'_, bool>;

    /// Records a person's decision on a plan; a plan is decided once, then fails with `Exists`.
    fn put_approval(
        &self,
        plan_hash: String,
        approved: bool,
        by: String,
        at: Timestamp,
    ) -> StoreFuture<'_, ()>;

    // Changes: deployment-system.

    /// Commits the intent, claimed by this replica. Fails with [`StoreError::Fenced`] where the
    /// target has seen a greater token, with `Exists` where the key or the grant was used, and with
    /// [`StoreError::Busy`] where another change of the target has no end yet.
    fn begin_change(&self, change: Change, token: Option<i64>) -> StoreFuture<'_, ()>;

    /// Records what carries the change out, before it may act. Fails with `Lost` where another
    /// replica has taken the change over: then it must not act.
    fn record_executor(&self, id: String, executor: Value) -> StoreFuture<'_, ()>;

    /// Records the end of a change of this replica. Fails with `Lost` where another has taken it over.
    fn finish_change(&self, id: String, outcome: Value, at: Timestamp) -> StoreFuture<'_, ()>;

    /// Takes over changes without an end whose replica is gone; from then on that replica can neither
    /// record an executor nor an end.
    fn adopt_changes(&self) -> StoreFuture<'_, Vec<ChangeRow>>;

    /// The changes without an end that this replica has: after an answer that was lost, also those
    /// that it does not know of.
    fn claimed_changes(&self) -> StoreFuture<'_, Vec<ChangeRow>>;

    /// The change of a target that has no end yet.
    fn unfinished_change(&self, target: String) -> StoreFuture<'_, Option<ChangeRow>>;

    fn change(&self, id: String) -> StoreFuture<'_, Option<ChangeRow>>;

    fn change_by_key(&self, idempotency_key: String) -> StoreFuture<'_, Option<ChangeRow>>;

    /// The newest changes, of one target or of all, newest first.
    fn changes(&self, target: Option<String>, limit: u32) -> StoreFuture<'_, Vec<ChangeRow>>;

    /// Shuts out every change of a target with a smaller token, and returns the greatest seen.
    fn raise_fence(&self, target: String, token: i64) -> StoreFuture<'_, i64>;

    // Tickets.

    fn ticket(&self, incident: IncidentId) -> StoreFuture<'_, Option<TicketRef>>;

    fn put_ticket(&self, incident: IncidentId, ticket: TicketRef) -> StoreFuture<'_, ()>;

    // Replicas.

    /// Says that this replica lives, for `lease` from now on by the database's clock. Fails with
    /// `Lost` where the lease had run out before; the replica begins anew with a lease, its claims are
    /// not its own any more.
    fn heartbeat(&self, lease: Duration) -> StoreFuture<'_, ()>;

    /// Claims a name for as long as this replica lives, or until it gives it back.
    fn claim(&self, name: String) -> StoreFuture<'_, Claim>;

    fn unclaim(&self, name: String) -> StoreFuture<'_, ()>;

    /// Ends when another replica says that there may be something to do: a hint, which may be lost.
    fn hint(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Gives back every claim and closes every connection; what waited to be written is.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl AlertState {
    pub fn of(alert: &Alert) -> Self {
        Self { status: alert.status, severity: alert.severity, starts_at: alert.starts_at }
    }
}

impl AlertKey {
    pub fn of(alert: &Alert) -> Self {
        Self { source: alert.source.clone(), fingerprint: alert.fingerprint.clone() }
    }
}

/// A process that uses a database with others.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Replica {
    /// Of this run of this process alone.
    pub id: String,
    /// The boot and the pid namespace in which `pid` means something; empty: not known.
    pub host: String,
    pub pid: i32,
    /// Clock ticks since boot.
    pub start_time: u64,
}
