//! How requests leave this process: by reqwest, or by a function that stands in for the network.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{HeaderMap, Method, Request, Response};
use url::Url;

/// Sends one request and returns when the head of its answer is there. An error of kind
/// `ConnectionRefused` says that the request has not left.
pub type Exchange = Arc<
    dyn Fn(
            Request<Vec<u8>>,
        )
            -> BoxFuture<'static, io::Result<Response<BoxStream<'static, io::Result<Vec<u8>>>>>>
        + Send
        + Sync,
>;

/// Where requests go; the machine's network unless a simulation has made another one.
#[derive(Clone, Default)]
pub struct Http(pub(crate) Option<Exchange>);

/// Why a request brought no answer.
pub type SendError = Box<dyn StdError + Send + Sync>;

impl From<Option<Exchange>> for Http {
    fn from(exchange: Option<Exchange>) -> Self {
        Self(exchange)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Http(simulated)" } else { "Http" })
    }
}

impl Http {
    /// Sends a request, with `client` on the machine's network.
    pub(crate) async fn send(
        &self,
        client: &reqwest::Client,
        (method, url): (Method, Url),
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<reqwest::Response, SendError> {
        let Some(exchange) = &self.0 else {
            let mut request = client.request(method, url).headers(headers);
            if let Some(body) = body {
                request = request.body(body);
            }
            return Ok(request.send().await?);
        };
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(known) = request.headers_mut() {
            *known = headers;
        }
        let answer = exchange(request.body(body.unwrap_or_default())?).await?;
        Ok(answer.map(reqwest::Body::wrap_stream).into())
    }
}

/// Whether the request is known not to have left.
pub(crate) fn is_connect_failure(error: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return error.is_connect();
    }
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::ConnectionRefused)
}
