//! What a request to ingress can be answered instead of a result.

use std::sync::Arc;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use store::StoreError;
pub(crate) use webhooks::BadField;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(transparent)]
    Bad(#[from] BadField),
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{0} not found")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    /// The sender shall try again: never 429, which Alertmanager drops for good.
    #[error("overloaded: {0} deliveries are waiting")]
    Overloaded(usize),
    /// Another replica, or the next run of this process, takes it.
    #[error("this process is about to end")]
    Draining,
    #[error("the body did not arrive in time")]
    TooSlow,
    /// A signature counts once, and nobody knows yet whether this request's will.
    #[error("the same request is being worked on")]
    InHand,
    /// A page of another site could have sent it.
    #[error("the content type must be application/json")]
    NotJson,
    #[error("temporarily unavailable")]
    Store(#[from] StoreError),
    /// Deliveries that were to be stored together were not.
    #[error("temporarily unavailable")]
    NotStored(#[source] Arc<StoreError>),
    #[error("the agent did not take it: {0}")]
    Agent(#[from] rpc::a2a::ClientError),
}

impl ApiError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Overloaded(_)
            | Self::Draining
            | Self::TooSlow
            | Self::InHand
            | Self::Store(_)
            | Self::NotStored(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Agent(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if let Self::Store(error) = &self {
            tracing::error!(error = ?error, "store");
        }
        let field = match &self {
            Self::Bad(bad) => Some(bad.field.clone()),
            _ => None,
        };
        let body = Json(json!({"error": self.to_string(), "field": field}));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, [(header::RETRY_AFTER, "1")], body).into_response();
        }
        (status, body).into_response()
    }
}
