//! Whose tasks they are.

use a2a_types::{A2aError, TaskPushNotificationConfig, TaskQuery};

use super::*;

fn push(task: &Task, id: &str) -> TaskPushNotificationConfig {
    TaskPushNotificationConfig {
        id: id.into(),
        task_id: task.id.clone(),
        url: "https://example.org/hook".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn foreign_tasks_look_as_unknown_ones() {
    let world = World::new();
    let running = world.take("work").await;
    let waiting = world.settle(say("ask")).await;
    let ended = world.settle(say("auto")).await;
    world.tasks.put_push(&TaskOwner::default(), push(&running, "p")).await.unwrap();
    let mut unknown = running.clone();
    unknown.id = "nobody".into();
    let strangers = [("", "eve"), ("other", "")].map(|(tenant, principal)| TaskOwner {
        tenant: tenant.into(),
        principal: principal.into(),
    });
    let tasks = &world.tasks;
    for stranger in &strangers {
        for task in [&running, &waiting, &ended, &unknown] {
            let id = task.id.as_str();
            let mut turn = answer(task, "auto");
            turn.owner = stranger.clone();
            let mut turn_stream = answer(task, "auto");
            turn_stream.owner = stranger.clone();
            let errors = [
                tasks.get(stranger, id).await.err(),
                tasks.cancel(stranger, id).await.err(),
                tasks.subscribe(stranger, id, None).await.err(),
                tasks.subscribe(stranger, id, Some(0)).await.err(),
                tasks.take(turn).await.err(),
                tasks.take_and_subscribe(turn_stream).await.err(),
                tasks.put_push(stranger, push(task, "q")).await.err(),
                tasks.pushes(stranger, id).await.err(),
                tasks.delete_push(stranger, id, "p").await.err(),
            ];
            for error in errors {
                assert_eq!(error, Some(A2aError::TaskNotFound(id.into())), "{stranger:?}");
            }
        }
        let query = TaskQuery { owner: stranger.clone(), limit: 100, ..Default::default() };
        assert_eq!(tasks.list(query).await.unwrap().total, 0);
    }
    assert_eq!(tasks.pushes(&TaskOwner::default(), &running.id).await.unwrap().len(), 1);
    assert_eq!(world.get(&waiting).await, waiting);
}

#[tokio::test]
async fn a_context_of_somebody_else_is_nobody_s() {
    let world = World::new();
    let mine = world.settle(say("auto")).await;
    let mut request = say("auto");
    request.owner.principal = "eve".into();
    request.message.context_id.clone_from(&mine.context_id);
    request.message.reference_task_ids = vec![mine.id.clone()];
    let owner = request.owner.clone();
    let hers = world.settle(request).await;
    assert_eq!(hers.context_id, mine.context_id);
    assert_eq!(hers.history[0].reference_task_ids, [mine.id.as_str()]);
    let context_id = Some(mine.context_id);
    let query = TaskQuery { owner, context_id, limit: 100, ..Default::default() };
    let seen = world.tasks.list(query).await.unwrap();
    assert_eq!(seen.tasks.iter().map(|task| &task.id).collect::<Vec<_>>(), [&hers.id]);
}

#[tokio::test]
async fn a_key_finds_only_the_tasks_of_its_owner() {
    let world = World::new();
    let mine = world.settle(keyed("auto")).await;
    let mut request = keyed("auto");
    request.owner.principal = "eve".into();
    assert_ne!(world.settle(request).await.id, mine.id);
    assert_eq!(world.settle(keyed("auto")).await.id, mine.id);
}

#[tokio::test]
async fn push_configurations_are_named_replaced_and_bounded() {
    let world = World::new();
    let task = world.take("work").await;
    let owner = TaskOwner::default();
    let unnamed = world.tasks.put_push(&owner, push(&task, "")).await.unwrap();
    assert!(!unnamed.id.is_empty());
    for number in 1..16 {
        world.tasks.put_push(&owner, push(&task, &number.to_string())).await.unwrap();
    }
    let refused = world.tasks.put_push(&owner, push(&task, "one more")).await;
    assert_eq!(refused.unwrap_err().code(), -32004);
    let mut other = push(&task, "1");
    other.url = "https://example.org/other".into();
    world.tasks.put_push(&owner, other.clone()).await.unwrap();
    world.tasks.delete_push(&owner, &task.id, &unnamed.id).await.unwrap();
    world.tasks.delete_push(&owner, &task.id, &unnamed.id).await.unwrap();
    let known = world.tasks.pushes(&owner, &task.id).await.unwrap();
    assert_eq!((known.len(), known.contains(&other)), (15, true));
}

#[tokio::test]
async fn the_sender_is_woken_when_there_is_something_to_send() {
    let mut world = World::new();
    let silent = world.take("work").await;
    let given = world.job().await;
    given.work(0..1).await;
    assert!(world.deliveries.notified().now_or_never().is_none(), "nobody is to be notified");
    world.tasks.put_push(&TaskOwner::default(), push(&silent, "p")).await.unwrap();
    given.work(0..1).await;
    world.deliveries.notified().await;
    let mut request = say("ask");
    request.push = Some(push(&silent, ""));
    let asked = world.settle(request).await;
    world.deliveries.notified().await;
    let known = world.tasks.pushes(&TaskOwner::default(), &asked.id).await.unwrap();
    assert_eq!(known[0].task_id, asked.id);
    // A task that was taken up from the store wakes the sender as before.
    drop(given);
    let world = world.restart().await;
    world.settle(answer(&asked, "auto")).await;
    world.deliveries.notified().await;
}
