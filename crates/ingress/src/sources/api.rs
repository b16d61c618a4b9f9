//! What people see of sources: who may post, how each proves it, and what was refused.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::Refusal;

use super::SourceView;
use crate::error::ApiError;
use crate::routes::{Api, page_limit, read_query};

pub(crate) fn read_routes() -> Router<Api> {
    Router::new().route("/api/v1/sources", get(sources)).route("/api/v1/refusals", get(refusals))
}

async fn sources(State(api): State<Api>) -> Json<Vec<SourceView>> {
    Json(api.sources.views())
}

#[derive(Debug, Deserialize)]
struct RefusalsQuery {
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
struct RefusalView {
    source: String,
    reason: String,
    /// The beginning of the minute that is counted.
    minute: Timestamp,
    /// Where the last of them came from.
    address: String,
    count: i64,
}

impl From<Refusal> for RefusalView {
    fn from(refusal: Refusal) -> Self {
        let Refusal { source, reason, minute, address, count } = refusal;
        Self { source, reason, minute, address, count }
    }
}

/// Counts of refused requests, the newest minute first.
async fn refusals(
    State(api): State<Api>,
    query: Result<Query<RefusalsQuery>, QueryRejection>,
) -> Result<Json<Vec<RefusalView>>, ApiError> {
    let limit = page_limit(read_query(query)?.limit, 100)?;
    // What was counted within the last second is seen too.
    api.refusals.flush(&*api.engine.store).await?;
    let refusals = api.engine.store.refusals(limit).await?;
    Ok(Json(refusals.into_iter().map(RefusalView::from).collect()))
}
