//! The port through which an A2A server keeps its tasks. It stands here, as plain types, because
//! the server and the database are two mechanisms that do not know one another.

use std::future::Future;
use std::pin::Pin;

use crate::{Message, Task};

pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TaskStoreError>> + Send + 'a>>;

/// A task as a server keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    pub task: Task,
    /// The message to work on; a resumed task starts from it again.
    pub message: Message,
    /// The caller's key under which a repeated request finds this task again.
    pub idempotency_key: Option<String>,
}

/// What became of an insert.
#[derive(Debug)]
pub enum Inserted {
    New,
    /// The idempotency key is known: this is the task it made.
    Existing(Box<TaskRecord>),
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
    fn insert(&self, record: TaskRecord) -> StoreFuture<'_, Inserted>;
    fn save(&self, record: TaskRecord) -> StoreFuture<'_, ()>;
    fn load(&self, id: String) -> StoreFuture<'_, Option<TaskRecord>>;
    /// Tasks that are neither terminal nor waiting for their caller, oldest first.
    fn unfinished(&self) -> StoreFuture<'_, Vec<TaskRecord>>;
}
