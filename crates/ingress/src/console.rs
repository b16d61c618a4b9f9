//! The console: one page that lists incidents and shows a timeline as it grows.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use futures::{Stream, StreamExt, stream};

use crate::routes::{Api, read_routes};

/// The page loads nothing from anywhere else, and runs only its own script.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes(api: Api) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/console.js", get(script))
        .route("/console.css", get(style))
        .route("/events", get(events))
        .route("/links", get(links))
        .merge(read_routes())
        .with_state(api)
}

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(include_str!("console/index.html")))
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript")], include_str!("console/console.js"))
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css")], include_str!("console/console.css"))
}

/// Where an operator looks next.
async fn links(State(api): State<Api>) -> impl IntoResponse {
    let config = &api.engine.config;
    axum::Json(serde_json::json!({
        "Prometheus": config.prometheus_url,
        "Alertmanager": config.alertmanager_url,
        "Grafana": config.grafana_url,
    }))
}

/// One event whenever an incident changed; the page then reads what it shows again.
async fn events(State(api): State<Api>) -> impl IntoResponse {
    let shutdown = api.engine.process.shutdown_token();
    let changes = api.engine.wake.changes();
    let events = change_events(changes).take_until(shutdown.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn change_events(
    changes: tokio::sync::watch::Receiver<u64>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(changes, |mut changes| async move {
        changes.changed().await.ok()?;
        let count = *changes.borrow_and_update();
        Some((Ok(Event::default().event("change").data(count.to_string())), changes))
    })
}
