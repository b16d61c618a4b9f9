//! Attempts at steps: the intent is committed before the effect, the outcome after it.

use incident::AttemptId;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::sqlite::{from_json, from_micros, to_json, to_micros};
use crate::{FileStore, StoreError};

/// An attempt that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub id: AttemptId,
    /// The A2A task it is part of.
    pub task_id: String,
    pub target: String,
    /// Step, action and arguments, in the agent's own form.
    pub body: Value,
    pub started_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    pub attempt: Attempt,
    /// `None` while it runs, and for ever when its process died.
    pub outcome: Option<Value>,
    pub finished_at: Option<Timestamp>,
}

impl FileStore {
    /// # Errors
    /// The intent is not committed: the effect must not happen.
    pub async fn begin_attempt(&self, attempt: &Attempt) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO attempt (id, task_id, target, started_at, body) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(attempt.id.to_string())
        .bind(&attempt.task_id)
        .bind(&attempt.target)
        .bind(to_micros(attempt.started_at))
        .bind(to_json(&attempt.body))
        .execute(&self.writer)
        .await
        .map_err(|error| StoreError::on_insert(error, format!("attempt {}", attempt.id)))?;
        Ok(())
    }

    /// # Errors
    /// The database is unavailable.
    pub async fn finish_attempt(
        &self,
        id: &AttemptId,
        outcome: &Value,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE attempt SET outcome = ?, finished_at = ? WHERE id = ?")
            .bind(to_json(outcome))
            .bind(to_micros(at))
            .bind(id.to_string())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The attempts of one task, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn attempts_of_task(&self, task_id: &str) -> Result<Vec<AttemptRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM attempt WHERE task_id = ? ORDER BY started_at, id")
            .bind(task_id)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(read).collect()
    }

    /// The attempts on a target since a time, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn attempts_on_target(
        &self,
        target: &str,
        since: Timestamp,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM attempt WHERE target = ? AND started_at >= ? ORDER BY started_at, id",
        )
        .bind(target)
        .bind(to_micros(since))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The attempts on every target since a time, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn attempts_since(&self, since: Timestamp) -> Result<Vec<AttemptRow>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM attempt WHERE started_at >= ? ORDER BY started_at, id")
                .bind(to_micros(since))
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &SqliteRow) -> Result<AttemptRow, StoreError> {
    let id: String = row.get("id");
    let unreadable = |what: &str| sqlx::Error::Decode(format!("attempt {id}: {what}").into());
    let attempt = Attempt {
        id: id.parse().map_err(|_| unreadable("id"))?,
        task_id: row.get("task_id"),
        target: row.get("target"),
        body: from_json(row.get("body"), "attempt")?,
        started_at: from_micros(row.get("started_at")),
    };
    let outcome: Option<String> = row.get("outcome");
    Ok(AttemptRow {
        attempt,
        outcome: outcome.map(|text| from_json(&text, "attempt outcome")).transpose()?,
        finished_at: row.get::<Option<i64>, _>("finished_at").map(from_micros),
    })
}
