//! Webhooks: who posts is known before anything is done for them, what they post is read whole or
//! refused by its field, and 2xx is only said once it is stored.

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http_body_util::LengthLimitError;
use incident::IncidentId;
use serde_json::json;
use webhooks::Format;

use crate::engine::Delivery;
use crate::error::{ApiError, BadField};
use crate::metrics::DeliveryLabel;
use crate::routes::Api;
use crate::sources::{Hold, Reason, Refused, Source};

/// How long a sender may take for its body, while it holds a place in the queue.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// A name that nobody configured is the sender's own invention, and no label.
const UNKNOWN: &str = "unknown";

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/webhooks/{source}", post(take).put(take))
        // Below whatever they are given as their endpoint, PagerDuty's senders use this path.
        .route("/webhooks/{source}/v2/enqueue", post(take_event))
}

async fn take(State(api): State<Api>, Path(name): Path<String>, request: Request) -> Response {
    match api.sources.get(&name).cloned() {
        Some(source) => answer(&api, &source, request).await,
        None => not_configured(&api),
    }
}

async fn take_event(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    match api.sources.get(&name).cloned() {
        Some(source) if source.kind == Format::PagerDuty => answer(&api, &source, request).await,
        _ => not_configured(&api),
    }
}

async fn answer(api: &Api, source: &Source, request: Request) -> Response {
    let answer = match take_delivery(api, source, request).await {
        Ok(taken) => taken.answer(source),
        Err(Failure::Unauthenticated) => unauthenticated(source),
        Err(Failure::Api(error)) => {
            if error.status().is_client_error() {
                // It may repeat what the sender wrote.
                let error = error.to_string();
                tracing::warn!(source = &*source.name, ?error, "delivery refused");
            }
            error.into_response()
        }
    };
    count(api, &source.name, &answer);
    answer
}

fn count(api: &Api, source: &str, answer: &Response) {
    let label = DeliveryLabel { source: source.to_owned(), status: answer.status().as_u16() };
    api.engine.metrics.deliveries.get_or_create(&label).inc();
}

fn not_configured(api: &Api) -> Response {
    let error = match api.sources.is_empty() {
        true => "no webhook is taken: the settings of ingress name no `sources`",
        false => "no such source is configured",
    };
    let answer = (StatusCode::NOT_FOUND, Json(json!({ "error": error, "field": null })));
    let answer = answer.into_response();
    count(api, UNKNOWN, &answer);
    answer
}

/// The same for whatever was wrong.
fn unauthenticated(source: &Source) -> Response {
    let error = "the request does not prove that it is from this source";
    let body = Json(json!({ "error": error, "field": null }));
    (StatusCode::UNAUTHORIZED, AppendHeaders(source.challenges()), body).into_response()
}

/// What is stored.
struct Taken {
    incidents: Vec<IncidentId>,
    dedup_key: Option<String>,
}

impl Taken {
    fn answer(self, source: &Source) -> Response {
        if source.kind == Format::PagerDuty {
            let body = json!({
                "status": "success", "message": "Event processed", "dedup_key": self.dedup_key,
            });
            return (StatusCode::ACCEPTED, Json(body)).into_response();
        }
        Json(json!({ "incidents": self.incidents })).into_response()
    }
}

enum Failure {
    /// It is recorded as such.
    Unauthenticated,
    Api(ApiError),
}

impl<E: Into<ApiError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Api(error.into())
    }
}

async fn take_delivery(api: &Api, source: &Source, request: Request) -> Result<Taken, Failure> {
    let now = || api.engine.process.now();
    let (head, body) = request.into_parts();
    let refused = |reason| refuse(api, source, &head, reason);
    let admitted = source.admit(&head, now()).map_err(refused)?;
    if source.is_open_to_browsers() && !is_json(&head.headers) {
        return Err(ApiError::NotJson.into());
    }
    // Before the body is read: what waits in memory is bounded from its first byte.
    let length = body.size_hint().exact();
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let limit = api.engine.config.body_bytes;
    if length.is_some_and(|length| length > limit) {
        return Err(ApiError::TooLarge { limit }.into());
    }
    let room = api.engine.admission().reserve(length, source.is_proven(&admitted)).await?;
    let body = read(body, limit).await?;
    let holds = source.confirm(&admitted, &head, &body, now()).map_err(|why| match why {
        Refused::Unauthenticated(reason) => refused(reason),
        Refused::InHand => ApiError::InHand.into(),
    })?;
    let severities = &api.engine.config.mapping.severities;
    let reading = source.kind.read(&source.name, &head.headers, &body, severities, now())?;
    let delivery = Delivery {
        source: source.name.clone(),
        is_authenticated: source.is_authenticated(),
        alerts: reading.alerts,
        body: source.redact(&body),
        as_of: None,
    };
    let incidents = api.engine.accept(delivery, room).await?;
    if reading.truncated > 0 {
        api.reconcilers.ask(&source.name);
    }
    holds.into_iter().for_each(Hold::taken);
    Ok(Taken { incidents, dedup_key: reading.dedup_key })
}

async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let reading = tokio::time::timeout(BODY_DEADLINE, to_bytes(body, limit));
    reading.await.map_err(|_| ApiError::TooSlow)?.map_err(|error| {
        match error.source().is_some_and(|why| why.is::<LengthLimitError>()) {
            true => ApiError::TooLarge { limit },
            false => BadField::new("body", error.to_string()).into(),
        }
    })
}

fn refuse(api: &Api, source: &Source, head: &Parts, reason: Reason) -> Failure {
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    api.refusals.record(&source.name, reason, address, api.engine.process.now());
    Failure::Unauthenticated
}

/// Whether the one content type is JSON, of whatever sort: a page of another site cannot send that
/// unless it was allowed to.
fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|kind| kind.to_str().ok()?.split(';').next());
    let kind = kind.unwrap_or_default().trim().to_ascii_lowercase();
    let is_json =
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    is_json && kinds.next().is_none()
}
