//! Target locks with fencing tokens, quarantine, and approvals.

use jiff::Timestamp;
use sqlx::Row;

use crate::sqlite::to_micros;
use crate::{FileStore, StoreError};

/// What became of asking for a target's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetLock {
    /// The lock is ours; `token` is greater than any before it.
    Held { token: i64 },
    /// Another holder has it.
    Busy { holder: String },
    /// The target waits for a person.
    Quarantined { reason: String },
}

impl FileStore {
    /// Takes the lock of a target for `holder`. A holder that has it already keeps its token.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn lock_target(&self, target: &str, holder: &str) -> Result<TargetLock, StoreError> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query("SELECT holder, token, quarantine FROM target_lock WHERE target = ?")
            .bind(target)
            .fetch_optional(&mut *transaction.0)
            .await?;
        let mut token = 0;
        if let Some(row) = row {
            token = row.get("token");
            if let Some(reason) = row.get::<Option<String>, _>("quarantine") {
                return Ok(TargetLock::Quarantined { reason });
            }
            match row.get::<Option<String>, _>("holder") {
                Some(present) if present == holder => return Ok(TargetLock::Held { token }),
                Some(present) => return Ok(TargetLock::Busy { holder: present }),
                None => {}
            }
        }
        token += 1;
        sqlx::query(
            "INSERT INTO target_lock (target, holder, token) VALUES (?1, ?2, ?3) \
             ON CONFLICT (target) DO UPDATE SET holder = ?2, token = ?3",
        )
        .bind(target)
        .bind(holder)
        .bind(token)
        .execute(&mut *transaction.0)
        .await?;
        transaction.commit().await?;
        Ok(TargetLock::Held { token })
    }

    /// Gives the lock of a target back; a lock of another holder is left alone.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn unlock_target(&self, target: &str, holder: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE target_lock SET holder = NULL WHERE target = ? AND holder = ?")
            .bind(target)
            .bind(holder)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Closes a target to every later plan until a person releases it.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn quarantine_target(&self, target: &str, reason: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO target_lock (target, token, quarantine) VALUES (?1, 0, ?2) \
             ON CONFLICT (target) DO UPDATE SET quarantine = ?2",
        )
        .bind(target)
        .bind(reason)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Why a target is quarantined, if it is.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn quarantine_of(&self, target: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT quarantine FROM target_lock WHERE target = ?")
            .bind(target)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.and_then(|row| row.get("quarantine")))
    }

    /// Quarantined targets with the reason, by name.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn quarantined_targets(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT target, quarantine FROM target_lock WHERE quarantine IS NOT NULL \
             ORDER BY target",
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(|row| (row.get("target"), row.get("quarantine"))).collect())
    }

    /// Releases a quarantined target, by a person's word.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn release_target(&self, target: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE target_lock SET quarantine = NULL, holder = NULL WHERE target = ?")
            .bind(target)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Records a person's decision on a plan; a plan is decided once.
    ///
    /// # Errors
    /// The plan was decided before.
    pub async fn put_approval(
        &self,
        plan_hash: &str,
        approved: bool,
        by: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO approval (plan_hash, decided_by, approved, decided_at) \
             VALUES (?, ?, ?, ?)",
        )
        .bind(plan_hash)
        .bind(by)
        .bind(approved)
        .bind(to_micros(at))
        .execute(&self.writer)
        .await
        .map_err(|error| StoreError::on_insert(error, "a decision on this plan"))?;
        Ok(())
    }
}
