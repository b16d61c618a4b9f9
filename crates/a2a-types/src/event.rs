//! What a stream and a push notification carry (specification sections 3.2.3 and 4.2).

use crate::proto::{message, one_of};
use crate::{Artifact, Message, Metadata, Task, TaskStatus};

one_of! {
    /// One event of a task. Exactly one kind of payload is present.
    #[derive(Clone, Debug, PartialEq)]
    pub enum StreamResponse {
        Task(Task) => "task" | "task",
        Message(Message) => "message" | "message",
        StatusUpdate(TaskStatusUpdateEvent) => "statusUpdate" | "status_update",
        ArtifactUpdate(TaskArtifactUpdateEvent) => "artifactUpdate" | "artifact_update",
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct TaskStatusUpdateEvent {
        task_id: String => required("taskId"),
        context_id: String => required("contextId"),
        status: TaskStatus => required("status"),
        metadata: Metadata => optional("metadata"),
        ..extra
    }
}

message! {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct TaskArtifactUpdateEvent {
        task_id: String => required("taskId"),
        context_id: String => required("contextId"),
        artifact: Artifact => required("artifact"),
        /// The parts continue those of the artifact with the same id.
        append: bool => optional("append"),
        last_chunk: bool => optional("lastChunk"),
        metadata: Metadata => optional("metadata"),
        ..extra
    }
}
