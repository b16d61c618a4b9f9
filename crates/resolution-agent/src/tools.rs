//! The two MCP tools this agent uses: system-monitor to see, deployment-system to act.

use std::time::Duration;

use a2a_types::mcp::deployment::{Change, ChangeRequest, STATUS, StatusInput, StatusOutput};
use a2a_types::mcp::metrics::{
    QUERY, QUERY_RANGE, QueryInput, QueryOutput, QueryRangeInput, QueryRangeOutput,
};
use anyhow::Context;
use incident::Comparison;
use incident::verification::Reading;
use jiff::{SignedDuration, Timestamp};
use rpc::Http;
use rpc::mcp::client::{Client, McpError, Options};
use service::Secret;
use url::Url;

use crate::{Config, NAME};

/// Backends keep times in milliseconds.
const ROUNDING: SignedDuration = SignedDuration::from_millis(1);

#[derive(Clone, Debug)]
pub(crate) struct Tools {
    monitor: Client,
    deployment: Client,
    query_deadline: Duration,
}

impl Tools {
    pub(crate) fn new(config: &Config, http: Http) -> anyhow::Result<Self> {
        let token = config.deployment_token()?;
        let options = |token: Option<Secret>| Options {
            client_name: NAME,
            bearer_token: token.map(|token| token.reveal().to_owned()),
            http: http.clone(),
            ..Options::default()
        };
        let client = |url: &Url, token| {
            Client::new(endpoint(url), options(token)).context("build the HTTP client")
        };
        Ok(Self {
            monitor: client(&config.system_monitor_url, None)?,
            deployment: client(&config.deployment_system_url, token)?,
            query_deadline: config.query_deadline(),
        })
    }

    /// Evaluates `query` at `now`. Of several series the worst one counts: all must pass.
    pub(crate) async fn read(
        &self,
        query: &str,
        comparison: Comparison,
        now: Timestamp,
    ) -> Reading {
        let input = QueryInput { query: query.to_owned(), time: Some(now) };
        let answer = self.monitor.call::<_, QueryOutput>(QUERY, &input, self.query_deadline).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let value = Err(format!("the query failed: {error}"));
                return reading(now, None, value);
            }
        };
        // What the tool says of another time says nothing of now, and its clock ends no wait of ours.
        let value = if answer.range.end.duration_since(now).abs() > ROUNDING {
            Err(format!("the answer is of {}, not of {now}", answer.range.end))
        } else if answer.samples.is_empty() {
            Err("no data".to_owned())
        } else {
            let values = answer.samples.iter().map(|sample| sample.value);
            comparison.worst(values).ok_or_else(|| "not one number".to_owned())
        };
        reading(now, answer.newest, value)
    }

    /// The worst value of `query` within `span` before `now`, looked at every `step`; `None` where
    /// nothing is to be had.
    pub(crate) async fn worst_within(
        &self,
        query: &str,
        comparison: Comparison,
        now: Timestamp,
        (span, step): (Duration, Duration),
    ) -> Option<f64> {
        let start = now.checked_sub(span).ok()?;
        let step_seconds = step.as_secs_f64();
        let input = QueryRangeInput { query: query.to_owned(), start, end: now, step_seconds };
        let answer =
            self.monitor.call::<_, QueryRangeOutput>(QUERY_RANGE, &input, self.query_deadline);
        let answer = answer.await.inspect_err(|error| tracing::debug!(%error, query)).ok()?;
        let points = answer.series.iter().flat_map(|series| &series.points);
        comparison.worst(points.map(|point| point.value).filter(Option::is_some))
    }

    pub(crate) async fn change(
        &self,
        action: &str,
        request: &ChangeRequest,
        timeout: Duration,
    ) -> Result<Change, McpError> {
        self.deployment.call(action, request, timeout).await
    }

    pub(crate) async fn status(&self, of: &StatusInput) -> Result<StatusOutput, McpError> {
        self.deployment.call(STATUS, of, self.query_deadline).await
    }
}

/// A reading by itself; how far a verification has come is for that to say.
fn reading(
    evaluated_at: Timestamp,
    newest: Option<Timestamp>,
    value: Result<f64, String>,
) -> Reading {
    Reading { evaluated_at, elapsed: Duration::ZERO, newest, value }
}

fn endpoint(url: &Url) -> Url {
    let mut endpoint = url.clone();
    if matches!(url.path(), "" | "/") {
        endpoint.set_path(rpc::mcp::PATH);
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_that_of_mcp() {
        let endpoint = |text: &str| endpoint(&text.parse().unwrap()).to_string();
        assert_eq!(endpoint("http://tools:5120"), "http://tools:5120/mcp");
        assert_eq!(endpoint("http://tools:5120/"), "http://tools:5120/mcp");
        assert_eq!(endpoint("https://tools/third/party"), "https://tools/third/party");
    }
}
