//! The alerts of an incident as the API shows them: all of them, also those that the incident only
//! counts.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use incident::Alert;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{AlertKey, AlertRow};

use crate::error::{ApiError, BadField};
use crate::routes::{Api, page_limit, parse_id, read_query};

/// Bytes of texts in one answer, which waits in memory for its reader. The last page is the empty one.
const PAGE_BYTES: usize = 1 << 20;

#[derive(Debug, Deserialize)]
pub(crate) struct AlertsQuery {
    limit: Option<u32>,
    /// The `cursor` of an alert: only those after it.
    after: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AlertView {
    #[serde(flatten)]
    alert: Alert,
    /// How often it was reported.
    reports: i64,
    first_at: Timestamp,
    last_at: Timestamp,
    cursor: String,
}

impl From<AlertRow> for AlertView {
    fn from(row: AlertRow) -> Self {
        let AlertRow { alert, reports, first_at, last_at, .. } = row;
        let cursor = format!("{}:{}", alert.source, alert.fingerprint);
        Self { alert, reports, first_at, last_at, cursor }
    }
}

pub(crate) async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<AlertsQuery>, QueryRejection>,
) -> Result<Json<Vec<AlertView>>, ApiError> {
    let query = read_query(query)?;
    let id = parse_id(&id, "id")?;
    let limit = page_limit(query.limit, 100)?;
    let after = query.after.as_deref().map(parse_cursor).transpose()?;
    api.find(id).await?;
    let rows = api.engine.store.alerts_of(id, after, limit).await?;
    let mut bytes = 0;
    let fits = |row: &AlertRow| {
        let is_first = bytes == 0;
        bytes += row.alert.text_bytes();
        is_first || bytes <= PAGE_BYTES
    };
    Ok(Json(rows.into_iter().take_while(fits).map(AlertView::from).collect()))
}

/// The name of a source holds no colon; a fingerprint may.
fn parse_cursor(text: &str) -> Result<AlertKey, BadField> {
    let (source, fingerprint) =
        text.split_once(':').ok_or_else(|| BadField::new("after", "must be a `cursor`"))?;
    Ok(AlertKey { source: source.to_owned(), fingerprint: fingerprint.to_owned() })
}
