//! What a request gets instead of a result: an error of the protocol, and the status and header
//! that HTTP has for it. Each binding writes the body in its own form.

use std::time::Duration;

use a2a_types::A2aError;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};

use crate::a2a::auth::Refused;

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) header: Option<Box<(HeaderName, HeaderValue)>>,
    pub(super) error: A2aError,
}

impl From<A2aError> for Refusal {
    fn from(error: A2aError) -> Self {
        let status = StatusCode::from_u16(error.status().0).expect("a status of HTTP");
        let refusal = Self { status, header: None, error };
        match refusal.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                refusal.with(header::RETRY_AFTER, "1")
            }
            _ => refusal,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self { header: Some(Box::new(refused.header)), ..Self::from(refused.error) }
    }
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: A2aError) -> Self {
        Self { status, ..Self::from(error) }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some(Box::new((name, HeaderValue::from_static(value)))), ..self }
    }

    pub(super) fn body_too_large(bound: usize) -> Self {
        let why = format!("the body is larger than {bound} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, A2aError::InvalidRequest(why))
    }

    /// The connection ends with it: what is left of the body would be read as the next request.
    pub(super) fn body_too_slow(deadline: Duration) -> Self {
        let why = format!("the body did not arrive within {} s", deadline.as_secs_f32());
        Self::new(StatusCode::REQUEST_TIMEOUT, A2aError::InvalidRequest(why))
            .with(header::CONNECTION, "close")
    }

    /// A content type of HTTP that is not JSON; that of a part is another matter.
    pub(super) fn unsupported_media_type(content_type: &str) -> Self {
        let error = A2aError::ContentTypeNotSupported(content_type.to_owned());
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error)
    }

    pub(super) fn method_not_allowed(method: &str, allow: &'static str) -> Self {
        let error = A2aError::MethodNotFound(format!("{method} here; allowed: {allow}"));
        Self::new(StatusCode::METHOD_NOT_ALLOWED, error).with(header::ALLOW, allow)
    }

    /// The answer with a body in the form of its binding.
    pub(super) fn respond(self, content_type: &'static str, body: String) -> Response {
        let content_type = [(header::CONTENT_TYPE, content_type)];
        (self.status, content_type, AppendHeaders(self.header.map(|header| *header)), body)
            .into_response()
    }
}
