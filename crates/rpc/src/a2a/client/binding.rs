//! The two bindings: how a method becomes an HTTP request, and an answer a result or an error.
//! Everything above this file is the same for both.

use a2a_types::{
    A2aError, AgentCard, ErrorObject, Id, Request, Response, ResponsePayload, is_supported_version,
};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, header};
use serde_json::{Map, Value};
use url::Url;

use super::transport::{Answer, Ask, retry_after};
use super::{ClientError, PeerConfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    JsonRpc,
    HttpJson,
}

/// The interface of a peer's card that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    pub(super) binding: Binding,
    pub(super) tenant: String,
    /// The card says that the peer streams.
    pub(super) streams: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    SendMessage,
    SendStreamingMessage,
    GetTask,
    ListTasks,
    CancelTask,
    SubscribeToTask,
    CreateTaskPushNotificationConfig,
    GetTaskPushNotificationConfig,
    ListTaskPushNotificationConfigs,
    DeleteTaskPushNotificationConfig,
    GetExtendedAgentCard,
}

impl Endpoint {
    /// The first interface of the card that we speak and may call.
    pub(super) fn choose(card: &AgentCard, peer: &PeerConfig) -> Result<Self, ClientError> {
        let mut foreign = None;
        for interface in &card.supported_interfaces {
            let binding = match interface.protocol_binding.as_str() {
                "JSONRPC" => Binding::JsonRpc,
                "HTTP+JSON" => Binding::HttpJson,
                _ => continue,
            };
            if !is_supported_version(&interface.protocol_version) {
                continue;
            }
            let Ok(url) = Url::parse(&interface.url) else { continue };
            if !peer.allows(&url) {
                foreign.get_or_insert(url);
                continue;
            }
            let streams = card.capabilities.streaming.unwrap_or(false);
            return Ok(Self { url, binding, tenant: interface.tenant.clone(), streams });
        }
        let url = peer.url.to_string();
        Err(match foreign {
            Some(foreign) => {
                ClientError::ForeignOrigin { url, origin: foreign.origin().ascii_serialization() }
            }
            None => ClientError::NoInterface { url },
        })
    }

    /// The request of one call. `id` is that of the JSON-RPC envelope.
    pub(super) fn ask(&self, method: Method, mut params: Map<String, Value>, id: u64) -> Ask {
        match self.binding {
            Binding::JsonRpc => {
                if !self.tenant.is_empty() {
                    params.insert("tenant".into(), self.tenant.clone().into());
                }
                let id = Id::Number(id.into());
                let request = Request::new(id, method.name(), Value::Object(params));
                self.json(HttpMethod::POST, self.url.clone(), "application/json", &request)
            }
            Binding::HttpJson => self.rest(method, params),
        }
    }

