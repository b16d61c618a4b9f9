//! The port through which an A2A server keeps its tasks, their events and their push
//! notifications. It stands here, as plain types, because the server and the database are two
//! mechanisms that do not know one another.
//!
//! Several replicas of one agent may share a store. A task at work is one replica's alone: it made
//! the task, or took it when nobody had it. Nobody has a task whose replica said nothing for longer
//! than its lease, or gave it back, nor one that waits for its caller. A replica that lost a task
//! finds its writes refused.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;

use crate::{Message, StreamResponse, Task, TaskPushNotificationConfig, TaskState};

pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TaskStoreError>> + Send + 'a>>;

/// Who may see a task: foreign tasks and unknown ones look the same. Both parts are empty where
/// callers are not authenticated and no tenant is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// Tasks that a replica took over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adopted {
    /// Oldest first.
    pub tasks: Vec<TaskRecord>,
    /// Tasks in a form that this version cannot read: they are left as they are.
    pub unreadable: Vec<Unreadable>,
}

/// A stored task that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub id: String,
    pub why: String,
}

/// Which tasks have been kept long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Those that ended before.
    pub ended_before: Timestamp,
    /// Those that have been waiting for their caller since before.
    pub waiting_before: Timestamp,
}

/// Why a task store did not do as it was asked, by what its caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStoreError {
    /// The task is not this replica's any more: whatever it does about it must stop.
    Lost { id: String },
    /// The store cannot be used, or cannot hold what it was given.
    Unavailable(String),
}

impl fmt::Display for TaskStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { id } => write!(f, "task store: {id} is not this replica's any more"),
            Self::Unavailable(why) => write!(f, "task store: {why}"),
        }
    }
}

impl std::error::Error for TaskStoreError {}

/// Durable tasks of one agent, as one replica of it sees them. Every write is committed when its
/// future ends.
pub trait TaskStore: Send + Sync + fmt::Debug {
    /// Adds a task, which is this replica's. One that is settled already is nobody's.
    fn insert(&self, new: NewTask) -> StoreFuture<'_, Inserted>;

    /// Saves a task with the events of the change, and one delivery of each event for each of
    /// the task's push configurations, together. `record.sequence` is that of the last event. A task
    /// that is settled by it is nobody's from then on; one that waited for its caller, and does not
    /// any more, is this replica's.
    ///
    /// Fails with [`TaskStoreError::Lost`] where another replica has the task, or has changed it since
    /// it was read; then nothing is stored.
    fn save(&self, record: TaskRecord, events: Vec<TaskEvent>) -> StoreFuture<'_, ()>;

    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>>;

    /// How long this replica may say nothing before its tasks are free. `None`: nobody else can have
    /// them, so it need not say anything, and need not ask what others do.
    fn lease(&self) -> Option<Duration>;

    /// Says that this replica lives.
    fn heartbeat(&self) -> StoreFuture<'_, ()>;

    /// Takes unfinished tasks that nobody has, oldest first. Fewer than `limit`: there are no more.
    fn adopt(&self, limit: u32) -> StoreFuture<'_, Adopted>;

    /// Takes one task that nobody has, be it unfinished or waiting for its caller, or has it already.
    /// `None`: another replica has it, it has ended, or it is unknown.
    fn claim(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>>;

    /// Gives a task back, so that it is nobody's; a task of another replica is left alone.
    fn release(&self, id: String) -> StoreFuture<'_, ()>;

    /// Of these tasks, those that this replica has.
    fn held(&self, ids: Vec<String>) -> StoreFuture<'_, Vec<String>>;

    /// Every task that this replica has. Costs more than the others: for after a failure.
    fn mine(&self) -> StoreFuture<'_, Vec<String>>;

    /// Of these tasks, those with a later event than the one named here, as they stand now.
    fn progress(&self, seen: Vec<(String, u64)>) -> StoreFuture<'_, Vec<TaskRecord>>;

    /// Tells whoever has an unfinished task that its caller wants it canceled.
    fn ask_cancel(&self, id: String) -> StoreFuture<'_, ()>;

    /// The tasks of this replica whose callers want them canceled.
    fn cancel_asked(&self) -> StoreFuture<'_, Vec<String>>;

    fn list(&self, query: TaskQuery) -> StoreFuture<'_, TaskPage>;

    /// Events of a task after `sequence`, in order, at most `limit`.
    fn events(&self, id: String, sequence: u64, limit: u32) -> StoreFuture<'_, Vec<TaskEvent>>;

    /// Adds a push configuration, or replaces the one of its task with the same id.
    fn put_push(&self, config: TaskPushNotificationConfig) -> StoreFuture<'_, ()>;

    /// All push configurations of a task, by id.
    fn pushes(&self, task_id: String) -> StoreFuture<'_, Vec<TaskPushNotificationConfig>>;

    /// Deletes a push configuration and what it has not delivered. No such one is no error.
    fn delete_push(&self, task_id: String, id: String) -> StoreFuture<'_, ()>;

    /// Of each push configuration, the first delivery, where it is due and no other replica has it in
    /// hand; oldest first, and only those with an id above `after`.
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

    /// Removes what has been kept long enough, with all that belongs to it, at most `limit` tasks that
    /// ended and as many that wait; tasks with undelivered notifications stay. Returns how many went.
    fn expire(&self, expiry: Expiry, limit: u32) -> StoreFuture<'_, u64>;
}
