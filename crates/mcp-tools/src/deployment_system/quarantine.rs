//! Targets that are closed, since an executor is not proven to have ended, and the person's word that
//! opens one again. Guarded as the tools are.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use rpc::mcp::server::ToolError;
use serde_json::json;
use store::StoreError;

use super::change::Deployer;
use super::record::unavailable;

/// The path, with `/{target}/release` after it, of the call that opens a target.
const PATH: &str = "/api/v1/quarantine";

pub(super) fn routes(deployer: Arc<Deployer>) -> Router {
    let release = Router::new()
        .route(&format!("{PATH}/{{target}}/release"), post(release))
        .layer(middleware::from_fn(service::require_json));
    Router::new().route(PATH, get(list)).merge(release).with_state(deployer)
}

impl Deployer {
    /// Why a target is closed.
    pub(super) async fn reason(&self, target: &str) -> Result<Option<String>, StoreError> {
        let closed = self.store.quarantined_targets().await?;
        Ok(closed.into_iter().find(|(name, _)| name == target).map(|(_, reason)| reason))
    }

    /// The fault of a change whose target has one without an end, `by`.
    pub(super) async fn busy(&self, target: &str, by: &str) -> ToolError {
        match self.reason(target).await {
            Ok(Some(reason)) => ToolError::refused("target", closed(target, &reason)),
            Ok(None) => {
                ToolError::Unavailable(format!("another change of {target} is in progress: {by}"))
            }
            Err(error) => unavailable(&error),
        }
    }
}

/// Words for a closed target.
pub(super) fn closed(target: &str, reason: &str) -> String {
    format!("{target} is closed: {reason}. A person opens it: POST {PATH}/{target}/release")
}

async fn list(State(deployer): State<Arc<Deployer>>) -> Response {
    match deployer.store.quarantined_targets().await {
        Ok(targets) => {
            let view = |(target, reason)| json!({"target": target, "reason": reason});
            Json(targets.into_iter().map(view).collect::<Vec<_>>()).into_response()
        }
        Err(error) => failed(&error),
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseRequest {
    by: String,
}

/// The replica that holds the change records its end, then the target takes changes again.
async fn release(
    State(deployer): State<Arc<Deployer>>,
    Path(target): Path<String>,
    Json(request): Json<ReleaseRequest>,
) -> Response {
    if request.by.trim().is_empty() {
        let error = json!({"error": "by: must name a person", "field": "by"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let reason = match deployer.reason(&target).await {
        Ok(reason) => reason,
        Err(error) => return failed(&error),
    };
    match deployer.store.release_target(target.clone()).await {
        Ok(true) => {
            tracing::warn!(target.name = target, by = ?request.by, ?reason, "released");
            deployer.bell.notify_one();
            Json(json!({"target": target, "by": request.by, "reason": reason})).into_response()
        }
        Ok(false) => {
            let error = json!({"error": format!("{target:?} is not closed")});
            (StatusCode::NOT_FOUND, Json(error)).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &StoreError) -> Response {
    tracing::error!(?error, "quarantine");
    let error = json!({"error": unavailable(error).to_string()});
    (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response()
}
