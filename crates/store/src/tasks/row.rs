//! Tasks, events and push configurations as columns. Bodies are JSON; what is searched for stands
//! beside them.

use a2a_types::{
    NewTask, PAGE_BYTES, StreamResponse, TaskEvent, TaskOwner, TaskPushNotificationConfig,
    TaskRecord, Unreadable,
};
use serde::Serialize;

use crate::StoreError;
use crate::sqlite::{from_json, to_json, to_micros};

/// Longest text of a column that is searched for; an index holds several.
const LONGEST: usize = 512;

/// A change of one task, ready to be stored.
#[derive(Debug)]
pub(super) enum Write {
    Insert { task: TaskRow, push: Option<PushRow> },
    Save { task: TaskRow, events: Vec<EventRow> },
}

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
    /// The number of the last event before the change.
    #[serde(skip)]
    pub(super) before: u64,
    pub(super) task: String,
    pub(super) message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct EventRow {
    pub(super) task_id: String,
    pub(super) sequence: u64,
    pub(super) event: String,
}

#[derive(Debug, Serialize)]
pub(super) struct PushRow {
    pub(super) task_id: String,
    pub(super) id: String,
    pub(super) config: String,
}

impl Write {
    pub(super) fn insert(new: NewTask) -> Result<Self, StoreError> {
        let task = TaskRow::new(new.record)?;
        let push = new.push.map(|config| PushRow::new(&task.id, &config)).transpose()?;
        Ok(Self::Insert { task, push })
    }

    pub(super) fn save(record: TaskRecord, events: &[TaskEvent]) -> Result<Self, StoreError> {
        let mut task = TaskRow::new(record)?;
        task.before = task.sequence.saturating_sub(events.len() as u64);
        let events = events.iter().map(|event| EventRow::new(&task.id, event)).collect();
        Ok(Self::Save { task, events })
    }

    fn task(&self) -> &TaskRow {
        match self {
            Self::Insert { task, .. } | Self::Save { task, .. } => task,
        }
    }

    pub(super) fn task_id(&self) -> &str {
        &self.task().id
    }

    /// The size of the bodies.
    pub(super) fn bytes(&self) -> usize {
        let events = match self {
            Self::Insert { .. } => 0,
            Self::Save { events, .. } => events.iter().map(|row| row.event.len()).sum(),
        };
        self.task().task.len() + self.task().message.len() + events
    }
}

/// The rows of a batch, by table, in the order of the writes.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    pub(super) inserts: Vec<&'a TaskRow>,
    pub(super) pushes: Vec<&'a PushRow>,
    pub(super) saves: Vec<&'a TaskRow>,
    pub(super) events: Vec<&'a EventRow>,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(batch: &'a [Write]) -> Self {
        let mut sorted = Self::default();
        for write in batch {
            match write {
                Write::Insert { task, push } => {
                    sorted.inserts.push(task);
                    sorted.pushes.extend(push);
                }
                Write::Save { task, events } => {
                    sorted.saves.push(task);
                    sorted.events.extend(events);
                }
            }
        }
        sorted
    }
}

impl TaskRow {
    /// # Errors
    /// What is searched for is too long, or no database can hold it.
    fn new(record: TaskRecord) -> Result<Self, StoreError> {
        let row = Self::from(record);
        check("the task id", &row.id)?;
        check("the tenant", &row.tenant)?;
        check("the principal", &row.principal)?;
        check("the context id", &row.context_id)?;
        check("the idempotency key", row.idempotency_key.as_deref().unwrap_or_default())?;
        Ok(row)
    }
}

impl From<TaskRecord> for TaskRow {
    fn from(record: TaskRecord) -> Self {
        let status = &record.task.status;
        Self {
            state: status.state.as_str().to_owned(),
            is_unfinished: !status.state.is_settled(),
            is_terminal: status.state.is_terminal(),
            updated_at: to_micros(status.timestamp.unwrap_or_default()),
            sequence: record.sequence,
            before: record.sequence,
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
    fn new(task_id: &str, event: &TaskEvent) -> Self {
        let (sequence, event) = (event.sequence, to_json(&event.event));
        Self { task_id: task_id.to_owned(), sequence, event }
    }
}

impl PushRow {
    pub(super) fn new(
        task_id: &str,
        config: &TaskPushNotificationConfig,
    ) -> Result<Self, StoreError> {
        check("the id of the push configuration", &config.id)?;
        Ok(Self { task_id: task_id.to_owned(), id: config.id.clone(), config: to_json(config) })
    }
}

/// PostgreSQL has no text with a NUL character, and indexes have a longest text.
pub(super) fn check(field: &'static str, text: &str) -> Result<(), StoreError> {
    let problem = match text {
        text if text.contains('\0') => "holds a NUL character",
        text if text.len() > LONGEST => "is longer than 512 bytes",
        _ => return Ok(()),
    };
    Err(StoreError::Refused { field, problem })
}

/// How many tasks of these sizes a page holds: at most `limit`, and no more than fit on it.
pub(super) fn fitting(sizes: impl Iterator<Item = i64>, limit: usize) -> usize {
    let mut left = PAGE_BYTES as i64;
    let fits = |size: &i64| {
        left = left.saturating_sub(*size);
        left >= 0
    };
    sizes.take(limit).take_while(fits).count().max(1)
}

/// A task that this version cannot read, for whoever reports it.
pub(super) fn unreadable(id: String, error: &StoreError) -> Unreadable {
    Unreadable { id, why: error.with_causes() }
}

/// Nothing, where there is something that this version cannot read.
pub(super) fn readable<T>(found: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Err(StoreError::Unreadable { .. }) => Ok(None),
        found => found,
    }
}

pub(super) fn read_event(sequence: i64, event: &str) -> Result<TaskEvent, StoreError> {
    let event: StreamResponse = from_json(event, "task event")?;
    Ok(TaskEvent { sequence: sequence.cast_unsigned(), event })
}
