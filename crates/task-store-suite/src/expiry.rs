//! The end of tasks.

use a2a_types::{Expiry, Inserted, NewTask, TaskState, TaskStore};

use crate::sample::{advance, at, config, new, put, record};

/// What ended before these seconds.
fn ended(seconds: i64) -> Expiry {
    Expiry { ended_before: at(seconds), waiting_before: at(0) }
}

pub async fn ended_tasks_expire_with_all_that_is_theirs(tasks: &dyn TaskStore) {
    let mut first = record("t-1", Some("k"));
    tasks.insert(new(first.clone())).await.unwrap();
    let event = advance(&mut first, TaskState::Completed, 1);
    tasks.save(first, vec![event]).await.unwrap();
    tasks.put_push(config("t-1", "a")).await.unwrap();
    for (id, state) in
        [("t-2", TaskState::Failed), ("t-3", TaskState::Canceled), ("t-4", TaskState::Rejected)]
    {
        put(tasks, id, state, 1).await;
    }
    put(tasks, "t-5", TaskState::Completed, 10).await;
    assert_eq!(tasks.expire(ended(1), 99).await.unwrap(), 0, "they ended at that time, not before");
    assert_eq!(tasks.expire(ended(10), 3).await.unwrap(), 3);
    assert_eq!(tasks.expire(ended(10), 3).await.unwrap(), 1);
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), None);
    assert_eq!(tasks.events("t-1".into(), 0, 9).await.unwrap(), []);
    assert_eq!(tasks.pushes("t-1".into()).await.unwrap(), []);
    assert!(tasks.load("t-5".into()).await.unwrap().is_some());
    let again = tasks.insert(new(record("t-1", Some("k")))).await.unwrap();
    assert!(matches!(again, Inserted::New), "id and key are free again");
    assert_eq!(tasks.events("t-1".into(), 0, 9).await.unwrap(), []);
}

pub async fn tasks_that_have_not_ended_do_not_expire(tasks: &dyn TaskStore) {
    let states = [
        TaskState::Submitted,
        TaskState::Working,
        TaskState::InputRequired,
        TaskState::AuthRequired,
    ];
    for (number, state) in states.into_iter().enumerate() {
        put(tasks, &format!("t-{number}"), state, 1).await;
    }
    assert_eq!(tasks.expire(ended(99), 99).await.unwrap(), 0);
}

pub async fn tasks_that_wait_too_long_expire(tasks: &dyn TaskStore) {
    for (id, state, second) in [
        ("t-1", TaskState::InputRequired, 1),
        ("t-2", TaskState::AuthRequired, 5),
        ("t-3", TaskState::Working, 1),
        ("t-4", TaskState::Completed, 1),
    ] {
        put(tasks, id, state, second).await;
    }
    let expiry = |seconds| Expiry { ended_before: at(0), waiting_before: at(seconds) };
    assert_eq!(tasks.expire(expiry(1), 9).await.unwrap(), 0);
    assert_eq!(tasks.expire(expiry(5), 9).await.unwrap(), 1);
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), None);
    assert_eq!(tasks.expire(expiry(6), 9).await.unwrap(), 1);
    assert!(tasks.load("t-3".into()).await.unwrap().is_some());
}

pub async fn tasks_with_undelivered_notifications_do_not_expire(tasks: &dyn TaskStore) {
    let mut record = record("t-1", None);
    let new = NewTask { record: record.clone(), push: Some(config("t-1", "a")) };
    tasks.insert(new).await.unwrap();
    let event = advance(&mut record, TaskState::Completed, 1);
    tasks.save(record, vec![event]).await.unwrap();
    assert_eq!(tasks.expire(ended(99), 99).await.unwrap(), 0);
    let delivery = tasks.due_deliveries(at(99), 0, 9).await.unwrap().remove(0);
    tasks.finish_delivery(delivery.id).await.unwrap();
    assert_eq!(tasks.expire(ended(99), 99).await.unwrap(), 1);
    assert_eq!(tasks.load("t-1".into()).await.unwrap(), None);
}
