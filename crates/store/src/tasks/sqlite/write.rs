//! Writes of tasks: each statement takes all its rows as one JSON parameter, so that a batch of
//! any size costs as many statements as one task.

use std::collections::HashSet;

use a2a_types::{Inserted, NewTask, TaskEvent, TaskPushNotificationConfig, TaskRecord};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Row, SqliteConnection};

use super::Tasks;
use super::read::read;
use crate::StoreError;
use crate::sqlite::{to_json, to_micros};
use crate::tasks::row::{EventRow, TaskRow};

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

#[derive(Debug, Serialize)]
pub(super) struct PushRow {
    pub(super) task_id: String,
    pub(super) id: String,
    pub(super) config: String,
}

impl PushRow {
    pub(super) fn new(task_id: &str, config: &TaskPushNotificationConfig) -> Self {
        Self { task_id: task_id.to_owned(), id: config.id.clone(), config: to_json(config) }
    }
}

impl Tasks {
    pub(super) async fn insert_task(&self, new: NewTask) -> Result<Inserted, StoreError> {
        let push = new.push.map(|config| PushRow::new(&new.record.task.id, &config));
        let row = TaskRow::from(new.record);
        let mut transaction = self.0.begin().await?;
        let connection = &mut *transaction.0;
        if insert_all(connection, &[&row]).await?.is_empty() {
            let known = existing(connection, &row).await?;
            return Ok(Inserted::Existing(Box::new(known)));
        }
        if let Some(push) = push {
            run(connection, PUT_PUSH, &[push]).await?;
        }
        transaction.commit().await?;
        Ok(Inserted::New)
    }

    pub(super) async fn save_task(
        &self,
        record: TaskRecord,
        events: &[TaskEvent],
    ) -> Result<(), StoreError> {
        let row = TaskRow::from(record);
        let events: Vec<EventRow> =
            events.iter().map(|event| EventRow::new(&row.id, event)).collect();
        let mut transaction = self.0.begin().await?;
        let connection = &mut *transaction.0;
        run(connection, UPDATE, &[row]).await?;
        run(connection, INSERT_EVENTS, &events).await?;
        run(connection, INSERT_DELIVERIES, &events).await?;
        transaction.commit().await
    }

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
    let inserted = sqlx::query(INSERT).bind(to_json(&rows)).fetch_all(connection).await;
    let inserted = inserted.map_err(|error| StoreError::on_insert(error, "a task of this id"))?;
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
pub(super) async fn run<T: Serialize>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &[T],
) -> Result<(), StoreError> {
    if !rows.is_empty() {
        sqlx::query(statement).bind(to_json(&rows)).execute(connection).await?;
    }
    Ok(())
}
