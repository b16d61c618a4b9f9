//! The server. axum owns the route, the headers and the envelope; jsonrpsee dispatches the methods.

use std::sync::Arc;

use a2a_types::{
    A2aError, AgentCard, CARD_PATH, CancelTaskRequest, ErrorObject, GetTaskRequest,
    IDEMPOTENCY_HEADER, Id, Request, Response, SendMessageRequest, SendMessageResponse, Task,
    TaskStore, VERSION_HEADER,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use jsonrpsee::core::RpcResult;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{Extensions, RpcModule};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument;

use super::caller::Caller;
use super::tasks::{Agent, TakeMessage, Taken, TaskOptions, Tasks};
use crate::Host;

/// Where the JSON-RPC binding is served.
pub const RPC_PATH: &str = "/a2a";

/// Methods of the protocol this server does not offer yet.
const KNOWN_ELSEWHERE: &[&str] = &[
    "SendStreamingMessage",
    "SubscribeToTask",
    "ListTasks",
    "CreateTaskPushNotificationConfig",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "DeleteTaskPushNotificationConfig",
    "GetExtendedAgentCard",
];

#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Largest request body; beyond it the answer is 413.
    pub body_bytes: usize,
    pub tasks: TaskOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { body_bytes: 4 << 20, tasks: TaskOptions::default() }
    }
}

/// An agent behind A2A.
#[derive(Clone, Debug)]
pub struct Server {
    card: Arc<Published>,
    tasks: Tasks,
    methods: RpcModule<Tasks>,
    options: ServerOptions,
}

#[derive(Debug)]
struct Published {
    body: String,
    etag: String,
}

impl Server {
    pub fn new(
        card: &AgentCard,
        agent: Arc<dyn Agent>,
        store: Arc<dyn TaskStore>,
        host: &Host,
        options: ServerOptions,
    ) -> Self {
        let tasks = Tasks::new(agent, store, host.clone(), options.tasks.clone(), Arc::default());
        let body = serde_json::to_string(card).expect("a card has string keys only");
        let etag = format!("\"{:016x}\"", fnv1a(body.as_bytes()));
        Self {
            card: Arc::new(Published { body, etag }),
            methods: methods(tasks.clone()),
            tasks,
            options,
        }
    }

    /// Takes up tasks that a former process left unfinished; returns how many.
    ///
    /// # Errors
    /// The task store cannot be read.
    pub async fn resume(&self) -> Result<usize, a2a_types::TaskStoreError> {
        self.tasks.resume().await
    }

    /// Tasks in memory: those at work, and those that somebody waits for or listens to.
    pub fn live_tasks(&self) -> usize {
        self.tasks.live_count()
    }

    /// The card and the JSON-RPC endpoint.
    pub fn router(&self) -> Router {
        Router::new()
            .route(CARD_PATH, get(serve_card))
            .route(RPC_PATH, post(serve_rpc))
            .route(&format!("{RPC_PATH}/"), post(serve_rpc))
            .layer(DefaultBodyLimit::max(self.options.body_bytes))
            .with_state(self.clone())
    }

    async fn answer(&self, headers: &HeaderMap, query: &VersionQuery, body: &[u8]) -> Response {
        let request = match parse_envelope(body) {
            Ok(request) => request,
            Err((id, error)) => return Response::error(id, error.to_object()),
        };
        let id = request.id.clone();
        match self.dispatch(headers, query, request).await {
            Ok(result) => Response::result(id, result),
            Err(error) => Response::error(id, error),
        }
    }

    async fn dispatch(
        &self,
        headers: &HeaderMap,
        query: &VersionQuery,
        request: Request,
    ) -> Result<Value, ErrorObject> {
        check_version(headers, query).map_err(|error| error.to_object())?;
        let mut methods = self.methods.clone();
        methods.extensions_mut().insert(CallerKey(header(headers, IDEMPOTENCY_HEADER)));
        // The envelope stays ours: jsonrpsee sees its own id, and never the caller's.
        let inner = Request { id: Id::Number(1.into()), ..request };
        let inner = serde_json::to_string(&inner).expect("a request has string keys only");
        let (answer, _) = methods
            .raw_json_request(&inner, 1)
            .await
            .map_err(|error| A2aError::InvalidRequest(error.to_string()).to_object())?;
        let answer: Response = serde_json::from_str(answer.get())
            .map_err(|error| A2aError::Internal(error.to_string()).to_object())?;
        match answer.payload {
            a2a_types::ResponsePayload::Result(result) => Ok(result),
            a2a_types::ResponsePayload::Error(error) if error.code == -32601 => {
                Err(unknown_method(&inner_method(&inner)).to_object())
            }
            a2a_types::ResponsePayload::Error(error) => Err(error),
        }
    }
}

