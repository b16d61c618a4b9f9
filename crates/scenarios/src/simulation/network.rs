//! The network between the simulated hosts, and what happens to messages on it: one may be slow,
//! lost on the way there, carried out with its answer lost, or arrive twice. Whole links are cut and
//! slowed by the run itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{Request, Response, header};
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use service::{Body, Duplex, Exchange, Listening, Network};
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use super::world::World;

/// As long as real clients wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// One host's place on the network.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) host: &'static str,
    pub(super) world: World,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Slow(Duration),
    /// It never arrives.
    Lost,
    /// It is carried out, and nobody hears of it.
    AnswerLost,
    /// Something on the way sends it again; the second time it comes so much later.
    Twice(Duration),
}

impl Network for Place {
    fn listen(&self, address: String) -> BoxFuture<'_, io::Result<Listening>> {
        async move {
            let asked: SocketAddr = address.parse().map_err(io::Error::other)?;
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, asked.port())).await?;
            let address = SocketAddr::new(turmoil::lookup(self.host), asked.port());
            let accepted = futures::stream::unfold(listener, |listener| async {
                loop {
                    if let Ok((stream, from)) = listener.accept().await {
                        let stream: Box<dyn Duplex> = Box::new(stream);
                        return Some(((stream, from), listener));
                    }
                }
            });
            Ok(Listening { address, accepted: accepted.boxed() })
        }
        .boxed()
    }

    fn exchange(&self) -> Exchange {
        let place = self.clone();
        Arc::new(move |request| place.clone().send(request).boxed())
    }
}

impl Place {
    pub(super) async fn send(self, request: Request<Vec<u8>>) -> io::Result<Response<Body>> {
        match self.world.fate_of_message() {
            Fate::Delivered => deliver(request).await,
            Fate::Slow(delay) => {
                sleep(delay).await;
                deliver(request).await
            }
            Fate::Lost => Err(lost("the request")),
            Fate::AnswerLost => {
                let answer = deliver(request).await?;
                // All of it is read, so that its sender has done all it does.
                let _ = answer.into_body().collect::<Vec<_>>().await;
                Err(lost("the answer"))
            }
            Fate::Twice(later) => {
                let again = request.clone();
                // Nobody waits for the second answer.
                self.spawn(async move {
                    sleep(later).await;
                    if let Ok(answer) = deliver(again).await {
                        let _ = answer.into_body().collect::<Vec<_>>().await;
                    }
                });
                deliver(request).await
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "part of the simulated network, not of a program"
    )]
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
}

fn lost(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("{what} was lost"))
}

/// One exchange over a connection of its own.
#[expect(clippy::disallowed_methods, reason = "part of the simulated network, not of a program")]
async fn deliver(request: Request<Vec<u8>>) -> io::Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    let uri = std::mem::take(&mut head.uri);
    let authority = uri.authority().ok_or_else(|| io::Error::other("no authority"))?;
    let address = (authority.host().to_owned(), authority.port_u16().unwrap_or(80));
    let refused = |why: String| io::Error::new(io::ErrorKind::ConnectionRefused, why);
    let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(refused(error.to_string())),
        Err(_) => return Err(refused("no connection within 3 s".into())),
    };
    let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // How it ends shows in the exchange.
        let _ = connection.await;
    });
    let host = http::HeaderValue::try_from(authority.as_str()).map_err(io::Error::other)?;
    head.headers.insert(header::HOST, host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse().map_err(io::Error::other)?;
    let request = Request::from_parts(head, Full::new(Bytes::from(body)));
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok(answer.map(|body| {
        let frames = BodyStream::new(body.map_err(io::Error::other));
        let pieces = frames.filter_map(|frame| async {
            match frame {
                Ok(frame) => frame.into_data().ok().map(|data| Ok(Vec::from(data))),
                Err(error) => Some(Err(error)),
            }
        });
        pieces.boxed()
    }))
}
