//! An agent's way to change its task: every change is committed, with its events, before anyone
//! sees it. A change that was begun is brought to its end even when the agent stops waiting for it.

use std::sync::Arc;

use a2a_types::{
    Artifact, Message, Metadata, Part, Role, StreamResponse, TaskArtifactUpdateEvent, TaskRecord,
    TaskState, TaskStatus, TaskStatusUpdateEvent, TaskStoreError,
};
use serde_json::Value;

use super::live::{Live, Tenure};
use super::{TRANSIENT_KEY, Tasks};

/// A task's only way to change, held by its agent.
#[derive(Clone, Debug)]
pub struct Updates {
    pub(super) tasks: Tasks,
    pub(super) live: Arc<Live>,
    pub(super) tenure: Arc<Tenure>,
}

impl Updates {
    pub fn task_id(&self) -> String {
        self.live.id.clone()
    }

    /// Says what the agent is doing. Subscribers see it; the task's history does not keep it.
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
        self.change(move |record| {
            record.task.put_artifact(artifact.clone());
            vec![artifact_update(record, artifact, false, true)]
        })
        .await
    }

    /// Adds parts to an artifact, which the first ones make. Subscribers see these parts alone.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn append_artifact(
        &self,
        artifact_id: impl Into<String>,
        parts: Vec<Part>,
        is_last: bool,
    ) -> Result<(), TaskStoreError> {
        let chunk = Artifact::new(artifact_id, parts);
        self.change(move |record| {
            let is_begun = record.task.append_artifact(chunk.clone());
            vec![artifact_update(record, chunk, is_begun, is_last)]
        })
        .await
    }

    /// Asks the caller something; the agent's `run` then returns, and is called with the answer.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn ask(&self, parts: Vec<Part>) -> Result<(), TaskStoreError> {
        self.set_status(TaskState::InputRequired, parts).await
    }

    /// The same for credentials that the caller has to provide.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn ask_authentication(&self, parts: Vec<Part>) -> Result<(), TaskStoreError> {
        self.set_status(TaskState::AuthRequired, parts).await
    }

    /// Ends the task well, with a sentence for people.
    ///
    /// # Errors
    /// The store cannot commit the change.
    pub async fn complete(&self, text: impl Into<String>) -> Result<(), TaskStoreError> {
        self.set_state(TaskState::Completed, text).await
    }

    pub(super) async fn set_state(
        &self,
        state: TaskState,
        text: impl Into<String>,
    ) -> Result<(), TaskStoreError> {
        self.set_status(state, vec![Part::text(text)]).await
    }

    async fn set_status(&self, state: TaskState, parts: Vec<Part>) -> Result<(), TaskStoreError> {
        let status = self.status(state, parts);
        self.change(move |record| vec![set_status(record, status, Metadata::new())]).await
    }

    /// The change that cancels a task while it waits for its caller.
    pub(super) fn canceled(
        &self,
    ) -> impl FnOnce(&mut TaskRecord) -> Vec<StreamResponse> + Send + use<> {
        let status = self.status(TaskState::Canceled, vec![Part::text("canceled by the caller")]);
        move |record| match record.task.status.state.is_interrupted() {
            true => vec![set_status(record, status, Metadata::new())],
            false => Vec::new(),
        }
    }

    pub(super) async fn fail(
        &self,
        text: String,
        is_transient: bool,
    ) -> Result<(), TaskStoreError> {
        let status = self.status(TaskState::Failed, vec![Part::text(text)]);
        self.change(move |record| {
            let mut metadata = Metadata::new();
            if is_transient {
                metadata.insert(TRANSIENT_KEY.into(), Value::Bool(true));
                record.task.metadata.extend(metadata.clone());
            }
            vec![set_status(record, status, metadata)]
        })
        .await
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut TaskRecord) -> Vec<StreamResponse> + Send + 'static,
    ) -> Result<(), TaskStoreError> {
        self.commit(change).await.map(drop)
    }

    /// See `Live::commit`.
    pub(super) async fn commit(
        &self,
        change: impl FnOnce(&mut TaskRecord) -> Vec<StreamResponse> + Send + 'static,
    ) -> Result<Option<Arc<TaskRecord>>, TaskStoreError> {
        let Self { tasks, live, tenure } = self.clone();
        let commit = async move {
            let committed = live.commit(&*tasks.0.store, &tenure, change).await?;
            tasks.wake_deliveries(&live);
            Ok(committed)
        };
        self.tasks.to_the_end(commit).await
    }

    fn status(&self, state: TaskState, parts: Vec<Part>) -> TaskStatus {
        let host = &self.tasks.0.host;
        let mut message = Message::new(host.new_id().to_string(), Role::Agent, parts);
        let record = self.live.record();
        message.task_id = record.task.id.clone();
        message.context_id = record.task.context_id.clone();
        TaskStatus {
            state,
            message: Some(message),
            timestamp: Some(host.now()),
            ..Default::default()
        }
    }
}

/// Moves the status on. A question stays in the history, before its answer; what an agent said
/// while it worked was for those who listened.
pub(super) fn set_status(
    record: &mut TaskRecord,
    status: TaskStatus,
    metadata: Metadata,
) -> StreamResponse {
    let task = &mut record.task;
    let before = std::mem::replace(&mut task.status, status.clone());
    if before.state.is_interrupted() {
        task.history.extend(before.message);
    }
    StreamResponse::StatusUpdate(TaskStatusUpdateEvent {
        task_id: task.id.clone(),
        context_id: task.context_id.clone(),
        status,
        metadata,
        ..Default::default()
    })
}

fn artifact_update(
    record: &TaskRecord,
    artifact: Artifact,
    append: bool,
    last_chunk: bool,
) -> StreamResponse {
    StreamResponse::ArtifactUpdate(TaskArtifactUpdateEvent {
        task_id: record.task.id.clone(),
        context_id: record.task.context_id.clone(),
        artifact,
        append,
        last_chunk,
        metadata: Metadata::new(),
        ..Default::default()
    })
}
