//! Effects that were given up: people see them, and have them performed again.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use incident::{Event, IncidentId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::DeadLetter;

use crate::engine::{Subject, Work};
use crate::error::{ApiError, BadField};
use crate::routes::{Api, PAGE, page_limit, parse_json, read_body, read_query, required};

pub(crate) fn read_routes() -> Router<Api> {
    Router::new().route("/api/v1/dead-letters", get(list))
}

/// To be guarded as every act is.
pub(crate) fn replay_route() -> MethodRouter<Api> {
    post(replay)
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    limit: Option<u32>,
    /// The id to go on from.
    before: Option<i64>,
}

/// A dead letter as the API shows it.
#[derive(Debug, Serialize)]
struct LetterView {
    id: i64,
    incident_id: IncidentId,
    kind: String,
    round: u32,
    /// Definite failures.
    attempts: u32,
    error: String,
    died_at: Timestamp,
}

impl From<DeadLetter> for LetterView {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, incident_id, kind, round, attempt, error, died_at } = letter;
        Self { id, incident_id, kind, round, attempts: attempt, error, died_at }
    }
}

async fn list(
    State(api): State<Api>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<LetterView>>, ApiError> {
    let query = read_query(query)?;
    let limit = page_limit(query.limit, PAGE)?;
    let letters = api.engine.store.dead_letters(limit, query.before).await?;
    Ok(Json(letters.into_iter().map(LetterView::from).collect()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayRequest {
    by: String,
}

async fn replay(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let id: i64 = id.parse().map_err(|_| BadField::new("id", "must be a number"))?;
    let request: ReplayRequest = parse_json(&read_body(&api, body)?)?;
    required("by", &request.by, "must name a person")?;
    api.replay(id, request.by).await?;
    Ok(StatusCode::ACCEPTED)
}

impl Api {
    /// Puts a dead letter back to be performed. Who wants that is on record before it happens.
    async fn replay(&self, id: i64, by: String) -> Result<(), ApiError> {
        let gone = || ApiError::NotFound(format!("dead letter {id}"));
        let newest = self.engine.store.dead_letters(1, id.checked_add(1)).await?;
        let letter = newest.into_iter().find(|letter| letter.id == id).ok_or_else(gone)?;
        if let Some(stored) = self.engine.store.incident(letter.incident_id).await? {
            let replayed = vec![Event::EffectReplayed { kind: letter.kind, by }];
            let subject = Subject::of(&stored.incident);
            self.engine.take_events(&subject, None, replayed, None).await?;
        }
        let now = self.engine.outbox_now();
        let letter = self.engine.store.replay_dead_letter(id, now).await?.ok_or_else(gone)?;
        if let Some(work) = Work::named(&letter.kind) {
            self.engine.metrics.dead_letters_of(work).dec();
            self.engine.wake.ring(work);
        }
        Ok(())
    }
}
