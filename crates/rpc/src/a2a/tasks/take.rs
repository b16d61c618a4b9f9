//! Messages in: a new task, the known task of a repeated request, the next turn of one, or an
//! answer that needs no task. A message that was taken is worked on even when its sender is gone.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use a2a_types::{
    A2aError, Inserted, Message, Metadata, NewTask, Role, StreamResponse, Task, TaskOwner,
    TaskPushNotificationConfig, TaskRecord, TaskState, TaskStatus, TaskStoreError,
};
use futures::FutureExt;

use super::live::{Live, Tenure};
use super::updates::set_status;
use super::{Tasks, Updates, internal};

/// Messages in the history of one task. Beyond it the task takes no more.
const HISTORY: usize = 500;
/// Bytes of that history, as JSON.
const HISTORY_BYTES: usize = 16 << 20;

/// A message for an agent: the start of a task, or the next turn of one.
#[derive(Debug)]
pub(crate) struct TakeMessage {
    pub(crate) owner: TaskOwner,
    pub(crate) message: Message,
    /// Under which a repeated request finds its task again.
    pub(crate) idempotency_key: Option<String>,
    /// Where the events of the task are sent.
    pub(crate) push: Option<TaskPushNotificationConfig>,
}

/// What became of a message: a task (or what is seen of one), or the whole answer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each request, and not kept")]
pub(crate) enum Taken<T> {
    Task(T),
    Message(Message),
}

/// A task that took a message.
#[derive(Debug)]
pub(super) struct Accepted {
    /// `None`: it has ended.
    pub(super) live: Option<Arc<Live>>,
    /// The task just after it took the message; of a repeated request, as it is now.
    pub(super) record: Arc<TaskRecord>,
    pub(super) repeated: Option<Repeated>,
}

/// What a request that was made before had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    Task,
    Turn,
}

impl Tasks {
    /// Takes a message and returns at once.
    pub(crate) async fn take(&self, request: TakeMessage) -> Result<Taken<Task>, A2aError> {
        Ok(match self.accept(request).await? {
            Taken::Task(accepted) => Taken::Task(accepted.record.task.clone()),
            Taken::Message(message) => Taken::Message(message),
        })
    }

    /// Takes a message and waits until the task is finished or waits for its caller.
    pub(crate) async fn take_and_settle(
        &self,
        request: TakeMessage,
    ) -> Result<Taken<Task>, A2aError> {
        let accepted = match self.accept(request).await? {
            Taken::Task(accepted) => accepted,
            Taken::Message(message) => return Ok(Taken::Message(message)),
        };
        let record = match &accepted.live {
            Some(live) => self.settled(live).await?,
            None => accepted.record,
        };
        Ok(Taken::Task(record.task.clone()))
    }

    pub(super) async fn accept(&self, request: TakeMessage) -> Result<Taken<Accepted>, A2aError> {
        if !request.message.task_id.is_empty() {
            return self.next_turn(request).await.map(Taken::Task);
        }
        if let Some(reply) = self.reply(&request.message).await? {
            return Ok(Taken::Message(reply));
        }
        self.new_task(request).await.map(Taken::Task)
    }

    async fn reply(&self, message: &Message) -> Result<Option<Message>, A2aError> {
        let reply = async { self.0.agent.reply(message).await };
        let reply = AssertUnwindSafe(reply).catch_unwind().await;
        let reply = reply.map_err(|_| A2aError::Internal("the agent panicked".into()))?;
        let Some(mut reply) = reply else { return Ok(None) };
        let new_id = || self.0.host.new_id().to_string();
        if reply.message_id.is_empty() {
            reply.message_id = new_id();
        }
        if reply.context_id.is_empty() {
            let given = Some(message.context_id.clone()).filter(|id| !id.is_empty());
            reply.context_id = given.unwrap_or_else(new_id);
        }
        reply.role = Role::Agent;
        Ok(Some(reply))
    }

