//! What every request meets before it comes to a route: the bound on requests in hand, its client's
//! address and certificate, and somebody who catches a panic. Done here and not in layers, each of
//! which would copy and box every route for every request.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures::FutureExt;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tower::Service;

use super::connection::Connection;
use super::connections::Connections;
use super::operational;
use super::tls::PeerCertificate;
use super::watched::{AnswerBody, RequestBody};

/// Requests one listener works on at a time. Beyond it, senders receive 503 and retry; health and
/// metrics are answered still.
const REQUESTS_IN_HAND: usize = 4096;

/// The routes of one listener.
#[derive(Debug)]
pub(super) struct App {
    routes: Router,
    in_hand: Semaphore,
    connections: Arc<Connections>,
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) connection: Arc<Connection>,
    pub(super) certificate: Option<PeerCertificate>,
}

impl App {
    pub(super) fn new(routes: Router, connections: Arc<Connections>) -> Self {
        Self { routes, in_hand: Semaphore::new(REQUESTS_IN_HAND), connections }
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let connection = peer.connection.clone();
        let answer = self.route(peer, request).await;
        Ok(answer.map(|body| AnswerBody::new(body, connection)))
    }

    async fn route(&self, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let Peer { connection, certificate } = peer;
        let address = connection.peer;
        let mut request = request.map(|body| Body::new(RequestBody::new(body, connection)));
        let _permit = if operational::is_one(request.uri().path()) {
            None
        } else {
            let Ok(permit) = self.in_hand.try_acquire() else {
                self.connections.shed_bodies();
                return overloaded();
            };
            Some(permit)
        };
        request.extensions_mut().insert(ConnectInfo(address));
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        let answering = AssertUnwindSafe(self.routes.clone().call(request)).catch_unwind();
        match answering.await {
            Ok(Ok(answer)) => answer,
            Err(panic) => panicked(panic.as_ref()),
        }
    }
}

fn overloaded() -> Response<Body> {
    let text = format!("{REQUESTS_IN_HAND} requests are in hand already\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
}

fn panicked(panic: &(dyn Any + Send)) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or_default(), "a handler panicked");
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
}
