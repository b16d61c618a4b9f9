//! Events of tasks over the wire, and over restarts.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Value, json};

use super::support::{DurableTasks, PATIENCE, Served, message, state, turn};

/// What arrives on one stream: the number and the payload of each event.
struct Events {
    body: futures::stream::BoxStream<'static, String>,
    rest: String,
}

impl Events {
    async fn open(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream", "{:?}", answer.status());
        let chunks = answer.bytes_stream().take_while(|chunk| std::future::ready(chunk.is_ok()));
        let body = chunks.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).boxed();
        Self { body, rest: String::new() }
    }

    async fn next(&mut self) -> Option<(Option<u64>, Value)> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data:") {
                    let number = field("id:").map(|id| id.trim().parse().unwrap());
                    return Some((number, serde_json::from_str(data).unwrap()));
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.unwrap();
            self.rest.push_str(&chunk?);
        }
    }

    async fn until_end(mut self) -> Vec<(u64, Value)> {
        let mut all = Vec::new();
        while let Some((Some(number), event)) = self.next().await {
            all.push((number, event["result"].clone()));
        }
        all
    }
}

fn stream(served: &Served, text: &str) -> reqwest::RequestBuilder {
    call(served, "SendStreamingMessage", &message(text))
}

fn subscribe(served: &Served, task: &Value) -> reqwest::RequestBuilder {
    call(served, "SubscribeToTask", &json!({"id": task["id"]}))
}

fn call(served: &Served, method: &str, params: &Value) -> reqwest::RequestBuilder {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    served.post(body.to_string())
}

/// The numbers of events, and the states they show.
fn states(events: &[(u64, Value)]) -> Vec<(u64, &str)> {
    let mut states = Vec::new();
    for (number, event) in events {
        let shows_state = event.get("task").or_else(|| event.get("statusUpdate"));
        states.push((*number, shows_state.map_or("artifact", state)));
    }
    states
}

#[tokio::test]
async fn a_stream_begins_with_the_task_and_ends_with_its_end() {
    let served = Served::new().await;
    let events = Events::open(stream(&served, "echo hello")).await.until_end().await;
    let expected = [(0, "TASK_STATE_SUBMITTED"), (1, "artifact"), (2, "TASK_STATE_COMPLETED")];
    assert_eq!(states(&events), expected);
    assert_eq!(events[1].1["artifactUpdate"]["artifact"]["parts"][0]["text"], "hello");
}

#[tokio::test]
async fn a_subscriber_goes_on_where_the_server_stopped() {
    let tasks = Arc::new(DurableTasks::default());
    let first = Served::with(tasks.clone()).await;
    let mut events = Events::open(stream(&first, "gate")).await;
    let (_, task) = events.next().await.unwrap();
    let task = task["result"]["task"].clone();
    let (last, working) = events.next().await.unwrap();
    assert_eq!(state(&working["result"]["statusUpdate"]), "TASK_STATE_WORKING");
    first.shut_down().await;
    let (number, said) = events.next().await.unwrap();
    assert!(number.is_none() && said.get("error").is_some(), "it ends before its task: {said}");
    assert!(events.next().await.is_none());
    let second = Served::with(tasks).await;
    assert_eq!(second.server.resume().await.unwrap(), 1);
    let again = subscribe(&second, &task).header("Last-Event-ID", last.unwrap());
    let again = Events::open(again).await;
    second.script.gate.add_permits(1);
    let events = again.until_end().await;
    assert_eq!(states(&events), [(2, "TASK_STATE_WORKING"), (3, "TASK_STATE_COMPLETED")]);
}

#[tokio::test]
async fn closing_a_connection_leaves_the_task_and_other_streams_alone() {
    let served = Served::new().await;
    let mut first = Events::open(stream(&served, "gate")).await;
    let (_, task) = first.next().await.unwrap();
    let task = task["result"]["task"].clone();
    let second = Events::open(subscribe(&served, &task)).await;
    drop(first);
    served.script.started(1).await;
    served.script.gate.add_permits(1);
    let events = second.until_end().await;
    assert_eq!(states(&events).last(), Some(&(2, "TASK_STATE_COMPLETED")));
    assert_eq!(state(&served.task(&task).await), "TASK_STATE_COMPLETED");
    let (code, why) = served.error("SubscribeToTask", json!({"id": task["id"]})).await;
    assert!(code == -32004 && why.contains("TASK_STATE_COMPLETED"), "{why}");
}

#[tokio::test]
async fn the_answer_to_a_question_goes_on_in_the_same_log() {
    let served = Served::new().await;
    let asked = Events::open(stream(&served, "ask")).await.until_end().await;
    let expected = [(0, "TASK_STATE_SUBMITTED"), (1, "TASK_STATE_INPUT_REQUIRED")];
    assert_eq!(states(&asked), expected);
    let task = &asked[0].1["task"];
    let waiting = Events::open(subscribe(&served, task)).await;
    let done = call(&served, "SendStreamingMessage", &turn(task, "echo this"));
    let done = Events::open(done).await.until_end().await;
    let expected = [(2, "TASK_STATE_WORKING"), (3, "artifact"), (4, "TASK_STATE_COMPLETED")];
    assert_eq!(states(&done), expected);
    let seen = waiting.until_end().await;
    assert_eq!(states(&seen)[0], (1, "TASK_STATE_INPUT_REQUIRED"));
    assert_eq!(states(&seen)[1..], expected);
}
