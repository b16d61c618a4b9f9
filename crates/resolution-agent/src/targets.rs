//! The targets that wait for a person, those that a task is at work on, and the person's word that
//! one may be acted upon again.

use std::sync::Arc;

use a2a_types::TaskStore;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;
use store::{LockedTarget, Store};

#[derive(Clone, Debug)]
struct Targets {
    store: Arc<dyn Store>,
    tasks: Arc<dyn TaskStore>,
}

pub(crate) fn routes(store: Arc<dyn Store>, tasks: Arc<dyn TaskStore>) -> Router {
    let release = Router::new()
        .route("/api/v1/quarantine/{target}/release", post(release))
        .layer(middleware::from_fn(service::require_json));
    Router::new()
        .route("/api/v1/quarantine", get(quarantined))
        .route("/api/v1/locks", get(locked))
        .merge(release)
        .with_state(Targets { store, tasks })
}

async fn quarantined(State(targets): State<Targets>) -> Response {
    match targets.store.quarantined_targets().await {
        Ok(found) => {
            let view = |(target, reason)| json!({"target": target, "reason": reason});
            Json(found.into_iter().map(view).collect::<Vec<_>>()).into_response()
        }
        Err(error) => unavailable(&error.into()),
    }
}

async fn locked(State(targets): State<Targets>) -> Response {
    match targets.store.locked_targets().await {
        Ok(locks) => {
            let view = |LockedTarget { target, holder, since }: LockedTarget| json!({"target": target, "task": holder, "since": since});
            Json(locks.into_iter().map(view).collect::<Vec<_>>()).into_response()
        }
        Err(error) => unavailable(&error.into()),
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseRequest {
    by: String,
}

/// What became of a person's word.
enum Release {
    Done,
    /// A task is at work on the target; ending that is for who wants it ended.
    AtWork(String),
    Free,
}

async fn release(
    State(targets): State<Targets>,
    Path(target): Path<String>,
    Json(request): Json<ReleaseRequest>,
) -> Response {
    if request.by.trim().is_empty() {
        let error = json!({"error": "by: must name a person", "field": "by"});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let refuse =
        |status: StatusCode, why: String| (status, Json(json!({ "error": why }))).into_response();
    match targets.release(&target).await {
        Ok(Release::Done) => {
            tracing::warn!(target.name = target, by = ?request.by, "released");
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(Release::AtWork(task)) => {
            refuse(StatusCode::CONFLICT, format!("task {task} is at work on {target:?}: cancel it"))
        }
        Ok(Release::Free) => {
            refuse(StatusCode::NOT_FOUND, format!("{target:?} is neither quarantined nor locked"))
        }
        Err(error) => unavailable(&error),
    }
}

impl Targets {
    /// Ends the quarantine of a target, and the lock that a task which is over has left on it.
    async fn release(&self, target: &str) -> anyhow::Result<Release> {
        if self.store.release_target(target.to_owned()).await? {
            return Ok(Release::Done);
        }
        let locks = self.store.locked_targets().await?;
        let Some(lock) = locks.into_iter().find(|lock| lock.target == target) else {
            return Ok(Release::Free);
        };
        let record = self.tasks.load(lock.holder.clone()).await?;
        if record.is_some_and(|record| !record.task.status.state.is_terminal()) {
            return Ok(Release::AtWork(lock.holder));
        }
        self.store.unlock_target(lock.target, lock.holder).await?;
        Ok(Release::Done)
    }
}

fn unavailable(error: &anyhow::Error) -> Response {
    tracing::error!(error = format!("{error:#}"), "targets");
    let error = json!({"error": "temporarily unavailable"});
    (StatusCode::SERVICE_UNAVAILABLE, Json(error)).into_response()
}
