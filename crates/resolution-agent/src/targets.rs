//! The targets that wait for a person, and the person's word that one may be acted upon again.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;
use store::{FileStore, StoreError};

pub(crate) fn routes(store: FileStore) -> Router {
    let release = Router::new()
        .route("/api/v1/quarantine/{target}/release", post(release))
        .layer(middleware::from_fn(service::require_json));
    Router::new().route("/api/v1/quarantine", get(list)).merge(release).with_state(store)
}

async fn list(State(store): State<FileStore>) -> Response {
    match store.quarantined_targets().await {
        Ok(targets) => {
            let view = |(target, reason)| json!({"target": target, "reason": reason});
            Json(targets.into_iter().map(view).collect::<Vec<_>>()).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseRequest {
    by: String,
}

async fn release(
    State(store): State<FileStore>,
    Path(target): Path<String>,
    Json(request): Json<ReleaseRequest>,
) -> Response {
    if request.by.trim().is_empty() {
        let error = json!({"error": "by: must name a person", "field": "by"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    match store.quarantine_of(&target).await {
        Ok(Some(reason)) => match store.release_target(&target).await {
            Ok(()) => {
                tracing::warn!(target.name = target, by = ?request.by, ?reason, "released");
                StatusCode::NO_CONTENT.into_response()
            }
            Err(error) => unavailable(&error),
        },
        Ok(None) => {
            let error = json!({"error": format!("{target:?} is not quarantined")});
            (StatusCode::NOT_FOUND, Json(error)).into_response()
        }
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &StoreError) -> Response {
    tracing::error!(?error, "quarantine");
    let error = json!({"error": "temporarily unavailable"});
    (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response()
}
