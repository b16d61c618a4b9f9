//! The client against peers that work, are away, move, or speak something else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{Message, Part, Role, TaskState};
use axum::Router;
use axum::routing::{get, post};
use rpc::a2a::{Client, ClientError, ClientOptions, Send};
use serde_json::json;
use tokio::net::TcpListener;

use super::support::{PATIENCE, Served};

fn client(url: &str) -> Client {
    client_within(url, PATIENCE)
}

fn client_within(url: &str, deadline: Duration) -> Client {
    Client::new(url.parse().unwrap(), ClientOptions { deadline }).unwrap()
}

fn say(text: &str, wait: Option<Duration>) -> Send {
    let message = Message::new("m-1", Role::User, vec![Part::text(text)]);
    Send { message, idempotency_key: Some("k".into()), wait }
}

/// A peer of a fixed card and answer; dropped with its runtime.
async fn peer(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tracker = tokio_util::task::TaskTracker::new();
    tracker.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    url
}

fn card(endpoint: &str, version: &str) -> String {
    json!({"name": "p", "description": "", "version": "1", "capabilities": {},
        "supportedInterfaces": [
            {"url": "grpc://x", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
            {"url": endpoint, "protocolBinding": "JSONRPC", "protocolVersion": version}],
        "defaultInputModes": [], "defaultOutputModes": [], "skills": []})
    .to_string()
}

/// A peer whose card leads to `answer` of its own endpoint.
async fn answering(status: u16, body: &'static str) -> String {
    let status = http::StatusCode::from_u16(status).unwrap();
    let endpoint =
        peer(Router::new().route("/a2a", post(move || async move { (status, body) }))).await;
    let card = card(&format!("{endpoint}/a2a"), "1.0");
    peer(Router::new().route(a2a_types::CARD_PATH, get(move || async move { card }))).await
}

#[tokio::test]
async fn tasks_are_sent_read_and_canceled() {
    let served = Served::new().await;
    let client = client(&served.url("/"));
    assert_eq!(client.card().await.unwrap().name, "script");
    let task = client.send(say("echo x", Some(PATIENCE))).await.unwrap();
    assert_eq!(task.status.state, TaskState::Completed);
    let again = client.send(say("echo x", Some(PATIENCE))).await.unwrap();
    assert_eq!(again.id, task.id, "the key makes it a repetition");
    let read = client.task(&task.id).await.unwrap();
    assert_eq!((read.status, read.history.len()), (task.status, 0));
    let refused = client.cancel(&task.id).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { error, .. } if error.code == -32002));
    assert!(!refused.is_transient());
    assert!(matches!(
        client.task("nobody").await,
        Err(ClientError::Refused { error, .. }) if error.code == -32001
    ));
}

#[tokio::test]
async fn a_peer_that_is_away_may_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&url).send(say("x", None)).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_silent_peer_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let error = client_within(&url, Duration::from_millis(50)).card().await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_task_that_outlasts_the_wait_is_found_again() {
    let served = Served::new().await;
    let client = client(&served.url(""));
    let error = client.send(say("gate", Some(Duration::from_millis(50)))).await.unwrap_err();
    assert!(matches!(error, ClientError::Deadline { .. }), "{error}");
    served.script.gate.add_permits(1);
    let task = client.send(say("gate", Some(PATIENCE))).await.unwrap();
    assert_eq!(task.status.state, TaskState::Completed);
    assert_eq!(served.script.runs().len(), 1);
}

#[tokio::test]
async fn the_card_is_read_again_after_a_failure() {
    let (one, two) = (Served::new().await, Served::new().await);
    let endpoint = Arc::new(Mutex::new(one.url("/a2a")));
    let published = endpoint.clone();
    let route = get(move || async move { card(&published.lock().unwrap(), "1.0.0") });
    let url = peer(Router::new().route(a2a_types::CARD_PATH, route)).await;
    let client = client(&url);
    client.send(say("echo x", Some(PATIENCE))).await.unwrap();
    one.shut_down().await;
    *endpoint.lock().unwrap() = two.url("/a2a");
    assert!(client.send(say("echo x", Some(PATIENCE))).await.unwrap_err().is_transient());
    client.send(say("echo x", Some(PATIENCE))).await.unwrap();
    assert_eq!((one.script.runs().len(), two.script.runs().len()), (1, 1));
}

#[tokio::test]
async fn answers_that_are_not_a2a_are_final_and_failing_servers_are_not() {
    for (status, body, is_transient) in [
        (200, "<html>login</html>", false),
        (200, "{}", false),
        (200, "{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {\"task\": {\"id\": 7}}}", false),
        (404, "", false),
        (302, "", false),
        (429, "", true),
        (500, "", true),
        (503, "", true),
    ] {
        let url = answering(status, body).await;
        let error = client(&url).send(say("x", None)).await.unwrap_err();
        assert_eq!(error.is_transient(), is_transient, "{status} {body}: {error}");
    }
    let message = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {\"message\": \
                   {\"messageId\": \"m\", \"role\": \"ROLE_AGENT\", \"parts\": [{\"text\": \"hi\"}]}}}";
    let url = answering(200, message).await;
    let error = client(&url).send(say("x", None)).await.unwrap_err();
    assert!(error.to_string().contains("a message instead of a task: hi"), "{error}");
}

#[tokio::test]
async fn a_card_without_our_interface_is_said_so() {
    let body = card("http://127.0.0.1:1/a2a", "0.3.0");
    let route = get(move || async move { body });
    let url = peer(Router::new().route(a2a_types::CARD_PATH, route)).await;
    let error = client(&url).send(say("x", None)).await.unwrap_err();
    assert!(matches!(error, ClientError::NoInterface { .. }), "{error}");
}
