//! Listeners. Every connection gets TCP_NODELAY (an SSE answer costs 44 ms without it), every
//! program answers `/healthz`, `/readyz` and `/metrics`, and a panic in a handler is a 500.

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{BoxError, Json, Router};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Process;
use crate::network::Peer;

/// Requests one listener works on at a time. Beyond it, senders receive 503 and retry; health and
/// metrics are answered still.
const REQUESTS_IN_HAND: usize = 4096;

/// How long shutdown waits for connections. Whoever has not sent the whole of a request by then, or
/// does not read its answer, is cut off when the process ends.
const LINGER: Duration = Duration::from_secs(8);

#[derive(Debug, thiserror::Error)]
#[error("{program} cannot listen on {address}; free that port or change it ({setting})")]
pub struct ServeError {
    program: &'static str,
    address: String,
    setting: &'static str,
    source: io::Error,
}

/// Serves `routes` until shutdown, and returns the address bound (useful with port 0).
/// `setting` is what an operator changes when the port is taken.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(
    process: &Process,
    address: &str,
    setting: &'static str,
    routes: Router,
) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError {
        program: process.name(),
        address: address.to_owned(),
        setting,
        source,
    };
    let bounded = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_: BoxError| async { overloaded() }))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_IN_HAND));
    let app = routes
        .layer(bounded)
        .merge(operational_routes(process.clone()))
        .layer(CatchPanicLayer::new());
    let (bound, serving) = listen(process, address, app).await.map_err(failed)?;
    let ending = process.shutdown_token();
    let lingering = async move {
        ending.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    process.spawn(async move {
        tokio::select! {
            served = serving => {
                if let Err(error) = served {
                    tracing::error!(%error, "listener stopped");
                }
            }
            () = lingering => tracing::warn!(%bound, "connections do not end and are cut off"),
        }
    });
    tracing::debug!(program = process.name(), %bound, "listening");
    Ok(bound)
}

/// Binds, and returns the address with what serves it until shutdown.
async fn listen(
    process: &Process,
    address: &str,
    app: Router,
) -> io::Result<(SocketAddr, BoxFuture<'static, io::Result<()>>)> {
    let shutdown = process.shutdown_token().cancelled_owned();
    if let Some(network) = process.network() {
        let listening = network.listen(address.to_owned()).await?;
        let bound = listening.address;
        let app = app.layer(map_request(told_of_its_peer));
        let app = app.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listening, app).with_graceful_shutdown(shutdown);
        return Ok((bound, serving.into_future().boxed()));
    }
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(%error, "TCP_NODELAY not set");
        }
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(shutdown);
    Ok((bound, serving.into_future().boxed()))
}

async fn told_of_its_peer(ConnectInfo(peer): ConnectInfo<Peer>, mut request: Request) -> Request {
    request.extensions_mut().insert(ConnectInfo(peer.0));
    request
}

fn operational_routes(process: Process) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(process)
}

fn overloaded() -> Response {
    let text = format!("{REQUESTS_IN_HAND} requests are in hand already\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
}

async fn ready(State(process): State<Process>) -> Response {
    match process.health().ready() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(failing) => (StatusCode::SERVICE_UNAVAILABLE, Json(failing)).into_response(),
    }
}

async fn metrics(State(process): State<Process>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], process.metrics().encode()).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_half_sent_request_does_not_fail_the_shutdown() {
        let process = Process::new("program");
        let address = serve(&process, "127.0.0.1:0", "listen", Router::new()).await.unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"POST / HT").await.unwrap();
        // Accepted in order: once this one is answered, that one is in hand.
        let mut other = TcpStream::connect(address).await.unwrap();
        other.write_all(b"GET /healthz HTTP/1.1\r\nhost: program\r\n\r\n").await.unwrap();
        other.read_u8().await.unwrap();
        process.shut_down(Duration::from_secs(10)).await.unwrap();
        drop(connection);
    }
}
