//! The client against our server over both bindings, and against peers that do what no good server
//! does: they are away, move, lie, break off, and lead astray.

mod cards;
mod follow;
mod peer;
mod streams;

use std::time::Duration;

use a2a_types::{
    ListTaskPushNotificationConfigsRequest, ListTasksRequest, Message, Part, Role,
    SendMessageResponse, Task, TaskPushNotificationConfig, TaskState,
};
use rpc::a2a::{
    Authentication, Client, ClientError, ClientOptions, LIMITS_EXTENSION_URI, PeerConfig, Send,
};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};

use self::peer::{Peer, card_with};
use super::support::{PATIENCE, Served};

fn client(url: &str) -> Client {
    client_within(url, PATIENCE)
}

fn client_within(url: &str, deadline: Duration) -> Client {
    let options = ClientOptions { deadline, ..ClientOptions::default() };
    Client::new(url.parse().unwrap(), options).unwrap()
}

fn say(text: &str, wait: Option<Duration>) -> Send {
    let message = Message::new("m-1", Role::User, vec![Part::text(text)]);
    Send { message, idempotency_key: Some("k".into()), wait }
}

fn task_of(answer: SendMessageResponse) -> Task {
    answer.into_task().unwrap()
}

/// A client that uses one binding of a server that has both.
async fn over(binding: &str) -> (Served, Client) {
    let binding = binding.to_owned();
    let served = Served::configured(super::support::memory(), move |card, _| {
        card.supported_interfaces.retain(|interface| interface.protocol_binding == binding);
    })
    .await;
    let client = client(&served.url("/"));
    (served, client)
}

#[tokio::test]
async fn tasks_are_sent_read_listed_and_canceled_over_both_bindings() {
    for binding in ["JSONRPC", "HTTP+JSON"] {
        let (served, client) = over(binding).await;
        assert_eq!(client.card().await.unwrap().name, "script");
        let task = task_of(client.send(say("echo x", Some(PATIENCE))).await.unwrap());
        assert_eq!(task.status.state, TaskState::Completed);
        let again = task_of(client.send(say("echo x", Some(PATIENCE))).await.unwrap());
        assert_eq!(again.id, task.id, "the key makes it a repetition");
        let read = client.task(&task.id).await.unwrap();
        assert_eq!((read.status, read.history.len()), (task.status.clone(), 0));
        let request = ListTasksRequest {
            context_id: task.context_id.clone(),
            page_size: Some(5),
            include_artifacts: Some(true),
            ..ListTasksRequest::default()
        };
        let listed = client.list(&request).await.unwrap();
        assert_eq!((listed.tasks.len(), &listed.tasks[0].id), (1, &task.id));
        assert_eq!(listed.tasks[0].artifacts.len(), 1);
        let refused = client.cancel(&task.id).await.unwrap_err();
        assert!(refused.is_task_not_cancelable() && !refused.is_transient(), "{refused}");
        let unknown = client.task("nobody").await.unwrap_err();
        assert!(unknown.is_task_not_found(), "{binding}: {unknown}");
        assert_eq!(unknown.details()[0]["reason"], "TASK_NOT_FOUND", "{binding}");
        let holding = task_of(
            client.send(Send { idempotency_key: None, ..say("hold", None) }).await.unwrap(),
        );
        served.script.started(2).await;
        let canceled = client.cancel(&holding.id).await.unwrap();
        assert_eq!(canceled.status.state, TaskState::Canceled);
    }
}

#[tokio::test]
async fn known_callers_have_an_extended_card_and_push_configurations_over_both_bindings() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "what-only-ann-knows\n").unwrap();
    let config = json!({"bearer": [{"name": "ann", "files": [token]}]});
    let authentication = Authentication::open(&serde_json::from_value(config).unwrap()).unwrap();
    for binding in ["JSONRPC", "HTTP+JSON"] {
        let served = Served::configured(super::support::memory(), |card, options| {
            card.supported_interfaces.retain(|interface| interface.protocol_binding == binding);
            card.capabilities.push_notifications = Some(true);
            options.authentication = authentication.clone();
        })
        .await;
        let url: url::Url = served.url("/").parse().unwrap();
        let peer = PeerConfig { token_file: Some(token.clone()), ..url.into() };
        let time = std::sync::Arc::new(jiff::Timestamp::default);
        let client = Client::of_peer(peer, ClientOptions::default(), time).unwrap();

        let extensions = client.extended_card().await.unwrap().capabilities.extensions;
        assert!(extensions.iter().any(|it| it.uri == LIMITS_EXTENSION_URI), "{binding}");
        let task = task_of(client.send(say("ask", Some(PATIENCE))).await.unwrap());
        let config = TaskPushNotificationConfig {
            task_id: task.id.clone(),
            id: "c".into(),
            url: "https://8.8.8.8/hook".into(),
            token: "t".into(),
            ..TaskPushNotificationConfig::default()
        };
        assert_eq!(client.create_push_config(&config).await.unwrap(), config, "{binding}");
        assert_eq!(client.push_config(&task.id, "c").await.unwrap(), config, "{binding}");
        let all = ListTaskPushNotificationConfigsRequest {
            tenant: String::new(),
            task_id: task.id.clone(),
            page_size: 1,
            page_token: String::new(),
        };
        assert_eq!(client.list_push_configs(&all).await.unwrap().configs, [config], "{binding}");
        client.delete_push_config(&task.id, "c").await.unwrap();
        let gone = client.push_config(&task.id, "c").await.unwrap_err();
        assert!(gone.is_task_not_found(), "{binding}: {gone}");
    }
}

