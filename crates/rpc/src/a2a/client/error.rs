//! Why a call brought no result: one variant for each thing a caller can do about it.

use std::path::PathBuf;
use std::time::Duration;

use a2a_types::{A2aError, ErrorObject};
use serde_json::Value;

use crate::SendError;
use crate::a2a::signature::SignatureError;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url} is unreachable")]
    Unreachable {
        url: String,
        #[source]
        source: SendError,
    },
    #[error("{url} did not answer within {} ms", deadline.as_millis())]
    Deadline { url: String, deadline: Duration },
    /// A stream that ended before its task did.
    #[error("the stream of {url} broke: {why}")]
    Interrupted { url: String, why: String },
    /// An HTTP status without an A2A error in its body.
    #[error("{url} answered status {status}")]
    Status { url: String, status: u16, retry_after: Option<Duration> },
    #[error("{url} does not admit us: status {status}")]
    Unauthorized { url: String, status: u16 },
    /// An A2A error, with the `google.rpc` details the peer gave.
    #[error("{url} answered error {}: {}", error.code, error.message)]
    Refused { url: String, error: ErrorObject, retry_after: Option<Duration> },
    /// The peer has forgotten a task that it was working on.
    #[error("{url} no longer knows task {task}")]
    TaskLost { url: String, task: String },
    #[error("{url} gave an answer that is not A2A: {why}")]
    InvalidAnswer { url: String, why: String },
    #[error("{url} answered more than {limit} bytes")]
    TooLarge { url: String, limit: usize },
    #[error("the card of {url} offers no JSONRPC or HTTP+JSON interface of version 1.0")]
    NoInterface { url: String },
    #[error("the card of {url} leads to {origin}, which is not among its `allowed_origins`")]
    ForeignOrigin { url: String, origin: String },
    #[error("the card at {url} is not by whom the configuration trusts")]
    Untrusted {
        url: String,
        #[source]
        source: SignatureError,
    },
    #[error("the token file {} of {url} cannot be used", path.display())]
    Token {
        url: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Deadline { .. }
            | Self::Interrupted { .. }
            | Self::TaskLost { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Refused { error, .. } => error.code == -32603,
            Self::Unauthorized { .. }
            | Self::InvalidAnswer { .. }
            | Self::TooLarge { .. }
            | Self::NoInterface { .. }
            | Self::ForeignOrigin { .. }
            | Self::Untrusted { .. }
            | Self::Token { .. } => false,
        }
    }

    /// How long the peer asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The `google.rpc` details of an A2A error.
    pub fn details(&self) -> &[Value] {
        match self {
            Self::Refused {
                error: ErrorObject { data: Some(Value::Array(details)), .. }, ..
            } => details,
            _ => &[],
        }
    }

    pub fn is_task_not_found(&self) -> bool {
        self.has_code(&A2aError::TaskNotFound(String::new()))
    }

    pub fn is_task_not_cancelable(&self) -> bool {
        self.has_code(&A2aError::TaskNotCancelable(String::new()))
    }

    /// Whether the peer does not offer what was asked of it.
    pub(super) fn is_unsupported(&self) -> bool {
        self.has_code(&A2aError::UnsupportedOperation(String::new()))
            || self.has_code(&A2aError::MethodNotFound(String::new()))
            || matches!(self, Self::Status { status: 404 | 405 | 501, .. })
    }

    fn has_code(&self, error: &A2aError) -> bool {
        matches!(self, Self::Refused { error: refused, .. } if refused.code == error.code())
    }
}
