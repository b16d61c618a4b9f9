//! The client: reads a peer's card, picks its JSON-RPC interface, and calls with a deadline. A
//! repeated `send` with the same idempotency key and message id gives the same task.

use std::time::Duration;

use a2a_types::{
    AgentCard, CARD_PATH, ErrorObject, GetTaskRequest, IDEMPOTENCY_HEADER, Id, Message,
    PROTOCOL_VERSION, Request, Response, ResponsePayload, SendMessageConfiguration,
    SendMessageRequest, SendMessageResponse, Task, VERSION_HEADER,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::RwLock;
use url::Url;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Bound on a call that does not wait for a task.
    pub deadline: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10) }
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

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url} is unreachable")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} did not answer within {} ms", deadline.as_millis())]
    Deadline { url: String, deadline: Duration },
    #[error("{url} answered status {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answered error {}: {}", error.code, error.message)]
    Refused { url: String, error: ErrorObject },
    #[error("{url} gave an answer that is not A2A: {why}")]
    InvalidAnswer { url: String, why: String },
    #[error("the card of {url} offers no JSON-RPC interface of version 1.0")]
    NoInterface { url: String },
}

impl ClientError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Deadline { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Refused { error, .. } => error.code == -32603,
            Self::InvalidAnswer { .. } | Self::NoInterface { .. } => false,
        }
    }
}

/// A peer agent.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    options: ClientOptions,
    endpoint: RwLock<Option<String>>,
}

impl Client {
    /// A client of the agent whose card is published under `base`.
    ///
    /// # Errors
    /// The TLS configuration of the HTTP client cannot be built.
    pub fn new(base: Url, options: ClientOptions) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, base, options, endpoint: RwLock::default() })
    }

    /// The peer's card as it is now.
    ///
    /// # Errors
    /// The card cannot be had, or is none.
    pub async fn card(&self) -> Result<AgentCard, ClientError> {
        let url = join(&self.base, CARD_PATH);
        let request = self.http.get(&url).header(VERSION_HEADER, PROTOCOL_VERSION);
        self.exchange(&url, request, self.options.deadline).await
    }

    /// # Errors
    /// See `ClientError`; transient ones may be repeated with the same key.
    pub async fn send(&self, send: Send) -> Result<Task, ClientError> {
        let request = SendMessageRequest {
            tenant: String::new(),
            message: send.message,
            configuration: Some(SendMessageConfiguration {
                return_immediately: send.wait.is_none(),
                ..SendMessageConfiguration::default()
            }),
            metadata: serde_json::Map::new(),
        };
        let deadline = send.wait.unwrap_or(self.options.deadline);
        let params = serde_json::to_value(request).expect("requests have string keys only");
        let key = send.idempotency_key.as_deref();
        match self.call("SendMessage", params, key, deadline).await? {
            SendMessageResponse::Task(task) => Ok(task),
            SendMessageResponse::Message(message) => Err(ClientError::InvalidAnswer {
                url: self.base.to_string(),
                why: format!("a message instead of a task: {}", message.text()),
            }),
        }
    }

    /// # Errors
    /// See `ClientError`.
    pub async fn task(&self, id: &str) -> Result<Task, ClientError> {
        let request =
            GetTaskRequest { tenant: String::new(), id: id.into(), history_length: Some(0) };
        let params = serde_json::to_value(request).expect("requests have string keys only");
        self.call("GetTask", params, None, self.options.deadline).await
    }

    /// # Errors
    /// See `ClientError`; a task that has ended is refused.
    pub async fn cancel(&self, id: &str) -> Result<Task, ClientError> {
        self.call("CancelTask", json!({ "id": id }), None, self.options.deadline).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
        idempotency_key: Option<&str>,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let url = self.endpoint().await?;
        let body = Request::new(Id::Number(1.into()), method, params);
        let mut request = self.http.post(&url).header(VERSION_HEADER, PROTOCOL_VERSION).json(&body);
        if let Some(key) = idempotency_key {
            request = request.header(IDEMPOTENCY_HEADER, key);
        }
        let answer: Response = match self.exchange(&url, request, deadline).await {
            Ok(answer) => answer,
            Err(error) => {
                // The peer may have moved: the next call reads its card again.
                *self.endpoint.write().await = None;
                return Err(error);
            }
        };
        match answer.payload {
            ResponsePayload::Result(result) => serde_json::from_value(result)
                .map_err(|error| ClientError::InvalidAnswer { url, why: error.to_string() }),
            ResponsePayload::Error(error) => Err(ClientError::Refused { url, error }),
        }
    }

    /// The URL of the first JSON-RPC interface the peer's card offers, read once.
    async fn endpoint(&self) -> Result<String, ClientError> {
        if let Some(endpoint) = self.endpoint.read().await.clone() {
            return Ok(endpoint);
        }
        let card = self.card().await?;
        let interface = card
            .supported_interfaces
            .into_iter()
            .find(|i| i.protocol_binding == "JSONRPC" && i.protocol_version.starts_with("1.0"));
        let url =
            interface.ok_or_else(|| ClientError::NoInterface { url: self.base.to_string() })?.url;
        *self.endpoint.write().await = Some(url.clone());
        Ok(url)
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        url: &str,
        request: reqwest::RequestBuilder,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let mut headers = http::HeaderMap::new();
        crate::trace::inject(&mut headers);
        let failed = |source: reqwest::Error| match source.is_timeout() {
            true => ClientError::Deadline { url: url.to_owned(), deadline },
            false => ClientError::Unreachable { url: url.to_owned(), source },
        };
        let answer = request.headers(headers).timeout(deadline).send().await.map_err(&failed)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(ClientError::Status { url: url.to_owned(), status: status.as_u16() });
        }
        let body = answer.bytes().await.map_err(&failed)?;
        serde_json::from_slice(&body).map_err(|error| ClientError::InvalidAnswer {
            url: url.to_owned(),
            why: error.to_string(),
        })
    }
}

fn join(base: &Url, path: &str) -> String {
    format!("{}{path}", base.as_str().trim_end_matches('/'))
}
