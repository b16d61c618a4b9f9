//! Protocol errors with their codes, statuses (specification section 5.4) and `google.rpc` details.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The error member of a JSON-RPC response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorObject {
    pub code: i64,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// One field that cannot be used, and why (`google.rpc.BadRequest.FieldViolation`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldViolation {
    pub field: String,
    pub description: String,
}

/// Everything a server can answer instead of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum A2aError {
    Parse(String),
    InvalidRequest(String),
    MethodNotFound(String),
    InvalidParams {
        message: String,
        fields: Vec<FieldViolation>,
    },
    /// A sentence a peer may read: what happened inside belongs in the log.
    Internal(String),
    TaskNotFound(String),
    TaskNotCancelable(String),
    PushNotificationNotSupported,
    UnsupportedOperation(String),
    ContentTypeNotSupported(String),
    InvalidAgentResponse(String),
    ExtendedAgentCardNotConfigured,
    ExtensionSupportRequired(String),
    VersionNotSupported(String),
    /// The specification leaves the codes of these four to the server: -32000.
    Unauthenticated(String),
    PermissionDenied(String),
    ResourceExhausted(String),
    Unavailable(String),
}

impl A2aError {
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        Self::InvalidParams {
            message: format!("invalid parameter {}: {}", violation.field, violation.description),
            fields: vec![violation],
        }
    }

    /// The number of the error in JSON-RPC.
    pub fn code(&self) -> i64 {
        self.kind().0
    }

    /// The number of the error that has this reason in `ErrorInfo`.
    pub fn code_of_reason(reason: &str) -> Option<i64> {
        let all = [
            Self::Parse(String::new()),
            Self::InvalidRequest(String::new()),
            Self::MethodNotFound(String::new()),
            Self::InvalidParams { message: String::new(), fields: Vec::new() },
            Self::Internal(String::new()),
            Self::TaskNotFound(String::new()),
            Self::TaskNotCancelable(String::new()),
            Self::PushNotificationNotSupported,
            Self::UnsupportedOperation(String::new()),
            Self::ContentTypeNotSupported(String::new()),
            Self::InvalidAgentResponse(String::new()),
            Self::ExtendedAgentCardNotConfigured,
            Self::ExtensionSupportRequired(String::new()),
            Self::VersionNotSupported(String::new()),
            Self::Unauthenticated(String::new()),
            Self::PermissionDenied(String::new()),
            Self::ResourceExhausted(String::new()),
            Self::Unavailable(String::new()),
        ];
        all.iter().map(Self::kind).find(|kind| kind.3 == reason).map(|kind| kind.0)
    }

    /// The HTTP status of the error, and the name of its `google.rpc.Code`.
    pub fn status(&self) -> (u16, &'static str) {
        let (_, status, name, _) = self.kind();
        (status, name)
    }

    /// Code in JSON-RPC, status in HTTP, name in `google.rpc.Code`, reason in `ErrorInfo`.
    fn kind(&self) -> (i64, u16, &'static str, &'static str) {
        match self {
            Self::Parse(_) => (-32700, 400, "INVALID_ARGUMENT", "PARSE_ERROR"),
            Self::InvalidRequest(_) => (-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST"),
            Self::MethodNotFound(_) => (-32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND"),
            Self::InvalidParams { .. } => (-32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS"),
            Self::Internal(_) => (-32603, 500, "INTERNAL", "INTERNAL_ERROR"),
            Self::TaskNotFound(_) => (-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND"),
            Self::TaskNotCancelable(_) => {
                (-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
            }
            Self::PushNotificationNotSupported => {
                (-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")
            }
            Self::UnsupportedOperation(_) => {
                (-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")
            }
            Self::ContentTypeNotSupported(_) => {
                (-32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
            }
            Self::InvalidAgentResponse(_) => (-32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE"),
            Self::ExtendedAgentCardNotConfigured => {
                (-32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
            }
            Self::ExtensionSupportRequired(_) => {
                (-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")
            }
            Self::VersionNotSupported(_) => {
                (-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")
            }
            Self::Unauthenticated(_) => (-32000, 401, "UNAUTHENTICATED", "UNAUTHENTICATED"),
            Self::PermissionDenied(_) => (-32000, 403, "PERMISSION_DENIED", "PERMISSION_DENIED"),
            Self::ResourceExhausted(_) => (-32000, 429, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
            Self::Unavailable(_) => (-32000, 503, "UNAVAILABLE", "UNAVAILABLE"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Parse(why) => format!("invalid JSON: {why}"),
            Self::InvalidRequest(why) => format!("invalid request: {why}"),
            Self::MethodNotFound(method) => format!("method not found: {method}"),
            Self::InvalidParams { message, .. } => message.clone(),
            Self::Internal(why) => format!("internal error: {why}"),
            Self::TaskNotFound(id) => format!("task not found: {id}"),
            Self::TaskNotCancelable(why) => format!("task cannot be canceled: {why}"),
            Self::PushNotificationNotSupported => "push notifications are not supported".into(),
            Self::UnsupportedOperation(why) => format!("unsupported operation: {why}"),
            Self::ContentTypeNotSupported(kind) => format!("content type not supported: {kind}"),
            Self::InvalidAgentResponse(why) => format!("invalid agent response: {why}"),
            Self::ExtendedAgentCardNotConfigured => {
                "an extended agent card is not configured".into()
            }
            Self::ExtensionSupportRequired(uri) => format!("extension required: {uri}"),
            Self::VersionNotSupported(version) => {
                format!("A2A version {version} is not supported; this agent speaks 1.0")
            }
            Self::Unauthenticated(why) => format!("authentication required: {why}"),
            Self::PermissionDenied(why) => format!("permission denied: {why}"),
            Self::ResourceExhausted(why) => format!("too many requests: {why}"),
            Self::Unavailable(why) => format!("unavailable: {why}"),
        }
    }

    /// The details of the error: `BadRequest` where fields are at fault, and always `ErrorInfo`.
    pub fn details(&self) -> Vec<Value> {
        let mut details = Vec::new();
        if let Self::InvalidParams { fields, .. } = self
            && !fields.is_empty()
        {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": fields,
            }));
        }
        let (_, _, _, reason) = self.kind();
        let metadata = match self {
            Self::TaskNotFound(id) => json!({ "taskId": id }),
            _ => json!({}),
        };
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "a2a-protocol.org",
            "metadata": metadata,
        }));
        details
    }

    pub fn to_object(&self) -> ErrorObject {
        ErrorObject {
            code: self.code(),
            message: self.message(),
            data: Some(Value::Array(self.details())),
        }
    }
}

impl std::fmt::Display for A2aError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for A2aError {}
