//! Tasks and events as columns. Bodies are JSON; what is searched for stands beside them.

use a2a_types::{StreamResponse, TaskEvent, TaskOwner, TaskRecord, TaskState};
use serde::Serialize;

use crate::StoreError;
use crate::sqlite::{from_json, to_json, to_micros};

#[derive(Debug, Serialize)]
pub(super) struct TaskRow {
    pub(super) id: String,
    pub(super) tenant: String,
    pub(super) principal: String,
    pub(super) idempotency_key: Option<String>,
    pub(super) context_id: String,
    pub(super) state: String,
    pub(super) is_unfinished: bool,
    pub(super) is_terminal: bool,
    /// Microseconds.
    pub(super) updated_at: i64,
    pub(super) sequence: u64,
    pub(super) task: String,
    pub(super) message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct EventRow {
    pub(super) task_id: String,
    pub(super) sequence: u64,
    pub(super) event: String,
}

impl From<TaskRecord> for TaskRow {
    fn from(record: TaskRecord) -> Self {
        let status = &record.task.status;
        Self {
            state: state_name(&status.state),
            is_unfinished: !status.state.is_terminal() && !status.state.is_interrupted(),
            is_terminal: status.state.is_terminal(),
            updated_at: to_micros(status.timestamp.unwrap_or_default()),
            sequence: record.sequence,
            task: to_json(&record.task),
            message: to_json(&record.message),
            id: record.task.id,
            context_id: record.task.context_id,
            tenant: record.owner.tenant,
            principal: record.owner.principal,
            idempotency_key: record.idempotency_key,
        }
    }
}

impl TaskRow {
    pub(super) fn into_record(self) -> Result<TaskRecord, StoreError> {
        Ok(TaskRecord {
            task: from_json(&self.task, "task")?,
            message: from_json(&self.message, "task message")?,
            owner: TaskOwner { tenant: self.tenant, principal: self.principal },
            idempotency_key: self.idempotency_key,
            sequence: self.sequence,
        })
    }
}

impl EventRow {
    pub(super) fn new(task_id: &str, event: &TaskEvent) -> Self {
        let (sequence, event) = (event.sequence, to_json(&event.event));
        Self { task_id: task_id.to_owned(), sequence, event }
    }
}

pub(super) fn read_event(sequence: i64, event: &str) -> Result<TaskEvent, StoreError> {
    let event: StreamResponse = from_json(event, "task event")?;
    Ok(TaskEvent { sequence: sequence.cast_unsigned(), event })
}

/// The name of a state on the wire.
pub(super) fn state_name(state: &TaskState) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("a state is written as a string"),
    }
}
