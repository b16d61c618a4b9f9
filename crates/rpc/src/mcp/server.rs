//! The serving end: a set of tools as an axum router over streamable HTTP.
//!
//! Stateless, with plain JSON answers: no session to lose when a server restarts. A call is
//! refused before its handler sees it unless host, origin, bearer token and input are all good,
//! and an answer that breaks its own schema never leaves.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::mcp::{Effect, FAULT_META_KEY, Fault, FaultKind, ToolDefinition};
use axum::Router;
use futures::FutureExt;
use futures::future::BoxFuture;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ListToolsResult, MetaObject, PaginatedRequestParams, ProtocolVersion, ServerCapabilities,
    ServerConfig, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::schema::Schema;
use super::{PATH, TIMEOUT_META_KEY, trace};

/// Larger request bodies are refused with 413.
const REQUEST_BYTES: usize = 1024 * 1024;

type Handler =
    Arc<dyn Fn(Value, CallContext) -> BoxFuture<'static, Result<Value, ToolError>> + Send + Sync>;

/// A set of tools under one name.
#[derive(Debug)]
pub struct ToolServer {
    pub name: &'static str,
    pub version: &'static str,
    /// What the server is for, told to clients.
    pub instructions: &'static str,
    pub tools: Vec<Tool>,
    /// Calls served at a time; more are refused as unavailable.
    pub concurrent_calls: usize,
}

/// One tool and the function behind it.
#[derive(Clone)]
pub struct Tool {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    input_schema: Value,
    output_schema: Value,
    effect: Effect,
    handler: Handler,
}

/// Who may call.
#[derive(Clone)]
pub struct Access {
    /// `Host` values answered, as `host` (any port) or `host:port`. Against DNS rebinding.
    pub allowed_hosts: Vec<String>,
    /// `Origin` values answered, as `scheme://host:port`. Requests without one are not browsers
    /// and pass; an empty list refuses every browser.
    pub allowed_origins: Vec<String>,
    /// When not empty, a request must bear one of these. Two, while a token is being changed.
    pub bearer_tokens: Vec<String>,
}

/// What a handler knows of its caller.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// How long the caller will wait, where it said so.
    pub timeout: Option<Duration>,
    /// Cancelled when the caller has gone.
    pub cancelled: CancellationToken,
}

/// Why a tool gives no answer; one variant per thing the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The input cannot be acted upon. Nothing was done.
    #[error("{message}")]
    Refused { field: Option<String>, message: String },
    /// Something behind the tool does not answer now. Nothing was done; a later call may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The tool tried and failed.
    #[error("{0}")]
    Failed(String),
    /// It is not known whether the effect took place.
    #[error("{0}")]
    Unknown(String),
}

#[derive(Debug, thiserror::Error)]
#[error("tool {tool}: {schema} schema: {message}")]
pub struct SchemaError {
    tool: String,
    schema: &'static str,
    message: String,
}

