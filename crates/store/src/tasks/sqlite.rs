//! The task store of a SQLite file.

mod push;
mod read;
mod write;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use a2a_types::{
    Delivery, Inserted, NewTask, StoreFuture, TaskEvent, TaskPage, TaskPushNotificationConfig,
    TaskQuery, TaskRecord, TaskStore,
};
use jiff::Timestamp;
use sqlx::SqlitePool;

use super::Committer;
use super::row::Write;
use crate::{FileStore, StoreError};

pub(crate) fn start_committer(
    pool: SqlitePool,
    lock: &Arc<File>,
    has_pushes: Arc<AtomicBool>,
) -> Committer {
    Committer::start(write::Writer { pool, lock: Arc::downgrade(lock), has_pushes })
}

/// Whether some task has a push configuration.
pub(crate) async fn has_pushes(pool: &SqlitePool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM push_config)").fetch_one(pool).await?)
}

impl FileStore {
    /// This database as the place where an A2A server keeps its tasks.
    pub fn task_store(&self) -> Arc<dyn TaskStore> {
        Arc::new(Tasks(self.clone()))
    }
}

#[derive(Debug)]
struct Tasks(FileStore);

impl TaskStore for Tasks {
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted> {
        Box::pin(async move {
            let known = self.0.committer.write(Write::insert(new)?).await?;
            Ok(known.map_or(Inserted::New, Inserted::Existing))
        })
    }

    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.0.committer.write(Write::save(record, &events)?).await?;
            Ok(())
        })
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        Box::pin(async move { Ok(self.load_task(&id).await?) })
    }

    fn unfinished(&self) -> StoreFuture<'_, Vec<TaskRecord>> {
        Box::pin(async move { Ok(self.unfinished_tasks().await?) })
    }

    fn list(&self, query: TaskQuery) -> StoreFuture<'_, TaskPage> {
        Box::pin(async move { Ok(self.list_tasks(&query).await?) })
    }

    fn events(&self, id: String, sequence: u64, limit: u32) -> StoreFuture<'_, Vec<TaskEvent>> {
        Box::pin(async move { Ok(self.task_events(&id, sequence, limit).await?) })
    }

    fn put_push(&self, config: TaskPushNotificationConfig) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(self.put_push_config(&config).await?) })
    }

    fn pushes(&self, task_id: String) -> StoreFuture<'_, Vec<TaskPushNotificationConfig>> {
        Box::pin(async move { Ok(self.push_configs(&task_id).await?) })
    }

    fn delete_push(&self, task_id: String, id: String) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(self.delete_push_config(&task_id, &id).await?) })
    }

    fn due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Delivery>> {
        Box::pin(async move { Ok(self.first_due_deliveries(now, after, limit).await?) })
    }

    fn next_delivery(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(async move { Ok(self.next_delivery_at().await?) })
    }

    fn finish_delivery(&self, id: i64) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(self.remove_delivery(id).await?) })
    }

    fn delay_delivery(&self, id: i64, not_before: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(self.put_off_delivery(id, not_before).await?) })
    }

    fn expire(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        Box::pin(async move { Ok(self.expire_tasks(before, limit).await?) })
    }
}
