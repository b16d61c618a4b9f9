//! The port through which an A2A server keeps its tasks, their events and their push
//! notifications. It stands here, as plain types, because the server and the database are two
//! mechanisms that do not know one another.

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

use crate::{Message, StreamResponse, Task, TaskPushNotificationConfig, TaskState};

pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TaskStoreError>> + Send + 'a>>;

/// Who may see a task: foreign tasks and unknown ones look the same. Both parts are empty where
/// callers are not authenticated and no tenant is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskOwner {
    pub tenant: String,
    pub principal: String,
}

/// A task as a server keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    pub task: Task,
    pub owner: TaskOwner,
    /// The message to work on; a resumed task starts from it again.
    pub message: Message,
    /// The caller's key under which a repeated request of the same owner finds this task again.
    pub idempotency_key: Option<String>,
    /// The number of the task's last event; 0 before the first.
    pub sequence: u64,
}

/// A task to insert, with what its first request configures.
#[derive(Clone, Debug)]
pub struct NewTask {
    pub record: TaskRecord,
    pub push: Option<TaskPushNotificationConfig>,
}

/// One change of a task, as subscribers see it. Numbers start at 1 and have no gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEvent {
    pub sequence: u64,
    pub event: StreamResponse,
}

/// What became of an insert.
#[derive(Debug)]
pub enum Inserted {
    New,
    /// The owner's idempotency key is known: this is the task it made.
    Existing(Box<TaskRecord>),
}

/// Which tasks of an owner to list, newest status first.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    pub owner: TaskOwner,
    pub context_id: Option<String>,
    pub state: Option<TaskState>,
    /// Only tasks whose status is as new as this, or newer.
    pub since: Option<Timestamp>,
    /// Only tasks that come after this one.
    pub after: Option<TaskCursor>,
    pub limit: u32,
    pub with_artifacts: bool,
}

/// A place in the list: the order is by time of the status, then by id, both descending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCursor {
    pub updated_at: Timestamp,
    pub id: String,
}

/// What the tasks of one page hold, as JSON: a page ends where the next task would exceed it, so
/// that a small request makes no answer of any size. A single larger task is a page by itself.
pub const PAGE_BYTES: usize = 4 << 20;

#[derive(Clone, Debug, Default)]
pub struct TaskPage {
    pub tasks: Vec<Task>,
    /// Where the next page starts, if there is one.
    pub next: Option<TaskCursor>,
    /// All tasks that match, on this page or not.
    pub total: u64,
}

/// One push notification that waits to be sent. Those of one configuration are sent in order.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: i64,
    pub config: TaskPushNotificationConfig,
    pub event: TaskEvent,
    /// Failures so far.
    pub attempt: u32,
}

#[derive(Debug)]
pub struct TaskStoreError(pub String);

impl std::fmt::Display for TaskStoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task store: {}", self.0)
    }
}

impl std::error::Error for TaskStoreError {}

/// Durable tasks of one agent. Every write is committed when its future ends.
pub trait TaskStore: Send + Sync + std::fmt::Debug {
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted>;

    /// Saves a task with the events of the change, and one delivery of each event for each of
    /// the task's push configurations, together. `record.sequence` is that of the last event.
    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()>;

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>>;

    /// Tasks that are neither terminal nor waiting for their caller, oldest first.
    fn unfinished(&self) -> StoreFuture<'_, Vec<TaskRecord>>;

    fn list(&self, query: TaskQuery) -> StoreFuture<'_, TaskPage>;

    /// Events of a task after `sequence`, in order, at most `limit`.
    fn events(&self, id: String, sequence: u64, limit: u32) -> StoreFuture<'_, Vec<TaskEvent>>;

    /// Adds a push configuration, or replaces the one of its task with the same id.
    fn put_push(&self, config: TaskPushNotificationConfig) -> StoreFuture<'_, ()>;

    /// All push configurations of a task, by id.
    fn pushes(&self, task_id: String) -> StoreFuture<'_, Vec<TaskPushNotificationConfig>>;

    /// Deletes a push configuration and what it has not delivered. No such one is no error.
    fn delete_push(&self, task_id: String, id: String) -> StoreFuture<'_, ()>;

    /// Of each push configuration, the first delivery, where it is due; oldest first, and only those
    /// with an id above `after`.
    fn due_deliveries(
        &self,
        now: Timestamp,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Delivery>>;

    /// When the next first delivery of any configuration is due, be it past or not.
    fn next_delivery(&self) -> StoreFuture<'_, Option<Timestamp>>;

    /// Removes a delivery that was made, or given up.
    fn finish_delivery(&self, id: i64) -> StoreFuture<'_, ()>;

    /// Counts a failure and puts the delivery off.
    fn delay_delivery(&self, id: i64, not_before: Timestamp) -> StoreFuture<'_, ()>;

    /// Removes tasks that ended before `before`, with all that belongs to them, at most `limit`;
    /// tasks with undelivered notifications stay. Returns how many went.
    fn expire(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64>;
}
