//! A guard for calls that people make. A web page of another origin can send no JSON without being
//! asked first, so it cannot decide for the person whose browser shows it.

use axum::Json;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Middleware that passes requests whose one content type is `application/json`; others get 415.
pub async fn require_json(request: Request, next: Next) -> Response {
    let mut kinds = request.headers().get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|value| value.to_str().ok()?.split(';').next());
    let is_json = kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !is_json || kinds.next().is_some() {
        let error = serde_json::json!({"error": "the content type must be application/json"});
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, Json(error)).into_response();
    }
    next.run(request).await
}
