//! A2A tasks and attempts at steps.

use a2a_types::{
    Inserted, Message, NewTask, Part, Role, Task, TaskOwner, TaskRecord, TaskState, TaskStatus,
};
use incident::AttemptId;
use serde_json::json;
use store::{Attempt, Store, StoreError};
use uuid::Uuid;

use super::sample::at;

fn record(id: &str, key: Option<&str>) -> TaskRecord {
    let message = Message::new("m-1", Role::User, vec![Part::text("diagnose")]);
    let state = TaskState::Submitted;
    let task = Task {
        id: id.into(),
        context_id: "c-1".into(),
        status: TaskStatus { state, message: None, timestamp: Some(at(0)), ..Default::default() },
        artifacts: Vec::new(),
        history: vec![message.clone()],
        metadata: serde_json::Map::new(),
        ..Default::default()
    };
    let idempotency_key = key.map(str::to_owned);
    TaskRecord { task, message, owner: TaskOwner::default(), idempotency_key, sequence: 0 }
}

fn new(record: TaskRecord) -> NewTask {
    NewTask { record, push: None }
}

pub(crate) async fn a_task_reads_back_and_changes(store: Store) {
    let tasks = store.task_store();
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), None);
    let mut record = record("t-1", Some("k"));
    assert!(matches!(tasks.insert(new(record.clone())).await.unwrap(), Inserted::New));
    record.task.status.state = TaskState::Working;
    record.message = Message::new("m-2", Role::User, vec![Part::data(json!({"a": 1}))]);
    tasks.save(record.clone(), Vec::new()).await.unwrap();
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), Some(record));
}

pub(crate) async fn the_same_key_finds_the_same_task(store: Store) {
    let tasks = store.task_store();
    tasks.insert(new(record("t-1", Some("k")))).await.unwrap();
    let Inserted::Existing(known) = tasks.insert(new(record("t-2", Some("k")))).await.unwrap()
    else {
        panic!("a second task under one key");
    };
    assert_eq!(*known, record("t-1", Some("k")));
    assert_eq!(tasks.load("t-2".into()).await.unwrap(), None);
    assert!(tasks.insert(new(record("t-1", Some("other")))).await.is_err(), "task ids are unique");
}

pub(crate) async fn without_a_key_every_task_is_new(store: Store) {
    let tasks = store.task_store();
    for id in ["t-1", "t-2"] {
        assert!(matches!(tasks.insert(new(record(id, None))).await.unwrap(), Inserted::New));
    }
}

pub(crate) async fn racing_inserts_of_one_key_make_one_task(store: Store) {
    let tasks = store.task_store();
    let inserts =
        (0..16).map(|number| tasks.insert(new(record(&format!("t-{number}"), Some("k")))));
    let inserted = futures::future::join_all(inserts).await;
    let is_new = |one: &Result<Inserted, _>| matches!(one, Ok(Inserted::New));
    assert_eq!(inserted.iter().filter(|one| is_new(one)).count(), 1);
    assert!(inserted.iter().all(Result::is_ok));
}

pub(crate) async fn finished_and_waiting_tasks_are_not_taken_up(store: Store) {
    let tasks = store.task_store();
    let states = [
        ("t-1", TaskState::Working),
        ("t-2", TaskState::Completed),
        ("t-3", TaskState::InputRequired),
        ("t-4", TaskState::Failed),
        ("t-5", TaskState::Submitted),
        ("t-6", TaskState::Canceled),
        ("t-7", TaskState::Rejected),
        ("t-8", TaskState::AuthRequired),
    ];
    for (id, state) in states {
        let mut record = record(id, None);
        tasks.insert(new(record.clone())).await.unwrap();
        record.task.status.state = state;
        tasks.save(record, Vec::new()).await.unwrap();
    }
    let unfinished = tasks.unfinished().await.unwrap();
    let ids: Vec<&str> = unfinished.iter().map(|record| record.task.id.as_str()).collect();
    assert_eq!(ids, ["t-1", "t-5"]);
}

fn attempt(number: u128, task: &str, target: &str, seconds: i64) -> Attempt {
    Attempt {
        id: AttemptId::new(Uuid::from_u128(number)),
        task_id: task.into(),
        target: target.into(),
        body: json!({"step": number.to_string()}),
        started_at: at(seconds),
    }
}

pub(crate) async fn attempts_are_found_by_task_target_and_time(store: Store) {
    let all = [
        attempt(1, "t-1", "db-1", 10),
        attempt(2, "t-1", "app-1", 20),
        attempt(3, "t-2", "db-1", 30),
    ];
    for attempt in &all {
        store.begin_attempt(attempt).await.unwrap();
    }
    store.finish_attempt(&all[0].id, &json!({"ok": true}), at(11)).await.unwrap();
    let of_task = store.attempts_of_task("t-1").await.unwrap();
    assert_eq!(of_task.len(), 2);
    assert_eq!(of_task[0].attempt, all[0]);
    assert_eq!(of_task[0].outcome, Some(json!({"ok": true})));
    assert_eq!(of_task[0].finished_at, Some(at(11)));
    assert_eq!((&of_task[1].outcome, of_task[1].finished_at), (&None, None));
    let on_target = store.attempts_on_target("db-1", at(11)).await.unwrap();
    assert_eq!(on_target.len(), 1);
    assert_eq!(on_target[0].attempt, all[2]);
    assert_eq!(store.attempts_since(at(20)).await.unwrap().len(), 2);
}

pub(crate) async fn an_attempt_is_made_once(store: Store) {
    let attempt = attempt(1, "t-1", "db-1", 10);
    store.begin_attempt(&attempt).await.unwrap();
    let again = store.begin_attempt(&attempt).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
}
