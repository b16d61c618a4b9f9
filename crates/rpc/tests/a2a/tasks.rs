//! Tasks from message to end.

use serde_json::{Value, json};

use super::support::{Served, error_of, message, state, turn};

#[tokio::test]
async fn a_message_waits_for_the_end_of_its_task() {
    let served = Served::new().await;
    let task = served.send("echo hello").await;
    assert_eq!(state(&task), "TASK_STATE_COMPLETED");
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], "hello");
    assert_eq!(task["status"]["message"]["parts"][0]["text"], "hello");
    assert_eq!(task["status"]["message"]["taskId"], task["id"]);
    assert_eq!(task["history"][0]["contextId"], task["contextId"]);
    assert_eq!(served.task(&task).await, task);
}

#[tokio::test]
async fn a_message_can_return_at_once() {
    let served = Served::new().await;
    let mut params = message("gate");
    params["configuration"] = json!({"returnImmediately": true});
    let at_once = keyed_call(&served, params).await;
    assert!(["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"].contains(&state(&at_once)));
    served.script.gate.add_permits(1);
    let settled = keyed_call(&served, message("gate")).await;
    assert_eq!((&settled["id"], state(&settled)), (&at_once["id"], "TASK_STATE_COMPLETED"));
}

async fn keyed_call(served: &Served, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
    let request = served.post(body.to_string()).header("Idempotency-Key", "k");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["result"]["task"].clone()
}

#[tokio::test]
async fn agents_end_their_tasks_in_every_way() {
    let served = Served::new().await;
    for (text, end, said) in [
        ("echo done", "TASK_STATE_COMPLETED", "done"),
        ("nothing", "TASK_STATE_COMPLETED", "done"),
        ("reject too vague", "TASK_STATE_REJECTED", "too vague"),
        ("fail broken", "TASK_STATE_FAILED", "broken"),
        ("away later", "TASK_STATE_FAILED", "later"),
        ("panic", "TASK_STATE_FAILED", "the agent panicked"),
    ] {
        let task = served.send(text).await;
        let is_transient = task["metadata"]["firebreak/transient"] == json!(true);
        assert_eq!((state(&task), is_transient), (end, text == "away later"), "{text}");
        assert_eq!(task["status"]["message"]["parts"][0]["text"], said, "{text}");
    }
}

#[tokio::test]
async fn a_question_is_answered_in_a_second_turn() {
    let served = Served::new().await;
    let task = served.send("ask").await;
    assert_eq!(state(&task), "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(task["status"]["message"]["parts"][0]["text"], "which one?");
    let mut other = turn(&task, "echo this");
    other["message"]["contextId"] = json!("another");
    let (code, why) = served.error("SendMessage", other).await;
    assert!(code == -32602 && why.contains("message.contextId"), "{why}");
    let done = served.result("SendMessage", turn(&task, "echo this")).await["task"].clone();
    assert_eq!((&done["id"], state(&done)), (&task["id"], "TASK_STATE_COMPLETED"));
    let said = |at: usize| done["history"][at]["parts"][0]["text"].clone();
    assert_eq!([said(0), said(1), said(2)], ["ask", "which one?", "echo this"]);
    assert_eq!(served.script.runs().len(), 2);
    let (code, why) = served.error("SendMessage", turn(&task, "echo more")).await;
    assert_eq!(code, -32004, "{why}");
    assert!(why.contains("TASK_STATE_COMPLETED"), "{why}");
}

#[tokio::test]
async fn a_task_that_needs_credentials_waits_for_them() {
    let served = Served::new().await;
    let task = served.send("login").await;
    assert_eq!(state(&task), "TASK_STATE_AUTH_REQUIRED");
    assert_eq!(task["status"]["message"]["parts"][0]["text"], "who are you?");
    let done = served.result("SendMessage", turn(&task, "echo ann")).await["task"].clone();
    assert_eq!((&done["id"], state(&done)), (&task["id"], "TASK_STATE_COMPLETED"));
}

#[tokio::test]
async fn of_many_answers_to_one_question_one_is_taken() {
    let served = Served::new().await;
    let task = served.send("ask").await;
    let answers = (0..16).map(|_| served.call("SendMessage", turn(&task, "gate")));
    let answers = async {
        let mut answers = futures::future::join_all(answers).await;
        answers.retain(|answer| answer.get("result").is_some());
        answers.len()
    };
    let opened = async {
        served.script.started(2).await;
        served.script.gate.add_permits(16);
    };
    let (taken, ()) = tokio::join!(answers, opened);
    assert_eq!((taken, served.script.runs().len()), (1, 2));
}

#[tokio::test]
async fn a_repeated_answer_is_the_same_answer() {
    let served = Served::new().await;
    let task = served.send("ask").await;
    for _ in 0..3 {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage",
            "params": turn(&task, "echo this")});
        let request = served.post(body.to_string()).header("Idempotency-Key", "k");
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(state(&answer["result"]["task"]), "TASK_STATE_COMPLETED", "{answer}");
    }
    assert_eq!(served.script.runs().len(), 2);
}

