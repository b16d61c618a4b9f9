//! One HTTP exchange with a peer: to its own origins only, without redirects, with the token, the
//! trace context, a deadline, and a bound on what is read.

use std::time::Duration;

use a2a_types::{EXTENSIONS_HEADER, PROTOCOL_VERSION, VERSION_HEADER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::timeout;
use url::Url;

use super::{ClientError, ClientOptions, PeerConfig};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// The longest wait that a peer can ask for.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    pub(super) peer: PeerConfig,
    pub(super) options: ClientOptions,
}

/// A request, complete but for what every request carries.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
}

/// An answer read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Ask {
    pub(super) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }
}

impl Transport {
    pub(super) fn new(peer: PeerConfig, options: ClientOptions) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, peer, options })
    }

    /// Sends, and reads the whole answer.
    pub(super) async fn exchange(
        &self,
        ask: Ask,
        limit: usize,
        deadline: Duration,
    ) -> Result<Answer, ClientError> {
        let url = ask.url.to_string();
        let exchange = async {
            let response = self.send(ask).await?;
            self.read(response, limit).await
        };
        let late = |_| ClientError::Deadline { url, deadline };
        timeout(deadline, exchange).await.map_err(late)?
    }

    /// Sends, and returns when the head of the answer is there.
    pub(super) async fn open(&self, ask: Ask) -> Result<reqwest::Response, ClientError> {
        let (url, deadline) = (ask.url.to_string(), self.options.deadline);
        let late = |_| ClientError::Deadline { url, deadline };
        timeout(deadline, self.send(ask)).await.map_err(late)?
    }

    /// The rest of an answer, at most `limit` bytes.
    pub(super) async fn read(
        &self,
        mut response: reqwest::Response,
        limit: usize,
    ) -> Result<Answer, ClientError> {
        let url = response.url().to_string();
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                    return Err(ClientError::TooLarge { url, limit });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Answer { status, headers, body }),
                Err(error) => {
                    return Err(ClientError::Unreachable { url, source: error.into() });
                }
            }
        }
    }

    async fn send(&self, ask: Ask) -> Result<reqwest::Response, ClientError> {
        let Ask { method, url, mut headers, body } = ask;
        headers.insert(VERSION_HEADER, HeaderValue::from_static(PROTOCOL_VERSION));
        if let Ok(value) = HeaderValue::try_from(self.peer.extensions.join(", "))
            && !value.is_empty()
        {
            headers.insert(EXTENSIONS_HEADER, value);
        }
        if let Some(token) = self.token(&url).await? {
            headers.insert(header::AUTHORIZATION, token);
        }
        crate::trace::inject(&mut headers);
        let failed = |source| ClientError::Unreachable { url: url.to_string(), source };
        let sent = self.options.http.send(&self.http, (method, url.clone()), headers, body);
        sent.await.map_err(failed)
    }

    /// The `Authorization` of a request to `url`.
    async fn token(&self, url: &Url) -> Result<Option<HeaderValue>, ClientError> {
        let Some(path) = self.peer.token_file.as_ref().filter(|_| self.peer.allows(url)) else {
            return Ok(None);
        };
        let unusable = |source| ClientError::Token {
            url: self.peer.url.to_string(),
            path: path.clone(),
            source,
        };
        let text = tokio::fs::read_to_string(path).await.map_err(unusable)?;
        bearer(&text).map(Some).map_err(unusable)
    }
}

/// What the text of a token file makes of a request.
pub(super) fn bearer(text: &str) -> std::io::Result<HeaderValue> {
    let wrong = || std::io::Error::other("it holds no token of one line");
    let token = text.trim();
    if token.is_empty() {
        return Err(wrong());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the answer says of when to come back, as seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MOST_RETRY_AFTER))
}
