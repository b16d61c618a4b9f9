//! The calling end: one client per server, connected at the first call and again when it was lost.
//!
//! Prefers revision 2026-07-28 and falls back to 2025-11-25. Input is validated before it is sent
//! and output before it is believed, against the schemas the server announces. Nothing is repeated
//! here: whether a call may be repeated is for its caller to know.

mod exchange;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::mcp::{FAULT_META_KEY, Fault, FaultKind};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig,
    ClientRequest, Implementation, ProtocolVersion, RequestMetaObject, ServerResult,
};
use rmcp::service::{
    ClientInitializeError, PeerRequestOptions, RoleClient, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use super::schema::{Schema, Violation};
use super::{TIMEOUT_META_KEY, trace};
use crate::Http;
use exchange::OverExchange;

/// A server that announces more tools than this is not used.
const TOOLS: usize = 1000;

/// How a client behaves towards its server.
#[derive(Clone)]
pub struct Options {
    /// The caller's name, told to the server.
    pub client_name: &'static str,
    /// Sent as `Authorization: Bearer …`.
    pub bearer_token: Option<String>,
    /// Time for the TCP and TLS handshake, within the deadline of the call that needs it.
    pub connect_timeout: Duration,
    /// Larger answers are an error.
    pub answer_bytes: usize,
    /// How requests leave.
    pub http: Http,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_name: "firebreak",
            bearer_token: None,
            connect_timeout: Duration::from_secs(3),
            answer_bytes: 16 * 1024 * 1024,
            http: Http::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("client_name", &self.client_name)
            .field("bearer_token", &self.bearer_token.as_ref().map(|_| "***"))
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// The server could not be reached; the call was not sent.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable { server: String, cause: String },
    /// The connection or the exchange broke after the call may have been sent.
    #[error("the exchange with {server} broke: {cause}")]
    Broken { server: String, cause: String },
    /// The deadline passed before an answer came; the call may have been carried out.
    #[error("{tool} at {server} did not answer within {} ms", timeout.as_millis())]
    Deadline { server: String, tool: String, timeout: Duration },
    /// The server wants other credentials.
    #[error("{server} refuses the credentials")]
    Unauthorized { server: String },
    /// The server announces no such tool.
    #[error("{server} has no tool {tool:?}")]
    UnknownTool { server: String, tool: String },
    /// The input breaks the tool's schema; the call was not sent.
    #[error("input of {tool}: field `{field}`: {message}")]
    InvalidInput { tool: String, field: String, message: String },
    /// The answer breaks the tool's schema or the type asked for.
    #[error("answer of {tool}: field `{field}`: {message}")]
    InvalidOutput { tool: String, field: String, message: String },
    /// The tool answered with an error.
    #[error("{tool}: {}", describe(fault))]
    Tool { tool: String, fault: Fault },
    /// The server answered outside the protocol, or with a protocol error.
    #[error("{server} answered with a protocol error: {message}")]
    Protocol { server: String, message: String },
}

fn describe(fault: &Fault) -> String {
    match &fault.field {
        Some(field) if !field.is_empty() => format!("{field}: {}", fault.message),
        _ => fault.message.clone(),
    }
}

impl McpError {
    /// A later call may succeed. For a call that changes something see also `may_have_acted`.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Deadline { .. } => true,
            Self::Tool { fault, .. } => fault.kind == FaultKind::Unavailable,
            Self::Unauthorized { .. }
            | Self::UnknownTool { .. }
            | Self::InvalidInput { .. }
            | Self::InvalidOutput { .. }
            | Self::Protocol { .. } => false,
        }
    }

    /// The call may have taken effect: ask for the state before anything else is done.
    pub fn may_have_acted(&self) -> bool {
        match self {
            Self::Broken { .. }
            | Self::Deadline { .. }
            | Self::InvalidOutput { .. }
            | Self::Protocol { .. } => true,
            Self::Tool { fault, .. } => {
                matches!(fault.kind, FaultKind::Unknown | FaultKind::Failed)
            }
            Self::Unreachable { .. }
            | Self::Unauthorized { .. }
            | Self::UnknownTool { .. }
            | Self::InvalidInput { .. } => false,
        }
    }

    /// What the tool itself said, if it was reached and refused or failed.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Tool { fault, .. } => Some(fault),
            _ => None,
        }
    }
}

/// A caller of one MCP server. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

struct Shared {
    url: Url,
    server: String,
    options: Options,
    http: reqwest::Client,
    connection: Mutex<Option<Arc<Connection>>>,
}

struct Connection {
    service: RunningService<RoleClient, ClientConfig>,
    tools: HashMap<String, Schemas>,
}

