//! MCP over a function that stands in for the network. Speaks what our own servers answer: JSON,
//! without sessions and without streams.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;
use http::{HeaderName, HeaderValue, Request, header};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::Sse;

use crate::http::Exchange;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ACCEPTED: HeaderValue = HeaderValue::from_static("text/event-stream, application/json");

#[derive(Clone)]
pub(super) struct OverExchange {
    pub(super) exchange: Exchange,
    /// A larger answer is an error.
    pub(super) answer_bytes: usize,
}

type Failure = StreamableHttpError<io::Error>;

impl StreamableHttpClient for OverExchange {
    type Error = io::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        _session: Option<Arc<str>>,
        token: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let mut request = Request::post(&*uri)
            .header(header::CONTENT_TYPE, JSON)
            .header(header::ACCEPT, ACCEPTED);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(known) = request.headers_mut() {
            known.extend(headers);
        }
        let request = request.body(serde_json::to_vec(&message)?).map_err(io::Error::other)?;
        let answer = (self.exchange)(request).await.map_err(StreamableHttpError::Client)?;
        let (head, mut body) = answer.into_parts();
        let mut read = Vec::new();
        while let Some(piece) = body.try_next().await.map_err(StreamableHttpError::Client)? {
            if read.len() + piece.len() > self.answer_bytes {
                return Err(Failure::ResponseBodyTooLarge { max_size: self.answer_bytes });
            }
            read.extend(piece);
        }
        if head.status.is_success() && read.is_empty() {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        match serde_json::from_slice(&read) {
            Ok(message) => Ok(StreamableHttpPostResponse::Json(message, None)),
            Err(_) => Err(Failure::UnexpectedServerResponse(head.status.to_string().into())),
        }
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        _session: Arc<str>,
        _token: Option<String>,
        _headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        Err(Failure::ServerDoesNotSupportDeleteSession)
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        _session: Option<Arc<str>>,
        _last_event_id: Option<String>,
        _token: Option<String>,
        _headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        Err(Failure::ServerDoesNotSupportSse)
    }
}
