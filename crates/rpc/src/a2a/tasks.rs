//! Tasks while they run: one writer each, every change committed before anyone sees it, and a
//! restarted server takes up what it had not finished.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use a2a_types::{
    A2aError, Artifact, Inserted, Message, Part, Role, Task, TaskRecord, TaskState, TaskStatus,
    TaskStore, TaskStoreError,
};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Host;

/// Set in a failed task's metadata when the same request may succeed later.
pub const TRANSIENT_KEY: &str = "firebreak/transient";

/// What an agent does with a task. Called again, with `is_resumed`, after a restart of the server,
/// and with the caller's next message after `Updates::ask`.
pub trait Agent: Send + Sync + std::fmt::Debug + 'static {
    fn run(self: Arc<Self>, job: Job) -> BoxFuture<'static, Result<(), AgentError>>;
}

/// One task to work on.
#[derive(Debug)]
pub struct Job {
    /// What the caller says now.
    pub message: Message,
    /// The task as it stands, with its history and artifacts.
    pub task: Task,
    pub is_resumed: bool,
    pub updates: Updates,
    /// Cancelled when the caller cancels the task or the server shuts down.
    pub cancelled: CancellationToken,
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

/// The tasks of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    agent: Arc<dyn Agent>,
    store: Arc<dyn TaskStore>,
    host: Host,
    live: Mutex<HashMap<String, Arc<Live>>>,
}

/// A task that is being worked on or waits for its caller.
#[derive(Debug)]
struct Live {
    record: tokio::sync::Mutex<TaskRecord>,
    seen: watch::Sender<Task>,
    cancelled: CancellationToken,
}

/// A task's only way to change, held by its agent.
#[derive(Clone, Debug)]
pub struct Updates {
    tasks: Tasks,
    live: Arc<Live>,
}

impl Tasks {
    pub(crate) fn new(agent: Arc<dyn Agent>, store: Arc<dyn TaskStore>, host: Host) -> Self {
        Self(Arc::new(Inner { agent, store, host, live: Mutex::default() }))
    }

    /// Takes up what a former process left unfinished.
    pub(crate) async fn resume(&self) -> Result<usize, TaskStoreError> {
        let records = self.0.store.unfinished().await?;
        let count = records.len();
        for record in records {
            let message = record.message.clone();
            let live = self.enliven(record);
            self.start(live, message, true).await;
        }
        Ok(count)
    }

    /// Takes a message: a new task, the known task of a repeated request, or the next turn of one.
    pub(crate) async fn take(
        &self,
        mut message: Message,
        idempotency_key: Option<String>,
    ) -> Result<Task, A2aError> {
        if !message.task_id.is_empty() {
            return self.next_turn(message).await;
        }
        let now = self.0.host.now();
        let task_id = self.0.host.new_id().to_string();
        if message.context_id.is_empty() {
            message.context_id = self.0.host.new_id().to_string();
        }
        message.task_id = task_id.clone();
        let status =
            TaskStatus { state: TaskState::Submitted, message: None, timestamp: Some(now) };
        let task = Task {
            id: task_id,
            context_id: message.context_id.clone(),
            status,
            artifacts: Vec::new(),
            history: vec![message.clone()],
            metadata: serde_json::Map::new(),
        };
        let record = TaskRecord { task, message: message.clone(), idempotency_key };
        match self.0.store.insert(record.clone()).await.map_err(internal)? {
            Inserted::Existing(known) => self.current(*known).await,
            Inserted::New => {
                let task = record.task.clone();
                let live = self.enliven(record);
                self.start(live, message, false).await;
                Ok(task)
            }
        }
    }

    /// The task as it is now.
    pub(crate) async fn get(&self, id: &str) -> Result<Task, A2aError> {
        if let Some(live) = self.live(id) {
            return Ok(live.seen.borrow().clone());
        }
        let record = self.0.store.load(id.to_owned()).await.map_err(internal)?;
        record.map(|record| record.task).ok_or_else(|| A2aError::TaskNotFound(id.to_owned()))
    }

