//! What a caller is told when a request is refused: a status, a sentence, and the field to blame.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::fleet::{AdminError, FaultError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{message}")]
    BadRequest { field: Option<String>, message: String },
    #[error("this call needs the admin token as bearer")]
    Unauthorized,
    #[error("{0}")]
    NotFound(String),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Fault(#[from] FaultError),
}

impl ApiError {
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::BadRequest { field: Some(field.into()), message: message.into() }
    }

    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self::BadRequest { field: None, message: message.into() }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Admin(error) => match error {
                AdminError::UnknownSetting { .. }
                | AdminError::OutOfBounds { .. }
                | AdminError::NothingToChange => StatusCode::BAD_REQUEST,
                AdminError::NotScalable { .. } => StatusCode::CONFLICT,
                AdminError::UnknownJob { .. } => StatusCode::NOT_FOUND,
            },
            Self::Fault(error) => match error {
                FaultError::AlreadyActive { .. } | FaultError::PoolHeld { .. } => {
                    StatusCode::CONFLICT
                }
                FaultError::NotActive { .. } => StatusCode::NOT_FOUND,
            },
        }
    }

    fn blamed_field(&self) -> Option<&str> {
        match self {
            Self::BadRequest { field, .. } => field.as_deref(),
            Self::Admin(AdminError::UnknownSetting { key, .. }) => Some(key),
            Self::Admin(AdminError::OutOfBounds { field, .. }) => Some(field),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.to_string() });
        if let Some(field) = self.blamed_field() {
            body["field"] = json!(field);
        }
        (self.status(), Json(body)).into_response()
    }
}