/// The caller's idempotency key, as jsonrpsee hands it to a method.
#[derive(Clone, Debug)]
struct CallerKey(Option<String>);

#[derive(Debug, serde::Deserialize)]
struct VersionQuery {
    #[serde(rename = "A2A-Version")]
    version: Option<String>,
}

fn methods(tasks: Tasks) -> RpcModule<Tasks> {
    let mut module = RpcModule::new(tasks);
    module
        .register_async_method("SendMessage", |params, tasks, extensions| async move {
            to_rpc(send_message(params, &tasks, &extensions).await)
        })
        .expect("registered once");
    module
        .register_async_method("GetTask", |params, tasks, _| async move {
            to_rpc(get_task(params, &tasks).await)
        })
        .expect("registered once");
    module
        .register_async_method("CancelTask", |params, tasks, _| async move {
            to_rpc(cancel_task(params, &tasks).await)
        })
        .expect("registered once");
    module
}

async fn send_message(
    params: Params<'_>,
    tasks: &Tasks,
    extensions: &Extensions,
) -> Result<SendMessageResponse, A2aError> {
    let request: SendMessageRequest = parse_params(&params)?;
    if request.message.message_id.is_empty() {
        return Err(A2aError::invalid_field("message.messageId", "must not be empty"));
    }
    if request.message.parts.is_empty() {
        return Err(A2aError::invalid_field("message.parts", "must hold at least one part"));
    }
    let configuration = request.configuration.unwrap_or_default();
    check_history_length(configuration.history_length, "configuration.historyLength")?;
    // A message id alone is no key: conformance suites and careless callers reuse it.
    let caller = extensions.get::<CallerKey>().and_then(|key| key.0.clone());
    let key = caller.map(|key| format!("{key}/{}", request.message.message_id));
    let owner = Caller::default().owner(&request.tenant);
    let take = TakeMessage { owner, message: request.message, idempotency_key: key, push: None };
    let taken = match configuration.return_immediately {
        true => tasks.take(take).await?,
        false => tasks.take_and_settle(take).await?,
    };
    Ok(match taken {
        Taken::Task(task) => {
            SendMessageResponse::Task(with_history(task, configuration.history_length))
        }
        Taken::Message(message) => SendMessageResponse::Message(message),
    })
}

async fn get_task(params: Params<'_>, tasks: &Tasks) -> Result<Task, A2aError> {
    let request: GetTaskRequest = parse_params(&params)?;
    check_history_length(request.history_length, "historyLength")?;
    let owner = Caller::default().owner(&request.tenant);
    Ok(with_history(tasks.get(&owner, &request.id).await?, request.history_length))
}

async fn cancel_task(params: Params<'_>, tasks: &Tasks) -> Result<Task, A2aError> {
    let request: CancelTaskRequest = parse_params(&params)?;
    tasks.cancel(&Caller::default().owner(&request.tenant), &request.id).await
}

fn check_history_length(length: Option<i32>, field: &str) -> Result<(), A2aError> {
    match length {
        Some(length) if length < 0 => Err(A2aError::invalid_field(field, "must not be negative")),
        _ => Ok(()),
    }
}

/// The task with at most the newest `length` messages.
fn with_history(mut task: Task, length: Option<i32>) -> Task {
    if let Some(length) = length.and_then(|length| usize::try_from(length).ok()) {
        task.history.drain(..task.history.len().saturating_sub(length));
    }
    task
}

fn to_rpc<T: serde::Serialize>(result: Result<T, A2aError>) -> RpcResult<Value> {
    match result {
        Ok(value) => Ok(serde_json::to_value(value).expect("results have string keys only")),
        Err(error) => {
            let error = error.to_object();
            let code = i32::try_from(error.code).unwrap_or(-32603);
            Err(ErrorObjectOwned::owned(code, error.message, error.data))
        }
    }
}

