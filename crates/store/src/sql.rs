//! The store on SQL: the same statements for SQLite and PostgreSQL.

mod alert_rows;
mod alerts;
mod attempts;
mod batch;
mod changes;
mod committer;
mod groups;
mod held;
mod hints;
mod incidents;
mod journal;
mod names;
mod outbox;
mod owner;
mod targets;
mod tickets;
mod whole;
mod write;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use incident::{AttemptId, IncidentId, IncidentKey, TicketRef};
use jiff::Timestamp;
use serde_json::Value as Json;
use sqlx::postgres::PgPool;

use crate::database::Database;
use crate::sqlite::SqliteFile;
use crate::{
    AlertKey, AlertRow, Attempt, AttemptRow, AuditRow, Batch, Change, ChangeRow, Claim, DeadLetter,
    DeliveryRow, LockedTarget, OpenOptions, OutboxRow, Refusal, Related, Retention, Store,
    StoreError, StoreFuture, Stored, TargetLock, postgres,
};
use committer::{Committer, Writer};
use hints::Hints;
pub(crate) use incidents::verify_chain;
use outbox::{Claims, Wanted};
use owner::Owner;
use write::{Answer, Write};

/// How long a call may take, with its wait for a connection.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long giving back the lease may take.
const CLOSE: Duration = Duration::from_secs(2);

/// One program's database.
pub(crate) struct SqlStore {
    database: Database,
    owner: Arc<Owner>,
    claims: Arc<Claims>,
    committer: Committer,
    time: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    hints: Hints,
    size: journal::Size,
    /// What keeps other processes out of a file.
    file: Option<SqliteFile>,
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &self.database).finish_non_exhaustive()
    }
}

impl SqlStore {
    pub(crate) fn on_file(file: SqliteFile, options: &OpenOptions) -> Self {
        let database =
            Database::Sqlite { writer: file.writer.clone(), readers: file.readers.clone() };
        let owner = Arc::new(Owner::of_file(&options.replica, (options.time)()));
        Self::over(database, owner, Some(file), options)
    }

    pub(crate) async fn on_server(pool: PgPool, options: &OpenOptions) -> Result<Self, StoreError> {
        let owner = Arc::new(Owner::of_server(&pool, options).await?);
        let by_key = postgres::by_key(&pool);
        let database = Database::Postgres { pool: pool.clone(), by_key };
        let store = Self::over(database, owner.clone(), None, options);
        store.hints.listen(pool, owner);
        Ok(store)
    }

    fn over(
        database: Database,
        owner: Arc<Owner>,
        file: Option<SqliteFile>,
        options: &OpenOptions,
    ) -> Self {
        let claims = Arc::new(Claims::default());
        let writer = Writer {
            database: database.clone(),
            owner: owner.clone(),
            claims: claims.clone(),
            lock: file.as_ref().map(|file| Arc::downgrade(&file.lock)),
        };
        let (committer, hints) = (Committer::start(writer), Hints::default());
        let (time, size) = (options.time.clone(), journal::Size::default());
        Self { database, owner, claims, committer, time, hints, size, file }
    }

    /// Commits a write.
    async fn write(&self, write: Write) -> Result<Answer, StoreError> {
        self.committer.write(write, Vec::new()).await
    }
}

/// A call with its deadline.
fn call<'a, T: Send + 'a>(
    call: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> StoreFuture<'a, T> {
    Box::pin(async move {
        let outcome = tokio::time::timeout(DEADLINE, call).await;
        outcome.unwrap_or(Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)))
    })
}

