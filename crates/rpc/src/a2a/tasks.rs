//! Tasks while they run: one writer each, every change committed before anyone sees it, and a
//! restarted server takes up what it had not finished.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{
    A2aError, Artifact, Inserted, Message, NewTask, Part, Role, Task, TaskOwner, TaskPage,
    TaskPushNotificationConfig, TaskQuery, TaskRecord, TaskState, TaskStatus, TaskStore,
    TaskStoreError,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::Host;

/// Set in a failed task's metadata when the same request may succeed later.
pub const TRANSIENT_KEY: &str = "firebreak/transient";

/// How long a cancellation waits for the agent to stop.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
/// Bounds of the pause before a task that the store failed is worked on again.
const STORE_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

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
    /// Whose task it is.
    pub owner: TaskOwner,
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

/// A message for an agent: the start of a task, or the next turn of one.
#[derive(Debug)]
pub(crate) struct TakeMessage {
    pub(crate) owner: TaskOwner,
    pub(crate) message: Message,
    /// Under which a repeated request finds its task again.
    pub(crate) idempotency_key: Option<String>,
    /// Where the events of a new task are sent.
    pub(crate) push: Option<TaskPushNotificationConfig>,
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
    /// Held while a stored task is made live, so that none is made so twice or after its end.
    reviving: tokio::sync::Mutex<()>,
}

/// A task that is being worked on or waits for its caller.
#[derive(Debug)]
struct Live {
    owner: TaskOwner,
    record: tokio::sync::Mutex<TaskRecord>,
    seen: watch::Sender<Task>,
    cancelled: CancellationToken,
    /// Messages taken since it is live: the end of a run ends no later turn.
    turn: AtomicU64,
    /// Held while the agent runs: turns do not overlap.
    running: tokio::sync::Mutex<()>,
}

/// A task's only way to change, held by its agent.
#[derive(Clone, Debug)]
pub struct Updates {
    tasks: Tasks,
    live: Arc<Live>,
}

impl Tasks {
    pub(crate) fn new(agent: Arc<dyn Agent>, store: Arc<dyn TaskStore>, host: Host) -> Self {
        Self(Arc::new(Inner {
            agent,
            store,
            host,
            live: Mutex::default(),
            reviving: tokio::sync::Mutex::default(),
        }))
    }

    /// Takes up what a former process left unfinished.
    pub(crate) async fn resume(&self) -> Result<usize, TaskStoreError> {
        let records = self.0.store.unfinished().await?;
        let count = records.len();
        for record in records {
            self.revive(&record.task.id).await?;
        }
        Ok(count)
    }

