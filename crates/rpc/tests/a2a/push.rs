//! Push notifications, over real sockets: what a receiver sees, whatever it answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use a2a_types::{AgentCard, TaskStore};
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rpc::a2a::{MemoryTaskStore, PushConfig, ServerOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use super::support::{DurableTasks, PATIENCE, Served, message, state};

/// A notification as it arrived.
#[derive(Debug)]
struct Notification {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Notification {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The number of the event, out of the idempotency key.
    fn sequence(&self) -> u64 {
        let key = self.header("idempotency-key").unwrap();
        key.rsplit_once('/').unwrap().1.parse().unwrap()
    }

    fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn is_last(&self) -> bool {
        let state = self.event()["statusUpdate"]["status"]["state"].clone();
        ["TASK_STATE_COMPLETED", "TASK_STATE_FAILED"].iter().any(|last| state == *last)
    }
}

/// What a receiver does with a notification.
#[derive(Clone, Debug)]
enum Reply {
    Status(u16),
    Header(u16, &'static str, String),
    /// Once there is a permit.
    Gate(Arc<Semaphore>),
    Silence,
}

/// A receiver.
#[derive(Debug)]
struct Hook {
    address: SocketAddr,
    arrived: UnboundedReceiver<Notification>,
    _serving: JoinSet<()>,
}

impl Hook {
    /// Replies to the first, second, third … notification of all.
    async fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrived) = mpsc::unbounded_channel();
        let (reply, count) = (Arc::new(reply), Arc::new(AtomicUsize::new(0)));
        let routes = axum::Router::new().fallback(
            async move |uri: Uri, headers: HeaderMap, body: Bytes| -> Response {
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let _ = sender.send(Notification { path: uri.path().to_owned(), headers, body });
                match reply(nth) {
                    Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
                    Reply::Header(status, name, value) => {
                        (StatusCode::from_u16(status).unwrap(), [(name, value)]).into_response()
                    }
                    Reply::Gate(gate) => {
                        gate.acquire().await.unwrap().forget();
                        StatusCode::OK.into_response()
                    }
                    Reply::Silence => std::future::pending().await,
                }
            },
        );
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, arrived, _serving: serving }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn next(&mut self) -> Notification {
        tokio::time::timeout(PATIENCE, self.arrived.recv()).await.unwrap().unwrap()
    }

    /// Everything up to the end of the task.
    async fn all(&mut self) -> Vec<Notification> {
        let mut all = Vec::new();
        loop {
            all.push(self.next().await);
            if all[all.len() - 1].is_last() {
                return all;
            }
        }
    }
}

fn memory() -> Arc<MemoryTaskStore> {
    Arc::default()
}

/// Receivers of these tests are on this machine, and tried again at once.
fn options() -> PushConfig {
    PushConfig {
        allow_http: true,
        allow_addresses: vec!["127.0.0.1/32".parse().unwrap()],
        retry_base_ms: 0,
        ..PushConfig::default()
    }
}

async fn served(store: &Arc<impl TaskStore + 'static>, push: PushConfig) -> Served {
    let configure = |card: &mut AgentCard, options: &mut ServerOptions| {
        card.capabilities.push_notifications = Some(true);
        options.push = push;
    };
    Served::configured(store.clone(), configure).await
}

/// Parameters of SendMessage that ask for notifications, and do not wait.
fn with_push(text: &str, config: Value) -> Value {
    let mut params = message(text);
    params["configuration"] =
        json!({"returnImmediately": true, "taskPushNotificationConfig": config});
    params
}

async fn start(served: &Served, text: &str, config: Value) -> Value {
    served.result("SendMessage", with_push(text, config)).await["task"].clone()
}

fn sequences(notifications: &[Notification]) -> Vec<u64> {
    notifications.iter().map(Notification::sequence).collect()
}

/// Numbers from 1 without a gap, as many as there are notifications.
fn in_order(notifications: &[Notification]) -> Vec<u64> {
    (1..=notifications.len() as u64).collect()
}

/// Lets others run until the store has come to a state.
async fn stored(store: &MemoryTaskStore, is_so: impl Fn(Option<jiff::Timestamp>) -> bool) {
    let reached = async {
        while !is_so(store.next_delivery().await.unwrap()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test]
async fn every_event_arrives_in_order_with_token_and_authentication() {
    let mut hook = Hook::start(|_| Reply::Status(200)).await;
    let served = served(&memory(), options()).await;
    let config = json!({
        "url": hook.url("/hook?of=me"),
        "token": "tok-1",
        "authentication": {"scheme": "Bearer", "credentials": "secret-1"},
    });
    let task = start(&served, "echo hello", config).await;
    let all = hook.all().await;

    assert!(all.len() >= 2, "{all:?}");
    assert_eq!(sequences(&all), in_order(&all));
    let id = task["id"].as_str().unwrap();
    for (index, notification) in all.iter().enumerate() {
        let key = format!("{id}/{}", index + 1);
        assert_eq!(notification.header("idempotency-key"), Some(key.as_str()));
        assert_eq!(notification.header("content-type"), Some("application/a2a+json"));
        assert_eq!(notification.header("a2a-version"), Some("1.0"));
        assert_eq!(notification.header("x-a2a-notification-token"), Some("tok-1"));
        assert_eq!(notification.header("authorization"), Some("Bearer secret-1"));
        assert_eq!(notification.path, "/hook");
        let event = notification.event();
        let members: Vec<_> = event.as_object().unwrap().keys().collect();
        assert_eq!(members.len(), 1, "{event}");
        let payload = &event[members[0]];
        assert_eq!(payload.get("taskId").or(payload.get("id")).unwrap(), id, "{event}");
    }
    let artifact = all.iter().find_map(|n| n.event().get("artifactUpdate").cloned()).unwrap();
    assert_eq!(artifact["artifact"]["parts"][0]["text"], "hello");
}

#[tokio::test]
async fn without_token_and_authentication_nothing_is_added() {
    let mut hook = Hook::start(|_| Reply::Status(204)).await;
    let served = served(&memory(), options()).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    for notification in hook.all().await {
        assert_eq!(notification.header("x-a2a-notification-token"), None);
        assert_eq!(notification.header("authorization"), None);
        assert_eq!(notification.header("traceparent"), None);
    }
}

#[tokio::test]
async fn what_fails_is_sent_again_the_same_before_what_comes_after() {
    let replies = [500, 503, 429, 408];
    let mut hook =
        Hook::start(move |nth| Reply::Status(replies.get(nth).copied().unwrap_or(200))).await;
    let served = served(&memory(), options()).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    let all = hook.all().await;

    assert_eq!(sequences(&all)[..6], [1, 1, 1, 1, 1, 2]);
    for repeated in &all[1..5] {
        assert_eq!(repeated.body, all[0].body);
        assert_eq!(repeated.headers["idempotency-key"], all[0].headers["idempotency-key"]);
    }
    assert_eq!(sequences(&all[4..]), in_order(&all[4..]));
}

#[tokio::test]
async fn receiver_says_when_it_is_tried_again() {
    let mut hook = Hook::start(|_| Reply::Header(503, "retry-after", "120".into())).await;
    let store = memory();
    let served = served(&store, options()).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    hook.next().await;
    let later = "2026-01-01T00:02:00Z".parse().unwrap();
    stored(&store, |next| next == Some(later)).await;
}

#[tokio::test]
async fn what_the_receiver_refuses_is_not_sent_again() {
    let mut hook = Hook::start(|nth| Reply::Status(if nth == 0 { 400 } else { 200 })).await;
    let served = served(&memory(), options()).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    let all = hook.all().await;
    assert_eq!(sequences(&all), in_order(&all));
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let mut target = Hook::start(|_| Reply::Status(200)).await;
    let location = target.url("/");
    let mut hook = Hook::start(move |_| Reply::Header(307, "location", location.clone())).await;
    let store = memory();
    let served = served(&store, options()).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    hook.all().await;
    stored(&store, |next| next.is_none()).await;
    assert!(target.arrived.try_recv().is_err());
}

#[tokio::test]
async fn silent_receiver_holds_up_nobody_else() {
    let mut silent = Hook::start(|_| Reply::Silence).await;
    let mut hook = Hook::start(|_| Reply::Status(200)).await;
    let served = served(&memory(), PushConfig { timeout_ms: 600_000, ..options() }).await;
    let task = start(&served, "gate", json!({"id": "a", "url": silent.url("/")})).await;
    let other = json!({"taskId": task["id"], "id": "b", "url": hook.url("/")});
    served.result("CreateTaskPushNotificationConfig", other).await;
    silent.next().await;
    served.script.gate.add_permits(1);
    hook.all().await;
    assert!(silent.arrived.try_recv().is_err());
}

#[tokio::test]
async fn many_notifications_of_a_silent_receiver_hide_nobody_elses() {
    let mut silent = Hook::start(|_| Reply::Silence).await;
    let mut other = Hook::start(|_| Reply::Status(200)).await;
    let push = PushConfig {
        concurrent: 4,
        timeout_ms: 120_000,
        allow_hosts: vec!["localhost".parse().unwrap()],
        allow_addresses: vec!["127.0.0.1/32".parse().unwrap(), "::1/128".parse().unwrap()],
        ..options()
    };
    let served = served(&memory(), push).await;
    let url = silent.url("/").replace("127.0.0.1", "localhost");
    for _ in 0..200 {
        start(&served, "echo x", json!({"url": url})).await;
    }
    silent.next().await;
    start(&served, "echo x", json!({"url": other.url("/")})).await;
    other.all().await;
}

#[tokio::test]
async fn silent_receiver_is_tried_again_after_the_deadline() {
    let silence = |nth| if nth == 0 { Reply::Silence } else { Reply::Status(200) };
    let mut hook = Hook::start(silence).await;
    let served = served(&memory(), PushConfig { timeout_ms: 50, ..options() }).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    assert_eq!((hook.next().await.sequence(), hook.next().await.sequence()), (1, 1));
}

#[tokio::test]
async fn receiver_that_is_gone_gets_one_try_of_each_later_event() {
    let mut hook = Hook::start(|_| Reply::Status(500)).await;
    let store = memory();
    let served = served(&store, PushConfig { max_attempts: 3, ..options() }).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    let all = hook.all().await;
    assert_eq!(sequences(&all[..3]), [1, 1, 1]);
    let later = &all[3..];
    assert_eq!(sequences(later), (2..2 + later.len() as u64).collect::<Vec<_>>());
    stored(&store, |next| next.is_none()).await;
}

#[tokio::test]
async fn restarted_server_sends_what_the_last_one_could_not() {
    let store = memory();
    let mut hook = Hook::start(|_| Reply::Status(503)).await;
    let never = PushConfig { max_attempts: u32::MAX, ..options() };
    let first = served(&store, never.clone()).await;
    let task = start(&first, "echo hello", json!({"id": "c", "url": hook.url("/")})).await;
    hook.next().await;
    first.shut_down().await;

    let mut back = Hook::start(|_| Reply::Status(200)).await;
    let second = served(&store, never).await;
    let moved = json!({"taskId": task["id"], "id": "c", "url": back.url("/")});
    second.result("CreateTaskPushNotificationConfig", moved).await;
    second.server.resume().await.unwrap();
    let all = back.all().await;
    assert_eq!(sequences(&all), in_order(&all));
    stored(&store, |next| next.is_none()).await;
}

#[tokio::test]
async fn process_killed_before_the_answer_sends_again_with_the_same_key() {
    let store = memory();
    let silence = |nth| if nth == 0 { Reply::Silence } else { Reply::Status(200) };
    let mut hook = Hook::start(silence).await;
    let (config, kept) = (json!({"url": hook.url("/")}), store.clone());
    let process = tokio::runtime::Runtime::new().unwrap();
    let begun = process.spawn(async move {
        let served = served(&kept, PushConfig { timeout_ms: 600_000, ..options() }).await;
        start(&served, "echo hello", config).await;
        std::future::pending::<()>().await;
    });
    let seen = hook.next().await;
    process.shutdown_background();
    assert!(begun.await.unwrap_err().is_cancelled());

    let second = served(&store, options()).await;
    second.server.resume().await.unwrap();
    let all = hook.all().await;
    assert_eq!(all[0].body, seen.body);
    assert_eq!(all[0].headers["idempotency-key"], seen.headers["idempotency-key"]);
    assert_eq!(sequences(&all), in_order(&all));
}

#[tokio::test]
async fn shutdown_ends_what_is_in_hand_and_begins_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = gate.clone();
    let mut hook = Hook::start(move |_| Reply::Gate(closed.clone())).await;
    let store = memory();
    let served = served(&store, options()).await;
    let task = start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    assert_eq!(hook.next().await.sequence(), 1);
    let ended = async { while state(&served.task(&task).await) != "TASK_STATE_COMPLETED" {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    // The server stops before the receiver answers.
    tokio::join!(served.shut_down(), async { gate.add_permits(1) });

    assert!(hook.arrived.try_recv().is_err());
    let waiting = store.due_deliveries(jiff::Timestamp::MAX, 0, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|next| next.event.sequence).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn failing_store_delays_notifications_and_doubles_none() {
    let mut hook = Hook::start(|_| Reply::Status(200)).await;
    let store = Arc::new(DurableTasks::default());
    store.failing_looks.store(1, Ordering::SeqCst);
    store.failing_finishes.store(1, Ordering::SeqCst);
    let served = served(&store, options()).await;
    start(&served, "echo hello", json!({"url": hook.url("/")})).await;
    let all = hook.all().await;
    assert_eq!(sequences(&all), in_order(&all));
    let left = |left: &std::sync::atomic::AtomicU64| left.load(Ordering::SeqCst);
    assert_eq!((left(&store.failing_looks), left(&store.failing_finishes)), (0, 0));
}

#[tokio::test]
async fn deleted_configuration_gets_nothing_any_more() {
    let mut hook = Hook::start(|_| Reply::Status(200)).await;
    let store = memory();
    let served = served(&store, options()).await;
    let task = start(&served, "gate", json!({"id": "c", "url": hook.url("/")})).await;
    hook.next().await;
    let name = json!({"taskId": task["id"], "id": "c"});
    for _ in 0..2 {
        served.result("DeleteTaskPushNotificationConfig", name.clone()).await;
    }
    served.script.gate.add_permits(1);
    let ended = async { while state(&served.task(&task).await) != "TASK_STATE_COMPLETED" {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(store.next_delivery().await.unwrap(), None);
    while let Ok(late) = hook.arrived.try_recv() {
        assert!(!late.is_last(), "{late:?}");
    }
}

#[tokio::test]
async fn later_configuration_replaces_the_one_with_its_id() {
    let mut old = Hook::start(|_| Reply::Status(200)).await;
    let mut new = Hook::start(|_| Reply::Status(200)).await;
    let served = served(&memory(), options()).await;
    let task = start(&served, "gate", json!({"id": "c", "url": old.url("/")})).await;
    old.next().await;
    let config = json!({
        "taskId": task["id"], "id": "c", "url": new.url("/"), "token": "tok-2",
        "authentication": {"scheme": "Basic", "credentials": "dTpw"},
    });
    let created = served.result("CreateTaskPushNotificationConfig", config.clone()).await;
    assert_eq!(created, config);
    let listed = served.result("ListTaskPushNotificationConfigs", json!({"taskId": task["id"]}));
    assert_eq!(listed.await["configs"], json!([config]));
    served.script.gate.add_permits(1);
    assert!(new.all().await.iter().all(|n| n.header("authorization") == Some("Basic dTpw")));
    while let Ok(late) = old.arrived.try_recv() {
        assert!(!late.is_last(), "{late:?}");
    }
}

#[tokio::test]
async fn unusable_configurations_are_refused_with_the_name_of_the_field() {
    let served = served(&memory(), PushConfig::default()).await;
    let task = served.send("ask").await;
    let wrong = [
        (json!({"url": ""}), "url"),
        (json!({"url": "not a URL"}), "url"),
        (json!({"url": "http://example.com/"}), "url"),
        (json!({"url": "https://169.254.169.254/latest/meta-data/"}), "url"),
        (json!({"url": "https://localhost/"}), "url"),
        (json!({"url": "https://[::ffff:127.0.0.1]/"}), "url"),
        (json!({"url": "https://8.8.8.8/", "token": "a\r\nX-Evil: 1"}), "token"),
        (
            json!({"url": "https://8.8.8.8/", "authentication": {"scheme": "a b"}}),
            "authentication.scheme",
        ),
        (
            json!({
                "url": "https://8.8.8.8/",
                "authentication": {"scheme": "Bearer", "credentials": "a\nb"},
            }),
            "authentication.credentials",
        ),
    ];
    for (mut config, field) in wrong {
        let params = with_push("echo hello", config.clone());
        let (code, text) = served.error("SendMessage", params).await;
        let full = format!("configuration.taskPushNotificationConfig.{field}");
        assert!(code == -32602 && text.contains(&full), "{config}: {code} {text}");
        config["taskId"] = task["id"].clone();
        let (code, text) = served.error("CreateTaskPushNotificationConfig", config.clone()).await;
        assert!(code == -32602 && text.contains(field), "{config}: {code} {text}");
    }
    let listed = served.result("ListTaskPushNotificationConfigs", json!({"taskId": task["id"]}));
    assert!(listed.await["configs"].as_array().is_none_or(Vec::is_empty));
}

#[tokio::test]
async fn push_notifications_that_are_off_are_not_supported() {
    let served = served(&memory(), PushConfig { enabled: false, ..options() }).await;
    let params = with_push("echo hello", json!({"url": "https://8.8.8.8/"}));
    assert_eq!(served.error("SendMessage", params).await.0, -32003);
}
