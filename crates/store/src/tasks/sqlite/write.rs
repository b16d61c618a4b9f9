//! Writes of tasks: each statement takes all its rows as one JSON parameter, so that a batch of
//! any size costs as many statements as one task.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Weak;

use a2a_types::TaskRecord;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::Tasks;
use super::read::read;
use crate::StoreError;
use crate::sqlite::{to_json, to_micros};
use crate::tasks::committer::{Backend, Written};
use crate::tasks::row::{PushRow, Sorted, TaskRow, Write};

const INSERT: &str = "INSERT INTO task (id, tenant, principal, idempotency_key, context_id, state, \
       is_unfinished, is_terminal, updated_at, sequence, task, message) \
     SELECT value ->> 'id', value ->> 'tenant', value ->> 'principal', value ->> 'idempotency_key', \
       value ->> 'context_id', value ->> 'state', value ->> 'is_unfinished', \
       value ->> 'is_terminal', value ->> 'updated_at', value ->> 'sequence', value ->> 'task', \
       value ->> 'message' \
     FROM json_each(?1) AS new \
     WHERE NOT EXISTS (SELECT 1 FROM task WHERE tenant = new.value ->> 'tenant' \
       AND principal = new.value ->> 'principal' \
       AND idempotency_key = new.value ->> 'idempotency_key') \
     ORDER BY new.key \
     ON CONFLICT (tenant, principal, idempotency_key) WHERE idempotency_key IS NOT NULL \
     DO NOTHING RETURNING id";

const UPDATE: &str = "UPDATE task SET state = new.value ->> 'state', \
       is_unfinished = new.value ->> 'is_unfinished', is_terminal = new.value ->> 'is_terminal', \
       updated_at = new.value ->> 'updated_at', sequence = new.value ->> 'sequence', \
       task = new.value ->> 'task', message = new.value ->> 'message' \
     FROM json_each(?1) AS new WHERE task.id = new.value ->> 'id'";

const INSERT_EVENTS: &str = "INSERT INTO task_event (task, sequence, event) \
     SELECT task.number, new.value ->> 'sequence', new.value ->> 'event' \
     FROM json_each(?1) AS new CROSS JOIN task ON task.id = new.value ->> 'task_id'";

const INSERT_DELIVERIES: &str = "INSERT INTO push_delivery (task, config, sequence) \
     SELECT push_config.task, push_config.id, new.value ->> 'sequence' \
     FROM json_each(?1) AS new CROSS JOIN task ON task.id = new.value ->> 'task_id' \
     CROSS JOIN push_config ON push_config.task = task.number \
     ORDER BY new.key, push_config.id";

pub(super) const PUT_PUSH: &str = "INSERT INTO push_config (task, id, config) \
     SELECT task.number, new.value ->> 'id', new.value ->> 'config' \
     FROM json_each(?1) AS new CROSS JOIN task ON task.id = new.value ->> 'task_id' WHERE true \
     ON CONFLICT (task, id) DO UPDATE SET config = excluded.config";

/// The writer of a file, for as long as some store has the file open.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) pool: SqlitePool,
    pub(super) lock: Weak<File>,
}

impl Backend for Writer {
    async fn commit(&self, batch: &[Write]) -> Result<Vec<Written>, StoreError> {
        let _lock = self.lock.upgrade().ok_or(StoreError::Closed)?;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let written = write_all(&mut transaction, batch).await?;
        transaction.commit().await?;
        Ok(written)
    }
}

async fn write_all(
    connection: &mut SqliteConnection,
    batch: &[Write],
) -> Result<Vec<Written>, StoreError> {
    let Sorted { inserts, pushes, saves, events } = Sorted::new(batch);
    let new = insert_all(connection, &inserts).await?;
    let pushes: Vec<&PushRow> =
        pushes.into_iter().filter(|push| new.contains(&push.task_id)).collect();
    run(connection, PUT_PUSH, &pushes).await?;
    run(connection, UPDATE, &saves).await?;
    run(connection, INSERT_EVENTS, &events).await?;
    run(connection, INSERT_DELIVERIES, &events).await?;

    let mut written = Vec::with_capacity(batch.len());
    for write in batch {
        written.push(match write {
            Write::Insert { task, .. } if !new.contains(&task.id) => {
                Some(Box::new(existing(connection, task).await?))
            }
            _ => None,
        });
    }
    Ok(written)
}

impl Tasks {
    pub(super) async fn expire_tasks(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let gone = sqlx::query(
            "DELETE FROM task WHERE number IN (SELECT number FROM task \
               WHERE is_terminal = 1 AND updated_at < ? \
               AND NOT EXISTS (SELECT 1 FROM push_delivery WHERE push_delivery.task = number) \
               ORDER BY updated_at LIMIT ?)",
        )
        .bind(to_micros(before))
        .bind(limit)
        .execute(&self.0.writer)
        .await?;
        Ok(gone.rows_affected())
    }
}

/// The ids of those that are new; the others' keys are known.
async fn insert_all(
    connection: &mut SqliteConnection,
    rows: &[&TaskRow],
) -> Result<HashSet<String>, StoreError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let inserted = sqlx::query(INSERT).bind(to_json(&rows)).fetch_all(connection).await;
    let inserted =
        inserted.map_err(|error| StoreError::on_insert(error, "a task of the same id"))?;
    Ok(inserted.iter().map(|row| row.get("id")).collect())
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

/// Runs a statement over rows, if there are any.
async fn run<T: Serialize>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &[T],
) -> Result<(), StoreError> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(to_json(&rows)).execute(connection).await?;
    }
    Ok(())
}
