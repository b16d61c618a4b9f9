//! Listeners. Every connection gets TCP_NODELAY (an SSE answer costs 44 ms without it), every
//! program answers `/healthz`, `/readyz` and `/metrics`, a panic in a handler is a 500, and no
//! client, silent, slow or many, keeps the others from being answered.

mod app;
mod connection;
mod connections;
mod limits;
mod listener;
mod operational;
mod tls;
mod watched;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use self::app::App;
use self::connections::Connections;
pub use self::limits::ConnectionLimits;
use self::listener::{Accepting, Listener};
use self::tls::Tls;
pub use self::tls::{PeerCertificate, TlsConfig};
use crate::Process;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{program} cannot listen on {address}; free that port or change it ({setting})")]
    Address { program: &'static str, address: String, setting: &'static str, source: io::Error },
    #[error("{program} cannot use the certificate of {setting}")]
    Certificate {
        program: &'static str,
        setting: &'static str,
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Where a listener is, and what its clients may take.
#[derive(Clone, Debug)]
pub struct Listen<'a> {
    pub address: &'a str,
    /// What an operator changes when the port is taken.
    pub setting: &'static str,
    pub limits: ConnectionLimits,
    /// `None`: plain HTTP.
    pub tls: Option<&'a TlsConfig>,
}

impl<'a> Listen<'a> {
    /// Plain HTTP within the usual limits.
    pub fn new(address: &'a str, setting: &'static str) -> Self {
        Self { address, setting, limits: ConnectionLimits::default(), tls: None }
    }
}

/// Serves `routes` over plain HTTP until shutdown, and returns the address bound (useful with port 0).
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
    serve_at(process, Listen::new(address, setting), routes).await
}

/// The same with limits and TLS.
///
/// # Errors
/// The address cannot be bound, or the certificate cannot be used.
pub async fn serve_at(
    process: &Process,
    listen: Listen<'_>,
    routes: Router,
) -> Result<SocketAddr, ServeError> {
    let Listen { address, setting, limits, tls } = listen;
    let program = process.name();
    let tls = tls.map(Tls::open).transpose();
    let tls =
        tls.map_err(|error| ServeError::Certificate { program, setting, source: error.into() })?;
    let bound = bind(process, address).await;
    let (bound, accepting) = bound.map_err(|source| ServeError::Address {
        program,
        address: address.to_owned(),
        setting,
        source,
    })?;
    let metrics = process.metrics().connections.clone();
    let connections = Arc::new(Connections::new(limits.within_files(), metrics));
    let routes = routes.merge(operational::routes(process.clone()));
    let listener = Listener {
        process: process.clone(),
        app: Arc::new(App::new(routes, connections.clone())),
        connections,
        tls: tls.map(Arc::new),
        tasks: TaskTracker::new(),
    };
    process.spawn(listener.run(accepting));
    tracing::debug!(program, %bound, "listening");
    Ok(bound)
}

async fn bind(process: &Process, address: &str) -> io::Result<(SocketAddr, Accepting)> {
    if let Some(network) = process.network() {
        let listening = network.listen(address.to_owned()).await?;
        return Ok((listening.address, Accepting::Other(listening)));
    }
    let listener = TcpListener::bind(address).await?;
    Ok((listener.local_addr()?, Accepting::Machine(listener)))
}

#[cfg(test)]
mod tests;
