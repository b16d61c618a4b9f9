//! What subscribers see.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_sees_the_same_events_in_the_same_order() {
    let mut world = World::new();
    let task = world.take("work").await;
    let given = world.job().await;
    let tasks = world.tasks.clone();
    let subscribers = (0..50_u32).map(|number| {
        let (tasks, id) = (tasks.clone(), task.id.clone());
        async move {
            // They come while events rush.
            for _ in 0..number {
                tokio::task::yield_now().await;
            }
            let seen = tasks.subscribe(&TaskOwner::default(), &id, None).await.unwrap();
            (seen.sequence, seen.events.collect::<Vec<_>>().await)
        }
    });
    let rush = async {
        given.work(0..60).await;
        while world.tasks.0.live.get(&task.id).unwrap().seen.receiver_count() < 50 {
            tokio::task::yield_now().await;
        }
        given.work(0..100).await;
        given.complete().await;
    };
    let (all, ()) = tokio::join!(futures::future::join_all(subscribers), rush);
    let last = all[0].1.last().unwrap().sequence;
    let log = a2a_types::TaskStore::events(&*world.store, task.id, 0, 10_000).await.unwrap();
    assert_eq!(numbers(&log), (1..=last).collect::<Vec<_>>());
    for (from, events) in all {
        assert_eq!(events, log[usize::try_from(from).unwrap()..], "from {from}");
    }
}

