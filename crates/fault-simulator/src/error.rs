//! What a caller is told when a request is refused: a status, a sentence, and the field to blame.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, Uri};
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
    #[error("{method} is not possible on {path}")]
    WrongMethod { method: Method, path: String },
    #[error("cannot read the body: {0}")]
    Unreadable(#[from] BytesRejection),
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
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unreadable(rejection) => rejection.status(),
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

/// A body of any content type, since `curl -d` sends JSON as a form.
#[derive(Debug)]
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(Bytes::from_request(request, state).await?))
    }
}

pub(crate) async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NotFound(format!("nothing is at {}", uri.path()))
}

pub(crate) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::WrongMethod { method, path: uri.path().to_owned() }
}
