//! The API for people and programs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{get, post};
use axum::{Json, Router};
use incident::{Alert, Event, IncidentId, TimelineEntry};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::Stored;

use crate::alerts;
use crate::dead_letters;
use crate::engine::{Delivery, Engine, Subject};
use crate::error::{ApiError, BadField};
use crate::incidents;
use crate::performer::Performer;
use crate::reconcile::{self, Reconcilers};
use crate::refusals::Refusals;
use crate::sources::{self, Sources};
use crate::webhook;

/// Incidents in one answer at most, and dead letters.
pub(crate) const PAGE: u32 = 500;
/// Entries of a timeline in one answer at most; the last page is the empty one.
const ENTRIES: u32 = 10_000;

#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) engine: Arc<Engine>,
    pub(crate) performer: Arc<Performer>,
    pub(crate) reconcilers: Reconcilers,
    pub(crate) sources: Arc<Sources>,
    pub(crate) refusals: Arc<Refusals>,
}

pub(crate) fn routes(api: Api) -> Router {
    let limit = DefaultBodyLimit::max(api.engine.config.body_bytes);
    Router::new()
        .merge(webhook::routes())
        .merge(guarded_routes())
        .merge(read_routes())
        .layer(limit)
        .with_state(api)
}

/// What changes something; no other site's page can send it.
fn guarded_routes() -> Router<Api> {
    let guard = middleware::from_fn(service::require_json);
    Router::new()
        .route("/api/v1/incidents/{id}/close", post(close).route_layer(guard.clone()))
        .route("/api/v1/incidents/{id}/approval", post(approve).route_layer(guard.clone()))
        .route("/api/v1/dead-letters/{id}/replay", dead_letters::replay_route().route_layer(guard))
}

/// What the console shows too.
pub(crate) fn read_routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/incidents/{id}", get(incidents::show))
        .route("/api/v1/incidents/{id}/timeline", get(timeline))
        .route("/api/v1/incidents/{id}/alerts", get(alerts::list))
        .merge(sources::api::read_routes())
        .merge(dead_letters::read_routes())
        .merge(reconcile::read_routes())
}

impl Api {
    /// The incident of an id that somebody asks for.
    pub(crate) async fn find(&self, id: IncidentId) -> Result<Stored, ApiError> {
        let stored = self.engine.store.incident(id).await?;
        stored.ok_or_else(|| ApiError::NotFound(id.to_string()))
    }

    /// Stores alerts that came by another way than a webhook.
    pub(crate) async fn take_alerts(
        &self,
        source: &str,
        is_authenticated: bool,
        body: String,
        alerts: Vec<Alert>,
    ) -> Result<Vec<IncidentId>, ApiError> {
        let room = self.engine.admission().reserve(Some(body.len()), is_authenticated).await?;
        let source = source.into();
        let delivery = Delivery { source, is_authenticated, alerts, body, as_of: None };
        self.engine.accept(delivery, room).await
    }
}

pub(crate) fn read_body(api: &Api, body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge { limit: api.engine.config.body_bytes },
        _ => BadField::new("body", rejection.body_text()).into(),
    })
}

#[derive(Debug, Deserialize)]
struct TimelineQuery {
    /// Only entries after this sequence.
    after: Option<i64>,
}

#[derive(Debug, Serialize)]
struct EntryView {
    sequence: i64,
    #[serde(flatten)]
    entry: TimelineEntry,
}

async fn timeline(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<TimelineQuery>, QueryRejection>,
) -> Result<Json<Vec<EntryView>>, ApiError> {
    let query = read_query(query)?;
    let id = parse_id(&id, "id")?;
    api.find(id).await?;
    let rows = api.engine.store.timeline(id, query.after.unwrap_or_default(), ENTRIES).await?;
    let views = rows.into_iter().map(|row| EntryView { sequence: row.sequence, entry: row.entry });
    Ok(Json(views.collect()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseRequest {
    by: String,
    why: String,
}

async fn close(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let id = parse_id(&id, "id")?;
    let request: CloseRequest = parse_json(&read_body(&api, body)?)?;
    let stored = api.find(id).await?;
    if stored.incident.phase.is_final() {
        return Err(ApiError::Conflict(format!("{id} is closed already")));
    }
    required("by", &request.by, "must name a person")?;
    let event = Event::ClosedByPerson { by: request.by, why: request.why };
    api.engine.take_events(&Subject::of(&stored.incident), None, vec![event], None).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalRequest {
    plan_hash: String,
    approved: bool,
    by: String,
}

async fn approve(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let id = parse_id(&id, "id")?;
    let request: ApprovalRequest = parse_json(&read_body(&api, body)?)?;
    api.approve(id, request.plan_hash, request.approved, request.by).await?;
    Ok(StatusCode::ACCEPTED)
}

impl Api {
    /// Passes a person's decision on to the task that waits for it.
    pub(crate) async fn approve(
        &self,
        id: IncidentId,
        plan_hash: String,
        approved: bool,
        by: String,
    ) -> Result<(), ApiError> {
        let incident = self.find(id).await?.incident;
        let waits_for = match &incident.phase {
            incident::Phase::AwaitingApproval { plan_hash } => plan_hash,
            phase => {
                let why = format!("{id} is {} and waits for no approval", phase.name());
                return Err(ApiError::Conflict(why));
            }
        };
        if *waits_for != plan_hash {
            return Err(ApiError::Conflict("the plan has changed since you saw it".into()));
        }
        required("by", &by, "must name a person")?;
        // Another person's answer, or another answer, is no repetition: the agent may have refused the
        // first and asked again.
        let answer = hex::encode(Sha256::digest(format!("{approved}:{by}")));
        let key = format!("{id}:approval:{plan_hash}:{answer:.16}");
        let payload = incident::Payload::Approval { plan_hash, approved, by };
        let mut message =
            a2a_types::Message::new(key.clone(), a2a_types::Role::User, vec![rpc::part(&payload)]);
        message.task_id = incident
            .resolution_task
            .ok_or_else(|| ApiError::Conflict(format!("{id} has no task that waits")))?;
        let send = rpc::a2a::Send { message, idempotency_key: Some(key), wait: None };
        self.performer.resolution().send(send).await?;
        Ok(())
    }
}

pub(crate) fn page_limit(asked: Option<u32>, usual: u32) -> Result<u32, ApiError> {
    let limit = asked.unwrap_or(usual);
    if limit == 0 || limit > PAGE {
        return Err(BadField::new("limit", format!("must be within 1..={PAGE}")).into());
    }
    Ok(limit)
}

pub(crate) fn required(field: &str, text: &str, why: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Err(BadField::new(field, why).into());
    }
    Ok(())
}

pub(crate) fn read_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(BadField::new("query", rejection.body_text()).into()),
    }
}

pub(crate) fn parse_id(text: &str, field: &str) -> Result<IncidentId, ApiError> {
    text.parse().map_err(|error: incident::IdError| BadField::new(field, error.to_string()).into())
}

pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.into_inner().to_string());
        let field = if path == "." { "body".to_owned() } else { path };
        BadField::new(field, why).into()
    })
}