#[tokio::test]
async fn a_slow_subscriber_holds_nobody_up_and_misses_nothing() {
    let mut world = World::new();
    let slow = world.stream(say("work")).await;
    let given = world.job().await;
    given.work(0..300).await;
    given.complete().await;
    assert_eq!(world.get(&slow.task).await.status.state, TaskState::Completed);
    let events: Vec<_> = slow.events.collect().await;
    assert_eq!(numbers(&events), (1..=301).collect::<Vec<_>>());
    assert_eq!(shown(&events[300..]), ["Completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_new_task_misses_nothing() {
    let world = World::new();
    for _ in 0..200 {
        let stream = world.stream(say("auto")).await;
        assert_eq!((stream.sequence, &stream.task.status.state), (0, &TaskState::Submitted));
        let events: Vec<_> = stream.events.collect().await;
        assert_eq!(numbers(&events), [1, 2, 3]);
        assert_eq!(shown(&events), ["Working", "two", "Completed"]);
    }
}

#[tokio::test]
async fn events_are_read_again_after_the_last_one_that_arrived() {
    let mut world = World::new();
    let mut stream = world.stream(say("work")).await;
    let given = world.job().await;
    given.work(0..5).await;
    assert_eq!(numbers(&read(&mut stream, 2).await), [1, 2]);
    let mut again = world.subscribe(&stream.task, Some(2)).await;
    assert_eq!((again.sequence, again.is_continued), (2, true));
    assert_eq!(numbers(&read(&mut again, 3).await), [3, 4, 5]);
    let beyond = world.subscribe(&stream.task, Some(99)).await;
    assert_eq!((beyond.sequence, beyond.is_continued), (5, false), "no such event");
    given.complete().await;
    assert_eq!(numbers(&again.events.collect::<Vec<_>>().await), [6]);
    let ended = world.subscribe(&stream.task, Some(4)).await;
    assert_eq!(numbers(&ended.events.collect::<Vec<_>>().await), [5, 6]);
    for after in [None, Some(6), Some(7)] {
        let error = world.tasks.subscribe(&TaskOwner::default(), &ended.task.id, after).await;
        assert_eq!(error.unwrap_err().code(), -32004, "{after:?}");
    }
}

#[tokio::test]
async fn a_log_that_lost_its_beginning_is_not_read_with_a_gap() {
    let mut world = World::new();
    let task = task(world.tasks.take(keyed("work")).await.unwrap());
    let given = world.job().await;
    given.work(0..1_100).await;
    let late = world.subscribe(&task, Some(3)).await;
    assert_eq!((late.sequence, late.is_continued), (1_100, false));
    let joined = world.stream(keyed("work")).await;
    assert_eq!((joined.sequence, &joined.task.status.state), (1_100, &TaskState::Working));
    given.complete().await;
    assert_eq!(numbers(&joined.events.collect::<Vec<_>>().await), [1_101]);
}

#[tokio::test]
async fn a_subscriber_goes_on_after_a_restart() {
    let mut world = World::new();
    let mut stream = world.stream(say("work")).await;
    let given = world.job().await;
    given.work(0..5).await;
    let mut seen = read(&mut stream, 3).await;
    let mut world = world.restart().await;
    drop(given);
    let rest: Vec<_> = stream.events.collect().await;
    assert_eq!(numbers(&rest), [4, 5], "what was committed arrives, then the stream ends");
    assert_eq!(world.tasks.resume().await.unwrap(), 1);
    let mut again = world.subscribe(&stream.task, Some(3)).await;
    let given = world.job().await;
    assert!(given.job.is_resumed);
    given.work(0..2).await;
    seen.extend(read(&mut again, 4).await);
    given.complete().await;
    seen.extend(again.events.collect::<Vec<_>>().await);
    assert_eq!(numbers(&seen), [1, 2, 3, 4, 5, 6, 7, 8]);
    let replayed = world.restart().await.subscribe(&stream.task, Some(0)).await;
    assert_eq!(replayed.events.collect::<Vec<_>>().await, seen);
}

#[tokio::test]
async fn a_closed_stream_does_not_touch_the_task() {
    let mut world = World::new();
    let first = world.stream(say("work")).await;
    let second = world.subscribe(&first.task, None).await;
    let given = world.job().await;
    let task = first.task.clone();
    drop(first);
    given.work(0..1).await;
    assert!(!given.job.cancelled.is_cancelled());
    given.complete().await;
    assert_eq!(numbers(&second.events.collect::<Vec<_>>().await), [1, 2]);
    assert_eq!(world.get(&task).await.status.state, TaskState::Completed);
}

#[tokio::test]
async fn a_question_ends_the_stream_and_its_answer_goes_on_in_the_same_log() {
    let world = World::new();
    let asked = world.stream(say("ask")).await;
    let events: Vec<_> = asked.events.collect().await;
    assert_eq!((numbers(&events), shown(&events)), (vec![1], vec!["InputRequired".to_owned()]));
    world.until_idle().await;
    let mut waiting = world.subscribe(&asked.task, None).await;
    assert_eq!((waiting.sequence, is_pending(&mut waiting)), (1, true));
    let answered = world.stream(answer(&asked.task, "auto")).await;
    assert_eq!((answered.sequence, &answered.task.status.state), (2, &TaskState::Working));
    assert_eq!(numbers(&answered.events.collect::<Vec<_>>().await), [3, 4, 5]);
    let events: Vec<_> = waiting.events.collect().await;
    assert_eq!(shown(&events), ["Working", "Working", "two", "Completed"]);
    assert_eq!(numbers(&events), [2, 3, 4, 5]);
}

#[tokio::test]
async fn a_repeated_stream_joins_its_task_from_the_first_event() {
    let mut world = World::new();
    let first = world.stream(keyed("work")).await;
    let given = world.job().await;
    given.work(0..3).await;
    let second = world.stream(keyed("work")).await;
    assert_eq!((&second.task.id, second.sequence), (&first.task.id, 0));
    assert_eq!(second.task.status.state, TaskState::Submitted);
    given.complete().await;
    let events: Vec<_> = first.events.collect().await;
    assert_eq!(numbers(&events), [1, 2, 3, 4]);
    assert_eq!(second.events.collect::<Vec<_>>().await, events);
    let third = world.stream(keyed("work")).await;
    assert_eq!(third.events.collect::<Vec<_>>().await, events, "after its end, too");
}

#[tokio::test]
async fn an_artifact_grows_by_chunks() {
    let mut world = World::new();
    let stream = world.stream(say("work")).await;
    let given = world.job().await;
    for (text, is_last) in [("a", false), ("b", false), ("c", true)] {
        let parts = vec![Part::text(text)];
        given.job.updates.append_artifact("report", parts, is_last).await.unwrap();
    }
    given.complete().await;
    let events: Vec<_> = stream.events.collect().await;
    assert_eq!(shown(&events), ["a", "b", "c", "Completed"]);
    let marks = events.iter().filter_map(|event| match &event.event {
        StreamResponse::ArtifactUpdate(update) => Some((update.append, update.last_chunk)),
        _ => None,
    });
    assert_eq!(marks.collect::<Vec<_>>(), [(false, false), (true, false), (true, true)]);
    let artifact = &world.get(&stream.task).await.artifacts[0];
    let texts: Vec<_> = artifact.parts.iter().filter_map(Part::as_text).collect();
    assert_eq!(texts, ["a", "b", "c"]);
}
