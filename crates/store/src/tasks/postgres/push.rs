//! Push configurations and the notifications that wait for them.

use a2a_types::{Delivery, TaskPushNotificationConfig};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Database;
use super::read::can_be_stored;
use crate::StoreError;
use crate::sqlite::{from_json, from_micros, to_micros};
use crate::tasks::row::{PushRow, read_event, readable};

/// The first delivery of each configuration, unless another process has it in hand. By the clock of
/// the database, which the processes share.
const CLAIM_DUE: &str = "WITH due AS (\
       SELECT id FROM push_delivery \
       WHERE id IN (SELECT MIN(id) FROM push_delivery WHERE agent = $1 GROUP BY task, config) \
       AND id > $5 AND not_before <= $2 AND (claimed_by = $4 OR claimed_until IS NULL OR claimed_until < now()) \
       ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED), \
     claimed AS (\
       UPDATE push_delivery SET claimed_by = $4, claimed_until = now() + interval '60 seconds' \
       FROM due WHERE push_delivery.id = due.id RETURNING push_delivery.*) \
     SELECT claimed.id, claimed.attempt, push_config.config, task_event.sequence, task_event.event \
     FROM claimed \
     JOIN push_config ON push_config.task = claimed.task AND push_config.id = claimed.config \
     JOIN task_event \
       ON task_event.task = claimed.task AND task_event.sequence = claimed.sequence \
     ORDER BY claimed.id";

/// A delivery that another process has in hand is due when its claim runs out.
const NEXT: &str = "SELECT MIN(CASE WHEN claimed_by <> $2 AND claimed_until > now() \
       THEN GREATEST(not_before, (EXTRACT(EPOCH FROM claimed_until) * 1000000)::bigint) \
       ELSE not_before END) AS due \
     FROM push_delivery \
     WHERE id IN (SELECT MIN(id) FROM push_delivery WHERE agent = $1 GROUP BY task, config)";

impl Database {
    pub(super) async fn put_push_config(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Result<(), StoreError> {
        let row = PushRow::new(&config.task_id, config)?;
        if can_be_stored(&row.task_id) {
            self.put_pushes(&mut *self.pool.acquire().await?, vec![&row]).await?;
        }
        Ok(())
    }

    pub(super) async fn push_configs(
        &self,
        task_id: &str,
    ) -> Result<Vec<TaskPushNotificationConfig>, StoreError> {
        if !can_be_stored(task_id) {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(
            "SELECT config FROM push_config \
             WHERE task = (SELECT number FROM task WHERE agent = $1 AND id = $2) ORDER BY id",
        )
        .bind(&*self.agent)
        .bind(task_id)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| from_json(row.get("config"), "push configuration")).collect()
    }

    /// Its deliveries go with it.
    pub(super) async fn delete_push_config(
        &self,
        task_id: &str,
        id: &str,
    ) -> Result<(), StoreError> {
        if !can_be_stored(task_id) || !can_be_stored(id) {
            return Ok(());
        }
        sqlx::query(
            "DELETE FROM push_config \
             WHERE task = (SELECT number FROM task WHERE agent = $1 AND id = $2) AND id = $3",
        )
        .bind(&*self.agent)
        .bind(task_id)
        .bind(id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(super) async fn claim_due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query(CLAIM_DUE)
            .bind(&*self.agent)
            .bind(to_micros(now))
            .bind(i64::from(limit))
            .bind(&*self.replica)
            .bind(after)
            .fetch_all(&self.pool)
            .await?;
        // One that cannot be read holds up its own receiver only.
        rows.iter().filter_map(|row| readable(read_delivery(row).map(Some)).transpose()).collect()
    }

    pub(super) async fn next_delivery_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let row =
            sqlx::query(NEXT).bind(&*self.agent).bind(&*self.replica).fetch_one(&self.pool).await?;
        Ok(row.get::<Option<i64>, _>("due").map(from_micros))
    }

    pub(super) async fn remove_delivery(&self, id: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM push_delivery WHERE agent = $1 AND id = $2")
            .bind(&*self.agent)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn put_off_delivery(
        &self,
        id: i64,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE push_delivery \
             SET attempt = attempt + 1, not_before = $3, claimed_by = NULL, claimed_until = NULL \
             WHERE agent = $1 AND id = $2",
        )
        .bind(&*self.agent)
        .bind(id)
        .bind(to_micros(not_before))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn read_delivery(row: &PgRow) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.get("id"),
        config: from_json(row.get("config"), "push configuration")?,
        event: read_event(row.get("sequence"), row.get("event"))?,
        attempt: u32::try_from(row.get::<i64, _>("attempt")).unwrap_or(u32::MAX),
    })
}