struct Schemas {
    input: Schema,
    output: Option<Schema>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server whose endpoint is `url` (with its path, usually `/mcp`). Connects at
    /// the first call.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(url: Url, options: Options) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true);
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        // Without user information, which is a credential.
        let server = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let http = http.build()?;
        Ok(Self(Arc::new(Shared { url, server, options, http, connection: Mutex::default() })))
    }

    /// Calls `tool` and waits for its answer for `timeout` at most.
    ///
    /// # Errors
    /// See [`McpError`].
    pub async fn call<I: Serialize, O: DeserializeOwned>(
        &self,
        tool: &str,
        input: &I,
        timeout: Duration,
    ) -> Result<O, McpError> {
        let input = serde_json::to_value(input).map_err(|error| McpError::InvalidInput {
            tool: tool.to_owned(),
            field: String::new(),
            message: error.to_string(),
        })?;
        let output = self.call_value(tool, input, timeout).await?;
        serde_path_to_error::deserialize(output).map_err(|error| McpError::InvalidOutput {
            tool: tool.to_owned(),
            field: error.path().to_string(),
            message: error.into_inner().to_string(),
        })
    }

    /// As [`Client::call`], with JSON in and out.
    ///
    /// # Errors
    /// See [`McpError`].
    pub async fn call_value(
        &self,
        tool: &str,
        input: Value,
        timeout: Duration,
    ) -> Result<Value, McpError> {
        let Value::Object(arguments) = input else {
            return Err(McpError::InvalidInput {
                tool: tool.to_owned(),
                field: String::new(),
                message: "not an object".to_owned(),
            });
        };
        let started = tokio::time::Instant::now();
        let connection =
            tokio::time::timeout(timeout, self.connection()).await.map_err(|_| {
                McpError::Unreachable {
                    server: self.0.server.clone(),
                    cause: format!("no answer within {} ms", timeout.as_millis()),
                }
            })??;
        let left = timeout.saturating_sub(started.elapsed());
        let answered = self.exchange(&connection, tool, arguments, left).await;
        if matches!(answered, Err(McpError::Unreachable { .. } | McpError::Broken { .. })) {
            self.forget(&connection).await;
        }
        answered
    }

    /// The tools the server announces, by name.
    ///
    /// # Errors
    /// The server cannot be reached within `timeout`.
    pub async fn tools(&self, timeout: Duration) -> Result<Vec<String>, McpError> {
        let connection =
            tokio::time::timeout(timeout, self.connection()).await.map_err(|_| {
                McpError::Unreachable {
                    server: self.0.server.clone(),
                    cause: format!("no answer within {} ms", timeout.as_millis()),
                }
            })??;
        let mut names: Vec<_> = connection.tools.keys().cloned().collect();
        names.sort();
        Ok(names)
    }

    /// The protocol revision agreed with the server, once connected.
    pub async fn protocol_version(&self) -> Option<String> {
        let connection = self.0.connection.lock().await.clone()?;
        let info = connection.service.peer_info()?;
        Some(info.protocol_version.as_str().to_owned())
    }

    async fn exchange(
        &self,
        connection: &Connection,
        tool: &str,
        arguments: Map<String, Value>,
        timeout: Duration,
    ) -> Result<Value, McpError> {
        let schemas = connection.tools.get(tool).ok_or_else(|| McpError::UnknownTool {
            server: self.0.server.clone(),
            tool: tool.to_owned(),
        })?;
        let arguments = Value::Object(arguments);
        schemas.input.check(&arguments).map_err(|Violation { field, message }| {
            McpError::InvalidInput { tool: tool.to_owned(), field, message }
        })?;
        let Value::Object(arguments) = arguments else { unreachable!("made an object above") };
        let result = self.send(connection, tool, arguments, timeout).await?;
        self.read(schemas, tool, result)
    }

    async fn send(
        &self,
        connection: &Connection,
        tool: &str,
        arguments: Map<String, Value>,
        timeout: Duration,
    ) -> Result<CallToolResult, McpError> {
        let mut meta = RequestMetaObject::new();
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        meta.insert(TIMEOUT_META_KEY.to_owned(), millis.into());
        trace::inject(&mut meta);
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::with_timeout(timeout).with_meta(meta);
        let answer = async {
            let peer = connection.service.peer();
            peer.send_cancellable_request(request, options).await?.await_response().await
        };
        // Sending itself waits when the server does not read, so the deadline stands around both.
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(ServerResult::CallToolResult(result))) => Ok(result),
            Ok(Ok(_)) => Err(McpError::Protocol {
                server: self.0.server.clone(),
                message: "the answer is not a tool result".to_owned(),
            }),
            Err(_) | Ok(Err(ServiceError::Timeout { .. })) => Err(McpError::Deadline {
                server: self.0.server.clone(),
                tool: tool.to_owned(),
                timeout,
            }),
            Ok(Err(error)) => Err(self.failed(&error)),
        }
    }

    fn read(
        &self,
        schemas: &Schemas,
        tool: &str,
        result: CallToolResult,
    ) -> Result<Value, McpError> {
        if result.is_error == Some(true) {
            return Err(McpError::Tool { tool: tool.to_owned(), fault: read_fault(&result) });
        }
        let output = match result.structured_content {
            Some(output) => output,
            // Servers older than structured content answer with JSON as text.
            None => text_of(&result).and_then(|text| serde_json::from_str(text).ok()).ok_or_else(
                || McpError::InvalidOutput {
                    tool: tool.to_owned(),
                    field: "structuredContent".to_owned(),
                    message: "absent, and the text is not JSON".to_owned(),
                },
            )?,
        };
        if let Some(schema) = &schemas.output {
            schema.check(&output).map_err(|Violation { field, message }| {
                McpError::InvalidOutput { tool: tool.to_owned(), field, message }
            })?;
        }
        Ok(output)
    }

    /// The live connection, or a new one. Callers that come while one is being made wait for it.
    async fn connection(&self) -> Result<Arc<Connection>, McpError> {
        let mut slot = self.0.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|live| !live.service.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.connect().await?);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn forget(&self, lost: &Arc<Connection>) {
        let mut slot = self.0.connection.lock().await;
        if slot.as_ref().is_some_and(|held| Arc::ptr_eq(held, lost)) {
            *slot = None;
        }
    }

    async fn connect(&self) -> Result<Connection, McpError> {
        let Shared { url, options, http, .. } = &*self.0;
        let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
        config.auth_header = options.bearer_token.clone();
        config.max_json_response_size = options.answer_bytes;
        let info = ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new(options.client_name, env!("CARGO_PKG_VERSION")),
        );
        let lifecycle = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        };
        let served = match &options.http.0 {
            None => {
                let transport = StreamableHttpClientTransport::with_client(http.clone(), config);
                info.serve_with_lifecycle(transport, lifecycle).await
            }
            Some(exchange) => {
                let (exchange, answer_bytes) = (exchange.clone(), options.answer_bytes);
                let client = OverExchange { exchange, answer_bytes };
                let transport = StreamableHttpClientTransport::with_client(client, config);
                info.serve_with_lifecycle(transport, lifecycle).await
            }
        };
        let service = served.map_err(|error| self.not_connected(&error))?;
        let announced = service.list_all_tools().await.map_err(|error| self.failed(&error))?;
        if announced.len() > TOOLS {
            return Err(McpError::Protocol {
                server: self.0.server.clone(),
                message: format!("{} tools announced, {TOOLS} at most", announced.len()),
            });
        }
        let tools = announced
            .into_iter()
            .map(|tool| Ok((tool.name.to_string(), self.schemas(&tool)?)))
            .collect::<Result<_, McpError>>()?;
        Ok(Connection { service, tools })
    }

    fn schemas(&self, tool: &rmcp::model::Tool) -> Result<Schemas, McpError> {
        let compile = |schema: &Map<String, Value>| {
            Schema::compile(&Value::Object(schema.clone())).map_err(|error| McpError::Protocol {
                server: self.0.server.clone(),
                message: format!("schema of {}: {error}", tool.name),
            })
        };
        let output = tool.output_schema.as_deref().map(compile).transpose()?;
        Ok(Schemas { input: compile(&tool.input_schema)?, output })
    }

    fn not_connected(&self, error: &ClientInitializeError) -> McpError {
        let server = self.0.server.clone();
        if error.is_authorization_required() || error.auth_challenge().is_some() {
            return McpError::Unauthorized { server };
        }
        match error {
            ClientInitializeError::TransportError { .. }
            | ClientInitializeError::ConnectionClosed(_) => {
                McpError::Unreachable { server, cause: causes(error) }
            }
            _ => McpError::Protocol { server, message: causes(error) },
        }
    }

    fn failed(&self, error: &ServiceError) -> McpError {
        let server = self.0.server.clone();
        if error.is_authorization_required() || error.auth_challenge().is_some() {
            return McpError::Unauthorized { server };
        }
        match error {
            ServiceError::TransportSend(_) if is_connect_failure(error) => {
                McpError::Unreachable { server, cause: causes(error) }
            }
            ServiceError::TransportSend(_) | ServiceError::TransportClosed => {
                McpError::Broken { server, cause: causes(error) }
            }
            _ => McpError::Protocol { server, message: causes(error) },
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn is_connect_failure(error: &(dyn StdError + 'static)) -> bool {
    sources(error).any(crate::http::is_connect_failure)
}

/// The message and every cause below it that adds something.
fn causes(error: &(dyn StdError + 'static)) -> String {
    sources(error).fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            seen if seen.contains(&cause) => text,
            _ => format!("{text}: {cause}"),
        }
    })
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn read_fault(result: &CallToolResult) -> Fault {
    let announced = result.meta.as_ref().and_then(|meta| meta.0.get(FAULT_META_KEY));
    announced.and_then(|fault| serde_json::from_value(fault.clone()).ok()).unwrap_or_else(|| {
        let message = text_of(result).unwrap_or("no message").to_owned();
        Fault { kind: FaultKind::Failed, message, field: None }
    })
}

fn text_of(result: &CallToolResult) -> Option<&str> {
    result.content.iter().find_map(|block| block.as_text()).map(|text| text.text.as_str())
}
