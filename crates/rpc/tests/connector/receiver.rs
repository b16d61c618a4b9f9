//! Something that listens, counts who connects and answers every request the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn on(host: &str, answer: &str) -> Self {
        Self::serve(vec![TcpListener::bind((host, 0)).await.unwrap()], answer)
    }

    /// On one port of both loopback addresses.
    pub(crate) async fn on_loopback(answer: &str) -> Self {
        loop {
            let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = v4.local_addr().unwrap().port();
            // The other port may be another test's.
            if let Ok(v6) = TcpListener::bind(("::1", port)).await {
                return Self::serve(vec![v4, v6], answer);
            }
        }
    }

    /// Two on one port: the first on 127.0.0.2, the other on 127.0.0.1.
    pub(crate) async fn pair(answer: &str) -> (Self, Self) {
        loop {
            let first = TcpListener::bind("127.0.0.2:0").await.unwrap();
            let port = first.local_addr().unwrap().port();
            if let Ok(other) = TcpListener::bind(("127.0.0.1", port)).await {
                return (Self::serve(vec![first], answer), Self::serve(vec![other], answer));
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Over TLS, with one certificate for whoever connects.
    pub(crate) async fn with_tls(host: &str, answer: &str, tls: TlsAcceptor) -> Self {
        Self::serve_with(vec![TcpListener::bind((host, 0)).await.unwrap()], answer, Some(tls))
    }

    fn serve(listeners: Vec<TcpListener>, answer: &str) -> Self {
        Self::serve_with(listeners, answer, None)
    }

    fn serve_with(listeners: Vec<TcpListener>, answer: &str, tls: Option<TlsAcceptor>) -> Self {
        let address = listeners[0].local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut serving = JoinSet::new();
        for listener in listeners {
            let (answer, seen, tls) = (answer.to_owned(), connections.clone(), tls.clone());
            serving.spawn(async move {
                let mut open = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    seen.fetch_add(1, Ordering::SeqCst);
                    open.spawn(welcome(stream, answer.clone(), tls.clone()));
                }
            });
        }
        Self { address, connections, _serving: serving }
    }
}

async fn welcome(stream: TcpStream, answer: String, tls: Option<TlsAcceptor>) {
    match tls {
        None => converse(stream, answer).await,
        Some(tls) => {
            // Who does not like the certificate goes away.
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, answer).await;
            }
        }
    }
}

/// Answers each request of a connection; an empty answer leaves it open and silent.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: String) {
    let mut seen = Vec::new();
    let mut piece = [0; 1024];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => seen.extend(&piece[..length]),
        }
        // Every request of these tests ends with its body.
        if seen.ends_with(b"{}") {
            seen.clear();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            if answer.contains("Connection: close") {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}
