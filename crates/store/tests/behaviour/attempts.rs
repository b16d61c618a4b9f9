//! Attempts at steps.

use incident::AttemptId;
use serde_json::json;
use store::{Attempt, FileStore, StoreError};
use uuid::Uuid;

use super::sample::at;

fn attempt(number: u128, task: &str, target: &str, seconds: i64) -> Attempt {
    Attempt {
        id: AttemptId::new(Uuid::from_u128(number)),
        task_id: task.into(),
        target: target.into(),
        body: json!({"step": number.to_string()}),
        started_at: at(seconds),
    }
}

pub(crate) async fn attempts_are_found_by_task_target_and_time(store: FileStore) {
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

pub(crate) async fn an_attempt_is_made_once(store: FileStore) {
    let attempt = attempt(1, "t-1", "db-1", 10);
    store.begin_attempt(&attempt).await.unwrap();
    let again = store.begin_attempt(&attempt).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
}