    /// Waits until the task is finished or waits for its caller.
    pub(crate) async fn settled(&self, id: &str) -> Result<Task, A2aError> {
        let Some(live) = self.live(id) else { return self.get(id).await };
        let mut seen = live.seen.subscribe();
        let settled = seen.wait_for(|task| {
            task.status.state.is_terminal() || task.status.state.is_interrupted()
        });
        // The sender is in `live`, which this call holds.
        let task = settled.await.map_err(|_| A2aError::Internal("task was dropped".into()))?;
        Ok(task.clone())
    }

    /// Asks the agent to stop, and marks the task canceled.
    pub(crate) async fn cancel(&self, id: &str) -> Result<Task, A2aError> {
        let Some(live) = self.live(id) else {
            let task = self.get(id).await?;
            if task.status.state == TaskState::Canceled {
                return Ok(task);
            }
            let why = format!("{id} is {}", state_name(&task.status.state));
            return Err(A2aError::TaskNotCancelable(why));
        };
        live.cancelled.cancel();
        let updates = Updates { tasks: self.clone(), live };
        // An agent in the middle of an effect ends the task itself; one that waits cannot.
        let is_waiting = updates.live.seen.borrow().status.state.is_interrupted();
        if is_waiting {
            updates.set_state(TaskState::Canceled, "canceled by the caller").await.map_err(internal)?;
        }
        self.settled(id).await
    }

    async fn next_turn(&self, message: Message) -> Result<Task, A2aError> {
        let id = message.task_id.clone();
        let task = self.get(&id).await?;
        if !message.context_id.is_empty() && message.context_id != task.context_id {
            return Err(A2aError::invalid_field(
                "message.contextId",
                format!("task {id} belongs to another context"),
            ));
        }
        if !task.status.state.is_interrupted() {
            let why = format!("task {id} is {} and takes no message", state_name(&task.status.state));
            return Err(A2aError::UnsupportedOperation(why));
        }
        let live = match self.live(&id) {
            Some(live) => live,
            None => {
                let record = self.0.store.load(id.clone()).await.map_err(internal)?;
                self.enliven(record.ok_or(A2aError::TaskNotFound(id))?)
            }
        };
        let updates = Updates { tasks: self.clone(), live: live.clone() };
        let at = self.0.host.now();
        let turn = message.clone();
        updates
            .change(move |record| {
                record.message = turn.clone();
                record.task.history.push(turn);
                record.task.status =
                    TaskStatus { state: TaskState::Working, message: None, timestamp: Some(at) };
            })
            .await
            .map_err(internal)?;
        self.start(live.clone(), message, false).await;
        let task = live.seen.borrow().clone();
        Ok(task)
    }

    async fn current(&self, known: TaskRecord) -> Result<Task, A2aError> {
        match self.live(&known.task.id) {
            Some(live) => Ok(live.seen.borrow().clone()),
            None => Ok(known.task),
        }
    }

    fn live(&self, id: &str) -> Option<Arc<Live>> {
        self.0.live.lock().expect("no panic while live tasks are held").get(id).cloned()
    }

    fn enliven(&self, record: TaskRecord) -> Arc<Live> {
        let live = Arc::new(Live {
            seen: watch::Sender::new(record.task.clone()),
            cancelled: self.0.host.shutdown().child_token(),
            record: tokio::sync::Mutex::new(record),
        });
        let id = live.seen.borrow().id.clone();
        let mut all = self.0.live.lock().expect("no panic while live tasks are held");
        all.entry(id).or_insert(live).clone()
    }

    async fn start(&self, live: Arc<Live>, message: Message, is_resumed: bool) {
        let updates = Updates { tasks: self.clone(), live: live.clone() };
        let job = Job {
            message,
            task: live.seen.borrow().clone(),
            is_resumed,
            updates: updates.clone(),
            cancelled: live.cancelled.clone(),
        };
        let work = self.0.agent.clone().run(job);
        let span = tracing::info_span!("task", task.id = %updates.task_id());
        self.0.host.spawn(tracing::Instrument::instrument(
            async move { updates.end(work.await).await },
            span,
        ));
    }

    fn forget(&self, id: &str) {
        self.0.live.lock().expect("no panic while live tasks are held").remove(id);
    }
}