#[tokio::test]
async fn what_a_peer_does_not_offer_is_refused_by_name_over_both_bindings() {
    for binding in ["JSONRPC", "HTTP+JSON"] {
        let (_served, client) = over(binding).await;
        let card = client.extended_card().await.unwrap_err();
        assert!(matches!(card, ClientError::Refused { .. }), "{binding}: {card}");
        let config = serde_json::from_value(json!({"taskId": "t", "url": "https://x.example"}));
        for error in [
            client.create_push_config(&config.unwrap()).await.unwrap_err(),
            client.push_config("t", "c").await.unwrap_err(),
            client.delete_push_config("t", "c").await.unwrap_err(),
        ] {
            let is_known = matches!(&error, ClientError::Refused { error, .. }
                if [-32003, -32004, -32001].contains(&error.code));
            assert!(is_known, "{binding}: {error}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_is_away_may_come_back() {
    // Nobody listens, and nobody else can take the address.
    let place = TcpSocket::new_v4().unwrap();
    place.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", place.local_addr().unwrap());
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
    let task = task_of(client.send(say("gate", Some(PATIENCE))).await.unwrap());
    assert_eq!(task.status.state, TaskState::Completed);
    assert_eq!(served.script.runs().len(), 1);
}

#[tokio::test]
async fn answers_that_are_not_a2a_are_final_and_failing_servers_are_not() {
    let rpc = |id: i64, rest: &str| format!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, {rest}}}");
    for (status, body, is_transient, why) in [
        (200, "<html>login</html>".to_owned(), false, "not A2A"),
        (200, "{}".into(), false, "not A2A"),
        (200, rpc(1, "\"result\": {\"task\": {\"id\": 7}}"), false, "not A2A"),
        (200, rpc(77, "\"result\": {}"), false, "an answer to request"),
        (200, rpc(1, "\"error\": {\"code\": -32603, \"message\": \"busy\"}"), true, "busy"),
        (200, rpc(1, "\"error\": {\"code\": -32602, \"message\": \"bad\"}"), false, "bad"),
        (400, rpc(1, "\"error\": {\"code\": -32009, \"message\": \"old\"}"), false, "-32009: old"),
        (401, String::new(), false, "does not admit us"),
        (403, String::new(), false, "does not admit us"),
        (404, String::new(), false, "status 404"),
        (302, String::new(), false, "status 302"),
        (429, String::new(), true, "status 429"),
        (500, String::new(), true, "status 500"),
        (503, rpc(1, "\"error\": {\"code\": -32602, \"message\": \"\"}"), true, "status 503"),
    ] {
        let peer = Peer::new(move |_| (status, body.clone()).into()).await;
        let error = client(&peer.url).send(say("x", None)).await.unwrap_err();
        assert_eq!(error.is_transient(), is_transient, "{status}: {error}");
        assert!(error.to_string().contains(why), "{status}: {error}");
    }
}

#[tokio::test]
async fn a_peer_may_answer_with_a_message_and_ask_to_be_left_alone() {
    let message = json!({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "hi"}]});
    let peer = Peer::new(move |asked| asked.result(json!({"message": message}))).await;
    let answer = client(&peer.url).send(say("x", None)).await.unwrap();
    assert!(matches!(answer, SendMessageResponse::Message(message) if message.text() == "hi"));
    let peer = Peer::new(|_| peer::Answer::from((429, "")).with("retry-after", "7")).await;
    let busy = client(&peer.url).send(say("x", None)).await.unwrap_err();
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_not_read() {
    let peer = Peer::new(|asked| asked.result(json!({"task": "x".repeat(2000)}))).await;
    let options = ClientOptions { answer_bytes: 1000, ..ClientOptions::default() };
    let client = Client::new(peer.url.parse().unwrap(), options).unwrap();
    let error = client.send(say("x", None)).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 1000, .. }), "{error}");
    let options = ClientOptions { card_bytes: 100, ..ClientOptions::default() };
    let client = Client::new(peer.url.parse().unwrap(), options).unwrap();
    let error = client.card().await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 100, .. }), "{error}");
}

#[tokio::test]
async fn errors_of_the_rest_binding_keep_their_details_and_paths_their_tenant() {
    let peer = Peer::with_card(
        |url| card_with(&[("HTTP+JSON", "1.0", &format!("{url}/rest/"), "acme")], true),
        |asked| match asked.target.as_str() {
            "/rest/acme/tasks/a%2Fb?historyLength=0" => (
                404,
                json!({"error": {"code": 404, "status": "NOT_FOUND", "message": "gone", "details":
                    [{"@type": "x", "reason": "TASK_NOT_FOUND", "metadata": {"taskId": "a/b"}}]}})
                .to_string(),
            )
                .into(),
            "/rest/acme/message:send" => {
                (400, json!({"error": {"code": 400, "message": "bad field"}}).to_string()).into()
            }
            _ => (500, "").into(),
        },
    )
    .await;
    let client = client(&peer.url);
    let gone = client.task("a/b").await.unwrap_err();
    assert!(gone.is_task_not_found(), "{gone}");
    assert_eq!(gone.details()[0]["metadata"]["taskId"], "a/b");
    let bad = client.send(say("x", None)).await.unwrap_err();
    assert!(matches!(&bad, ClientError::Refused { error, .. } if error.code == -32602), "{bad}");
    let asked = peer.asked().pop().unwrap();
    assert_eq!(asked.header("content-type"), "application/a2a+json");
    assert_eq!(asked.header("idempotency-key"), "k");
    assert!(asked.json().get("tenant").is_none());
}
