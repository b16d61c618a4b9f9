//! The changes that deployment-system makes: one without an end a target, owned by a replica, and
//! none with a token smaller than the target has seen.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::SqlStore;
use super::owner::{is_free, is_mine};
use super::write::Answer;
use crate::database::{Row, Transaction, params};
use crate::sqlite::{from_json, to_json};
use crate::{Change, ChangeRow, StoreError};

const COLUMNS: &str = "id, idempotency_key, grant_id, arguments_sha256, target, action, \
                       started_at, finished_at, request, outcome, executor";

impl SqlStore {
    /// The change that meets a condition on `$1`.
    pub(super) async fn one_change(
        &self,
        condition: &'static str,
        value: String,
    ) -> Result<Option<ChangeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM change WHERE {condition}");
        let rows = self.database.fetch(sql, params![value]).await?;
        rows.first().map(read).transpose()
    }

    pub(super) async fn own_changes(&self) -> Result<Vec<ChangeRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM change WHERE is_unfinished = 1 AND replica = $1");
        let rows = self.database.fetch(sql, params![&*self.owner.key()]).await?;
        rows.iter().map(read).collect()
    }

    pub(super) async fn newest_changes(
        &self,
        target: Option<String>,
        limit: u32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        let (condition, parameters) = match target {
            Some(target) => ("WHERE target = $2", params![limit, target]),
            None => ("", params![limit]),
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM change {condition} ORDER BY started_at DESC, id DESC LIMIT $1"
        );
        let rows = self.database.fetch(sql, parameters).await?;
        rows.iter().map(read).collect()
    }
}

pub(super) async fn begin(
    transaction: &mut Transaction,
    me: &str,
    change: &Change,
    token: Option<i64>,
) -> Result<Answer, StoreError> {
    if let Some(token) = token {
        let seen = raise(transaction, &change.target, token).await?;
        if seen > token {
            return Err(StoreError::Fenced { target: change.target.clone(), seen });
        }
    }
    let sql = "INSERT INTO change (id, idempotency_key, grant_id, arguments_sha256, target, \
                 action, started_at, request, replica, is_unfinished) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1) ON CONFLICT DO NOTHING";
    let parameters = params![
        &*change.id,
        &*change.idempotency_key,
        change.grant_id.clone(),
        &*change.arguments_sha256,
        &*change.target,
        &*change.action,
        change.started_at,
        to_json(&change.request),
        me,
    ];
    match transaction.execute(sql, parameters).await? {
        0 => Err(present(transaction, change).await?),
        _ => Ok(Answer::Done),
    }
}

/// What keeps a change from being begun.
async fn present(transaction: &mut Transaction, change: &Change) -> Result<StoreError, StoreError> {
    let sql = "SELECT id FROM change WHERE target = $1 AND is_unfinished = 1 \
               AND id <> $2 AND idempotency_key <> $3";
    let parameters = params![&*change.target, &*change.id, &*change.idempotency_key];
    let others = transaction.fetch(sql, parameters).await?;
    let sql = "SELECT id FROM change WHERE id = $1 OR idempotency_key = $2 OR grant_id = $3";
    let parameters = params![&*change.id, &*change.idempotency_key, change.grant_id.clone()];
    let same = transaction.fetch(sql, parameters).await?;
    if !same.is_empty() {
        return Ok(StoreError::Exists { what: "a change with this key or grant".into() });
    }
    let by = match others.first() {
        Some(other) => other.text("id")?,
        None => "a change that has just ended".to_owned(),
    };
    Ok(StoreError::Busy { target: change.target.clone(), by })
}

pub(super) async fn record_executor(
    transaction: &mut Transaction,
    me: &str,
    id: &str,
    executor: &Json,
) -> Result<Answer, StoreError> {
    let mine = is_mine(transaction.dialect(), "change.replica", "$3");
    let sql =
        format!("UPDATE change SET executor = $2 WHERE id = $1 AND is_unfinished = 1 AND {mine}");
    match transaction.execute(sql, params![id, to_json(executor), me]).await? {
        0 => Err(lost(id)),
        _ => Ok(Answer::Done),
    }
}

pub(super) async fn finish(
    transaction: &mut Transaction,
    me: &str,
    id: &str,
    outcome: &Json,
    at: Timestamp,
) -> Result<Answer, StoreError> {
    let mine = is_mine(transaction.dialect(), "change.replica", "$4");
    let sql = format!(
        "UPDATE change SET outcome = $2, finished_at = $3, is_unfinished = 0 \
         WHERE id = $1 AND is_unfinished = 1 AND {mine}"
    );
    match transaction.execute(sql, params![id, to_json(outcome), at, me]).await? {
        0 => Err(lost(id)),
        _ => Ok(Answer::Done),
    }
}

fn lost(id: &str) -> StoreError {
    StoreError::Lost { what: format!("change {id}") }
}

pub(super) async fn adopt(transaction: &mut Transaction, me: &str) -> Result<Answer, StoreError> {
    let free = is_free(transaction.dialect(), "change.replica", "$1");
    let sql = format!(
        "UPDATE change SET replica = $1 WHERE is_unfinished = 1 AND {free} RETURNING {COLUMNS}"
    );
    let rows = transaction.fetch(sql, params![me]).await?;
    let mut changes = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    changes.sort_by_key(|row| row.change.started_at);
    Ok(Answer::Changes(changes))
}

pub(super) async fn raise_fence(
    transaction: &mut Transaction,
    target: &str,
    token: i64,
) -> Result<Answer, StoreError> {
    raise(transaction, target, token).await.map(Answer::Number)
}

/// The greatest token that the target has seen, this one included.
async fn raise(transaction: &mut Transaction, target: &str, token: i64) -> Result<i64, StoreError> {
    let sql = "INSERT INTO fence (target, token) VALUES ($1, $2) \
               ON CONFLICT (target) DO UPDATE SET token = CASE \
                 WHEN excluded.token > fence.token THEN excluded.token ELSE fence.token END \
               RETURNING token";
    let rows = transaction.fetch(sql, params![target, token]).await?;
    rows.first().map_or(Ok(token), |row| row.int("token"))
}

fn read(row: &Row) -> Result<ChangeRow, StoreError> {
    let outcome: Option<String> = row.get("outcome")?;
    let executor: Option<String> = row.get("executor")?;
    Ok(ChangeRow {
        change: Change {
            id: row.text("id")?,
            idempotency_key: row.text("idempotency_key")?,
            grant_id: row.get("grant_id")?,
            arguments_sha256: row.text("arguments_sha256")?,
            target: row.text("target")?,
            action: row.text("action")?,
            request: from_json(&row.text("request")?, "change")?,
            started_at: row.time("started_at")?,
        },
        executor: executor.map(|text| from_json(&text, "executor")).transpose()?,
        outcome: outcome.map(|text| from_json(&text, "change outcome")).transpose()?,
        finished_at: row.time_if_any("finished_at")?,
    })
}
