//! One call to Jira: credential, deadline, bounded answer, and errors in words a caller can act on.
//! Repeats only what cannot have taken effect: reads, and calls that were told to slow down. A
//! tracker that asks to be left alone for longer is left alone: no call is made before.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use service::{Clock, Secret};
use tokio::time::Instant;
use url::Url;

use super::settings::{Auth, JiraSettings};
use crate::document::clean_line;
use crate::error::TrackerError;
use crate::tracker::Result;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 4 << 20;
/// How often a call is made at most.
const ATTEMPTS: u32 = 3;
/// The longest pause between attempts. A tracker that asks for more gets it from the caller.
const PAUSE: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_millis(200);
/// The longest time for which a tracker is left alone at its word.
const LONGEST_REST: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    base: Url,
    auth: Auth,
    user: String,
    token: Secret,
    clock: Clock,
    /// Until when the tracker asked to be left alone.
    rests_until: Mutex<Option<Instant>>,
}

/// What is asked of Jira.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// What the call is for, as errors name it.
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// Below `/rest/api/3`; each is one segment, encoded as needed.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, String)],
    pub(crate) body: Option<&'a Value>,
}

/// An attempt that failed, and whether the same call may be made again at once.
struct Failed {
    error: TrackerError,
    is_repeatable: bool,
}

impl Http {
    /// # Errors
    /// The token file cannot be read, or no HTTP client can be built.
    pub(crate) fn new(settings: &JiraSettings, clock: Clock) -> anyhow::Result<Self> {
        use anyhow::Context;
        let client = reqwest::Client::builder()
            .timeout(settings.deadline())
            // A redirect could carry the credential elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("firebreak/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("build the Jira client")?;
        Ok(Self {
            client,
            base: settings.url.clone().context("jira.url is not set")?,
            auth: settings.auth,
            user: settings.user.clone(),
            token: settings.token()?,
            clock,
            rests_until: Mutex::default(),
        })
    }

    /// The page a person opens.
    pub(crate) fn browse(&self, key: &str) -> String {
        self.url(&["browse", key]).into()
    }

    /// The answer, `Null` where it has no body. `Ok(None)` is "not found".
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Option<Value>> {
        let mut attempt = 1;
        loop {
            if let Some(left) = self.rest_left() {
                return Err(TrackerError::Unavailable {
                    operation: call.operation,
                    reason: format!("it asked to be left alone for {} s more", left.as_secs()),
                    retry_after: Some(left),
                    may_have_happened: false,
                });
            }
            let failed = match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let pause = failed.error.retry_after().unwrap_or(BACKOFF * 2_u32.pow(attempt));
            if pause > PAUSE {
                *self.rests() = Some(self.clock.instant() + pause.min(LONGEST_REST));
            }
            if !failed.is_repeatable || attempt == ATTEMPTS || pause > PAUSE {
                return Err(failed.error);
            }
            tracing::debug!(operation = call.operation, attempt, error = %failed.error, "repeated");
            self.clock.sleep(pause).await;
            attempt += 1;
        }
    }

    fn rest_left(&self) -> Option<Duration> {
        let left = (*self.rests())?.saturating_duration_since(self.clock.instant());
        (!left.is_zero()).then_some(left)
    }

    fn rests(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rests_until.lock().expect("no panic while it is held")
    }

    async fn attempt(&self, call: &Call<'_>) -> std::result::Result<Option<Value>, Failed> {
        let is_read = call.method == Method::GET;
        let lost = |reason: String, may_have_happened: bool| Failed {
            error: TrackerError::Unavailable {
                operation: call.operation,
                reason,
                retry_after: None,
                may_have_happened,
            },
            is_repeatable: !may_have_happened,
        };
        // Without a connection nothing was sent, so nothing can have happened.
        let response = self
            .request(call)
            .send()
            .await
            .map_err(|error| lost(causes(&error), !is_read && !error.is_connect()))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let bytes = read(response).await.map_err(|reason| lost(reason, !is_read))?;
        if status.is_success() {
            return parse(call.operation, &bytes)
                .map(Some)
                .map_err(|error| Failed { error, is_repeatable: false });
        }
        if status == StatusCode::NOT_FOUND && is_read {
            return Ok(None);
        }
        let is_repeatable =
            status == StatusCode::TOO_MANY_REQUESTS || (is_read && status.is_server_error());
        Err(Failed { error: refusal(call, status, retry_after, &bytes), is_repeatable })
    }

    fn request(&self, call: &Call<'_>) -> RequestBuilder {
        let path: Vec<&str> = ["rest", "api", "3"].iter().chain(call.path).copied().collect();
        let mut request = self
            .client
            .request(call.method.clone(), self.url(&path))
            .header(header::ACCEPT, "application/json")
            .query(call.query);
        request = match self.auth {
            Auth::Basic => request.basic_auth(&self.user, Some(self.token.reveal())),
            Auth::Bearer => request.bearer_auth(self.token.reveal()),
        };
        match call.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("settings refuse an address that cannot be a base")
            .pop_if_empty()
            .extend(segments);
        url
    }
}

/// Reads an answer up to the limit; the rest of a longer one is not waited for.
async fn read(mut response: Response) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES {
            return Err(format!("answer longer than {ANSWER_BYTES} bytes"));
        }
    }
    Ok(bytes)
}

fn parse(operation: &'static str, bytes: &[u8]) -> Result<Value> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes)
        .map_err(|error| TrackerError::BadAnswer { operation, reason: error.to_string() })
}

fn refusal(
    call: &Call<'_>,
    status: StatusCode,
    retry_after: Option<Duration>,
    bytes: &[u8],
) -> TrackerError {
    let (operation, messages) = (call.operation, messages(bytes));
    let later = |may_have_happened| TrackerError::Unavailable {
        operation,
        reason: format!("{status}: {}", messages.join("; ")),
        retry_after,
        may_have_happened,
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let reason = messages.join("; ");
            TrackerError::Unauthorised { operation, status: status.as_u16(), reason }
        }
        StatusCode::NOT_FOUND => TrackerError::NotFound {
            operation,
            key: call.path.get(1).copied().unwrap_or_default().to_owned(),
        },
        // A conflict is another writer at the same moment: nothing of this call was done.
        StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT => later(false),
        status if status.is_client_error() || status.is_redirection() => {
            TrackerError::Refused { operation, status: status.as_u16(), messages }
        }
        _ => later(call.method != Method::GET),
    }
}

/// Jira's own words: `errorMessages`, and `errors` by field.
fn messages(bytes: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let general = body["errorMessages"].as_array().into_iter().flatten();
    let general = general.filter_map(Value::as_str).map(str::to_owned);
    let by_field = body["errors"].as_object().into_iter().flatten();
    let by_field =
        by_field.map(|(field, text)| format!("{field}: {}", text.as_str().unwrap_or("")));
    let all: Vec<String> =
        general.chain(by_field).take(20).map(|text| clean_line(&text, 300)).collect();
    if all.is_empty() { vec!["no reason given".into()] } else { all }
}

/// `Retry-After` in seconds. Its date form, which Jira does not send, counts as absent.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An error with its causes on one line. The address is left out: it may hold a site's secrets.
fn causes(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "deadline passed".to_owned() } else { String::new() };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() { "connection failed".into() } else { clean_line(&text, 300) }
}