impl Store for SqlStore {
    fn commit(&self, batch: Batch) -> StoreFuture<'_, ()> {
        call(self.commit_batch(batch))
    }

    fn related(&self, alerts: Vec<AlertKey>, keys: Vec<IncidentKey>) -> StoreFuture<'_, Related> {
        call(self.related_incidents(alerts, keys))
    }

    fn incident(&self, id: IncidentId) -> StoreFuture<'_, Option<Stored>> {
        call(self.stored_incident(id))
    }

    fn incidents(&self, limit: u32, before: Option<IncidentId>) -> StoreFuture<'_, Vec<Stored>> {
        call(self.newest_incidents(limit, before))
    }

    fn timeline(&self, id: IncidentId, after: i64, limit: u32) -> StoreFuture<'_, Vec<AuditRow>> {
        call(self.timeline_rows(id, after, limit))
    }

    fn verify_audit(&self, id: IncidentId) -> StoreFuture<'_, i64> {
        call(async move { verify_chain(&self.database, &id.to_string()).await })
    }

    fn next_deadline(&self) -> StoreFuture<'_, Option<Timestamp>> {
        call(self.earliest_deadline())
    }

    fn overdue(&self, now: Timestamp, limit: u32) -> StoreFuture<'_, Vec<IncidentId>> {
        call(self.overdue_incidents(now, limit))
    }

    fn alerts_of(
        &self,
        incident: IncidentId,
        after: Option<AlertKey>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<AlertRow>> {
        call(self.alerts_of_incident(incident, after, limit))
    }

    fn firing_alerts(
        &self,
        source: String,
        after: Option<String>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<AlertRow>> {
        call(self.firing_alerts_of(source, after, limit))
    }

    fn held_alerts(&self, after: Option<AlertKey>, limit: u32) -> StoreFuture<'_, Vec<AlertRow>> {
        call(self.held_back_alerts(after, limit))
    }

    fn deliveries(&self, after: i64, limit: u32) -> StoreFuture<'_, Vec<DeliveryRow>> {
        call(self.delivery_rows(after, limit))
    }

    fn prune(&self, retention: Retention) -> StoreFuture<'_, u64> {
        call(self.prune_journal(retention))
    }

    fn record_refusals(&self, refusals: Vec<Refusal>) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::AddRefusals { refusals }).await?.done() })
    }

    fn refusals(&self, limit: u32) -> StoreFuture<'_, Vec<Refusal>> {
        call(self.newest_refusals(limit))
    }

    fn claim_outbox(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: u32,
        one_each: bool,
    ) -> StoreFuture<'_, Vec<OutboxRow>> {
        call(self.claim_rows(Wanted { kind, now, limit, one_each }))
    }

    fn delay_outbox(
        &self,
        id: i64,
        counts: bool,
        error: String,
        not_before: Timestamp,
    ) -> StoreFuture<'_, ()> {
        call(self.delay_row(id, counts, error, not_before))
    }

    fn release_outbox(&self, ids: Vec<i64>) -> StoreFuture<'_, ()> {
        call(self.release_rows(ids))
    }

    fn claimed_outbox(&self, kind: &'static str) -> StoreFuture<'_, Vec<i64>> {
        call(self.claimed_rows(kind))
    }

    fn next_outbox(&self, now: Timestamp) -> StoreFuture<'_, Option<Timestamp>> {
        call(self.next_due(now))
    }

    fn dead_letters(&self, limit: u32, before: Option<i64>) -> StoreFuture<'_, Vec<DeadLetter>> {
        call(self.newest_dead_letters(limit, before))
    }

    fn replay_dead_letter(&self, id: i64, now: Timestamp) -> StoreFuture<'_, Option<DeadLetter>> {
        call(async move { self.write(Write::Replay { id, now }).await?.dead_letter() })
    }

    fn begin_attempt(&self, attempt: Attempt, token: i64) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::BeginAttempt { attempt, token }).await?.done() })
    }

    fn finish_attempt(&self, id: AttemptId, outcome: Json, at: Timestamp) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::FinishAttempt { id, outcome, at }).await?.done() })
    }

    fn attempts_of_task(&self, task_id: String) -> StoreFuture<'_, Vec<AttemptRow>> {
        call(self.task_attempts(task_id))
    }

    fn attempts_since(&self, since: Timestamp) -> StoreFuture<'_, Vec<AttemptRow>> {
        call(self.late_attempts(since))
    }

    fn lock_target(&self, target: String, holder: String) -> StoreFuture<'_, TargetLock> {
        let at = (self.time)();
        call(async move { self.write(Write::Lock { target, holder, at }).await?.lock() })
    }

    fn unlock_target(&self, target: String, holder: String) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::Unlock { target, holder }).await?.done() })
    }

    fn quarantine_target(&self, target: String, reason: String) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::Quarantine { target, reason }).await?.done() })
    }

    fn locked_targets(&self) -> StoreFuture<'_, Vec<LockedTarget>> {
        call(self.target_locks())
    }

    fn quarantined_targets(&self) -> StoreFuture<'_, Vec<(String, String)>> {
        call(self.quarantines())
    }

    fn release_target(&self, target: String) -> StoreFuture<'_, bool> {
        call(async move { self.write(Write::Release { target }).await?.flag() })
    }

    fn put_approval(
        &self,
        plan_hash: String,
        approved: bool,
        by: String,
        at: Timestamp,
    ) -> StoreFuture<'_, ()> {
        let write = Write::Approve { plan_hash, approved, by, at };
        call(async move { self.write(write).await?.done() })
    }

    fn begin_change(&self, change: Change, token: Option<i64>) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::BeginChange { change, token }).await?.done() })
    }

    fn record_executor(&self, id: String, executor: Json) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::RecordExecutor { id, executor }).await?.done() })
    }

    fn finish_change(&self, id: String, outcome: Json, at: Timestamp) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::FinishChange { id, outcome, at }).await?.done() })
    }

    fn adopt_changes(&self) -> StoreFuture<'_, Vec<ChangeRow>> {
        call(async move { self.write(Write::AdoptChanges).await?.changes() })
    }

    fn claimed_changes(&self) -> StoreFuture<'_, Vec<ChangeRow>> {
        call(self.own_changes())
    }

    fn unfinished_change(&self, target: String) -> StoreFuture<'_, Option<ChangeRow>> {
        call(self.one_change("target = $1 AND is_unfinished = 1", target))
    }

    fn change(&self, id: String) -> StoreFuture<'_, Option<ChangeRow>> {
        call(self.one_change("id = $1", id))
    }

    fn change_by_key(&self, idempotency_key: String) -> StoreFuture<'_, Option<ChangeRow>> {
        call(self.one_change("idempotency_key = $1", idempotency_key))
    }

    fn changes(&self, target: Option<String>, limit: u32) -> StoreFuture<'_, Vec<ChangeRow>> {
        call(self.newest_changes(target, limit))
    }

    fn raise_fence(&self, target: String, token: i64) -> StoreFuture<'_, i64> {
        call(async move { self.write(Write::RaiseFence { target, token }).await?.number() })
    }

    fn ticket(&self, incident: IncidentId) -> StoreFuture<'_, Option<TicketRef>> {
        call(self.ticket_of(incident))
    }

    fn put_ticket(&self, incident: IncidentId, ticket: TicketRef) -> StoreFuture<'_, ()> {
        call(async move { self.write(Write::PutTicket { incident, ticket }).await?.done() })
    }

    fn heartbeat(&self, lease: Duration) -> StoreFuture<'_, ()> {
        call(async move {
            match &self.database {
                // Nobody else can have the file.
                Database::Sqlite { .. } => Ok(()),
                Database::Postgres { pool, .. } => self.owner.live(pool, lease).await,
            }
        })
    }

    fn claim(&self, name: String) -> StoreFuture<'_, Claim> {
        call(self.claim_name(name))
    }

    fn unclaim(&self, name: String) -> StoreFuture<'_, ()> {
        call(self.unclaim_name(name))
    }

    fn hint(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.hints.next())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.hints.close().await;
            self.committer.close().await;
            if let Some(file) = &self.file {
                return file.close().await;
            }
            if let Database::Postgres { pool, .. } = &self.database {
                // Without it, the lease runs out by itself.
                let _ = tokio::time::timeout(CLOSE, self.owner.end(pool)).await;
            }
            self.database.close().await;
        })
    }
}
