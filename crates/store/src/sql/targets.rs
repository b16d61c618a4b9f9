//! Target locks with fencing tokens, quarantine, and approvals.

use jiff::Timestamp;

use super::SqlStore;
use super::write::Answer;
use crate::database::{Row, Transaction, params};
use crate::{LockedTarget, StoreError, TargetLock};

impl SqlStore {
    pub(super) async fn target_locks(&self) -> Result<Vec<LockedTarget>, StoreError> {
        let sql = "SELECT target, holder, since FROM target_lock WHERE holder IS NOT NULL \
                   ORDER BY target";
        let rows = self.database.fetch(sql, vec![]).await?;
        let locked = |row: &Row| {
            Ok(LockedTarget {
                target: row.text("target")?,
                holder: row.text("holder")?,
                since: row.time_if_any("since")?,
            })
        };
        rows.iter().map(locked).collect()
    }

    pub(super) async fn quarantines(&self) -> Result<Vec<(String, String)>, StoreError> {
        let sql = "SELECT target, quarantine FROM target_lock WHERE quarantine IS NOT NULL \
                   ORDER BY target";
        let rows = self.database.fetch(sql, vec![]).await?;
        rows.iter().map(|row| Ok((row.text("target")?, row.text("quarantine")?))).collect()
    }
}

pub(super) async fn lock(
    transaction: &mut Transaction,
    target: &str,
    holder: &str,
    at: Timestamp,
) -> Result<Answer, StoreError> {
    // The row stays locked until the commit, be it changed or not: what is read next is as it is.
    let sql = "INSERT INTO target_lock (target, holder, token, since) VALUES ($1, $2, 1, $3) \
               ON CONFLICT (target) DO UPDATE SET holder = excluded.holder, \
                 token = target_lock.token + 1, since = excluded.since \
               WHERE target_lock.quarantine IS NULL AND \
                 (target_lock.holder IS NULL OR target_lock.holder = excluded.holder) \
               RETURNING token";
    let taken = transaction.fetch(sql, params![target, holder, at]).await?;
    if let Some(row) = taken.first() {
        return Ok(Answer::Lock(TargetLock::Held { token: row.int("token")? }));
    }
    let sql = "SELECT holder, quarantine FROM target_lock WHERE target = $1";
    let rows = transaction.fetch(sql, params![target]).await?;
    let (mut holder, mut quarantine) = (None, None);
    if let Some(row) = rows.first() {
        holder = row.get::<Option<String>>("holder")?;
        quarantine = row.get::<Option<String>>("quarantine")?;
    }
    Ok(Answer::Lock(match quarantine {
        Some(reason) => TargetLock::Quarantined { reason },
        None => TargetLock::Busy { holder: holder.unwrap_or_default() },
    }))
}

pub(super) async fn unlock(
    transaction: &mut Transaction,
    target: &str,
    holder: &str,
) -> Result<Answer, StoreError> {
    let sql = "UPDATE target_lock SET holder = NULL, since = NULL \
               WHERE target = $1 AND holder = $2";
    transaction.execute(sql, params![target, holder]).await?;
    Ok(Answer::Done)
}

pub(super) async fn quarantine(
    transaction: &mut Transaction,
    target: &str,
    reason: &str,
) -> Result<Answer, StoreError> {
    let sql = "INSERT INTO target_lock (target, token, quarantine) VALUES ($1, 0, $2) \
               ON CONFLICT (target) DO UPDATE SET quarantine = excluded.quarantine";
    transaction.execute(sql, params![target, reason]).await?;
    Ok(Answer::Done)
}

pub(super) async fn release(
    transaction: &mut Transaction,
    target: &str,
) -> Result<Answer, StoreError> {
    let sql = "UPDATE target_lock SET quarantine = NULL, holder = NULL, since = NULL \
               WHERE target = $1 AND quarantine IS NOT NULL";
    Ok(Answer::Flag(transaction.execute(sql, params![target]).await? > 0))
}

pub(super) async fn approve(
    transaction: &mut Transaction,
    plan_hash: &str,
    approved: bool,
    by: &str,
    at: Timestamp,
) -> Result<Answer, StoreError> {
    let sql = "INSERT INTO approval (plan_hash, decided_by, approved, decided_at) \
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    match transaction.execute(sql, params![plan_hash, by, approved, at]).await? {
        0 => Err(StoreError::Exists { what: "a decision on this plan".into() }),
        _ => Ok(Answer::Done),
    }
}
