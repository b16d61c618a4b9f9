//! What an agent is to its server: it is given jobs, and may answer a message without one.

use std::sync::Arc;

use a2a_types::{Message, Task, TaskOwner, TaskStoreError};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Updates;

/// What an agent does with a task. `run` is called again, with `is_resumed`, after a restart of the
/// server or at another replica of it, and with the caller's next message after `Updates::ask`.
pub trait Agent: Send + Sync + std::fmt::Debug + 'static {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>>;

    /// The whole answer to a message that needs no task. Asked of every message that names none;
    /// nothing of such an answer is kept.
    fn reply<'a>(&'a self, _message: &'a Message) -> BoxFuture<'a, Option<Message>> {
        Box::pin(std::future::ready(None))
    }
}

/// One task to work on.
#[derive(Debug)]
pub struct Job {
    /// What the caller says now.
    pub message: Message,
    /// The task as it stands, with its history and artifacts.
    pub task: Task,
    /// Whose task it is.
    pub owner: TaskOwner,
    pub is_resumed: bool,
    pub updates: Updates,
    /// Cancelled when the caller cancels the task, and when `stopped` is.
    pub cancelled: CancellationToken,
    /// Cancelled when the task is to be left as it is, at the next point from which it can be resumed:
    /// the server shuts down, or another replica has taken the task. Nothing is written then.
    pub stopped: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The request is not one this agent can take; the caller must change it.
    #[error("{0}")]
    Rejected(String),
    #[error("{message}")]
    Failed { message: String, is_transient: bool },
    #[error(transparent)]
    Store(#[from] TaskStoreError),
}

impl AgentError {
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed { message: error.to_string(), is_transient: false }
    }

    pub fn transient(error: impl std::fmt::Display) -> Self {
        Self::Failed { message: error.to_string(), is_transient: true }
    }
}