    async fn new_task(&self, request: TakeMessage) -> Result<Accepted, A2aError> {
        self.admit()?;
        let TakeMessage { owner, mut message, idempotency_key, push } = request;
        let host = &self.0.host;
        let id = host.new_id().to_string();
        if message.context_id.is_empty() {
            message.context_id = host.new_id().to_string();
        }
        message.task_id = id.clone();
        let task = Task {
            context_id: message.context_id.clone(),
            status: status(TaskState::Submitted, host.now()),
            artifacts: Vec::new(),
            history: vec![message.clone()],
            metadata: Metadata::new(),
            id: id.clone(),
            ..Default::default()
        };
        let push = push.map(|push| self.push_for(&id, push));
        let record = TaskRecord { task, owner, message, idempotency_key, sequence: 0 };
        // Live before it is stored: who finds it in the store finds it live, and starts it no
        // second time.
        let (tasks, live) = (self.clone(), self.enliven(record.clone(), push.is_some()));
        self.to_the_end(async move { tasks.insert(NewTask { record, push }, live).await })
            .await
            .map_err(internal)
    }

    async fn insert(&self, new: NewTask, live: Arc<Live>) -> Result<Accepted, TaskStoreError> {
        let message = new.record.message.clone();
        match self.in_doubt(self.0.store.insert(new).await)? {
            Inserted::New => {
                let record = live.record();
                if let Some(tenure) = live.begin_tenure(self.0.host.shutdown()) {
                    self.start(live.clone(), tenure, message, false);
                }
                Ok(Accepted { live: Some(live), record, repeated: None })
            }
            // A repeated request may come before a restarted server has taken its task up, or to
            // another replica.
            Inserted::Existing(known) => {
                let live = self.revive(&known.task.id).await?;
                let record = match &live {
                    Some(live) => live.record(),
                    None => {
                        let id = known.task.id.clone();
                        Arc::new(self.0.store.load(id).await?.unwrap_or(*known))
                    }
                };
                Ok(Accepted { live, record, repeated: Some(Repeated::Task) })
            }
        }
    }

    async fn next_turn(&self, request: TakeMessage) -> Result<Accepted, A2aError> {
        let TakeMessage { owner, mut message, idempotency_key, push } = request;
        let id = message.task_id.clone();
        let record = self.record(&owner, &id).await?;
        let task = &record.task;
        if !message.context_id.is_empty() && message.context_id != task.context_id {
            return Err(A2aError::invalid_field(
                "message.contextId",
                format!("task {id} belongs to another context"),
            ));
        }
        let key = idempotency_key.as_deref();
        if is_known(&record, &message, key) {
            let live = self.revive(&id).await.map_err(internal)?;
            return Ok(repeated_turn(live, record));
        }
        check_history(task, &message)?;
        self.admit()?;
        message.context_id.clone_from(&task.context_id);
        let Some(live) = self.revive(&id).await.map_err(internal)? else {
            return Err(refused(&*self.record(&owner, &id).await?));
        };
        if let Some(push) = push {
            self.put_push(&owner, self.push_for(&id, push)).await?;
        }
        let (tasks, answered, said) = (self.clone(), live.clone(), message.clone());
        let taken = self.to_the_end(async move { tasks.answer(&answered, said).await });
        if let Some(record) = taken.await.map_err(internal)? {
            return Ok(Accepted { live: Some(live), record, repeated: None });
        }
        let record = live.record();
        match is_known(&record, &message, key) {
            true => Ok(repeated_turn(Some(live), record)),
            false => Err(refused(&record)),
        }
    }

