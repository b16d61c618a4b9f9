//! The client of one peer. It finds the peer by its card, which it keeps as HTTP allows, and calls
//! the first interface of the card it speaks, over either binding. A card leads it, and its token,
//! to no origin that the configuration does not name. A repeated `send` with the same idempotency
//! key and message id gives the same task.

mod binding;
mod cache;
mod error;
mod follow;
mod lenient;
mod peer;
mod sse;
mod stream;
mod transport;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use a2a_types::{
    AgentCard, CARD_PATH, CancelTaskRequest, GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest, GetTaskRequest, IDEMPOTENCY_HEADER,
    ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
    ListTasksRequest, ListTasksResponse, Message, SendMessageConfiguration, SendMessageRequest,
    SendMessageResponse, SubscribeToTaskRequest, Task, TaskPushNotificationConfig,
};
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::Url;

use binding::{Endpoint, Method};
use cache::Cached;
use transport::{Ask, Transport};

use super::SettingError;
use super::signature::{PinnedKeys, verify as verify_card};
use crate::Http;

pub use error::ClientError;
pub use peer::PeerConfig;
pub use stream::EventStream;

/// The id of the last event a broken stream gave.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Bound on a call that does not wait for a task, and on the beginning of a stream.
    pub deadline: Duration,
    /// A stream that is silent for so long is dead; keep-alive comments count as life.
    pub idle: Duration,
    /// Largest card.
    pub card_bytes: usize,
    /// Largest answer.
    pub answer_bytes: usize,
    /// Largest event of a stream.
    pub event_bytes: usize,
    /// How often `start` and `run` repeat a message that carries an idempotency key.
    pub retries: u32,
    /// How requests leave.
    pub http: Http,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            card_bytes: 1 << 20,
            answer_bytes: 16 << 20,
            event_bytes: 8 << 20,
            retries: 2,
            http: Http::default(),
        }
    }
}

/// One message to send.
#[derive(Clone, Debug)]
pub struct Send {
    pub message: Message,
    pub idempotency_key: Option<String>,
    /// Wait until the task is settled, at most so long; `None` returns at once.
    pub wait: Option<Duration>,
}

/// A peer agent. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    time: Arc<dyn Fn() -> Timestamp + std::marker::Send + Sync>,
    /// The keys that sign its card, where one of them must.
    keys: Option<PinnedKeys>,
    card: Mutex<Option<Cached>>,
    requests: AtomicU64,
}

impl Client {
    /// A client of the agent under `base`, trusted with nothing else; its card ages by the time
    /// this process runs.
    ///
    /// # Errors
    /// The URL cannot be called.
    pub fn new(base: Url, options: ClientOptions) -> Result<Self, SettingError> {
        let began = tokio::time::Instant::now();
        let time = move || Timestamp::UNIX_EPOCH.saturating_add(began.elapsed());
        Self::of_peer(base.into(), options, Arc::new(move || time().unwrap_or(Timestamp::MAX)))
    }

    /// A client of `peer`, whose card ages by `time`.
    ///
    /// # Errors
    /// A setting of the peer cannot be used.
    pub fn of_peer(
        peer: PeerConfig,
        options: ClientOptions,
        time: Arc<dyn Fn() -> Timestamp + std::marker::Send + Sync>,
    ) -> Result<Self, SettingError> {
        peer.check()?;
        let keys = peer.signature_keys.as_deref().map(PinnedKeys::open).transpose();
        let keys = keys.map_err(|why| SettingError::new("signature_keys", why))?;
        let unusable = |error: reqwest::Error| SettingError::new("url", error.to_string());
        let transport = Transport::new(peer, options).map_err(unusable)?;
        let inner =
            Inner { transport, time, keys, card: Mutex::default(), requests: AtomicU64::new(1) };
        Ok(Self(Arc::new(inner)))
    }

    pub fn peer(&self) -> &PeerConfig {
        &self.0.transport.peer
    }