impl Updates {
    pub fn task_id(&self) -> String {
        self.live.seen.borrow().id.clone()
    }

    /// Says what the agent is doing.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn working(&self, text: impl Into<String>) -> Result<(), TaskStoreError> {
        self.set_state(TaskState::Working, text).await
    }

    /// Adds an artifact, or replaces the one with the same id.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn put_artifact(&self, artifact: Artifact) -> Result<(), TaskStoreError> {
        self.change(move |record| record.task.put_artifact(artifact)).await
    }

    /// Asks the caller something; the agent's `run` then returns, and is called with the answer.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn ask(&self, parts: Vec<Part>) -> Result<(), TaskStoreError> {
        self.set_status(TaskState::InputRequired, parts).await
    }

    /// Ends the task well, with a sentence for people.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn complete(&self, text: impl Into<String>) -> Result<(), TaskStoreError> {
        self.set_state(TaskState::Completed, text).await
    }

    async fn set_state(
        &self,
        state: TaskState,
        text: impl Into<String>,
    ) -> Result<(), TaskStoreError> {
        self.set_status(state, vec![Part::text(text)]).await
    }

    async fn set_status(&self, state: TaskState, parts: Vec<Part>) -> Result<(), TaskStoreError> {
        let host = &self.tasks.0.host;
        let mut message = Message::new(host.new_id().to_string(), Role::Agent, parts);
        let now = host.now();
        self.change(move |record| {
            message.task_id = record.task.id.clone();
            message.context_id = record.task.context_id.clone();
            record.task.status =
                TaskStatus { state, message: Some(message), timestamp: Some(now) };
        })
        .await
    }

    /// Commits a change, then shows it. A terminal task does not change any more.
    async fn change(&self, change: impl FnOnce(&mut TaskRecord)) -> Result<(), TaskStoreError> {
        let mut record = self.live.record.lock().await;
        if record.task.status.state.is_terminal() {
            return Ok(());
        }
        let mut next = record.clone();
        change(&mut next);
        self.tasks.0.store.save(next.clone()).await?;
        *record = next;
        let task = record.task.clone();
        drop(record);
        let is_terminal = task.status.state.is_terminal();
        let id = task.id.clone();
        self.live.seen.send_replace(task);
        if is_terminal {
            self.tasks.forget(&id);
        }
        Ok(())
    }

    /// Brings the task to an end its agent did not give it.
    async fn end(&self, result: Result<(), AgentError>) {
        let state = self.live.seen.borrow().status.state.clone();
        if state.is_terminal() || (state.is_interrupted() && result.is_ok()) {
            return;
        }
        let is_draining = self.tasks.0.host.shutdown().is_cancelled();
        let ended = match result {
            // What shutdown interrupted stays unfinished in the store: the next process resumes it.
            _ if is_draining => Ok(()),
            Ok(()) if self.live.cancelled.is_cancelled() => {
                self.set_state(TaskState::Canceled, "canceled by the caller").await
            }
            Ok(()) => self.complete("done").await,
            Err(AgentError::Rejected(why)) => self.set_state(TaskState::Rejected, why).await,
            Err(AgentError::Failed { message, is_transient }) => {
                tracing::warn!(task.id = %self.task_id(), is_transient, "task failed: {message}");
                self.fail(message, is_transient).await
            }
            Err(AgentError::Store(error)) => Err(error),
        };
        if let Err(error) = ended {
            tracing::error!(task.id = %self.task_id(), %error, "the end of a task is not stored");
        }
    }

    async fn fail(&self, message: String, is_transient: bool) -> Result<(), TaskStoreError> {
        if is_transient {
            self.change(|record| {
                record.task.metadata.insert(TRANSIENT_KEY.into(), Value::Bool(true));
            })
            .await?;
        }
        self.set_state(TaskState::Failed, message).await
    }
}

fn internal(error: TaskStoreError) -> A2aError {
    tracing::error!(%error, "task store");
    A2aError::Internal("the task store is unavailable".into())
}

fn state_name(state: &TaskState) -> String {
    let name = serde_json::to_value(state).unwrap_or_default();
    name.as_str().unwrap_or("in an unknown state").to_owned()
}