    /// Gives a task that waits for its caller the next message. `None`: it does not wait, or not
    /// any more: of two answers to one question, the first is taken.
    async fn answer(
        &self,
        live: &Arc<Live>,
        message: Message,
    ) -> Result<Option<Arc<TaskRecord>>, TaskStoreError> {
        let _reviving = self.0.reviving(&live.id).await;
        let Some(tenure) = self.claim_waiting(live).await? else { return Ok(None) };
        let (answered, said, now) = (live.clone(), message.clone(), self.0.host.now());
        let take = move |record: &mut TaskRecord| {
            if !record.task.status.state.is_interrupted() {
                return Vec::new();
            }
            answered.turn.fetch_add(1, Ordering::SeqCst);
            let event = set_status(record, status(TaskState::Working, now), Metadata::new());
            record.task.history.push(said.clone());
            record.message = said;
            vec![event]
        };
        let taken = self.change_waiting(live, &tenure, take).await?;
        if taken.is_some() {
            self.start(live.clone(), tenure, message, false);
        }
        Ok(taken)
    }

    /// Cancels a task that waits for its caller. `None`: it does not wait, or not any more.
    pub(super) async fn cancel_waiting(
        &self,
        live: &Arc<Live>,
    ) -> Result<Option<Arc<TaskRecord>>, TaskStoreError> {
        let (tasks, live) = (self.clone(), live.clone());
        self.to_the_end(async move {
            let _reviving = tasks.0.reviving(&live.id).await;
            let Some(tenure) = tasks.claim_waiting(&live).await? else { return Ok(None) };
            let updates =
                Updates { tasks: tasks.clone(), live: live.clone(), tenure: tenure.clone() };
            let change = updates.canceled();
            tasks.change_waiting(&live, &tenure, change).await
        })
        .await
    }

    /// Changes a task that this replica has taken for it. Where that fails, it is nobody's again.
    async fn change_waiting(
        &self,
        live: &Arc<Live>,
        tenure: &Arc<Tenure>,
        change: impl FnOnce(&mut TaskRecord) -> Vec<StreamResponse> + Send + 'static,
    ) -> Result<Option<Arc<TaskRecord>>, TaskStoreError> {
        let updates = Updates { tasks: self.clone(), live: live.clone(), tenure: tenure.clone() };
        let changed = updates.commit(change).await;
        match changed {
            Err(TaskStoreError::Lost { .. }) => Ok(None),
            Err(error) => {
                live.end_tenure(tenure);
                self.in_doubt(Err(error))
            }
            changed => changed,
        }
    }

    /// Refuses new work beyond what is held in memory.
    fn admit(&self) -> Result<(), A2aError> {
        match self.0.live.len() < self.0.options.live_tasks {
            true => Ok(()),
            false => Err(A2aError::Unavailable("too many tasks are at work: try again".into())),
        }
    }
}

fn status(state: TaskState, now: jiff::Timestamp) -> TaskStatus {
    TaskStatus { state, timestamp: Some(now), ..TaskStatus::default() }
}

/// Whether the task took this message before. Without a key, message ids say nothing.
fn is_known(record: &TaskRecord, message: &Message, key: Option<&str>) -> bool {
    let mut history = record.task.history.iter();
    key.is_some() && history.any(|known| known.message_id == message.message_id)
}

fn repeated_turn(live: Option<Arc<Live>>, record: Arc<TaskRecord>) -> Accepted {
    let record = live.as_ref().map_or(record, |live| live.record());
    Accepted { live, record, repeated: Some(Repeated::Turn) }
}

fn check_history(task: &Task, message: &Message) -> Result<(), A2aError> {
    let size = |message: &Message| serde_json::to_vec(message).map_or(0, |json| json.len());
    let bytes: usize = task.history.iter().chain([message]).map(size).sum();
    let id = &task.id;
    let why = match (task.history.len() < HISTORY, bytes <= HISTORY_BYTES) {
        (true, true) => return Ok(()),
        (false, _) => format!("task {id} has {HISTORY} messages and takes no more"),
        (_, false) => format!("the messages of task {id} would exceed {HISTORY_BYTES} bytes"),
    };
    Err(A2aError::UnsupportedOperation(why))
}

fn refused(record: &TaskRecord) -> A2aError {
    let (id, state) = (&record.task.id, record.task.status.state.as_str());
    A2aError::UnsupportedOperation(format!("task {id} is {state} and takes no message"))
}
