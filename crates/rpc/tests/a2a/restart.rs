//! Tasks that outlive their server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::support::{DurableTasks, Served, error_of, message, state, turn};

/// One request with a key, as a caller repeats it until it has an answer.
fn keyed(served: &Served, text: &str) -> reqwest::RequestBuilder {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message(text)});
    served.post(body.to_string()).header("Idempotency-Key", "k")
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn an_interrupted_task_is_taken_up_once() {
    let tasks = Arc::new(DurableTasks::default());
    let first = Served::with(tasks.clone()).await;
    let waiting = keyed(&first, "gate");
    let (said, ()) = tokio::join!(answer(waiting), async {
        first.script.started(1).await;
        first.shut_down().await;
    });
    assert_eq!(error_of(&said).0, -32000, "a caller that waits is told: {said}");
    let second = Served::with(tasks.clone()).await;
    assert_eq!(second.server.resume().await.unwrap(), 1);
    second.script.gate.add_permits(1);
    let again = answer(keyed(&second, "gate")).await;
    assert_eq!(state(&again["result"]["task"]), "TASK_STATE_COMPLETED", "{again}");
    assert_eq!(second.script.runs(), [("gate".to_owned(), true)]);
    assert_eq!(tasks.ids().len(), 1);
}

#[tokio::test]
async fn a_repeated_request_need_not_wait_for_the_resuming() {
    let tasks = Arc::new(DurableTasks::default());
    let first = Served::with(tasks.clone()).await;
    let (_, ()) = tokio::join!(answer(keyed(&first, "gate")), async {
        first.script.started(1).await;
        first.shut_down().await;
    });
    let second = Served::with(tasks.clone()).await;
    second.script.gate.add_permits(1);
    let said = answer(keyed(&second, "gate")).await;
    assert_eq!(state(&said["result"]["task"]), "TASK_STATE_COMPLETED", "{said}");
    assert_eq!(second.server.resume().await.unwrap(), 0);
    assert_eq!(second.script.runs(), [("gate".to_owned(), true)]);
}

#[tokio::test]
async fn a_waiting_task_is_answered_or_canceled_after_a_restart() {
    let tasks = Arc::new(DurableTasks::default());
    let first = Served::with(tasks.clone()).await;
    let (one, two) = (first.send("ask").await, first.send("ask").await);
    first.shut_down().await;
    let second = Served::with(tasks.clone()).await;
    assert_eq!(second.server.resume().await.unwrap(), 0, "it waits for its caller");
    let done = second.result("SendMessage", turn(&one, "echo this")).await;
    assert_eq!(state(&done["task"]), "TASK_STATE_COMPLETED");
    let canceled = second.result("CancelTask", json!({"id": two["id"]})).await;
    assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
    assert_eq!(second.script.runs(), [("echo this".to_owned(), false)]);
}

#[tokio::test]
async fn finished_tasks_are_read_from_the_store() {
    let tasks = Arc::new(DurableTasks::default());
    let first = Served::with(tasks.clone()).await;
    let task = first.send("echo x").await;
    first.shut_down().await;
    let second = Served::with(tasks).await;
    assert_eq!(second.task(&task).await, task);
    assert_eq!(second.error("CancelTask", json!({"id": task["id"]})).await.0, -32002);
}

#[tokio::test]
async fn a_task_whose_end_was_not_stored_is_worked_on_again() {
    let tasks = Arc::new(DurableTasks::default());
    let served = Served::with(tasks.clone()).await;
    tasks.failing_saves.store(1, Ordering::SeqCst);
    let task = served.send("echo x").await;
    assert_eq!(state(&task), "TASK_STATE_COMPLETED");
    let runs = [("echo x".to_owned(), false), ("echo x".to_owned(), true)];
    assert_eq!(served.script.runs(), runs);
}

#[tokio::test]
async fn a_task_goes_on_after_a_write_of_which_nobody_knows_whether_it_was_stored() {
    let tasks = Arc::new(DurableTasks::default());
    let served = Served::with(tasks.clone()).await;
    served.server.resume().await.unwrap();
    tasks.doubtful_saves.store(1, Ordering::SeqCst);
    let task = served.send("echo x").await;
    assert_eq!(state(&task), "TASK_STATE_COMPLETED");
    assert_eq!(task["artifacts"].as_array().unwrap().len(), 1);
    assert!(served.script.runs().last().unwrap().1, "it is resumed");

    tasks.doubtful_inserts.store(1, Ordering::SeqCst);
    let said = answer(keyed(&served, "gate")).await;
    assert_eq!(error_of(&said).0, -32603, "{said}");
    served.script.gate.add_permits(1);
    let again = answer(keyed(&served, "gate")).await;
    assert_eq!(state(&again["result"]["task"]), "TASK_STATE_COMPLETED", "{again}");
    assert_eq!(tasks.ids().len(), 2);
}