    /// Takes a message: a new task, the known task of a repeated request, or the next turn of one.
    pub(crate) async fn take(&self, request: TakeMessage) -> Result<Task, A2aError> {
        let TakeMessage { owner, mut message, idempotency_key, push } = request;
        if !message.task_id.is_empty() {
            return self.next_turn(&owner, message, idempotency_key.as_deref()).await;
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
        let record = TaskRecord {
            task,
            owner: owner.clone(),
            message: message.clone(),
            idempotency_key,
            sequence: 0,
        };
        let new = NewTask { record: record.clone(), push };
        match self.0.store.insert(new).await.map_err(internal)? {
            // A repeated request may come before a restarted server has taken its task up.
            Inserted::Existing(known) => match self.revive(&known.task.id).await {
                Ok(Some(live)) => Ok(live.seen.borrow().clone()),
                Ok(None) => self.get(&owner, &known.task.id).await,
                Err(error) => Err(internal(error)),
            },
            Inserted::New => {
                let task = record.task.clone();
                if let (live, true) = self.enliven(record) {
                    self.start(live, message, false);
                }
                Ok(task)
            }
        }
    }

    /// The task as it is now.
    pub(crate) async fn get(&self, owner: &TaskOwner, id: &str) -> Result<Task, A2aError> {
        if let Some(live) = self.live(id).filter(|live| live.owner == *owner) {
            return Ok(live.seen.borrow().clone());
        }
        let record = self.0.store.load(id.to_owned()).await.map_err(internal)?;
        let record = record.filter(|record| record.owner == *owner);
        record.map(|record| record.task).ok_or_else(|| A2aError::TaskNotFound(id.to_owned()))
    }

    /// Tasks of one owner, newest status first.
    pub(crate) async fn list(&self, query: TaskQuery) -> Result<TaskPage, A2aError> {
        self.0.store.list(query).await.map_err(internal)
    }

    /// Waits until the task is finished or waits for its caller.
    pub(crate) async fn settled(&self, owner: &TaskOwner, id: &str) -> Result<Task, A2aError> {
        let live = self.live(id).filter(|live| live.owner == *owner);
        let Some(live) = live else { return self.get(owner, id).await };
        let mut seen = live.seen.subscribe();
        let settled = seen
            .wait_for(|task| task.status.state.is_terminal() || task.status.state.is_interrupted());
        tokio::select! {
            // The sender is in `live`, which this call holds.
            task = settled => {
                task.map(|task| task.clone()).map_err(|_| A2aError::Internal("task was dropped".into()))
            }
            // The next process goes on with it, and finds it again by the caller's key.
            () = self.0.host.shutdown().cancelled() => {
                Err(A2aError::Internal("the agent is shutting down".into()))
            }
        }
    }

    /// Asks the agent to stop, and marks the task canceled. An agent in the middle of an effect
    /// ends the task itself: when that takes long, the answer is the task as it stands.
    pub(crate) async fn cancel(&self, owner: &TaskOwner, id: &str) -> Result<Task, A2aError> {
        let task = self.get(owner, id).await?;
        let Some(live) = self.revive(id).await.map_err(internal)? else {
            if task.status.state == TaskState::Canceled {
                return Ok(task);
            }
            let why = format!("{id} is {}", state_name(&task.status.state));
            return Err(A2aError::TaskNotCancelable(why));
        };
        live.cancelled.cancel();
        match tokio::time::timeout(CANCEL_PATIENCE, self.settled(owner, id)).await {
            Err(_) => Ok(live.seen.borrow().clone()),
            Ok(Ok(task)) if task.status.state.is_interrupted() => {
                let updates = Updates { tasks: self.clone(), live };
                let text = "canceled by the caller";
                updates.set_state(TaskState::Canceled, text).await.map_err(internal)?;
                self.get(owner, id).await
            }
            Ok(settled) => settled,
        }
    }

    async fn next_turn(
        &self,
        owner: &TaskOwner,
        message: Message,
        idempotency_key: Option<&str>,
    ) -> Result<Task, A2aError> {
        let id = message.task_id.clone();
        let task = self.get(owner, &id).await?;
        if !message.context_id.is_empty() && message.context_id != task.context_id {
            return Err(A2aError::invalid_field(
                "message.contextId",
                format!("task {id} belongs to another context"),
            ));
        }
        let is_repeated = idempotency_key.is_some()
            && task.history.iter().any(|known| known.message_id == message.message_id);
        if is_repeated {
            return Ok(task);
        }
        let refused = |task: &Task| {
            let state = state_name(&task.status.state);
            A2aError::UnsupportedOperation(format!("task {id} is {state} and takes no message"))
        };
        let Some(live) = self.revive(&id).await.map_err(internal)? else {
            return Err(refused(&task));
        };
        let updates = Updates { tasks: self.clone(), live: live.clone() };
        let at = self.0.host.now();
        let turn = message.clone();
        let answered = live.clone();
        // Of two answers to one question, the first is taken.
        let take = move |record: &mut TaskRecord| {
            let is_taken = record.task.status.state.is_interrupted();
            if is_taken {
                answered.turn.fetch_add(1, Ordering::SeqCst);
                record.message = turn.clone();
                record.task.history.push(turn);
                record.task.status =
                    TaskStatus { state: TaskState::Working, message: None, timestamp: Some(at) };
            }
            is_taken
        };
        let is_taken = updates.change_if(take).await.map_err(internal)?;
        let task = live.seen.borrow().clone();
        if !is_taken {
            return Err(refused(&task));
        }
        self.start(live, message, false);
        Ok(task)
    }

    fn live(&self, id: &str) -> Option<Arc<Live>> {
        self.0.live.lock().expect("no panic while live tasks are held").get(id).cloned()
    }

    /// The live form of a task that has not ended, taken up from the store if it must be: one that
    /// waits for its caller goes on waiting, any other is resumed. `None`: it has ended, or is
    /// unknown.
    async fn revive(&self, id: &str) -> Result<Option<Arc<Live>>, TaskStoreError> {
        if let Some(live) = self.live(id) {
            return Ok(Some(live));
        }
        let _reviving = self.0.reviving.lock().await;
        if let Some(live) = self.live(id) {
            return Ok(Some(live));
        }
        // Read after it was seen not to be live: a task is stored before it is forgotten.
        let record = self.0.store.load(id.to_owned()).await?;
        let Some(record) = record.filter(|record| !record.task.status.state.is_terminal()) else {
            return Ok(None);
        };
        let is_waiting = record.task.status.state.is_interrupted();
        let message = record.message.clone();
        let (live, is_new) = self.enliven(record);
        if is_new && !is_waiting {
            self.start(live.clone(), message, true);
        }
        Ok(Some(live))
    }

    /// Makes a task live; whoever was first to do so starts it.
    fn enliven(&self, record: TaskRecord) -> (Arc<Live>, bool) {
        let id = record.task.id.clone();
        let live = Arc::new(Live {
            owner: record.owner.clone(),
            seen: watch::Sender::new(record.task.clone()),
            cancelled: self.0.host.shutdown().child_token(),
            record: tokio::sync::Mutex::new(record),
            turn: AtomicU64::new(0),
            running: tokio::sync::Mutex::default(),
        });
        let mut all = self.0.live.lock().expect("no panic while live tasks are held");
        let known = all.entry(id).or_insert_with(|| live.clone()).clone();
        let is_new = Arc::ptr_eq(&known, &live);
        (known, is_new)
    }

    fn start(&self, live: Arc<Live>, message: Message, is_resumed: bool) {
        let span = tracing::info_span!("task", task.id = %live.seen.borrow().id);
        let work = self.clone().work(live, message, is_resumed);
        self.0.host.spawn(work.instrument(span));
    }

    /// Runs the agent until its end is stored. What the store could not take is worked on again,
    /// as after a restart.
    async fn work(self, live: Arc<Live>, message: Message, mut is_resumed: bool) {
        let updates = Updates { tasks: self.clone(), live: live.clone() };
        let mut pause = STORE_PAUSE.0;
        let turn = live.turn.load(Ordering::SeqCst);
        let _running = live.running.lock().await;
        loop {
            let job = Job {
                message: message.clone(),
                task: live.seen.borrow().clone(),
                owner: live.owner.clone(),
                is_resumed,
                updates: updates.clone(),
                cancelled: live.cancelled.clone(),
            };
            let work = AssertUnwindSafe(self.0.agent.clone().run(job)).catch_unwind().await;
            let result = work.unwrap_or_else(|_| Err(AgentError::failed("the agent panicked")));
            let Err(error) = updates.end(turn, result).await else { return };
            tracing::error!(task.id = %updates.task_id(), %error, "the task is worked on again");
            let shutdown = self.0.host.shutdown();
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(STORE_PAUSE.1);
            is_resumed = true;
        }
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
        let status = self.status(state, parts);
        self.change(move |record| record.task.status = status).await
    }

    /// Commits a change, then shows it. A terminal task does not change any more.
    async fn change(&self, change: impl FnOnce(&mut TaskRecord)) -> Result<(), TaskStoreError> {
        let change = |record: &mut TaskRecord| {
            change(record);
            true
        };
        self.change_if(change).await.map(drop)
    }

    /// The same for a change that may find nothing to do; says whether it was made.
    async fn change_if(
        &self,
        change: impl FnOnce(&mut TaskRecord) -> bool,
    ) -> Result<bool, TaskStoreError> {
        // Held until the change is shown: changes are seen in the order they were committed.
        let mut record = self.live.record.lock().await;
        if record.task.status.state.is_terminal() {
            return Ok(false);
        }
        let mut next = record.clone();
        if !change(&mut next) {
            return Ok(false);
        }
        self.tasks.0.store.save(next.clone(), Vec::new()).await?;
        let task = next.task.clone();
        *record = next;
        let (id, is_terminal) = (task.id.clone(), task.status.state.is_terminal());
        self.live.seen.send_replace(task);
        if is_terminal {
            self.tasks.forget(&id);
        }
        Ok(true)
    }

    /// Brings the task to an end its agent did not give it.
    ///
    /// # Errors
    /// The store failed the agent, or cannot commit the end.
    async fn end(&self, turn: u64, result: Result<(), AgentError>) -> Result<(), TaskStoreError> {
        // What shutdown interrupted stays unfinished in the store: the next process resumes it.
        let is_answered = self.live.turn.load(Ordering::SeqCst) != turn;
        if is_answered || self.tasks.0.host.shutdown().is_cancelled() {
            return Ok(());
        }
        let state = self.live.seen.borrow().status.state.clone();
        let is_cancelled = self.live.cancelled.is_cancelled();
        if state.is_terminal() || (state.is_interrupted() && result.is_ok() && !is_cancelled) {
            return Ok(());
        }
        match result {
            Ok(()) if is_cancelled => {
                self.set_state(TaskState::Canceled, "canceled by the caller").await
            }
            Ok(()) => self.complete("done").await,
            Err(AgentError::Rejected(why)) => self.set_state(TaskState::Rejected, why).await,
            Err(AgentError::Failed { message, is_transient }) => {
                tracing::warn!(task.id = %self.task_id(), is_transient, "task failed: {message}");
                self.fail(message, is_transient).await
            }
            Err(AgentError::Store(error)) => Err(error),
        }
    }

    async fn fail(&self, text: String, is_transient: bool) -> Result<(), TaskStoreError> {
        let status = self.status(TaskState::Failed, vec![Part::text(text)]);
        self.change(move |record| {
            if is_transient {
                record.task.metadata.insert(TRANSIENT_KEY.into(), Value::Bool(true));
            }
            record.task.status = status;
        })
        .await
    }

    fn status(&self, state: TaskState, parts: Vec<Part>) -> TaskStatus {
        let host = &self.tasks.0.host;
        let mut message = Message::new(host.new_id().to_string(), Role::Agent, parts);
        let task = self.live.seen.borrow();
        message.task_id = task.id.clone();
        message.context_id = task.context_id.clone();
        TaskStatus { state, message: Some(message), timestamp: Some(host.now()) }
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
