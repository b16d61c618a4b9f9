//! The task store of a SQLite file.

mod held;
mod push;
mod read;
mod write;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use a2a_types::{
    Adopted, Delivery, Expiry, Inserted, NewTask, StoreFuture, TaskEvent, TaskPage,
    TaskPushNotificationConfig, TaskQuery, TaskRecord, TaskStore,
};
use jiff::Timestamp;
use sqlx::SqlitePool;

use super::Committer;
use super::row::Write;
use crate::StoreError;
use crate::sqlite::SqliteFile;
use held::Held;

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

impl SqliteFile {
    /// This database as the place where an A2A server keeps its tasks.
    pub(crate) fn task_store(&self) -> Arc<dyn TaskStore> {
        Arc::new(Tasks { store: self.clone(), held: Held::default() })
    }
}

#[derive(Debug)]
struct Tasks {
    store: SqliteFile,
    held: Held,
}

impl TaskStore for Tasks {
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted> {
        Box::pin(async move {
            let (id, state) = (new.record.task.id.clone(), &new.record.task.status.state);
            let is_settled = state.is_settled();
            let inserted = self.store.committer.insert(Write::insert(new)?).await?;
            if matches!(inserted, Inserted::New) {
                self.held.wrote(&id, is_settled);
            }
            Ok(inserted)
        })
    }

    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (id, state) = (record.task.id.clone(), &record.task.status.state);
            let is_settled = state.is_settled();
            self.store.committer.save(Write::save(record, &events)?).await?;
            self.held.wrote(&id, is_settled);
            Ok(())
        })
    }

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        Box::pin(async move { Ok(self.load_task(&id).await?) })
    }

    /// One process has the file.
    fn lease(&self) -> Option<Duration> {
        None
    }

    fn heartbeat(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn adopt(&self, limit: u32) -> StoreFuture<'_, Adopted> {
        Box::pin(async move { Ok(self.adopt_tasks(limit).await?) })
    }

    fn claim(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>> {
        Box::pin(async move { Ok(self.claim_task(&id).await?) })
    }

    fn release(&self, id: String) -> StoreFuture<'_, ()> {
        self.held.release(&id);
        Box::pin(std::future::ready(Ok(())))
    }

    fn held(&self, ids: Vec<String>) -> StoreFuture<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(self.held.among(ids))))
    }

    fn mine(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(self.held.all())))
    }

    fn progress(&self, seen: Vec<(String, u64)>) -> StoreFuture<'_, Vec<TaskRecord>> {
        Box::pin(async move { Ok(self.progress_of(&seen).await?) })
    }

    fn ask_cancel(&self, id: String) -> StoreFuture<'_, ()> {
        self.held.ask_cancel(id);
        Box::pin(std::future::ready(Ok(())))
    }

    fn cancel_asked(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(self.held.cancel_asked())))
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

    fn expire(&self, expiry: Expiry, limit: u32) -> StoreFuture<'_, u64> {
        Box::pin(async move { Ok(self.expire_tasks(expiry, limit).await?) })
    }
}
