//! The Prometheus HTTP API, as far as it is needed:
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>. Every request has a deadline and
//! every answer a bound.

use std::collections::BTreeMap;
use std::time::Duration;

use a2a_types::mcp::metrics::{Point, Sample, Series};
use futures::StreamExt;
use jiff::Timestamp;
use rpc::mcp::server::ToolError;
use serde_json::Value;
use service::Secret;
use url::Url;

/// The longest piece of a backend's answer quoted in an error.
const QUOTED: usize = 300;

#[derive(Clone, Debug)]
pub(super) struct Prometheus {
    http: reqwest::Client,
    base: String,
    token: Option<Secret>,
    timeout: Duration,
    answer_bytes: usize,
}

/// A result and what the backend remarked on it.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) result: Vec<T>,
    pub(super) warnings: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Value,
}

#[derive(serde::Deserialize)]
struct RawSample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

#[derive(serde::Deserialize)]
struct RawSeries {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl Prometheus {
    pub(super) fn new(
        url: &Url,
        token: Option<Secret>,
        timeout: Duration,
        answer_bytes: usize,
    ) -> reqwest::Result<Self> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(timeout.min(Duration::from_secs(3)))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true);
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            http = http.no_proxy();
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http: http.build()?, base, token, timeout, answer_bytes })
    }

    /// An instant query; scalars come back as one sample without labels.
    pub(super) async fn query(
        &self,
        query: &str,
        time: Timestamp,
        timeout: Option<Duration>,
    ) -> Result<Answer<Sample>, ToolError> {
        let form = [("query", query.to_owned()), ("time", seconds(time))];
        let (data, warnings) = self.ask("/api/v1/query", &form, timeout).await?;
        let result = match data.result_type.as_str() {
            "vector" => read::<Vec<RawSample>>(data.result)?
                .into_iter()
                .map(|raw| sample(raw.metric, raw.value))
                .collect::<Result<_, _>>()?,
            "scalar" => vec![sample(BTreeMap::new(), read(data.result)?)?],
            other => {
                let message = format!("the query gives a {other}, not an instant vector");
                return Err(ToolError::refused("query", message));
            }
        };
        Ok(Answer { result, warnings })
    }

    pub(super) async fn query_range(
        &self,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step_seconds: f64,
        timeout: Option<Duration>,
    ) -> Result<Answer<Series>, ToolError> {
        let form = [
            ("query", query.to_owned()),
            ("start", seconds(start)),
            ("end", seconds(end)),
            ("step", format!("{step_seconds}")),
        ];
        let (data, warnings) = self.ask("/api/v1/query_range", &form, timeout).await?;
        let result = read::<Vec<RawSeries>>(data.result)?
            .into_iter()
            .map(|raw| {
                let points = raw.values.into_iter().map(point).collect::<Result<_, _>>()?;
                Ok(Series { labels: raw.metric, points })
            })
            .collect::<Result<_, ToolError>>()?;
        Ok(Answer { result, warnings })
    }

    async fn ask(
        &self,
        path: &str,
        form: &[(&str, String)],
        timeout: Option<Duration>,
    ) -> Result<(Data, Vec<String>), ToolError> {
        let timeout = timeout.unwrap_or(self.timeout).min(self.timeout);
        let mut request = self
            .http
            .post(format!("{}{path}", self.base))
            .timeout(timeout)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encode(form));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        let response = request.send().await.map_err(|error| self.unavailable(&error))?;
        let status = response.status();
        let body = self.body(response).await?;
        let Ok(envelope) = serde_json::from_slice::<Envelope>(&body) else {
            let text = String::from_utf8_lossy(&body);
            let quoted: String = text.chars().take(QUOTED).collect();
            return Err(ToolError::Unavailable(format!("Prometheus: HTTP {status}: {quoted:?}")));
        };
        match envelope.data {
            Some(data) if envelope.status == "success" => Ok((data, envelope.warnings)),
            _ => Err(refusal(
                envelope.error_type.as_deref().unwrap_or_default(),
                &envelope.error.unwrap_or_else(|| format!("HTTP {status}")),
            )),
        }
    }

    async fn body(&self, response: reqwest::Response) -> Result<Vec<u8>, ToolError> {
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(|error| self.unavailable(&error))?);
            if body.len() > self.answer_bytes {
                let message =
                    format!("the answer is larger than {} bytes: narrow it", self.answer_bytes);
                return Err(ToolError::refused("query", message));
            }
        }
        Ok(body)
    }

    fn unavailable(&self, error: &reqwest::Error) -> ToolError {
        let mut text = format!("Prometheus at {}", self.base);
        if error.is_timeout() {
            text.push_str(" did not answer in time");
        } else {
            text.push_str(" does not answer");
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
        }
        ToolError::Unavailable(text)
    }
}

/// <https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview>
fn refusal(error_type: &str, message: &str) -> ToolError {
    let message: String = message.chars().take(1000).collect();
    match error_type {
        "bad_data" => ToolError::refused("query", message),
        "execution" => ToolError::Failed(message),
        _ => ToolError::Unavailable(format!("Prometheus: {error_type} {message}")),
    }
}

fn encode(form: &[(&str, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

fn read<T: serde::de::DeserializeOwned>(result: Value) -> Result<T, ToolError> {
    serde_path_to_error::deserialize(result)
        .map_err(|error| ToolError::Failed(format!("Prometheus answered unexpectedly: {error}")))
}

fn sample(labels: BTreeMap<String, String>, raw: (f64, String)) -> Result<Sample, ToolError> {
    let Point { time, value } = point(raw)?;
    Ok(Sample { labels, time, value })
}

fn point((at, text): (f64, String)) -> Result<Point, ToolError> {
    let unexpected = |what: &str| ToolError::Failed(format!("Prometheus answered {what}"));
    let time = timestamp(at).ok_or_else(|| unexpected("a time out of range"))?;
    let value: f64 = text.parse().map_err(|_| unexpected("a value that is not a number"))?;
    Ok(Point { time, value: value.is_finite().then_some(value) })
}

/// Seconds since the epoch, in milliseconds' resolution as Prometheus stores them.
pub(super) fn timestamp(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok()
}

fn seconds(time: Timestamp) -> String {
    format!("{:.3}", time.as_millisecond() as f64 / 1000.0)
}
