//! Writes of tasks: each statement takes all its rows as one JSON parameter, so that a batch of
//! any size costs as many statements as one task.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use a2a_types::{Expiry, TaskRecord};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::Tasks;
use super::read::read;
use crate::StoreError;
use crate::database::begin_in_file;
use crate::sqlite::{to_json, to_micros};
use crate::tasks::committer::{Backend, Written};
use crate::tasks::row::{EventRow, Sorted, TaskRow, Write};

/// Adds push configurations, or replaces those of the same task and id.
macro_rules! put_push {
    () => {
        "INSERT INTO push_config (task, id, config) \
     SELECT task.number, new.value ->> 'id', new.value ->> 'config' \
     FROM json_each(?) AS new CROSS JOIN task ON task.id = new.value ->> 'task_id' WHERE true \
     ON CONFLICT (task, id) DO UPDATE SET config = excluded.config"
    };
}

/// A whole batch in one turn of the connection's thread: one statement after the other, each over one
/// array of rows, which may be empty. A push configuration whose task is not new finds no task.
const WRITE_BATCH: &str = concat!(
    "INSERT INTO task (id, tenant, principal, idempotency_key, context_id, state, \
       is_unfinished, is_terminal, updated_at, sequence, task, message) \
     SELECT value ->> 'id', value ->> 'tenant', value ->> 'principal', value ->> 'idempotency_key', \
       value ->> 'context_id', value ->> 'state', value ->> 'is_unfinished', \
       value ->> 'is_terminal', value ->> 'updated_at', value ->> 'sequence', value ->> 'task', \
       value ->> 'message' \
     FROM json_each(?) AS new \
     WHERE NOT EXISTS (SELECT 1 FROM task WHERE tenant = new.value ->> 'tenant' \
       AND principal = new.value ->> 'principal' \
       AND idempotency_key = new.value ->> 'idempotency_key') \
     ORDER BY new.key \
     ON CONFLICT (tenant, principal, idempotency_key) WHERE idempotency_key IS NOT NULL \
     DO NOTHING RETURNING id",
    "; ",
    put_push!(),
    "; ",
    "UPDATE task SET state = new.value ->> 'state', \
       is_unfinished = new.value ->> 'is_unfinished', is_terminal = new.value ->> 'is_terminal', \
       updated_at = new.value ->> 'updated_at', sequence = new.value ->> 'sequence', \
       task = new.value ->> 'task', message = new.value ->> 'message' \
     FROM json_each(?) AS new WHERE task.id = new.value ->> 'id'",
    "; ",
    "INSERT INTO task_event (task, sequence, event) \
     SELECT task.number, new.value ->> 'sequence', new.value ->> 'event' \
     FROM json_each(?) AS new CROSS JOIN task ON task.id = new.value ->> 'task_id'",
    "; ",
    "INSERT INTO push_delivery (task, config, sequence) \
     SELECT push_config.task, push_config.id, new.value ->> 'sequence' \
     FROM json_each(?) AS new CROSS JOIN task ON task.id = new.value ->> 'task_id' \
     CROSS JOIN push_config ON push_config.task = task.number \
     ORDER BY new.key, push_config.id"
);

pub(super) const PUT_PUSH: &str = put_push!();

/// The writer of a file, for as long as some store has the file open.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) pool: SqlitePool,
    pub(super) lock: Weak<File>,
    /// Whether some task may have a push configuration; without one no delivery is looked for.
    pub(super) has_pushes: Arc<AtomicBool>,
}

impl Backend for Writer {
    async fn commit(&self, batch: &[Write]) -> Result<Vec<Written>, StoreError> {
        let _lock = self.lock.upgrade().ok_or(StoreError::Closed)?;
        let mut transaction = begin_in_file(&self.pool).await?;
        let written = match write_all(&mut transaction, batch, &self.has_pushes).await {
            // An event of that number is there: an earlier save was committed, although it failed.
            Err(StoreError::Exists { .. }) if matches!(batch, [Write::Save { .. }]) => {
                return Ok(vec![Written::Lost]);
            }
            written => written?,
        };
        transaction.commit().await?;
        Ok(written)
    }
}

async fn write_all(
    connection: &mut SqliteConnection,
    batch: &[Write],
    has_pushes: &AtomicBool,
) -> Result<Vec<Written>, StoreError> {
    let Sorted { inserts, pushes, saves, events } = Sorted::new(batch);
    has_pushes.fetch_or(!pushes.is_empty(), Ordering::SeqCst);
    let delivered: &[&EventRow] = if has_pushes.load(Ordering::SeqCst) { &events } else { &[] };
    let inserted = sqlx::query(WRITE_BATCH)
        .bind(to_json(&inserts))
        .bind(to_json(&pushes))
        .bind(to_json(&saves))
        .bind(to_json(&events))
        .bind(to_json(&delivered))
        .fetch_all(&mut *connection)
        .await;
    let inserted =
        inserted.map_err(|error| StoreError::on_insert(error, "a task of the same id"))?;
    let new: HashSet<String> = inserted.iter().map(|row| row.get("id")).collect();

    let mut written = Vec::with_capacity(batch.len());
    for write in batch {
        written.push(match write {
            Write::Insert { task, .. } if !new.contains(&task.id) => {
                Written::Existing(Box::new(existing(connection, task).await?))
            }
            _ => Written::Done,
        });
    }
    Ok(written)
}

impl Tasks {
    pub(super) async fn expire_tasks(&self, expiry: Expiry, limit: u32) -> Result<u64, StoreError> {
        let ended = self.expire("is_terminal = 1", expiry.ended_before, limit).await?;
        let is_waiting = "is_unfinished = 0 AND is_terminal = 0";
        Ok(ended + self.expire(is_waiting, expiry.waiting_before, limit).await?)
    }

    async fn expire(
        &self,
        which: &'static str,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let mut delete = QueryBuilder::<Sqlite>::new("DELETE FROM task WHERE number IN (");
        delete.push("SELECT number FROM task WHERE ").push(which);
        delete.push(" AND updated_at < ").push_bind(to_micros(before));
        delete.push(
            " AND NOT EXISTS (SELECT 1 FROM push_delivery WHERE push_delivery.task = number)",
        );
        delete.push(" ORDER BY updated_at LIMIT ").push_bind(limit).push(")");
        Ok(delete.build().execute(&self.store.writer).await?.rows_affected())
    }
}

/// The task under the key of this one.
async fn existing(
    connection: &mut SqliteConnection,
    row: &TaskRow,
) -> Result<TaskRecord, StoreError> {
    let known = sqlx::query(
        "SELECT * FROM task WHERE tenant = ? AND principal = ? AND idempotency_key = ?",
    )
    .bind(&row.tenant)
    .bind(&row.principal)
    .bind(&row.idempotency_key)
    .fetch_one(connection)
    .await?;
    read(&known)
}
