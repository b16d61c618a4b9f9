//! The interface for callers of 0.3: its objects, its methods, and nothing of it unless asked for.

use serde_json::{Value, json};

use super::support::{PATIENCE, Served, error_of, memory};

async fn served() -> Served {
    Served::configured(memory(), |card, options| {
        card.default_input_modes.push("application/json".into());
        options.v0_3 = true;
    })
    .await
}

async fn post(served: &Served, method: &str, params: Value) -> reqwest::Response {
    let body = json!({"jsonrpc": "2.0", "id": "old", "method": method, "params": params});
    let request = reqwest::Client::new().post(served.url("/a2a/v0.3")).timeout(PATIENCE);
    request.json(&body).send().await.unwrap()
}

async fn call(served: &Served, method: &str, params: Value) -> Value {
    let answer: Value = post(served, method, params).await.json().await.unwrap();
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!("old")), "{answer}");
    answer
}

async fn result(served: &Served, method: &str, params: Value) -> Value {
    let answer = call(served, method, params).await;
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].clone()
}

fn message(text: &str) -> Value {
    json!({"message": {
        "kind": "message", "messageId": "m-1", "role": "user",
        "parts": [{"kind": "text", "text": text}],
    }})
}

fn events(body: &str) -> Vec<Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str::<Value>(data).unwrap()["result"].clone()).collect()
}

#[tokio::test]
async fn an_agent_offers_0_3_only_when_told() {
    let without = Served::new().await;
    let card: Value =
        without.get("/.well-known/agent-card.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(card.get("url"), None);
    assert_eq!(post(&without, "message/send", message("echo x")).await.status(), 404);

    let with = served().await;
    let card: Value =
        with.get("/.well-known/agent-card.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(card["url"], with.url("/a2a/v0.3"));
    assert_eq!(card["preferredTransport"], "JSONRPC");
    assert_eq!(card["protocolVersion"], "0.3.0");
    let interfaces = card["supportedInterfaces"].as_array().unwrap();
    assert_eq!(interfaces[0]["url"], with.url("/a2a"), "1.0 stays the preferred one");
    let last = interfaces.last().unwrap();
    assert_eq!((&last["url"], &last["protocolVersion"]), (&card["url"], &json!("0.3")));
}

#[tokio::test]
async fn a_message_is_answered_with_a_task_of_0_3() {
    let served = served().await;
    let task = result(&served, "message/send", message("echo hello")).await;
    assert_eq!(task["kind"], "task");
    assert_eq!(task["status"]["state"], "completed");
    assert_eq!(task["status"]["message"]["kind"], "message");
    assert_eq!(task["status"]["message"]["role"], "agent");
    assert_eq!(task["history"][0]["role"], "user");
    assert_eq!(task["artifacts"][0]["parts"], json!([{"kind": "text", "text": "hello"}]));

    let read = result(&served, "tasks/get", json!({"id": task["id"]})).await;
    assert_eq!(read, task);
    let unlimited = json!({"id": task["id"], "historyLength": 0});
    assert_eq!(result(&served, "tasks/get", unlimited).await["history"], task["history"]);
    let current = served.result("GetTask", json!({"id": task["id"]})).await;
    assert_eq!(current["status"]["state"], "TASK_STATE_COMPLETED", "one task, two readers");
}

#[tokio::test]
async fn a_caller_of_0_3_need_not_wait_and_can_cancel() {
    let served = served().await;
    let mut params = message("hold");
    params["configuration"] = json!({"blocking": false});
    let task = result(&served, "message/send", params).await;
    assert!(["submitted", "working"].contains(&task["status"]["state"].as_str().unwrap()));
    let cancelled = result(&served, "tasks/cancel", json!({"id": task["id"]})).await;
    assert_eq!(cancelled["status"]["state"], "canceled");
}

#[tokio::test]
async fn a_question_of_the_agent_is_answered_in_the_same_task() {
    let served = served().await;
    let asked = result(&served, "message/send", message("ask")).await;
    assert_eq!(asked["status"]["state"], "input-required");
    let mut answer = message("echo this one");
    answer["message"]["taskId"] = asked["id"].clone();
    answer["message"]["messageId"] = json!("m-2");
    let done = result(&served, "message/send", answer).await;
    assert_eq!((&done["id"], &done["status"]["state"]), (&asked["id"], &json!("completed")));
}

#[tokio::test]
async fn a_stream_tells_the_events_of_0_3_and_which_is_the_last() {
    let served = served().await;
    let answer = post(&served, "message/stream", message("echo hello")).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let events = events(&answer.text().await.unwrap());
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["task", "artifact-update", "status-update"]);
    assert_eq!(events[1]["artifact"]["parts"][0]["text"], "hello");
    assert_eq!(
        (&events[2]["final"], &events[2]["status"]["state"]),
        (&json!(true), &json!("completed"))
    );
    assert_eq!(events[2]["taskId"], events[0]["id"]);
}

#[tokio::test]
async fn files_and_data_come_as_they_are_in_0_3() {
    let served = served().await;
    let mut params = message("echo kept");
    params["message"]["parts"].as_array_mut().unwrap().extend([
        json!({"kind": "data", "data": {"a": 1}, "metadata": {"b": 2}}),
        json!({"kind": "file", "file": {"bytes": "aGk=", "name": "a.txt", "mimeType": "text/plain"}}),
        json!({"kind": "file", "file": {"uri": "https://example.org/b"}}),
    ]);
    let task = result(&served, "message/send", params.clone()).await;
    assert_eq!(task["history"][0]["parts"], params["message"]["parts"]);
}

#[tokio::test]
async fn errors_are_those_that_0_3_knows() {
    let served = served().await;
    let code = async |method: &str, params: Value| error_of(&call(&served, method, params).await);
    assert_eq!(code("tasks/get", json!({"id": "none"})).await.0, -32001);
    assert_eq!(code("SendMessage", message("echo x")).await.0, -32601);
    let no_push = json!({"taskId": "t", "pushNotificationConfig": {"url": "https://example.org"}});
    assert_eq!(code("tasks/pushNotificationConfig/set", no_push).await.0, -32003);
    assert_eq!(code("agent/getAuthenticatedExtendedCard", json!({})).await.0, -32004);

    let mut wrong = message("x");
    wrong["message"]["role"] = json!("ROLE_USER");
    let (number, text) = code("message/send", wrong).await;
    assert!(number == -32602 && text.contains("message.role"), "{number} {text}");
    for file in [json!({"name": "a"}), json!({"bytes": "no base64!"})] {
        let mut wrong = message("x");
        wrong["message"]["parts"] = json!([{"kind": "file", "file": file}]);
        let (number, text) = code("message/send", wrong).await;
        assert!(number == -32602 && text.contains("bytes") && text.contains("parts[0]"), "{text}");
    }

    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "x"}});
    let request = reqwest::Client::new().post(served.url("/a2a/v0.3/")).timeout(PATIENCE);
    let answer = request.header("A2A-Version", "1.0").json(&body).send().await.unwrap();
    let (number, text) = error_of(&answer.json().await.unwrap());
    assert!(number == -32600 && text.contains("0.3"), "{number} {text}");
}
