//! Messages, answers and cancellations.

use a2a_types::A2aError;

use super::*;

#[tokio::test]
async fn a_message_can_be_answered_without_a_task() {
    let world = World::new();
    let mut request = say("hello");
    request.message.context_id = "mine".into();
    let Taken::Message(reply) = world.tasks.take_and_settle(request).await.unwrap() else {
        panic!("a task")
    };
    assert_eq!((reply.text().as_str(), &reply.role), ("good day", &Role::Agent));
    assert_eq!((reply.context_id.as_str(), reply.task_id.as_str()), ("mine", ""));
    assert!(!reply.message_id.is_empty());
    let streamed = world.tasks.take_and_subscribe(say("hello")).await.unwrap();
    let Taken::Message(reply) = streamed else { panic!("a task") };
    assert!(!reply.context_id.is_empty(), "a context of its own");
    let broken = world.tasks.take(say("panic")).await.unwrap_err();
    assert_eq!(broken, A2aError::Internal("the agent panicked".into()));
    let asked = world.settle(say("ask")).await;
    let turn = world.tasks.take(answer(&asked, "hello")).await.unwrap();
    assert_eq!(task(turn).id, asked.id, "an answer is for its task");
}

#[tokio::test]
async fn a_message_is_worked_on_when_its_sender_is_gone() {
    let mut world = World::new();
    let mut taking = Box::pin(world.tasks.take(say("work")));
    assert!(futures::poll!(&mut taking).is_pending());
    drop(taking);
    world.job().await.complete().await;
    let asked = world.settle(say("ask")).await;
    let mut answering = Box::pin(world.tasks.take(answer(&asked, "work")));
    while world.get(&asked).await.status.state != TaskState::Working {
        assert!(futures::poll!(&mut answering).is_pending());
        tokio::task::yield_now().await;
    }
    drop(answering);
    assert_eq!(world.job().await.job.task.id, asked.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_answers_the_first_is_taken() {
    let mut world = World::new();
    let asked = world.settle(say("ask")).await;
    world.until_idle().await;
    let answers = (0..32).map(|_| world.tasks.take(answer(&asked, "work")));
    let answers = futures::future::join_all(answers).await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    let codes: Vec<_> = refused.map(A2aError::code).collect();
    assert_eq!(codes, [-32004; 31]);
    world.job().await.complete().await;
    assert!(world.jobs.try_recv().is_err());
    assert_eq!(world.get(&asked).await.history.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_repeated_at_the_same_time_is_one_answer() {
    let mut world = World::new();
    let asked = world.settle(say("ask")).await;
    let repeated = |_| {
        let request = TakeMessage { idempotency_key: Some("k".into()), ..answer(&asked, "work") };
        world.tasks.take(request)
    };
    let answers = futures::future::join_all((0..16).map(repeated)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    world.job().await.complete().await;
    assert!(world.jobs.try_recv().is_err());
}

#[tokio::test]
async fn canceling_twice_is_no_error_and_what_ended_otherwise_stays() {
    let mut world = World::new();
    let owner = TaskOwner::default();
    let (running, waiting) = (world.take("work").await, world.settle(say("ask")).await);
    let given = world.job().await;
    for task in [&running, &waiting] {
        for _ in 0..3 {
            let canceled = world.tasks.cancel(&owner, &task.id).await.unwrap();
            assert_eq!(canceled.status.state, TaskState::Canceled);
        }
        let refused = world.tasks.take(answer(task, "auto")).await.unwrap_err();
        assert_eq!(refused.code(), -32004);
    }
    assert!(given.job.cancelled.is_cancelled());
    let history = world.get(&waiting).await.history;
    assert_eq!(history.last().unwrap().text(), "which one?");
    let ended = world.settle(say("auto")).await;
    let refused = world.tasks.cancel(&owner, &ended.id).await.unwrap_err();
    assert!(matches!(refused, A2aError::TaskNotCancelable(_)));
}

#[tokio::test]
async fn a_waiting_task_leaves_memory_and_comes_back_for_its_answer() {
    let world = World::new();
    let asked = world.settle(say("ask")).await;
    world.until_idle().await;
    let again = world.settle(answer(&asked, "ask")).await;
    world.until_idle().await;
    let done = world.settle(answer(&asked, "auto")).await;
    let said: Vec<_> = done.history.iter().map(Message::text).collect();
    assert_eq!(said, ["ask", "which one?", "ask", "which one?", "auto"]);
    assert_eq!((again.id, done.status.state), (asked.id, TaskState::Completed));
}

#[tokio::test]
async fn a_transient_failure_is_told_to_subscribers_too() {
    let mut world = World::new();
    let stream = world.stream(say("work")).await;
    world.job().await.end.send(Err(AgentError::transient("later"))).unwrap();
    let events: Vec<_> = stream.events.collect().await;
    let Some(StreamResponse::StatusUpdate(update)) = events.last().map(|event| &event.event) else {
        panic!("no status")
    };
    assert_eq!(update.status.state, TaskState::Failed);
    assert_eq!(update.metadata, world.get(&stream.task).await.metadata);
    assert_eq!(update.metadata[super::super::TRANSIENT_KEY], true);
}