    fn rest(&self, method: Method, mut params: Map<String, Value>) -> Ask {
        let mut take = |name: &str| match params.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let verb = method.verb();
        let segments = match method {
            Method::SendMessage => vec!["message:send".into()],
            Method::SendStreamingMessage => vec!["message:stream".into()],
            Method::GetTask => vec!["tasks".into(), take("id")],
            Method::ListTasks => vec!["tasks".into()],
            Method::CancelTask => vec!["tasks".into(), take("id") + ":cancel"],
            Method::SubscribeToTask => vec!["tasks".into(), take("id") + ":subscribe"],
            Method::CreateTaskPushNotificationConfig | Method::ListTaskPushNotificationConfigs => {
                vec!["tasks".into(), take("taskId"), "pushNotificationConfigs".into()]
            }
            Method::GetTaskPushNotificationConfig | Method::DeleteTaskPushNotificationConfig => {
                vec!["tasks".into(), take("taskId"), "pushNotificationConfigs".into(), take("id")]
            }
            Method::GetExtendedAgentCard => vec!["extendedAgentCard".into()],
        };
        params.remove("tenant");
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend((!self.tenant.is_empty()).then_some(&self.tenant)).extend(segments);
        }
        if verb == HttpMethod::POST {
            return self.json(verb, url, "application/a2a+json", &params);
        }
        if !params.is_empty() {
            url.query_pairs_mut().extend_pairs(params.iter().map(|(name, value)| match value {
                Value::String(text) => (name, text.clone()),
                other => (name, other.to_string()),
            }));
        }
        Ask { method: verb, ..Ask::get(url) }
    }

    fn json(
        &self,
        method: HttpMethod,
        url: Url,
        content_type: &'static str,
        body: &impl serde::Serialize,
    ) -> Ask {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let body = serde_json::to_vec(body).expect("requests have string keys only");
        Ask { method, url, headers, body: Some(body) }
    }

    /// The result in a whole answer.
    pub(super) fn result(&self, answer: &Answer, id: u64) -> Result<Value, ClientError> {
        let retry_after = retry_after(&answer.headers);
        let (url, status) = (self.url.to_string(), answer.status.as_u16());
        let failed = || ClientError::Status { url: url.clone(), status, retry_after };
        match status {
            401 | 403 => return Err(ClientError::Unauthorized { url, status }),
            429 | 503 => return Err(failed()),
            _ => {}
        }
        if answer.status.is_success() {
            return self.unwrap(&answer.body, id).map_err(|error| match error {
                ClientError::Refused { url, error, .. } => {
                    ClientError::Refused { url, error, retry_after }
                }
                other => other,
            });
        }
        match self.refusal(&answer.body) {
            Some(error) => Err(ClientError::Refused { url, error, retry_after }),
            None => Err(failed()),
        }
    }

    /// The result in the body of a good answer, or in one event of a stream.
    pub(super) fn unwrap(&self, body: &[u8], id: u64) -> Result<Value, ClientError> {
        let url = || self.url.to_string();
        let invalid = |why: String| ClientError::InvalidAnswer { url: url(), why };
        if self.binding == Binding::HttpJson {
            if let Some(error) = self.refusal(body) {
                return Err(ClientError::Refused { url: url(), error, retry_after: None });
            }
            let body = if body.is_empty() { b"{}" } else { body };
            return serde_json::from_slice(body).map_err(|error| invalid(error.to_string()));
        }
        let answer: Response =
            serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
        let is_ours = answer.id == Id::Number(id.into());
        match answer.payload {
            ResponsePayload::Error(error) if is_ours || answer.id == Id::Null => {
                Err(ClientError::Refused { url: url(), error, retry_after: None })
            }
            ResponsePayload::Result(result) if is_ours => Ok(result),
            _ => Err(invalid(format!("an answer to request {:?} instead of {id}", answer.id))),
        }
    }

    /// The A2A error in the body of an answer that is not good, if it holds one.
    fn refusal(&self, body: &[u8]) -> Option<ErrorObject> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let error = body.get("error")?;
        match self.binding {
            Binding::JsonRpc => serde_json::from_value(error.clone()).ok(),
            Binding::HttpJson => Some(ErrorObject {
                code: code_of(error),
                message: error.get("message")?.as_str()?.to_owned(),
                data: error.get("details").cloned(),
            }),
        }
    }
}

/// The JSON-RPC code of a `google.rpc.Status`: by its A2A reason, else by its HTTP status.
fn code_of(error: &Value) -> i64 {
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
    let reason = details
        .filter_map(|detail| detail.get("reason")?.as_str())
        .find_map(A2aError::code_of_reason);
    reason.unwrap_or_else(|| match error.get("code").and_then(Value::as_u64) {
        Some(404) => A2aError::TaskNotFound(String::new()).code(),
        Some(400..500) => {
            A2aError::InvalidParams { message: String::new(), fields: Vec::new() }.code()
        }
        _ => A2aError::Internal(String::new()).code(),
    })
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SendMessage => "SendMessage",
            Self::SendStreamingMessage => "SendStreamingMessage",
            Self::GetTask => "GetTask",
            Self::ListTasks => "ListTasks",
            Self::CancelTask => "CancelTask",
            Self::SubscribeToTask => "SubscribeToTask",
            Self::CreateTaskPushNotificationConfig => "CreateTaskPushNotificationConfig",
            Self::GetTaskPushNotificationConfig => "GetTaskPushNotificationConfig",
            Self::ListTaskPushNotificationConfigs => "ListTaskPushNotificationConfigs",
            Self::DeleteTaskPushNotificationConfig => "DeleteTaskPushNotificationConfig",
            Self::GetExtendedAgentCard => "GetExtendedAgentCard",
        }
    }

    fn verb(self) -> HttpMethod {
        match self {
            Self::SendMessage
            | Self::SendStreamingMessage
            | Self::CancelTask
            | Self::CreateTaskPushNotificationConfig => HttpMethod::POST,
            Self::DeleteTaskPushNotificationConfig => HttpMethod::DELETE,
            Self::GetTask
            | Self::ListTasks
            | Self::SubscribeToTask
            | Self::GetTaskPushNotificationConfig
            | Self::ListTaskPushNotificationConfigs
            | Self::GetExtendedAgentCard => HttpMethod::GET,
        }
    }
}