fn parse_params<T: DeserializeOwned>(params: &Params<'_>) -> Result<T, A2aError> {
    let text = params.as_str().unwrap_or("{}");
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        A2aError::invalid_field(field_at_fault(&path, &why), why)
    })
}

/// The path of a field, down to the one that is missing.
fn field_at_fault(path: &str, why: &str) -> String {
    let missing = why.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match (path, missing) {
        (".", None) => "params".to_owned(),
        (".", Some(missing)) => missing.to_owned(),
        (path, None) => path.to_owned(),
        (path, Some(missing)) => format!("{path}.{missing}"),
    }
}

fn parse_envelope(body: &[u8]) -> Result<Request, (Id, A2aError)> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| (Id::Null, A2aError::Parse(error.to_string())))?;
    if value.is_array() {
        return Err((Id::Null, A2aError::InvalidRequest("batches are not supported".into())));
    }
    let id = value.get("id").cloned().and_then(|id| serde_json::from_value(id).ok());
    let id = id.unwrap_or(Id::Null);
    let invalid = |why: &str| (id.clone(), A2aError::InvalidRequest(why.into()));
    if value.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid("`jsonrpc` must be \"2.0\""));
    }
    if value.get("id").is_none_or(|id| !(id.is_string() || id.is_number() || id.is_null())) {
        return Err(invalid("`id` must be a string, a number or null"));
    }
    if !value.get("method").is_some_and(Value::is_string) {
        return Err(invalid("`method` must be a string"));
    }
    if value.get("params").is_some_and(|params| !params.is_object()) {
        return Err((id, A2aError::invalid_field("params", "must be an object")));
    }
    serde_json::from_value(value).map_err(|error| (id, A2aError::InvalidRequest(error.to_string())))
}

fn check_version(headers: &HeaderMap, query: &VersionQuery) -> Result<(), A2aError> {
    let version = header(headers, VERSION_HEADER).or_else(|| query.version.clone());
    match version.as_deref().map(str::trim) {
        Some("1.0") => Ok(()),
        Some(version) if version.starts_with("1.0.") => Ok(()),
        Some(version) if !version.is_empty() => Err(A2aError::VersionNotSupported(version.into())),
        // The specification reads a missing version as 0.3.
        _ => Err(A2aError::VersionNotSupported("0.3 (none was given)".into())),
    }
}

fn unknown_method(method: &str) -> A2aError {
    if KNOWN_ELSEWHERE.contains(&method) {
        return A2aError::UnsupportedOperation(format!("{method} is not offered by this agent"));
    }
    A2aError::MethodNotFound(method.to_owned())
}

fn inner_method(request: &str) -> String {
    serde_json::from_str::<Request>(request).map(|request| request.method).unwrap_or_default()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn serve_rpc(
    State(server): State<Server>,
    Query(query): Query<VersionQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResponse {
    let span = tracing::info_span!("a2a.request");
    crate::trace::adopt(&span, &headers);
    let content_type = header(&headers, "content-type").unwrap_or_default();
    if !is_json(&content_type) {
        let error = A2aError::ContentTypeNotSupported(content_type).to_object();
        let answer = axum::Json(Response::error(Id::Null, error));
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, answer).into_response();
    }
    axum::Json(server.answer(&headers, &query, &body).instrument(span).await).into_response()
}

/// A web page of another origin can send no JSON type without being asked first; it can send none at
/// all, or plain text with any parameters. So only the type itself counts.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn serve_card(State(server): State<Server>, headers: HeaderMap) -> HttpResponse {
    let card = &server.card;
    let known = header(&headers, "if-none-match").unwrap_or_default();
    let mut known = known.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
    let is_known = known.any(|tag| tag == card.etag || tag == "*");
    let common = [
        (header::ETAG, card.etag.clone()),
        (header::CACHE_CONTROL, "public, max-age=300".to_owned()),
        (header::CONTENT_TYPE, "application/json".to_owned()),
    ];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, common).into_response(),
        false => (common, card.body.clone()).into_response(),
    }
}

/// FNV-1a: an entity tag needs no more than a stable fingerprint.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
