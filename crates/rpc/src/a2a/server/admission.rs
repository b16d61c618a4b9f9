//! What is asked of every request before its operation is looked at, whatever the binding: who
//! calls, how long its address and body are, which version of the protocol it speaks and which
//! extensions it knows. A missing version means 0.3, by the specification's section 3.6.2.

use std::net::SocketAddr;
use std::sync::Arc;

use a2a_types::{
    A2aError, AgentCard, EXTENSIONS_HEADER, IDEMPOTENCY_HEADER, VERSION_HEADER,
    is_supported_version,
};
use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::refusal::Refusal;
use super::{Inner, Server, ServerOptions, check};
use crate::a2a::Caller;
use crate::a2a::auth::Gate;
use crate::a2a::limits::Permit;
use crate::a2a::media_type;

/// Who calls, and under which key a repetition of the call is found again.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) idempotency_key: Result<Option<String>, A2aError>,
    /// Counts the call against its caller's limits until it is answered.
    pub(super) permit: Arc<Permit>,
}

/// Middleware for routes that are none of the protocol's.
pub(super) async fn guard(State(server): State<Server>, request: Request, next: Next) -> Response {
    match server.0.admission.admit(&request) {
        Ok(_call) => next.run(request).await,
        Err(refusal) => {
            let body = serde_json::json!({ "error": refusal.error.to_string() });
            refusal.respond("application/json", body.to_string())
        }
    }
}

/// Who may call, and the extensions of the card.
#[derive(Debug)]
pub(super) struct Admission {
    gate: Gate,
    known: Vec<String>,
    required: Vec<String>,
}

/// The extensions a request activates.
#[derive(Debug)]
pub(super) struct Activated(Vec<String>);

impl Admission {
    pub(super) fn new(card: &AgentCard, gate: Gate) -> Self {
        let extensions = &card.capabilities.extensions;
        let required = extensions.iter().filter(|extension| extension.required);
        Self {
            gate,
            known: extensions.iter().map(|extension| extension.uri.clone()).collect(),
            required: required.map(|extension| extension.uri.clone()).collect(),
        }
    }

    /// Who calls is asked here, of every request and nowhere else.
    pub(super) fn admit(&self, request: &Request) -> Result<Call, Refusal> {
        let peer: Option<&ConnectInfo<SocketAddr>> = request.extensions().get();
        let (caller, permit) = self.gate.admit(request.headers(), peer.map(|peer| peer.0.ip()))?;
        let idempotency_key = idempotency_key(request.headers());
        Ok(Call { caller, idempotency_key, permit: Arc::new(permit) })
    }

    /// Checks the version, and the extensions that the agent insists on.
    pub(super) fn negotiate(&self, headers: &HeaderMap, uri: &Uri) -> Result<Activated, A2aError> {
        check_version(headers, uri)?;
        let lines = headers.get_all(EXTENSIONS_HEADER).iter();
        let named = lines.filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(','));
        let named: Vec<&str> = named.map(str::trim).collect();
        match self.required.iter().find(|uri| !named.contains(&uri.as_str())) {
            Some(missing) => Err(A2aError::ExtensionSupportRequired(missing.clone())),
            None => Ok(Activated(
                self.known.iter().filter(|uri| named.contains(&uri.as_str())).cloned().collect(),
            )),
        }
    }
}

impl Activated {
    /// Names the activated extensions in the answer.
    pub(super) fn declare(&self, mut answer: Response) -> Response {
        if let Ok(value) = HeaderValue::try_from(self.0.join(", "))
            && !value.is_empty()
        {
            answer.headers_mut().insert(EXTENSIONS_HEADER, value);
        }
        answer
    }
}

/// The key of a request. One that cannot be used is an error for requests that make something: left
/// out in silence, their repetitions would make it again.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, A2aError> {
    let refuse = |why: &str| Err(A2aError::invalid_field(IDEMPOTENCY_HEADER, why));
    let mut values = headers.get_all(IDEMPOTENCY_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return refuse("must be given once");
    }
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= check::LONGEST_KEY => Ok(Some(key.to_owned())),
        _ => refuse("must be 1 to 255 characters of printable ASCII"),
    }
}

fn check_version(headers: &HeaderMap, uri: &Uri) -> Result<(), A2aError> {
    let given = text_of(headers, VERSION_HEADER).map(str::to_owned);
    let version = given.filter(|version| !version.trim().is_empty()).or_else(|| in_query(uri));
    match version.as_deref().map(str::trim) {
        Some(version) if is_supported_version(version) => Ok(()),
        Some(version) if !version.is_empty() => Err(A2aError::VersionNotSupported(version.into())),
        _ => Err(A2aError::VersionNotSupported("0.3 (none was given)".into())),
    }
}

fn in_query(uri: &Uri) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let version = pairs.find(|(name, _)| name.eq_ignore_ascii_case(VERSION_HEADER));
    version.map(|(_, value)| value.into_owned())
}

pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn check_url(uri: &Uri, options: &ServerOptions) -> Result<(), Refusal> {
    let bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if bytes <= options.url_bytes {
        return Ok(());
    }
    let why = format!("the address is longer than {} bytes", options.url_bytes);
    Err(Refusal::new(StatusCode::URI_TOO_LONG, A2aError::InvalidRequest(why)))
}

/// A web page of another origin can send no JSON type without being asked first; it can send none at
/// all, or plain text with any parameters. So only the type itself counts.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let content_type = text_of(headers, "content-type").unwrap_or_default();
    let essence = media_type::essence(content_type);
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    is_json.then_some(()).ok_or_else(|| Refusal::unsupported_media_type(content_type))
}

/// The body of a request, within the bounds of the server. One that is still on its way when the
/// server shuts down is not waited for.
pub(super) async fn read(request: Request, server: &Inner) -> Result<Bytes, Refusal> {
    let options = &server.options;
    let reading = tokio::time::timeout(options.body_deadline, request.extract::<Bytes, _>());
    let Some(read) = server.shutdown.run_until_cancelled(reading).await else {
        return Err(A2aError::Unavailable("the agent is shutting down".into()).into());
    };
    let read = read.map_err(|_| Refusal::body_too_slow(options.body_deadline))?;
    read.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::body_too_large(options.body_bytes),
        _ => A2aError::InvalidRequest("the body ended too early".into()).into(),
    })
}
