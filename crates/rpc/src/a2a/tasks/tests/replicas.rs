//! Two replicas of one agent over one store: each answers for the tasks of the other.

use std::time::Duration;

use a2a_types::{A2aError, TaskStore, TaskStoreError};

use super::*;
use crate::a2a::MemoryTaskDatabase;

/// So long that only `forget` ends it while a test runs.
const LEASE: Duration = Duration::from_secs(600);

struct Replicas {
    database: MemoryTaskDatabase,
    now: Arc<Mutex<Timestamp>>,
    a: World,
    b: World,
}

impl Replicas {
    async fn new() -> Self {
        Self::with(TaskOptions::default()).await
    }

    async fn with(options: TaskOptions) -> Self {
        let database = MemoryTaskDatabase::default();
        let now = Arc::new(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let a = open(&database, "a", &now, TaskOptions::default());
        let b = open(&database, "b", &now, options);
        for world in [&a, &b] {
            world.tasks.resume().await.unwrap();
        }
        Self { database, now, a, b }
    }
}

fn open(
    database: &MemoryTaskDatabase,
    name: &str,
    now: &Arc<Mutex<Timestamp>>,
    options: TaskOptions,
) -> World {
    let clock = now.clone();
    let store = database.open(name, LEASE, Arc::new(move || *clock.lock().unwrap()));
    World::at(now.clone(), Arc::new(store), options)
}

async fn cancel(world: &World, task: &Task) -> Task {
    world.tasks.cancel(&TaskOwner::default(), &task.id).await.unwrap()
}

fn answer_with_key(task: &Task, text: &str) -> TakeMessage {
    TakeMessage { idempotency_key: Some("k/m-2".into()), ..answer(task, text) }
}

#[tokio::test(start_paused = true)]
async fn a_task_of_another_replica_is_listened_to() {
    let Replicas { mut a, b, .. } = Replicas::new().await;
    let task = a.take("work").await;
    let given = a.job().await;
    given.work(0..2).await;
    let mut from_now = b.subscribe(&task, None).await;
    let from_start = b.subscribe(&task, Some(0)).await;
    assert_eq!((from_now.sequence, from_now.task.status.state.clone()), (2, TaskState::Working));
    assert!(from_start.is_continued);
    assert!(is_pending(&mut from_now));
    given.work(2..100).await;
    assert_eq!(b.get(&task).await, a.get(&task).await);
    given.complete().await;
    let all: Vec<_> = from_start.events.collect().await;
    assert_eq!(numbers(&all), (1..=101).collect::<Vec<_>>());
    assert_eq!(from_now.events.collect::<Vec<_>>().await, all[2..]);
    assert_eq!(b.get(&task).await.status.state, TaskState::Completed);
    b.until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_at_another_replica_waits_for_the_same_task() {
    let Replicas { mut a, mut b, .. } = Replicas::new().await;
    let first = task(a.tasks.take(keyed("work")).await.unwrap());
    let given = a.job().await;
    let streamed = b.stream(keyed("work")).await;
    let (settled, ()) = tokio::join!(b.settle(keyed("work")), given.complete());
    assert_eq!((&settled.id, settled.status.state), (&first.id, TaskState::Completed));
    assert_eq!(streamed.task.id, first.id);
    assert_eq!(shown(&streamed.events.collect::<Vec<_>>().await), ["Completed"]);
    assert!(b.jobs.try_recv().is_err(), "it runs once");
}

#[tokio::test(start_paused = true)]
async fn a_task_is_canceled_at_another_replica() {
    let Replicas { mut a, b, .. } = Replicas::new().await;
    let (running, waiting) = (a.take("work").await, a.settle(say("ask")).await);
    let given = a.job().await;
    for task in [&running, &waiting, &running] {
        assert_eq!(cancel(&b, task).await.status.state, TaskState::Canceled);
    }
    assert!(given.job.cancelled.is_cancelled() && !given.job.stopped.is_cancelled());
    assert_eq!(a.get(&running).await.status.state, TaskState::Canceled);
    let ended = a.settle(say("auto")).await;
    let refused = b.tasks.cancel(&TaskOwner::default(), &ended.id).await.unwrap_err();
    assert!(matches!(refused, A2aError::TaskNotCancelable(_)));
}

#[tokio::test(start_paused = true)]
async fn the_next_turn_is_taken_by_another_replica() {
    let Replicas { a, b, .. } = Replicas::new().await;
    let asked = a.settle(say("ask")).await;
    let waiting = a.subscribe(&asked, None).await;
    let again = b.settle(answer(&asked, "ask")).await;
    assert_eq!(again.status.state, TaskState::InputRequired);
    let events: Vec<_> = waiting.events.collect().await;
    assert_eq!(shown(&events), ["Working", "InputRequired"]);
    let done = a.settle(answer(&asked, "auto")).await;
    let said: Vec<_> = done.history.iter().map(Message::text).collect();
    assert_eq!(said, ["ask", "which one?", "ask", "which one?", "auto"]);
    assert_eq!(b.get(&asked).await, done);
}

#[tokio::test(start_paused = true)]
async fn of_answers_at_two_replicas_the_first_is_taken() {
    let Replicas { mut a, mut b, .. } = Replicas::new().await;
    for _ in 0..10 {
        let asked = a.settle(say("ask")).await;
        let listening = [a.subscribe(&asked, None).await, b.subscribe(&asked, None).await];
        let answers = (0..4).map(|number| {
            let world = if number % 2 == 0 { &a } else { &b };
            world.tasks.take(answer(&asked, "work"))
        });
        let answers = futures::future::join_all(answers).await;
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert_eq!(refused.map(A2aError::code).collect::<Vec<_>>(), [-32004; 3]);
        let given = tokio::select! { given = a.job() => given, given = b.job() => given };
        given.complete().await;
        for subscription in listening {
            let events: Vec<_> = subscription.events.collect().await;
            assert_eq!(shown(&events), ["Working", "Completed"]);
        }
    }
    assert!(a.jobs.try_recv().is_err() && b.jobs.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_repeated_at_another_replica_is_one_answer() {
    let Replicas { mut a, mut b, .. } = Replicas::new().await;
    let asked = a.settle(say("ask")).await;
    a.tasks.take(answer_with_key(&asked, "work")).await.unwrap();
    let given = a.job().await;
    let (settled, ()) = tokio::join!(b.settle(answer_with_key(&asked, "work")), given.complete());
    assert_eq!(settled.status.state, TaskState::Completed);
    assert!(b.jobs.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_frozen_changes_nothing() {
    let Replicas { database, mut a, mut b, .. } = Replicas::new().await;
    let task = a.take("work").await;
    let listening = a.subscribe(&task, None).await;
    let frozen = a.job().await;
    frozen.work(0..1).await;
    database.forget("a");
    let given = b.job().await;
    assert!(given.job.is_resumed);
    assert_eq!(given.job.task.id, task.id);
    assert!(!frozen.job.stopped.is_cancelled(), "it does not know yet");

    let refused = frozen.job.updates.complete("mine").await;
    assert_eq!(refused, Err(TaskStoreError::Lost { id: task.id.clone() }));
    assert!(frozen.job.stopped.is_cancelled() && frozen.job.cancelled.is_cancelled());
    assert!(frozen.job.updates.working("still mine").await.is_err());
    given.work(1..2).await;
    given.complete().await;
    let events: Vec<_> = listening.events.collect().await;
    assert_eq!(numbers(&events), [1, 2, 3]);
    assert_eq!(shown(&events), ["Working", "Working", "Completed"]);
    drop(frozen);
    assert_eq!(a.get(&task).await.status.message.unwrap().text(), "done");
    a.until_idle().await;
    assert!(a.jobs.try_recv().is_err() && b.jobs.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_lost_is_stopped_before_it_writes() {
    let Replicas { database, mut a, mut b, .. } = Replicas::new().await;
    let lost = a.take("work").await;
    let frozen = a.job().await;
    database.forget("a");
    let given = b.job().await;
    frozen.job.stopped.cancelled().await;
    a.take("work").await;
    assert!(!a.job().await.job.stopped.is_cancelled(), "the lease is its own again");
    drop(frozen);
    given.complete().await;
    assert_eq!(a.get(&lost).await.status.state, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_lost_and_found_runs_once_at_a_time() {
    let Replicas { database, mut a, mut b, .. } = Replicas::new().await;
    let task = a.take("work").await;
    let first = a.job().await;
    database.forget("a");
    let second = b.job().await;
    second.work(0..1).await;
    // It comes back to the replica that does not know yet that it was away.
    a.store.heartbeat().await.unwrap();
    database.forget("b");
    let third = a.job().await;
    assert!(first.job.stopped.is_cancelled());
    assert!(first.job.updates.working("old").await.is_err());
    assert!(second.job.updates.working("old").await.is_err());
    third.complete().await;
    assert_eq!(b.get(&task).await.status.state, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn what_shutdown_interrupts_is_taken_at_once() {
    let Replicas { mut a, mut b, .. } = Replicas::new().await;
    let task = a.take("work").await;
    let given = a.job().await;
    let before = tokio::time::Instant::now();
    let waiting = b.settle(keyed("auto")).await;
    a.shutdown.cancel();
    let taken = b.job().await;
    assert!(before.elapsed() < Duration::from_secs(2));
    assert!(taken.job.is_resumed && given.job.stopped.is_cancelled());
    assert_ne!(waiting.id, task.id);
    taken.complete().await;
    a.tracker.close();
    a.tracker.wait().await;
    assert_eq!(b.get(&task).await.status.state, TaskState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_outlives_the_replica_it_was_for() {
    let Replicas { database, mut a, mut b, .. } = Replicas::new().await;
    let task = a.take("work").await;
    let frozen = a.job().await;
    // The replica that has it does not look at anything any more.
    a.shutdown.cancel();
    database.forget("a");
    let (tasks, owner) = (b.tasks.clone(), TaskOwner::default());
    let (canceled, taken) = tokio::join!(tasks.cancel(&owner, &task.id), b.jobs.recv());
    assert_eq!(canceled.unwrap().status.state, TaskState::Canceled);
    assert!(taken.unwrap().job.is_resumed);
    drop(frozen);
}

#[tokio::test(start_paused = true)]
async fn no_more_tasks_are_taken_up_than_there_is_room_for() {
    let options = TaskOptions { live_tasks: 8, ..TaskOptions::default() };
    let Replicas { database, now, mut a, mut b } = Replicas::with(options).await;
    let mut tasks = Vec::new();
    let mut jobs = Vec::new();
    for _ in 0..30 {
        tasks.push(a.take("work").await);
        jobs.push(a.job().await);
    }
    *now.lock().unwrap() += SignedDuration::from_secs(1);
    database.forget("a");
    for _ in 0..30 {
        let given = b.job().await;
        assert!(b.tasks.live_count() <= 4, "{}", b.tasks.live_count());
        given.complete().await;
    }
    for task in tasks {
        assert_eq!(b.get(&task).await.status.state, TaskState::Completed);
    }
}
