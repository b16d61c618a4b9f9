//! A2A tasks of the agent that owns this database.

use std::sync::Arc;

use a2a_types::{Inserted, StoreFuture, Task, TaskRecord, TaskStore};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::sqlite::{from_json, to_json};
use crate::{Store, StoreError};

impl Store {
    /// This database as the place where an A2A server keeps its tasks.
    pub fn task_store(&self) -> Arc<dyn TaskStore> {
        Arc::new(Tasks(self.clone()))
    }
}

#[derive(Debug)]
struct Tasks(Store);

impl Tasks {
    async fn insert_task(&self, record: TaskRecord) -> Result<Inserted, StoreError> {
        let mut transaction = self.0.begin().await?;
        if let Some(key) = &record.idempotency_key {
            let known = sqlx::query(
                "SELECT task, message, idempotency_key FROM task WHERE idempotency_key = ?",
            )
            .bind(key)
            .fetch_optional(&mut *transaction.0)
            .await?;
            if let Some(row) = known {
                return Ok(Inserted::Existing(Box::new(read(&row)?)));
            }
        }
        sqlx::query(
            "INSERT INTO task (id, idempotency_key, is_unfinished, task, message) \
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&record.task.id)
        .bind(&record.idempotency_key)
        .bind(is_unfinished(&record.task))
        .bind(to_json(&record.task))
        .bind(to_json(&record.message))
        .execute(&mut *transaction.0)
        .await
        .map_err(|error| StoreError::on_insert(error, format!("task {}", record.task.id)))?;
        transaction.commit().await?;
        Ok(Inserted::New)
    }

    async fn save_task(&self, record: TaskRecord) -> Result<(), StoreError> {
        sqlx::query("UPDATE task SET is_unfinished = ?, task = ?, message = ? WHERE id = ?")
            .bind(is_unfinished(&record.task))
            .bind(to_json(&record.task))
            .bind(to_json(&record.message))
            .bind(&record.task.id)
            .execute(&self.0.writer)
            .await?;
        Ok(())
    }

    async fn load_task(&self, id: &str) -> Result<Option<TaskRecord>, StoreError> {
        let row = sqlx::query("SELECT task, message, idempotency_key FROM task WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.0.readers)
            .await?;
        row.as_ref().map(read).transpose()
    }

    async fn unfinished_tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT task, message, idempotency_key FROM task WHERE is_unfinished = 1 ORDER BY id",
        )
        .fetch_all(&self.0.readers)
        .await?;
        rows.iter().map(read).collect()
    }
}

impl TaskStore for Tasks {
    fn insert(&self, record: TaskRecord) -> StoreFuture<'_, Inserted> {
        Box::pin(async move { Ok(self.insert_task(record).await?) })
    }

    fn save(&self, record: TaskRecord) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(self.save_task(record).await?) })
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        Box::pin(async move { Ok(self.load_task(&id).await?) })
    }

    fn unfinished(&self) -> StoreFuture<'_, Vec<TaskRecord>> {
        Box::pin(async move { Ok(self.unfinished_tasks().await?) })
    }
}

fn is_unfinished(task: &Task) -> bool {
    !task.status.state.is_terminal() && !task.status.state.is_interrupted()
}

fn read(row: &SqliteRow) -> Result<TaskRecord, StoreError> {
    Ok(TaskRecord {
        task: from_json(row.get("task"), "task")?,
        message: from_json(row.get("message"), "task message")?,
        idempotency_key: row.get("idempotency_key"),
    })
}