    /// The peer's card, as old as HTTP caching allows.
    ///
    /// # Errors
    /// The card cannot be had, or is none.
    pub async fn card(&self) -> Result<Arc<AgentCard>, ClientError> {
        let (known, now) = (self.cached(), self.now());
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh(now)) {
            return Ok(known.card.clone());
        }
        match self.read_card(known.as_ref()).await {
            Ok(read) => {
                let card = read.card.clone();
                *self.kept_card() = read.may_be_kept().then_some(read);
                Ok(card)
            }
            Err(error) => match known {
                Some(known) if error.is_transient() && known.is_usable_when_away(now) => {
                    Ok(known.card)
                }
                _ => Err(error),
            },
        }
    }

    /// Sends a message. A peer answers with a task, or with a message that is the whole answer.
    ///
    /// # Errors
    /// See `ClientError`; transient ones may be repeated with the same key.
    pub async fn send(&self, send: Send) -> Result<SendMessageResponse, ClientError> {
        let deadline = send.wait.unwrap_or(self.options().deadline);
        self.send_within(send, deadline).await
    }

    /// Sends a message and reads the events of its task.
    ///
    /// # Errors
    /// See `ClientError`; transient ones may be repeated with the same key.
    pub async fn stream(&self, send: Send) -> Result<EventStream, ClientError> {
        let (params, headers) = message_request(&send, false);
        self.open(Method::SendStreamingMessage, params, headers).await
    }

    /// Reads the events of a task that has not ended, from its state now, or from `last_event_id`.
    ///
    /// # Errors
    /// See `ClientError`.
    pub async fn subscribe(
        &self,
        id: &str,
        last_event_id: Option<&str>,
    ) -> Result<EventStream, ClientError> {
        let request = SubscribeToTaskRequest { tenant: String::new(), id: id.into() };
        let mut headers = HeaderMap::new();
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::try_from(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        self.open(Method::SubscribeToTask, params(&request), headers).await
    }

    /// Sends a message and follows its task, as `follow` does.
    pub fn start(
        &self,
        send: Send,
        within: Duration,
    ) -> BoxStream<'static, Result<SendMessageResponse, ClientError>> {
        follow::start(self.clone(), send, within)
    }

    /// A task at every change until it ends, which is always the last item unless that is an error.
    /// Reads streams where the peer has them, takes a broken one up again, and asks for the task
    /// where there are none. A task that waits for its caller is followed on.
    pub fn follow(
        &self,
        task: Task,
        within: Duration,
    ) -> BoxStream<'static, Result<Task, ClientError>> {
        follow::follow(self.clone(), task, within)
    }

    /// Sends a message and waits until its task has ended or asks its caller for something.
    ///
    /// # Errors
    /// See `ClientError`; `Deadline` when it takes longer than `within`.
    pub async fn run(
        &self,
        send: Send,
        within: Duration,
    ) -> Result<SendMessageResponse, ClientError> {
        follow::run(self.start(send, within), self.peer().url.as_str()).await
    }

    /// The task without its history.
    ///
    /// # Errors
    /// See `ClientError`.
    pub async fn task(&self, id: &str) -> Result<Task, ClientError> {
        let request =
            GetTaskRequest { tenant: String::new(), id: id.into(), history_length: Some(0) };
        self.ask(Method::GetTask, &request).await
    }

    /// # Errors
    /// See `ClientError`.
    pub async fn list(&self, request: &ListTasksRequest) -> Result<ListTasksResponse, ClientError> {
        self.ask(Method::ListTasks, request).await
    }

    /// # Errors
    /// See `ClientError`; a task that has ended is refused.
    pub async fn cancel(&self, id: &str) -> Result<Task, ClientError> {
        let request =
            CancelTaskRequest { tenant: String::new(), id: id.into(), metadata: Map::new() };
        self.ask(Method::CancelTask, &request).await
    }

    /// The card for callers the peer knows.
    ///
    /// # Errors
    /// See `ClientError`.
    pub async fn extended_card(&self) -> Result<AgentCard, ClientError> {
        self.ask(Method::GetExtendedAgentCard, &GetExtendedAgentCardRequest::default()).await
    }

    /// Has the events of `config.task_id` sent to `config.url`.
    ///
    /// # Errors
    /// See `ClientError`.
    pub async fn create_push_config(
        &self,
        config: &TaskPushNotificationConfig,
    ) -> Result<TaskPushNotificationConfig, ClientError> {
        self.ask(Method::CreateTaskPushNotificationConfig, config).await
    }

    /// # Errors
    /// See `ClientError`.
    pub async fn push_config(
        &self,
        task_id: &str,
        id: &str,
    ) -> Result<TaskPushNotificationConfig, ClientError> {
        self.ask(Method::GetTaskPushNotificationConfig, &push_config_name(task_id, id)).await
    }

    /// # Errors
    /// See `ClientError`.
    pub async fn list_push_configs(
        &self,
        request: &ListTaskPushNotificationConfigsRequest,
    ) -> Result<ListTaskPushNotificationConfigsResponse, ClientError> {
        self.ask(Method::ListTaskPushNotificationConfigs, request).await
    }

    /// # Errors
    /// See `ClientError`.
    pub async fn delete_push_config(&self, task_id: &str, id: &str) -> Result<(), ClientError> {
        let method = Method::DeleteTaskPushNotificationConfig;
        let _: Value = self.ask(method, &push_config_name(task_id, id)).await?;
        Ok(())
    }

    async fn send_within(
        &self,
        send: Send,
        deadline: Duration,
    ) -> Result<SendMessageResponse, ClientError> {
        let (params, headers) = message_request(&send, send.wait.is_none());
        self.call(Method::SendMessage, params, headers, deadline).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        request: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(method, params(request), HeaderMap::new(), self.options().deadline).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        params: Map<String, Value>,
        headers: HeaderMap,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let endpoint = self.endpoint().await?;
        let id = self.next_request();
        let mut ask = endpoint.ask(method, params, id);
        ask.headers.extend(headers);
        ask.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.1"));
        let answer = self.0.transport.exchange(ask, self.options().answer_bytes, deadline).await;
        let result = answer.and_then(|answer| endpoint.result(&answer, id));
        let result = self.watch_for_moves(result)?;
        serde_json::from_value(result).map_err(|error| ClientError::InvalidAnswer {
            url: endpoint.url.to_string(),
            why: error.to_string(),
        })
    }

    async fn open(
        &self,
        method: Method,
        params: Map<String, Value>,
        headers: HeaderMap,
    ) -> Result<EventStream, ClientError> {
        let endpoint = self.endpoint().await?;
        let id = self.next_request();
        let mut ask = endpoint.ask(method, params, id);
        ask.headers.extend(headers);
        ask.headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let opened = self.0.transport.open(ask).await;
        let response = self.watch_for_moves(opened)?;
        let options = self.options();
        if response.status().is_success() && stream::is_event_stream(&response) {
            let (bytes, idle) = (options.event_bytes, options.idle);
            return Ok(EventStream::new(endpoint, id, response, bytes, idle));
        }
        let (url, deadline) = (endpoint.url.to_string(), options.deadline);
        let reading = self.0.transport.read(response, options.answer_bytes);
        let late = |_| ClientError::Deadline { url, deadline };
        let answer = tokio::time::timeout(deadline, reading).await.map_err(late)??;
        endpoint.result(&answer, id)?;
        Ok(EventStream::single(endpoint, id, answer.body))
    }

    async fn endpoint(&self) -> Result<Endpoint, ClientError> {
        Endpoint::choose(&*self.card().await?, self.peer())
    }

    /// A peer that does not answer where its card leads may have moved: the next call reads it again.
    fn watch_for_moves<T>(&self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        let is_astray = match &result {
            Err(ClientError::Unreachable { .. } | ClientError::Deadline { .. }) => true,
            Err(ClientError::Status { status, .. }) => *status != 429,
            Err(ClientError::InvalidAnswer { .. }) => true,
            _ => false,
        };
        if is_astray && let Some(card) = self.kept_card().as_mut() {
            card.expire();
        }
        result
    }

    async fn read_card(&self, known: Option<&Cached>) -> Result<Cached, ClientError> {
        let url = self.card_url();
        let (text, asked_at) = (url.to_string(), self.now());
        let mut ask = Ask::get(url);
        if let Some(known) = known {
            ask.headers.extend(known.validators().clone());
        }
        let options = self.options();
        let answer = self.0.transport.exchange(ask, options.card_bytes, options.deadline).await?;
        match (answer.status, known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => {
                return Ok(known.confirmed(&answer.headers, asked_at));
            }
            (status, _) if !status.is_success() => {
                let retry_after = transport::retry_after(&answer.headers);
                return Err(match status.as_u16() {
                    status @ (401 | 403) => ClientError::Unauthorized { url: text, status },
                    status => ClientError::Status { url: text, status, retry_after },
                });
            }
            _ => {}
        }
        let invalid = |why: String| ClientError::InvalidAnswer { url: text.clone(), why };
        let card: Value =
            serde_json::from_slice(&answer.body).map_err(|error| invalid(error.to_string()))?;
        let card = match &self.0.keys {
            Some(keys) => self.signed(card, keys)?,
            None => card,
        };
        let card = serde_json::from_value(lenient::completed(card));
        let card = card.map_err(|error| invalid(error.to_string()))?;
        Ok(Cached::new(card, &answer.headers, asked_at))
    }

    /// What a signature by one of the keys vouches for.
    fn signed(&self, card: Value, keys: &PinnedKeys) -> Result<Value, ClientError> {
        let untrusted = |source| ClientError::Untrusted { url: self.card_url().into(), source };
        Ok(verify_card(&card, keys).map_err(untrusted)?.card)
    }

    fn card_url(&self) -> Url {
        let peer = self.peer();
        if let Some(url) = &peer.card_url {
            return url.clone();
        }
        let mut url = peer.url.clone();
        let path = format!("{}{CARD_PATH}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    fn options(&self) -> &ClientOptions {
        &self.0.transport.options
    }

    fn now(&self) -> Timestamp {
        (self.0.time)()
    }

    fn next_request(&self) -> u64 {
        self.0.requests.fetch_add(1, Ordering::Relaxed)
    }

    fn cached(&self) -> Option<Cached> {
        self.kept_card().clone()
    }

    fn kept_card(&self) -> std::sync::MutexGuard<'_, Option<Cached>> {
        self.0.card.lock().expect("no panic while the card is held")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("peer", self.peer()).finish_non_exhaustive()
    }
}

/// The parameters and headers of a message.
fn message_request(send: &Send, return_immediately: bool) -> (Map<String, Value>, HeaderMap) {
    let configuration =
        SendMessageConfiguration { return_immediately, ..SendMessageConfiguration::default() };
    let request = SendMessageRequest {
        tenant: String::new(),
        message: send.message.clone(),
        configuration: Some(configuration),
        metadata: Map::new(),
    };
    let mut headers = HeaderMap::new();
    if let Some(key) = &send.idempotency_key {
        let key = HeaderValue::try_from(key).expect("idempotency keys are visible ASCII");
        headers.insert(IDEMPOTENCY_HEADER, key);
    }
    (params(&request), headers)
}

fn push_config_name(task_id: &str, id: &str) -> GetTaskPushNotificationConfigRequest {
    GetTaskPushNotificationConfigRequest {
        tenant: String::new(),
        task_id: task_id.into(),
        id: id.into(),
    }
}

fn params(request: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(request) {
        Ok(Value::Object(params)) => params,
        _ => unreachable!("requests are objects with string keys"),
    }
}
