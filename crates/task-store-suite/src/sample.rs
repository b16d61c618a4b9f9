//! Small tasks to store.

use a2a_types::{
    Adopted, Message, NewTask, Part, Role, StreamResponse, Task, TaskEvent, TaskOwner,
    TaskPushNotificationConfig, TaskQuery, TaskRecord, TaskState, TaskStatus,
    TaskStatusUpdateEvent, TaskStore,
};
use jiff::Timestamp;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn status(state: TaskState, seconds: i64) -> TaskStatus {
    TaskStatus { state, timestamp: Some(at(seconds)), ..TaskStatus::default() }
}

/// A submitted task of nobody, at second 0.
pub fn record(id: &str, key: Option<&str>) -> TaskRecord {
    let message = Message::new("m-1", Role::User, vec![Part::text("diagnose")]);
    let task = Task {
        id: id.into(),
        context_id: "c-1".into(),
        status: status(TaskState::Submitted, 0),
        history: vec![message.clone()],
        ..Task::default()
    };
    let idempotency_key = key.map(str::to_owned);
    TaskRecord { task, message, owner: TaskOwner::default(), idempotency_key, sequence: 0 }
}

pub fn owner(tenant: &str, principal: &str) -> TaskOwner {
    TaskOwner { tenant: tenant.into(), principal: principal.into() }
}

pub fn new(record: TaskRecord) -> NewTask {
    NewTask { record, push: None }
}

/// Moves a task on: its next event, which tells its new status.
pub fn advance(record: &mut TaskRecord, state: TaskState, seconds: i64) -> TaskEvent {
    record.task.status = status(state, seconds);
    record.sequence += 1;
    let event = StreamResponse::StatusUpdate(TaskStatusUpdateEvent {
        task_id: record.task.id.clone(),
        context_id: record.task.context_id.clone(),
        status: record.task.status.clone(),
        ..TaskStatusUpdateEvent::default()
    });
    TaskEvent { sequence: record.sequence, event }
}

/// Inserts a task and saves it in this state.
pub async fn put(tasks: &dyn TaskStore, id: &str, state: TaskState, seconds: i64) -> TaskRecord {
    let mut record = record(id, None);
    tasks.insert(new(record.clone())).await.unwrap();
    let event = advance(&mut record, state, seconds);
    tasks.save(record.clone(), vec![event]).await.unwrap();
    record
}

pub fn config(task_id: &str, id: &str) -> TaskPushNotificationConfig {
    TaskPushNotificationConfig {
        id: id.into(),
        task_id: task_id.into(),
        url: format!("https://example.com/{id}"),
        ..TaskPushNotificationConfig::default()
    }
}

/// Ids of tasks that were taken.
pub fn ids(adopted: &Adopted) -> Vec<&str> {
    adopted.tasks.iter().map(|record| record.task.id.as_str()).collect()
}

/// Everything of nobody, this many at a time.
pub fn query(limit: u32) -> TaskQuery {
    TaskQuery { limit, ..TaskQuery::default() }
}
