//! Protocol errors with their codes (specification section 5.4) and `google.rpc` details.

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
    InvalidParams { message: String, fields: Vec<FieldViolation> },
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
}

impl A2aError {
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        Self::InvalidParams {
            message: format!("invalid parameter {}: {}", violation.field, violation.description),
            fields: vec![violation],
        }
    }

    pub fn code(&self) -> i64 {
        match self {
            Self::Parse(_) => -32700,
            Self::InvalidRequest(_) => -32600,
            Self::MethodNotFound(_) => -32601,
            Self::InvalidParams { .. } => -32602,
            Self::Internal(_) => -32603,
            Self::TaskNotFound(_) => -32001,
            Self::TaskNotCancelable(_) => -32002,
            Self::PushNotificationNotSupported => -32003,
            Self::UnsupportedOperation(_) => -32004,
            Self::ContentTypeNotSupported(_) => -32005,
            Self::InvalidAgentResponse(_) => -32006,
            Self::ExtendedAgentCardNotConfigured => -32007,
            Self::ExtensionSupportRequired(_) => -32008,
            Self::VersionNotSupported(_) => -32009,
        }
    }

    fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::TaskNotFound(_) => "TASK_NOT_FOUND",
            Self::TaskNotCancelable(_) => "TASK_NOT_CANCELABLE",
            Self::PushNotificationNotSupported => "PUSH_NOTIFICATION_NOT_SUPPORTED",
            Self::UnsupportedOperation(_) => "UNSUPPORTED_OPERATION",
            Self::ContentTypeNotSupported(_) => "CONTENT_TYPE_NOT_SUPPORTED",
            Self::InvalidAgentResponse(_) => "INVALID_AGENT_RESPONSE",
            Self::ExtendedAgentCardNotConfigured => "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
            Self::ExtensionSupportRequired(_) => "EXTENSION_SUPPORT_REQUIRED",
            Self::VersionNotSupported(_) => "VERSION_NOT_SUPPORTED",
            _ => return None,
        })
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
        }
    }

    pub fn to_object(&self) -> ErrorObject {
        let mut details = Vec::new();
        if let Some(reason) = self.reason() {
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
        }
        if let Self::InvalidParams { fields, .. } = self
            && !fields.is_empty()
        {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": fields,
            }));
        }
        ErrorObject {
            code: self.code(),
            message: self.message(),
            data: (!details.is_empty()).then_some(Value::Array(details)),
        }
    }
}

impl std::fmt::Display for A2aError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for A2aError {}