impl Tool {
    /// A tool of the catalogue with a typed function behind it.
    pub fn new<I, O, F, Fut>(definition: &ToolDefinition, function: F) -> Self
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(I, CallContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, ToolError>> + Send + 'static,
    {
        let handler: Handler =
            Arc::new(move |input, context| match serde_path_to_error::deserialize::<_, I>(input) {
                Ok(input) => function(input, context).map(|answer| to_value(answer?)).boxed(),
                Err(error) => {
                    let field = error.path().to_string();
                    let refused = ToolError::refused(field, error.into_inner().to_string());
                    std::future::ready(Err(refused)).boxed()
                }
            });
        Self {
            name: definition.name,
            title: definition.title,
            description: definition.description,
            input_schema: (definition.input_schema)(),
            output_schema: (definition.output_schema)(),
            effect: definition.effect,
            handler,
        }
    }
}

fn to_value<O: Serialize>(output: O) -> Result<Value, ToolError> {
    serde_json::to_value(output)
        .map_err(|error| ToolError::Failed(format!("the answer cannot be written: {error}")))
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Default for Access {
    /// This machine only, no browser, no token.
    fn default() -> Self {
        Self {
            allowed_hosts: ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec(),
            allowed_origins: Vec::new(),
            bearer_tokens: Vec::new(),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("allowed_hosts", &self.allowed_hosts)
            .field("allowed_origins", &self.allowed_origins)
            .field("bearer_tokens", &format_args!("{} of ***", self.bearer_tokens.len()))
            .finish()
    }
}

impl ToolError {
    /// The input is at fault, at this dotted path.
    pub fn refused(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused { field: Some(field.into()), message: message.into() }
    }

    fn into_fault(self) -> Fault {
        let (kind, message, field) = match self {
            Self::Refused { field, message } => (FaultKind::Refused, message, field),
            Self::Unavailable(message) => (FaultKind::Unavailable, message, None),
            Self::Failed(message) => (FaultKind::Failed, message, None),
            Self::Unknown(message) => (FaultKind::Unknown, message, None),
        };
        Fault { kind, message, field }
    }
}

/// Serves `server` at [`PATH`].
///
/// # Errors
/// A tool's schema is not a JSON Schema.
pub fn router(server: ToolServer, access: Access) -> Result<Router, SchemaError> {
    let handler = Service(Arc::new(Shared::new(server)?));
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(REQUEST_BYTES)
        .with_allowed_hosts(access.allowed_hosts)
        .with_allowed_origins(access.allowed_origins)
        .enforce_origin_validation();
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    Ok(authorized(Router::new().nest_service(PATH, service), access.bearer_tokens))
}

/// Routes beside the tools, for the same callers: known by `Host` and by a token, where there are any.
pub fn guarded(routes: Router, access: &Access) -> Router {
    let hosts: Arc<[String]> = access.allowed_hosts.clone().into();
    let routes = routes.layer(axum::middleware::from_fn(move |request, next| {
        check_host(hosts.clone(), request, next)
    }));
    authorized(routes, access.bearer_tokens.clone())
}

fn authorized(routes: Router, bearer_tokens: Vec<String>) -> Router {
    if bearer_tokens.is_empty() {
        return routes;
    }
    let tokens: Arc<[String]> = bearer_tokens.into();
    routes.layer(axum::middleware::from_fn(move |request, next| {
        authorize(tokens.clone(), request, next)
    }))
}

async fn check_host(
    hosts: Arc<[String]>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    use axum::response::IntoResponse;
    let asked = request.headers().get(http::header::HOST).and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|host| host.parse::<http::uri::Authority>().ok());
    let is_allowed = asked.is_some_and(|asked| {
        let name = asked.host().trim_matches(['[', ']']);
        hosts.iter().any(|host| host == name || host == asked.as_str())
    });
    if is_allowed {
        return next.run(request).await;
    }
    (http::StatusCode::FORBIDDEN, "this host is not served\n").into_response()
}

async fn authorize(
    tokens: Arc<[String]>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    use axum::response::IntoResponse;
    let presented = request
        .headers()
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let is_known = presented.is_some_and(|presented| {
        tokens.iter().fold(false, |known, token| known | equal_in_constant_time(token, presented))
    });
    if is_known {
        return next.run(request).await;
    }
    let headers = [(http::header::WWW_AUTHENTICATE, "Bearer")];
    (http::StatusCode::UNAUTHORIZED, headers, "a valid bearer token is needed\n").into_response()
}

fn equal_in_constant_time(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[derive(Clone)]
struct Service(Arc<Shared>);

struct Shared {
    info: ServerConfig,
    tools: BTreeMap<&'static str, Checked>,
    permits: Semaphore,
}

struct Checked {
    announced: rmcp::model::Tool,
    input: Schema,
    output: Schema,
    handler: Handler,
}

impl Shared {
    fn new(server: ToolServer) -> Result<Self, SchemaError> {
        let tools = server
            .tools
            .into_iter()
            .map(|tool| Ok((tool.name, Checked::new(tool)?)))
            .collect::<Result<_, _>>()?;
        let info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(server.name, server.version))
            .with_instructions(server.instructions);
        Ok(Self { info, tools, permits: Semaphore::new(server.concurrent_calls) })
    }

    async fn call(
        &self,
        tool: &Checked,
        input: Value,
        context: CallContext,
    ) -> Result<Value, ToolError> {
        let _permit = self.permits.try_acquire().map_err(|_| {
            ToolError::Unavailable("too many calls at once, try again shortly".to_owned())
        })?;
        tool.input
            .check(&input)
            .map_err(|violation| ToolError::refused(violation.field, violation.message))?;
        let output = (tool.handler)(input, context).await?;
        tool.output.check(&output).map_err(|violation| {
            ToolError::Failed(format!(
                "the answer breaks its schema at `{}`: {}",
                violation.field, violation.message
            ))
        })?;
        Ok(output)
    }
}

impl Checked {
    fn new(tool: Tool) -> Result<Self, SchemaError> {
        let compile = |which, schema: &Value| {
            let as_error =
                |message| SchemaError { tool: tool.name.to_owned(), schema: which, message };
            let object = schema.as_object().ok_or_else(|| as_error("not an object".into()))?;
            Ok((Schema::compile(schema).map_err(as_error)?, Arc::new(object.clone())))
        };
        let (input, input_schema) = compile("input", &tool.input_schema)?;
        let (output, output_schema) = compile("output", &tool.output_schema)?;
        let annotations = ToolAnnotations::new()
            .read_only(tool.effect == Effect::ReadOnly)
            .destructive(tool.effect == Effect::Destroys)
            .idempotent(true)
            .open_world(false);
        let announced = rmcp::model::Tool::new(tool.name, tool.description, input_schema)
            .with_title(tool.title)
            .with_raw_output_schema(output_schema)
            .with_annotations(annotations);
        Ok(Self { announced, input, output, handler: tool.handler })
    }
}

impl ServerHandler for Service {
    fn get_info(&self) -> ServerConfig {
        self.0.info.clone()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&[ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28])
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.0.tools.get(name).map(|tool| tool.announced.clone())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.0.tools.values().map(|tool| tool.announced.clone()).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = self.0.tools.get(request.name.as_ref()) else {
            let known: Vec<_> = self.0.tools.keys().copied().collect();
            let message = format!("no tool {:?}; there are {}", request.name, known.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        };
        let span = tracing::info_span!(
            "mcp.call",
            tool.name = tool.announced.name.as_ref(),
            server.name = self.0.info.server_info.name,
        );
        trace::adopt(&context.meta, &span);
        let timeout = context.meta.get(TIMEOUT_META_KEY).and_then(Value::as_u64);
        let call = CallContext {
            timeout: timeout.map(Duration::from_millis),
            cancelled: context.ct.clone(),
        };
        let input = Value::Object(request.arguments.unwrap_or_default());
        let result = match self.0.call(tool, input, call).instrument(span.clone()).await {
            Ok(output) => CallToolResult::structured(output),
            Err(error) => {
                // Debug form: the text may quote hostile input.
                span.in_scope(|| tracing::info!(error = ?error.to_string(), "call not answered"));
                error_result(error)
            }
        };
        Ok(result.into())
    }
}

/// The message for people and models as text, the fault for programs in `_meta`: an error result's
/// structured content would have to fit the output schema.
fn error_result(error: ToolError) -> CallToolResult {
    let fault = error.into_fault();
    let text = match &fault.field {
        Some(field) if !field.is_empty() => format!("{field}: {}", fault.message),
        _ => fault.message.clone(),
    };
    let mut meta = Map::new();
    meta.insert(
        FAULT_META_KEY.to_owned(),
        serde_json::to_value(fault).expect("a fault is plain text fields"),
    );
    CallToolResult::error(vec![ContentBlock::text(text)]).with_meta(Some(MetaObject(meta)))
}
