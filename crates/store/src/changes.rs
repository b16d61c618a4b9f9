//! The changes deployment-system made: begun before the effect, finished after it, found again by
//! their idempotency key.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::sqlite::{from_json, from_micros, to_json, to_micros};
use crate::{FileStore, StoreError};

/// A change that is about to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub id: String,
    pub idempotency_key: String,
    /// The single-use grant that allows it.
    pub grant_id: Option<String>,
    pub arguments_sha256: String,
    pub target: String,
    pub action: String,
    pub request: Value,
    pub started_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ChangeRow {
    pub change: Change,
    /// What carries it out, as it was recorded before it could act.
    pub executor: Option<Value>,
    /// `None` while it runs, and for ever when its process died: the outcome is unknown.
    pub outcome: Option<Value>,
    pub finished_at: Option<Timestamp>,
}

impl FileStore {
    /// Commits the intent.
    ///
    /// # Errors
    /// `Exists` when the idempotency key or the grant was used before.
    pub async fn begin_change(&self, change: &Change) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO change (id, idempotency_key, grant_id, arguments_sha256, target, action, \
             started_at, request) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&change.id)
        .bind(&change.idempotency_key)
        .bind(&change.grant_id)
        .bind(&change.arguments_sha256)
        .bind(&change.target)
        .bind(&change.action)
        .bind(to_micros(change.started_at))
        .bind(to_json(&change.request))
        .execute(&self.writer)
        .await
        .map_err(|error| StoreError::on_insert(error, "a change with this key or grant"))?;
        Ok(())
    }

    /// # Errors
    /// The database is unavailable.
    pub async fn finish_change(
        &self,
        id: &str,
        outcome: &Value,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE change SET outcome = ?, finished_at = ? WHERE id = ?")
            .bind(to_json(outcome))
            .bind(to_micros(at))
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Every change, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn changes(&self) -> Result<Vec<ChangeRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM change ORDER BY started_at, id LIMIT 10000")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(read).collect()
    }

    /// # Errors
    /// The database is unavailable.
    pub async fn change(&self, id: &str) -> Result<Option<ChangeRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM change WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// # Errors
    /// The database is unavailable.
    pub async fn change_by_key(
        &self,
        idempotency_key: &str,
    ) -> Result<Option<ChangeRow>, StoreError> {
        let row = sqlx::query("SELECT * FROM change WHERE idempotency_key = ?")
            .bind(idempotency_key)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(read).transpose()
    }
}

fn read(row: &SqliteRow) -> Result<ChangeRow, StoreError> {
    let outcome: Option<String> = row.get("outcome");
    Ok(ChangeRow {
        change: Change {
            id: row.get("id"),
            idempotency_key: row.get("idempotency_key"),
            grant_id: row.get("grant_id"),
            arguments_sha256: row.get("arguments_sha256"),
            target: row.get("target"),
            action: row.get("action"),
            request: from_json(row.get("request"), "change")?,
            started_at: from_micros(row.get("started_at")),
        },
        executor: None,
        outcome: outcome.map(|text| from_json(&text, "change outcome")).transpose()?,
        finished_at: row.get::<Option<i64>, _>("finished_at").map(from_micros),
    })
}
