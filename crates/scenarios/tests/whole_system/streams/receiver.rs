//! A receiver of push notifications, which can keep what is in hand from being acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Numbers of the events posted for each task, as they came.
type Posted = BTreeMap<String, Vec<u64>>;

#[derive(Clone)]
struct Inbox {
    posted: Arc<Mutex<Posted>>,
    count: watch::Sender<usize>,
    is_holding: watch::Sender<bool>,
    held: watch::Sender<usize>,
}

pub(super) struct Receiver {
    address: String,
    inbox: Inbox,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Receiver {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let address = service::own_loopback_address();
        let listener = tokio::net::TcpListener::bind(&address).await?;
        let inbox = Inbox {
            posted: Arc::default(),
            count: watch::Sender::new(0),
            is_holding: watch::Sender::new(false),
            held: watch::Sender::new(0),
        };
        let routes = Router::new().route("/push", post(take)).with_state(inbox.clone());
        let serving = serve(listener, routes);
        Ok(Self { address, inbox, serving })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/push", self.address)
    }

    /// Answers nobody from now on, and waits until somebody is kept waiting.
    pub(super) async fn hold(&mut self) {
        self.inbox.held.send_replace(0);
        self.inbox.is_holding.send_replace(true);
        let mut held = self.inbox.held.subscribe();
        let _ = held.wait_for(|held| *held > 0).await;
    }

    pub(super) fn let_go(&self) {
        self.inbox.is_holding.send_replace(false);
    }

    /// Waits until the last event of a task is posted, and returns the numbers of all.
    pub(super) async fn until(&self, task_id: &str, last: u64) -> Vec<u64> {
        let numbers = || self.inbox.posted_for(task_id);
        let mut count = self.inbox.count.subscribe();
        let _ = count.wait_for(|_| numbers().contains(&last)).await;
        numbers()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Inbox {
    fn posted_for(&self, task_id: &str) -> Vec<u64> {
        let posted = self.posted.lock().expect("no panic while it is held");
        posted.get(task_id).cloned().unwrap_or_default()
    }
}

#[expect(clippy::disallowed_methods, reason = "ended when the receiver is dropped")]
fn serve(listener: tokio::net::TcpListener, routes: Router) -> JoinHandle<std::io::Result<()>> {
    tokio::spawn(axum::serve(listener, routes).into_future())
}

/// The idempotency key names the task and the event.
async fn take(State(inbox): State<Inbox>, headers: HeaderMap) -> StatusCode {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let parsed = key.and_then(|key| key.rsplit_once('/'));
    let Some((task, Ok(number))) = parsed.map(|(task, number)| (task, number.parse())) else {
        return StatusCode::BAD_REQUEST;
    };
    inbox
        .posted
        .lock()
        .expect("no panic while it is held")
        .entry(task.to_owned())
        .or_default()
        .push(number);
    inbox.count.send_modify(|count| *count += 1);
    let mut is_holding = inbox.is_holding.subscribe();
    if *is_holding.borrow_and_update() {
        inbox.held.send_modify(|held| *held += 1);
        let _ = is_holding.wait_for(|is_holding| !is_holding).await;
    }
    StatusCode::NO_CONTENT
}
