//! The loop that accepts connections, and the task of each. Ends as the process does: nothing new is
//! taken in, what is in hand is answered, and who does not come to an end is cut off.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::app::{App, Peer};
use super::connection::{Connection, Order, Phase};
use super::connections::{Admitted, Connections};
use super::limits::HEAD_BYTES;
use super::tls::{PeerCertificate, Tls};
use super::watched::Watched;
use crate::Process;
use crate::network::{Duplex, Listening};

/// How long shutdown waits for connections. Whoever has not sent the whole of a request by then, or
/// does not read its answer, is cut off.
const LINGER: Duration = Duration::from_secs(8);
/// How long nothing is accepted after it failed, for want of files as a rule.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes read ahead of a handler.
const READ_AHEAD: usize = 64 << 10;

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Accepting {
    Machine(TcpListener),
    Other(Listening),
}

enum Stream {
    Tcp(TcpStream),
    Other(Box<dyn Duplex>),
}

impl Accepting {
    async fn next(&mut self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Machine(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An SSE answer costs 44 ms without it.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), peer))
            }
            Self::Other(listening) => match listening.accepted.next().await {
                Some((stream, peer)) => Ok((Stream::Other(stream), peer)),
                None => std::future::pending().await,
            },
        }
    }
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) process: Process,
    pub(super) connections: Arc<Connections>,
    pub(super) app: Arc<App>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) tasks: TaskTracker,
}

impl Listener {
    pub(super) async fn run(self, mut accepting: Accepting) {
        let shutdown = self.process.shutdown_token();
        let tick = self.connections.tick();
        let mut ticking = interval_at(Instant::now() + tick, tick);
        ticking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = ticking.tick(), if !self.connections.are_none() => self.connections.sweep(),
                accepted = accepting.next() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => self.failed(&error).await,
                },
            }
        }
        drop(accepting);
        self.connections.finish_all();
        self.tasks.close();
        let mut end = pin!(self.process.clock().sleep(LINGER));
        loop {
            tokio::select! {
                biased;
                () = self.tasks.wait() => return,
                _ = ticking.tick() => self.connections.sweep(),
                () = &mut end => {
                    let cut_off = self.connections.close_all();
                    tracing::warn!(cut_off, "connections do not end and are cut off");
                    return;
                }
            }
        }
    }

    /// A connection that was gone before it was taken is its own affair. For the rest, files are what
    /// there is too little of: those of connections that wait are given back.
    async fn failed(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
        // `set_nodelay` says "invalid input" of a connection that is closed already.
        let gone = [ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput];
        if gone.contains(&error.kind()) {
            return;
        }
        tracing::warn!(%error, "connections cannot be accepted for now");
        self.connections.shed();
        sleep(PAUSE).await;
    }

    fn take(&self, stream: Stream, peer: SocketAddr) {
        let phase = if self.tls.is_some() { Phase::Handshake } else { Phase::Head };
        let Some(admitted) = self.connections.admit(peer, phase) else { return };
        let task = serve(admitted, stream, self.tls.clone(), self.app.clone());
        self.process.spawn(self.tasks.track_future(task));
    }
}

async fn serve(admitted: Admitted, stream: Stream, tls: Option<Arc<Tls>>, app: Arc<App>) {
    let connection = admitted.connection.clone();
    let Some(tls) = tls else {
        let peer = Peer { connection, certificate: None };
        return match stream {
            Stream::Tcp(stream) => answer(stream, peer, app).await,
            Stream::Other(stream) => answer(stream, peer, app).await,
        };
    };
    let stream: Box<dyn Duplex> = match stream {
        Stream::Tcp(stream) => Box::new(stream),
        Stream::Other(stream) => stream,
    };
    let shaken = tokio::select! {
        biased;
        () = connection.ordered() => return,
        shaken = shake_hands(stream, &tls) => shaken,
    };
    match shaken {
        Ok((stream, certificate)) => {
            connection.enter(Phase::Head);
            answer(stream, Peer { connection, certificate }, app).await;
        }
        Err(error) => tracing::debug!(peer = %connection.peer, %error, "no TLS handshake"),
    }
}

async fn shake_hands(
    stream: Box<dyn Duplex>,
    tls: &Tls,
) -> io::Result<(Box<dyn Duplex>, Option<PeerCertificate>)> {
    let stream = TlsAcceptor::from(tls.current()).accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|all| PeerCertificate::read(all.first()?));
    Ok((Box::new(stream), certificate))
}

async fn answer<S>(stream: S, peer: Peer, app: Arc<App>)
where
    S: Duplex + 'static,
{
    let connection: Arc<Connection> = peer.connection.clone();
    let stream = TokioIo::new(Watched::new(stream, connection.clone()));
    let service = service_fn(|request| app.clone().answer(peer.clone(), request));
    let mut http = http1::Builder::new();
    http.max_header_size(HEAD_BYTES).max_buf_size(READ_AHEAD);
    let mut serving = pin!(http.serve_connection(stream, service));
    loop {
        tokio::select! {
            biased;
            () = connection.ordered() => match connection.order() {
                Order::Close => return,
                Order::Finish | Order::Serve => serving.as_mut().graceful_shutdown(),
            },
            served = serving.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(peer = %connection.peer, %error, "connection ended early");
                }
                return;
            }
        }
    }
}
