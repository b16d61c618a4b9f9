//! What is held, and for how long.

use std::time::Duration;

use a2a_types::A2aError;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn finished_tasks_leave_nothing_behind() {
    let world = World::new();
    for _ in 0..200 {
        let tasks = (0..100).map(|number| world.settle(say(["auto", "ask"][number % 2])));
        futures::future::join_all(tasks).await;
    }
    world.until_idle().await;
}

#[tokio::test]
async fn tasks_and_subscribers_beyond_the_bound_are_refused() {
    let options = TaskOptions { live_tasks: 2, subscribers: 2, ..TaskOptions::default() };
    let mut world = World::with(Arc::default(), options);
    let (first, _) = (world.take("work").await, world.take("work").await);
    let refused = world.tasks.take(say("work")).await.unwrap_err();
    assert!(matches!(refused, A2aError::Unavailable(_)), "{refused}");
    let mut listening = [world.subscribe(&first, None).await, world.subscribe(&first, None).await];
    assert!(listening.iter_mut().all(is_pending));
    let refused = world.tasks.subscribe(&TaskOwner::default(), &first.id, None).await;
    assert!(matches!(refused, Err(A2aError::Unavailable(_))));
    drop(listening);
    world.subscribe(&first, None).await;
    world.job().await.complete().await;
    while world.tasks.live_count() == 2 {
        tokio::task::yield_now().await;
    }
    world.take("work").await;
}

#[tokio::test]
async fn a_caller_that_answers_for_ever_is_stopped() {
    let world = World::new();
    let asked = world.settle(say("ask")).await;
    let refused = loop {
        match world.tasks.take_and_settle(answer(&asked, "ask")).await {
            Ok(_) => {}
            Err(refused) => break refused,
        }
    };
    assert!(matches!(&refused, A2aError::UnsupportedOperation(why) if why.contains("500")));
    assert!(world.get(&asked).await.history.len() <= 501);
    let large = world.settle(say("ask")).await;
    let mut request = answer(&large, "ask");
    request.message.parts.push(Part::text("x".repeat(17 << 20)));
    let refused = world.tasks.take(request).await.unwrap_err();
    assert!(matches!(&refused, A2aError::UnsupportedOperation(why) if why.contains("16777216")));
}

#[tokio::test(start_paused = true)]
async fn tasks_are_forgotten_after_the_retention() {
    let world = World::new();
    let (ended, waiting) = (world.settle(say("auto")).await, world.settle(say("ask")).await);
    let day = SignedDuration::from_hours(24);
    world.pass(day * 6);
    tokio::time::sleep(Duration::from_secs(1_200)).await;
    world.get(&ended).await;
    world.pass(day * 2);
    tokio::time::sleep(Duration::from_secs(1_200)).await;
    let gone = world.tasks.get(&TaskOwner::default(), &ended.id).await;
    assert_eq!(gone, Err(A2aError::TaskNotFound(ended.id)));
    world.get(&waiting).await;
    world.pass(day * 30);
    tokio::time::sleep(Duration::from_secs(1_200)).await;
    let gone = world.tasks.get(&TaskOwner::default(), &waiting.id).await;
    assert_eq!(gone, Err(A2aError::TaskNotFound(waiting.id)), "nobody came");
    world.shutdown.cancel();
    world.tracker.close();
    world.tracker.wait().await;
}
