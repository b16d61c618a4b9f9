//! Tasks, their states and their artifacts (specification section 4.1).

use jiff::Timestamp;

use crate::proto::{enumeration, message};
use crate::{Message, Metadata, Part};

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Task {
        id: String => required("id"),
        context_id: String => optional("contextId"),
        status: TaskStatus => required("status"),
        artifacts: Vec<Artifact> => optional("artifacts"),
        history: Vec<Message> => optional("history"),
        metadata: Metadata => optional("metadata"),
        ..extra
    }
}

impl Task {
    pub fn artifact(&self, id: &str) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.artifact_id == id)
    }

    /// Adds an artifact, or replaces the one with the same id.
    pub fn put_artifact(&mut self, artifact: Artifact) {
        match self.artifacts.iter_mut().find(|a| a.artifact_id == artifact.artifact_id) {
            Some(existing) => *existing = artifact,
            None => self.artifacts.push(artifact),
        }
    }

    /// Adds the parts of an artifact to the one with the same id, or adds the artifact where there is
    /// none yet. Returns whether there was one.
    pub fn append_artifact(&mut self, artifact: Artifact) -> bool {
        match self.artifacts.iter_mut().find(|a| a.artifact_id == artifact.artifact_id) {
            Some(existing) => {
                existing.parts.extend(artifact.parts);
                true
            }
            None => {
                self.artifacts.push(artifact);
                false
            }
        }
    }

    /// The text of the status message, for people.
    pub fn status_text(&self) -> String {
        self.status.message.as_ref().map(Message::text).unwrap_or_default()
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct TaskStatus {
        state: TaskState => required("state"),
        message: Option<Message> => optional("message"),
        timestamp: Option<Timestamp> => optional("timestamp"),
        ..extra
    }
}

enumeration! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub enum TaskState {
        #[default]
        Unspecified = 0 "TASK_STATE_UNSPECIFIED",
        Submitted = 1 "TASK_STATE_SUBMITTED",
        Working = 2 "TASK_STATE_WORKING",
        Completed = 3 "TASK_STATE_COMPLETED",
        Failed = 4 "TASK_STATE_FAILED",
        Canceled = 5 "TASK_STATE_CANCELED",
        InputRequired = 6 "TASK_STATE_INPUT_REQUIRED",
        Rejected = 7 "TASK_STATE_REJECTED",
        AuthRequired = 8 "TASK_STATE_AUTH_REQUIRED",
    }
}

impl TaskState {
    /// Nothing changes after a terminal state.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// The agent waits for its caller.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }

    /// Nothing more happens unless the caller does something.
    pub fn is_settled(&self) -> bool {
        self.is_terminal() || self.is_interrupted()
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Artifact {
        artifact_id: String => required("artifactId"),
        name: String => optional("name"),
        description: String => optional("description"),
        parts: Vec<Part> => required("parts"),
        metadata: Metadata => optional("metadata"),
        extensions: Vec<String> => optional("extensions"),
        ..extra
    }
}

impl Artifact {
    pub fn new(id: impl Into<String>, parts: Vec<Part>) -> Self {
        let artifact_id = id.into();
        Self { name: artifact_id.clone(), artifact_id, parts, ..Self::default() }
    }
}