#[tokio::test]
async fn working_tasks_stop_and_waiting_ones_are_canceled() {
    let served = Served::new().await;
    let task = served.send_only("hold").await;
    served.script.started(1).await;
    let canceled = served.result("CancelTask", json!({"id": task["id"]})).await;
    assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
    let waiting = served.send("ask").await;
    let canceled = served.result("CancelTask", json!({"id": waiting["id"]})).await;
    assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
    let again = served.result("CancelTask", json!({"id": waiting["id"]})).await;
    assert_eq!(state(&again), "TASK_STATE_CANCELED", "canceling twice is no error");
    let (code, _) = served.error("SendMessage", turn(&waiting, "echo late")).await;
    assert_eq!(code, -32004);
    let done = served.send("echo x").await;
    let (code, why) = served.error("CancelTask", json!({"id": done["id"]})).await;
    assert_eq!(code, -32002);
    assert!(why.contains("TASK_STATE_COMPLETED"), "{why}");
}

#[tokio::test]
async fn history_is_as_long_as_it_is_asked_for() {
    let served = Served::new().await;
    let task = served.send("ask").await;
    served.result("SendMessage", turn(&task, "echo this")).await;
    for (length, messages) in [(json!(null), 3), (json!(0), 0), (json!(1), 1), (json!(9), 3)] {
        let params = json!({"id": task["id"], "historyLength": length});
        let read = served.result("GetTask", params).await;
        let history = read["history"].as_array().map_or(0, Vec::len);
        assert_eq!(history, messages, "historyLength {length}");
        if messages == 1 {
            assert_eq!(read["history"][0]["parts"][0]["text"], "echo this", "the newest");
        }
    }
    let params = json!({"id": task["id"], "historyLength": -1});
    let (code, why) = served.error("GetTask", params).await;
    assert!(code == -32602 && why.contains("historyLength"), "{why}");
    let mut params = message("echo x");
    params["configuration"] = json!({"historyLength": -1});
    let (code, why) = served.error("SendMessage", params).await;
    assert!(code == -32602 && why.contains("configuration.historyLength"), "{why}");
}

async fn keyed(served: &Served, key: Option<&str>, message_id: &str) -> Value {
    let mut params = message("echo x");
    params["message"]["messageId"] = json!(message_id);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
    let mut request = served.post(body.to_string());
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["result"]["task"]["id"].clone()
}

#[tokio::test]
async fn key_and_message_id_together_make_a_repetition() {
    let served = Served::new().await;
    let first = keyed(&served, Some("k"), "m-1").await;
    assert_eq!(keyed(&served, Some("k"), "m-1").await, first);
    assert_ne!(keyed(&served, Some("k"), "m-2").await, first);
    assert_ne!(keyed(&served, Some("l"), "m-1").await, first);
    let alone = keyed(&served, None, "m-1").await;
    assert_ne!(alone, first);
    assert_ne!(keyed(&served, None, "m-1").await, alone, "a message id alone is no key");
}

#[tokio::test]
async fn parallel_repetitions_are_one_task() {
    let served = Served::new().await;
    let tasks = futures::future::join_all((0..32).map(|_| keyed(&served, Some("k"), "m-1"))).await;
    assert!(tasks.iter().all(|task| *task == tasks[0] && task.is_string()), "{tasks:?}");
    assert_eq!(served.script.runs().len(), 1);
}

#[tokio::test]
async fn unknown_tasks_are_named() {
    let served = Served::new().await;
    for method in ["GetTask", "CancelTask"] {
        let answer = served.call(method, json!({"id": "nobody"})).await;
        let (code, why) = error_of(&answer);
        assert!(code == -32001 && why.contains("nobody"), "{method}: {why}");
        let detail = &answer["error"]["data"][0];
        assert_eq!(detail["reason"], "TASK_NOT_FOUND");
        assert_eq!(detail["metadata"]["taskId"], "nobody");
    }
    let (code, _) = served.error("SendMessage", turn(&json!({"id": "nobody"}), "x")).await;
    assert_eq!(code, -32001);
}
