//! Attempts: the intent is committed before the effect, under the lock of its target.

use incident::AttemptId;
use jiff::Timestamp;
use serde_json::Value as Json;

use super::SqlStore;
use super::write::Answer;
use crate::database::{Row, Transaction, params};
use crate::sqlite::{from_json, to_json};
use crate::{Attempt, AttemptRow, StoreError};

const ATTEMPT: &str =
    "SELECT id, task_id, target, started_at, finished_at, body, outcome FROM attempt";

impl SqlStore {
    pub(super) async fn task_attempts(
        &self,
        task_id: String,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let sql = format!("{ATTEMPT} WHERE task_id = $1 ORDER BY started_at, id");
        let rows = self.database.fetch(sql, params![task_id]).await?;
        rows.iter().map(read).collect()
    }

    pub(super) async fn late_attempts(
        &self,
        since: Timestamp,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let sql = format!("{ATTEMPT} WHERE started_at >= $1 ORDER BY started_at, id");
        let rows = self.database.fetch(sql, params![since]).await?;
        rows.iter().map(read).collect()
    }
}

pub(super) async fn begin(
    transaction: &mut Transaction,
    attempt: &Attempt,
    token: i64,
) -> Result<Answer, StoreError> {
    // The lock's row is held until the commit, so that the next holder sees this attempt.
    let held = transaction.dialect().pick("", "FOR SHARE");
    let sql = format!(
        "SELECT token FROM target_lock \
         WHERE target = $1 AND token = $2 AND holder IS NOT NULL {held}"
    );
    if transaction.fetch(sql, params![&*attempt.target, token]).await?.is_empty() {
        return Err(StoreError::Lost { what: format!("the lock of {}", attempt.target) });
    }
    let sql = "INSERT INTO attempt (id, task_id, target, started_at, body) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let parameters = params![
        attempt.id.to_string(),
        &*attempt.task_id,
        &*attempt.target,
        attempt.started_at,
        to_json(&attempt.body),
    ];
    match transaction.execute(sql, parameters).await? {
        0 => Err(StoreError::Exists { what: format!("attempt {}", attempt.id) }),
        _ => Ok(Answer::Done),
    }
}

pub(super) async fn finish(
    transaction: &mut Transaction,
    id: AttemptId,
    outcome: &Json,
    at: Timestamp,
) -> Result<Answer, StoreError> {
    let sql = "UPDATE attempt SET outcome = $2, finished_at = $3 \
               WHERE id = $1 AND outcome IS NULL";
    match transaction.execute(sql, params![id.to_string(), to_json(outcome), at]).await? {
        0 => Err(StoreError::Conflict { what: format!("the outcome of attempt {id}") }),
        _ => Ok(Answer::Done),
    }
}

fn read(row: &Row) -> Result<AttemptRow, StoreError> {
    let outcome: Option<String> = row.get("outcome")?;
    Ok(AttemptRow {
        attempt: Attempt {
            id: row.id("id")?,
            task_id: row.text("task_id")?,
            target: row.text("target")?,
            body: from_json(&row.text("body")?, "attempt")?,
            started_at: row.time("started_at")?,
        },
        outcome: outcome.map(|text| from_json(&text, "attempt outcome")).transpose()?,
        finished_at: row.time_if_any("finished_at")?,
    })
}
