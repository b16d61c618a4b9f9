//! The network a program lives on. It is the machine's, unless a simulation has made another one:
//! then listeners and outgoing requests are that one's, and the program does not know.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

/// The body of an answer, piece by piece.
pub type Body = BoxStream<'static, io::Result<Vec<u8>>>;

/// Sends one request and returns when the head of its answer is there. An error of kind
/// `ConnectionRefused` says that the request has not left.
pub type Exchange = Arc<
    dyn Fn(http::Request<Vec<u8>>) -> BoxFuture<'static, io::Result<http::Response<Body>>>
        + Send
        + Sync,
>;

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A network that is not the machine's.
pub trait Network: fmt::Debug + Send + Sync {
    /// Listens on `address`.
    fn listen(&self, address: String) -> BoxFuture<'_, io::Result<Listening>>;

    /// How requests leave this program.
    fn exchange(&self) -> Exchange;
}

/// A listener of such a network.
pub struct Listening {
    pub address: SocketAddr,
    /// Connections as they come, with the address of the other end. It never ends.
    pub accepted: BoxStream<'static, (Box<dyn Duplex>, SocketAddr)>,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("address", &self.address).finish_non_exhaustive()
    }
}
