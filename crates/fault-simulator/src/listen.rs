//! The three listeners. Not `service::serve`: `/metrics` here is the simulated server's page, not
//! this program's own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use service::{Process, Secret};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::{no_such_path, wrong_method};
use crate::exposition::Format;
use crate::fleet::{Fleet, Server};
use crate::{admin_routes, fault_routes, metrics};

/// Bodies are a few fields.
const BODY_BYTES: usize = 64 * 1024;

/// What the routes of one server see.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) server: Server,
    pub(crate) admin_token: Option<Secret>,
    fleet: Arc<Mutex<Fleet>>,
}

impl Port {
    pub(crate) fn new(
        server: Server,
        fleet: Arc<Mutex<Fleet>>,
        admin_token: Option<Secret>,
    ) -> Self {
        Self { server, admin_token, fleet }
    }

    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().expect("no panic while the fleet is held")
    }
}

/// Serves one simulated server until shutdown; returns the address bound.
pub(crate) async fn listen(
    process: &Process,
    address: &str,
    setting: &str,
    port: Port,
) -> anyhow::Result<SocketAddr> {
    let taken = || {
        format!(
            "fault-simulator cannot listen on {address} for {}; free that port or change it ({setting})",
            port.server
        )
    };
    let listener = TcpListener::bind(address).await.with_context(taken)?;
    let bound = listener.local_addr().with_context(taken)?;
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(%error, "TCP_NODELAY not set");
        }
    });
    let shutdown = process.shutdown_token();
    let serving = axum::serve(listener, routes(port))
        .with_graceful_shutdown(async move { shutdown.cancelled().await });
    process.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "listener stopped");
        }
    });
    Ok(bound)
}

fn routes(port: Port) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ready\n" }))
        .merge(admin_routes::routes(&port))
        .merge(fault_routes::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(CatchPanicLayer::new())
        .with_state(port)
}

async fn page(State(port): State<Port>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::negotiate(accept.unwrap_or_default());
    let text = metrics::render(&port.fleet(), port.server, format);
    (StatusCode::OK, [(header::CONTENT_TYPE, format.content_type())], text)
}
