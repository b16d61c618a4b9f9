//! Calls URLs that strangers gave. The name is resolved here, every address it has is checked, and
//! the connection goes to one of those and to no other: a name server that answers differently the
//! next time changes nothing. Redirects are not followed and proxies of the environment are not
//! asked, because both would choose another target after the check.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};
use tokio::sync::Semaphore;
use url::{Host, Url};

use super::PushConfig;
use super::rules::{Refused, Rules};

/// Bound on one name lookup.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);
/// Bound on a name lookup, the connection and its TLS handshake together.
const CONNECT_DEADLINE: Duration = Duration::from_secs(8);
/// Lookups of the operating system under way at once; each holds a thread until it ends.
const SYSTEM_LOOKUPS: usize = 16;
/// An idle connection to a receiver is kept so long for the next event.
const IDLE: Duration = Duration::from_secs(10);

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync + fmt::Debug {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
#[derive(Clone, Debug)]
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SYSTEM_LOOKUPS)))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let free = self.0.clone();
        Box::pin(async move {
            let permit = free.acquire_owned().await.map_err(io::Error::other)?;
            // The permit goes with the thread: a caller that gave up frees no place.
            let lookup = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|a| a.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

/// What became of a call that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("host {host} cannot be resolved")]
    Unresolvable {
        host: String,
        #[source]
        source: Arc<io::Error>,
    },
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("unreachable")]
    Unreachable(#[source] reqwest::Error),
    #[error("no TLS client can be built")]
    NoClient(#[source] reqwest::Error),
}

/// An answer, as far as a receiver is heard: its body is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<String>,
}

/// The one way to call a stranger's URL.
#[derive(Clone, Debug)]
pub struct Connector {
    resolver: CheckedResolver,
    /// Made for the first call: it reads every root certificate there is.
    http: Arc<OnceLock<reqwest::Client>>,
    deadline: Duration,
    allow_http: bool,
}

impl Connector {
    /// A connector that asks the operating system for addresses.
    pub fn new(options: &PushConfig) -> Self {
        Self::with_resolver(options, Arc::new(SystemResolver::default()))
    }

    pub fn with_resolver(options: &PushConfig, resolver: Arc<dyn Resolve>) -> Self {
        Self {
            resolver: CheckedResolver { rules: Arc::new(Rules::new(options)), resolver },
            http: Arc::default(),
            deadline: options.timeout(),
            allow_http: options.allow_http,
        }
    }

    /// Checks the form of a URL and the addresses its host has now, without calling it. That it
    /// passes holds for no later call: each is checked by itself.
    ///
    /// # Errors
    /// Refused, or the name cannot be resolved.
    pub async fn check(&self, url: &str) -> Result<(), CallError> {
        match self.resolver.rules.url(url)?.host() {
            Some(Host::Domain(host)) => Ok(self.resolver.addresses(host).await.map(drop)?),
            _ => Ok(()),
        }
    }

    /// Calls a URL with POST.
    ///
    /// # Errors
    /// See `CallError`; an answer of any status is no error.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, CallError> {
        let url: Url = self.resolver.rules.url(url)?;
        let http = self.http().map_err(CallError::NoClient)?;
        let call = http.post(url).headers(headers).body(body).timeout(self.deadline);
        let answer = call.send().await.map_err(|error| self.error(error))?;
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { status: answer.status(), retry_after })
    }

    fn http(&self) -> Result<reqwest::Client, reqwest::Error> {
        if let Some(known) = self.http.get() {
            return Ok(known.clone());
        }
        let made = reqwest::Client::builder()
            .dns_resolver(self.resolver.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .https_only(!self.allow_http)
            .connect_timeout(CONNECT_DEADLINE.min(self.deadline))
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .user_agent(concat!("firebreak/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.http.get_or_init(|| made).clone())
    }

    fn error(&self, error: reqwest::Error) -> CallError {
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(found) = cause {
            if let Some(lookup) = found.downcast_ref::<LookupError>() {
                return lookup.clone().into();
            }
            cause = found.source();
        }
        match error.is_timeout() {
            true => CallError::Deadline(self.deadline),
            false => CallError::Unreachable(error.without_url()),
        }
    }
}

/// Answers with addresses that may be called, or not at all.
#[derive(Clone, Debug)]
struct CheckedResolver {
    rules: Arc<Rules>,
    resolver: Arc<dyn Resolve>,
}

#[derive(Clone, Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    Refused(Refused),
    #[error("{host} cannot be resolved")]
    Unresolvable {
        host: String,
        #[source]
        source: Arc<io::Error>,
    },
}

impl CheckedResolver {
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let lookup = tokio::time::timeout(LOOKUP_DEADLINE, self.resolver.resolve(host.to_owned()));
        let found = lookup.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let found = found.and_then(|found| match found.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "no address")),
            false => Ok(found),
        });
        let addresses = found.map_err(|source| LookupError::Unresolvable {
            host: host.to_owned(),
            source: Arc::new(source),
        })?;
        self.rules.addresses(host, &addresses).map_err(LookupError::Refused)?;
        Ok(addresses)
    }
}

impl reqwest::dns::Resolve for CheckedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let checked = self.clone();
        Box::pin(async move {
            let addresses = checked.addresses(name.as_str()).await?;
            // Port 0 is replaced by that of the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

impl From<LookupError> for CallError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Refused(refused) => Self::Refused(refused),
            LookupError::Unresolvable { host, source } => Self::Unresolvable { host, source },
        }
    }
}
