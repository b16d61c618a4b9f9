//! Push configurations and the notifications that wait for them.

use std::sync::atomic::Ordering;

use a2a_types::{Delivery, TaskPushNotificationConfig};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Tasks;
use super::write::PUT_PUSH;
use crate::StoreError;
use crate::sqlite::{from_json, from_micros, to_json, to_micros};
use crate::tasks::row::{PushRow, read_event, readable};

impl Tasks {
    pub(super) async fn put_push_config(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Result<(), StoreError> {
        let row = PushRow::new(&config.task_id, config)?;
        // Before it can be seen, so that no save after it passes it by.
        self.store.has_pushes.store(true, Ordering::SeqCst);
        sqlx::query(PUT_PUSH).bind(to_json(&[row])).execute(&self.store.writer).await?;
        Ok(())
    }

    pub(super) async fn push_configs(
        &self,
        task_id: &str,
    ) -> Result<Vec<TaskPushNotificationConfig>, StoreError> {
        let rows = sqlx::query(
            "SELECT config FROM push_config \
             WHERE task = (SELECT number FROM task WHERE id = ?) ORDER BY id",
        )
        .bind(task_id)
        .fetch_all(&self.store.readers)
        .await?;
        rows.iter().map(|row| from_json(row.get("config"), "push configuration")).collect()
    }

    /// Its deliveries go with it.
    pub(super) async fn delete_push_config(
        &self,
        task_id: &str,
        id: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM push_config \
             WHERE task = (SELECT number FROM task WHERE id = ?) AND id = ?",
        )
        .bind(task_id)
        .bind(id)
        .execute(&self.store.writer)
        .await?;
        Ok(())
    }

    pub(super) async fn first_due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query(
            "SELECT delivery.id, delivery.attempt, push_config.config, \
               task_event.sequence, task_event.event \
             FROM (SELECT MIN(id) AS id FROM push_delivery GROUP BY task, config) AS first \
             JOIN push_delivery AS delivery ON delivery.id = first.id \
             JOIN push_config \
               ON push_config.task = delivery.task AND push_config.id = delivery.config \
             JOIN task_event \
               ON task_event.task = delivery.task AND task_event.sequence = delivery.sequence \
             WHERE delivery.not_before <= ? AND delivery.id > ? ORDER BY delivery.id LIMIT ?",
        )
        .bind(to_micros(now))
        .bind(after)
        .bind(limit)
        .fetch_all(&self.store.readers)
        .await?;
        // One that cannot be read holds up its own receiver only.
        rows.iter().filter_map(|row| readable(read_delivery(row).map(Some)).transpose()).collect()
    }

    pub(super) async fn next_delivery_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query(
            "SELECT MIN(not_before) AS due FROM push_delivery \
             WHERE id IN (SELECT MIN(id) FROM push_delivery GROUP BY task, config)",
        )
        .fetch_one(&self.store.readers)
        .await?;
        Ok(row.get::<Option<i64>, _>("due").map(from_micros))
    }

    pub(super) async fn remove_delivery(&self, id: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM push_delivery WHERE id = ?")
            .bind(id)
            .execute(&self.store.writer)
            .await?;
        Ok(())
    }

    pub(super) async fn put_off_delivery(
        &self,
        id: i64,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE push_delivery SET attempt = attempt + 1, not_before = ? WHERE id = ?")
            .bind(to_micros(not_before))
            .bind(id)
            .execute(&self.store.writer)
            .await?;
        Ok(())
    }
}

fn read_delivery(row: &SqliteRow) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.get("id"),
        config: from_json(row.get("config"), "push configuration")?,
        event: read_event(row.get("sequence"), row.get("event"))?,
        attempt: row.get("attempt"),
    })
}
