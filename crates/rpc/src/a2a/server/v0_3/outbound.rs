//! Objects of 1.0, as callers of 0.3 read them.

use a2a_types::{
    Artifact, Message, Metadata, Part, PartContent, Role, StreamResponse, Task,
    TaskArtifactUpdateEvent, TaskPushNotificationConfig, TaskState, TaskStatus,
    TaskStatusUpdateEvent,
};
use serde_json::{Map, Value, json};

pub(super) fn task(task: &Task) -> Value {
    object([
        ("kind", "task".into()),
        ("id", task.id.clone().into()),
        ("contextId", task.context_id.clone().into()),
        ("status", status(&task.status)),
        ("artifacts", list(&task.artifacts, artifact)),
        ("history", list(&task.history, message)),
        ("metadata", metadata(&task.metadata)),
    ])
}

pub(super) fn message(message: &Message) -> Value {
    let role = if message.role == Role::User { "user" } else { "agent" };
    object([
        ("kind", "message".into()),
        ("messageId", message.message_id.clone().into()),
        ("role", role.into()),
        ("parts", Value::Array(message.parts.iter().map(part).collect())),
        ("contextId", text(&message.context_id)),
        ("taskId", text(&message.task_id)),
        ("metadata", metadata(&message.metadata)),
        ("extensions", list(&message.extensions, |uri| uri.clone().into())),
        ("referenceTaskIds", list(&message.reference_task_ids, |id| id.clone().into())),
    ])
}

/// One event of a stream.
pub(super) fn event(event: &StreamResponse) -> Value {
    match event {
        StreamResponse::Task(it) => task(it),
        StreamResponse::Message(it) => message(it),
        StreamResponse::StatusUpdate(it) => status_update(it),
        StreamResponse::ArtifactUpdate(it) => artifact_update(it),
    }
}

pub(super) fn push_config(config: &TaskPushNotificationConfig) -> Value {
    let authentication = config.authentication.as_ref().map_or(Value::Null, |info| {
        object([("schemes", json!([info.scheme])), ("credentials", text(&info.credentials))])
    });
    let inner = object([
        ("url", config.url.clone().into()),
        ("id", text(&config.id)),
        ("token", text(&config.token)),
        ("authentication", authentication),
    ]);
    object([("taskId", config.task_id.clone().into()), ("pushNotificationConfig", inner)])
}

fn status_update(event: &TaskStatusUpdateEvent) -> Value {
    let state = &event.status.state;
    object([
        ("kind", "status-update".into()),
        ("taskId", event.task_id.clone().into()),
        ("contextId", event.context_id.clone().into()),
        ("status", status(&event.status)),
        // The stream ends with it.
        ("final", state.is_settled().into()),
        ("metadata", metadata(&event.metadata)),
    ])
}

fn artifact_update(event: &TaskArtifactUpdateEvent) -> Value {
    object([
        ("kind", "artifact-update".into()),
        ("taskId", event.task_id.clone().into()),
        ("contextId", event.context_id.clone().into()),
        ("artifact", artifact(&event.artifact)),
        ("append", event.append.into()),
        ("lastChunk", event.last_chunk.into()),
        ("metadata", metadata(&event.metadata)),
    ])
}

fn status(status: &TaskStatus) -> Value {
    object([
        ("state", state(&status.state).into()),
        ("message", status.message.as_ref().map_or(Value::Null, message)),
        ("timestamp", status.timestamp.map_or(Value::Null, |at| at.to_string().into())),
    ])
}

fn state(state: &TaskState) -> &'static str {
    match state {
        TaskState::Submitted => "submitted",
        TaskState::Working => "working",
        TaskState::Completed => "completed",
        TaskState::Failed => "failed",
        TaskState::Canceled => "canceled",
        TaskState::InputRequired => "input-required",
        TaskState::Rejected => "rejected",
        TaskState::AuthRequired => "auth-required",
        TaskState::Unspecified | TaskState::Other(_) => "unknown",
    }
}

fn artifact(artifact: &Artifact) -> Value {
    object([
        ("artifactId", artifact.artifact_id.clone().into()),
        ("name", text(&artifact.name)),
        ("description", text(&artifact.description)),
        ("parts", Value::Array(artifact.parts.iter().map(part).collect())),
        ("metadata", metadata(&artifact.metadata)),
        ("extensions", list(&artifact.extensions, |uri| uri.clone().into())),
    ])
}

fn part(part: &Part) -> Value {
    let (kind, name, content) = match &part.content {
        PartContent::Text(text) => ("text", "text", text.clone().into()),
        PartContent::Raw(bytes) => ("file", "file", file(part, "bytes", bytes)),
        PartContent::Url(url) => ("file", "file", file(part, "uri", url)),
        // Data is an object in 0.3; other values go in one.
        PartContent::Data(data) if data.is_object() => ("data", "data", data.clone()),
        PartContent::Data(data) => ("data", "data", json!({ "value": data })),
    };
    object([("kind", kind.into()), (name, content), ("metadata", metadata(&part.metadata))])
}

fn file(part: &Part, field: &'static str, content: &str) -> Value {
    object([
        (field, content.into()),
        ("name", text(&part.filename)),
        ("mimeType", text(&part.media_type)),
    ])
}

/// An object without its absent members.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let present = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(present.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn list<T>(items: &[T], show: impl Fn(&T) -> Value) -> Value {
    match items {
        [] => Value::Null,
        items => Value::Array(items.iter().map(show).collect()),
    }
}

fn metadata(metadata: &Metadata) -> Value {
    match metadata.is_empty() {
        true => Value::Null,
        false => Value::Object(metadata.clone()),
    }
}

fn text(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => text.into(),
    }
}
