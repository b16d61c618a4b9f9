//! Push configurations and deliveries.

use a2a_types::{Delivery, Inserted, NewTask, TaskState, TaskStore};

use crate::sample::{advance, at, config, new, record};

/// What is due: configuration and number of the event.
fn shown(deliveries: &[Delivery]) -> Vec<(&str, u64)> {
    deliveries.iter().map(|one| (one.config.id.as_str(), one.event.sequence)).collect()
}

async fn due(tasks: &dyn TaskStore, seconds: i64) -> Vec<Delivery> {
    tasks.due_deliveries(at(seconds), 0, 99).await.unwrap()
}

pub async fn configurations_are_put_replaced_and_deleted(tasks: &dyn TaskStore) {
    tasks.insert(new(record("t-1", None))).await.unwrap();
    tasks.insert(new(record("t-2", None))).await.unwrap();
    tasks.put_push(config("t-0", "b")).await.unwrap();
    assert_eq!(tasks.pushes("t-0".into()).await.unwrap(), [], "of an unknown task there is none");
    for (task, id) in [("t-1", "b"), ("t-1", "a"), ("t-2", "b")] {
        tasks.put_push(config(task, id)).await.unwrap();
    }
    let mut changed = config("t-1", "b");
    changed.token = "secret".into();
    tasks.put_push(changed.clone()).await.unwrap();
    assert_eq!(tasks.pushes("t-1".into()).await.unwrap(), [config("t-1", "a"), changed]);
    tasks.delete_push("t-1".into(), "b".into()).await.unwrap();
    tasks.delete_push("t-1".into(), "b".into()).await.unwrap();
    assert_eq!(tasks.pushes("t-1".into()).await.unwrap(), [config("t-1", "a")]);
    assert_eq!(tasks.pushes("t-2".into()).await.unwrap(), [config("t-2", "b")]);
}

pub async fn a_new_task_brings_its_configuration(tasks: &dyn TaskStore) {
    let first = NewTask { record: record("t-1", Some("k")), push: Some(config("t-1", "a")) };
    tasks.insert(first).await.unwrap();
    let again = NewTask { record: record("t-2", Some("k")), push: Some(config("t-2", "b")) };
    assert!(matches!(tasks.insert(again).await.unwrap(), Inserted::Existing(_)));
    assert_eq!(tasks.pushes("t-1".into()).await.unwrap(), [config("t-1", "a")]);
    assert_eq!(tasks.pushes("t-2".into()).await.unwrap(), []);
}

pub async fn events_are_delivered_in_order_to_each_configuration(tasks: &dyn TaskStore) {
    let mut record = record("t-1", None);
    tasks.insert(new(record.clone())).await.unwrap();
    let before = advance(&mut record, TaskState::Submitted, 0);
    tasks.save(record.clone(), vec![before]).await.unwrap();
    assert_eq!(tasks.next_delivery().await.unwrap(), None, "nobody asked for that event");
    for id in ["a", "b"] {
        tasks.put_push(config("t-1", id)).await.unwrap();
    }
    let events = vec![
        advance(&mut record, TaskState::Working, 1),
        advance(&mut record, TaskState::Completed, 2),
    ];
    tasks.save(record, events.clone()).await.unwrap();
    assert!(tasks.next_delivery().await.unwrap().unwrap() <= at(2));
    let first = due(tasks, 2).await;
    assert_eq!(shown(&first), [("a", 2), ("b", 2)]);
    assert_eq!((&first[0].event, &first[0].config), (&events[0], &config("t-1", "a")));
    assert_eq!(first[0].attempt, 0);
    assert_eq!(shown(&due(tasks, 2).await), [("a", 2), ("b", 2)], "until it is finished");
    assert_eq!(tasks.due_deliveries(at(2), 0, 1).await.unwrap().len(), 1);
    tasks.finish_delivery(first[1].id).await.unwrap();
    assert_eq!(shown(&due(tasks, 2).await), [("a", 2), ("b", 3)]);
    for _ in 0..2 {
        tasks.finish_delivery(due(tasks, 2).await[0].id).await.unwrap();
    }
    assert_eq!(shown(&due(tasks, 2).await), [("b", 3)]);
    tasks.finish_delivery(due(tasks, 2).await[0].id).await.unwrap();
    assert_eq!(tasks.next_delivery().await.unwrap(), None);
}

pub async fn a_delay_holds_back_its_configuration_only(tasks: &dyn TaskStore) {
    let mut record = record("t-1", None);
    let new = NewTask { record: record.clone(), push: Some(config("t-1", "a")) };
    tasks.insert(new).await.unwrap();
    tasks.put_push(config("t-1", "b")).await.unwrap();
    for second in 1..=2 {
        let event = advance(&mut record, TaskState::Working, second);
        tasks.save(record.clone(), vec![event]).await.unwrap();
    }
    let of_a = due(tasks, 2).await[0].id;
    tasks.delay_delivery(of_a, at(60)).await.unwrap();
    assert_eq!(shown(&due(tasks, 59).await), [("b", 1)]);
    tasks.delete_push("t-1".into(), "b".into()).await.unwrap();
    assert_eq!(tasks.next_delivery().await.unwrap(), Some(at(60)));
    let again = due(tasks, 60).await;
    assert_eq!((shown(&again), again[0].attempt), (vec![("a", 1)], 1));
    tasks.finish_delivery(of_a).await.unwrap();
    let next = due(tasks, 60).await;
    assert_eq!((shown(&next), next[0].attempt), (vec![("a", 2)], 0));
}

pub async fn a_deleted_configuration_gets_nothing_more(tasks: &dyn TaskStore) {
    let mut record = record("t-1", None);
    let new = NewTask { record: record.clone(), push: Some(config("t-1", "a")) };
    tasks.insert(new).await.unwrap();
    let event = advance(&mut record, TaskState::Working, 1);
    tasks.save(record.clone(), vec![event]).await.unwrap();
    let id = due(tasks, 1).await[0].id;
    tasks.delete_push("t-1".into(), "a".into()).await.unwrap();
    assert!(due(tasks, 1).await.is_empty());
    tasks.put_push(config("t-1", "a")).await.unwrap();
    assert!(due(tasks, 1).await.is_empty(), "one of the same id starts anew");
    let event = advance(&mut record, TaskState::Completed, 2);
    tasks.save(record, vec![event]).await.unwrap();
    // Whoever still had the old one in hand ends nothing of the new one.
    tasks.finish_delivery(id).await.unwrap();
    assert_eq!(shown(&due(tasks, 2).await), [("a", 2)]);
}
