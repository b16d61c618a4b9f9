//! The events of one stream, in order, as the peer sends them.

use std::time::Duration;

use a2a_types::{StreamResponse, Task};
use http::header;
use tokio::time::{Instant, timeout_at};

use super::ClientError;
use super::binding::Endpoint;
use super::sse::Parser;
use crate::a2a::media_type::essence;

/// A stream of one task's events.
#[derive(Debug)]
pub struct EventStream {
    endpoint: Endpoint,
    request_id: u64,
    source: Source,
    last_event_id: Option<String>,
}

#[derive(Debug)]
enum Source {
    Events {
        response: Box<reqwest::Response>,
        parser: Parser,
        idle: Duration,
        alive_at: Instant,
    },
    /// A peer that answered at once, without a stream.
    Single(Option<Vec<u8>>),
}

impl EventStream {
    /// Reads `response` as a stream that dies when it is silent for `idle`.
    pub(super) fn new(
        endpoint: Endpoint,
        request_id: u64,
        response: reqwest::Response,
        event_bytes: usize,
        idle: Duration,
    ) -> Self {
        let (response, parser) = (Box::new(response), Parser::new(event_bytes));
        let source = Source::Events { response, parser, idle, alive_at: Instant::now() };
        Self { endpoint, request_id, source, last_event_id: None }
    }

    /// A stream of the one result in `body`.
    pub(super) fn single(endpoint: Endpoint, request_id: u64, body: Vec<u8>) -> Self {
        Self { endpoint, request_id, source: Source::Single(Some(body)), last_event_id: None }
    }

    /// The next event; `None` when the peer ended the stream. May be dropped and called again.
    ///
    /// # Errors
    /// The stream broke, fell silent, or carried something that is no event.
    pub async fn next(&mut self) -> Result<Option<StreamResponse>, ClientError> {
        let Some(data) = self.data().await? else { return Ok(None) };
        let result = self.endpoint.unwrap(&data, self.request_id)?;
        let event = serde_json::from_value(result.clone()).or_else(|error| {
            // Some peers answer a subscription with the bare task.
            serde_json::from_value::<Task>(result).map(StreamResponse::Task).map_err(|_| error)
        });
        event.map(Some).map_err(|error| ClientError::InvalidAnswer {
            url: self.endpoint.url.to_string(),
            why: error.to_string(),
        })
    }

    /// The id of the last event, where the peer gives ids: a new stream can go on from there.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    async fn data(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let url = || self.endpoint.url.to_string();
        let broken = |why: String| ClientError::Interrupted { url: url(), why };
        let (response, parser, idle, alive_at) = match &mut self.source {
            Source::Single(body) => return Ok(body.take()),
            Source::Events { response, parser, idle, alive_at } => {
                (response, parser, *idle, alive_at)
            }
        };
        loop {
            if let Some(event) = parser.pop() {
                self.last_event_id = event.id.filter(|id| !id.is_empty());
                if event.data.is_empty() {
                    continue;
                }
                return Ok(Some(event.data.into_bytes()));
            }
            match timeout_at(*alive_at + idle, response.chunk()).await {
                Err(_) => return Err(broken(format!("silent for {} s", idle.as_secs_f32()))),
                Ok(Err(error)) => return Err(broken(error.to_string())),
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(bytes))) => {
                    *alive_at = Instant::now();
                    let limit = parser.limit();
                    let url = url();
                    parser.push(&bytes).map_err(|_| ClientError::TooLarge { url, limit })?;
                }
            }
        }
    }
}

pub(super) fn is_event_stream(response: &reqwest::Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    essence(content_type) == "text/event-stream"
}
