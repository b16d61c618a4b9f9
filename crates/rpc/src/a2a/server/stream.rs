//! Streams of one task's events as server-sent events. A stream that is closed from outside leaves
//! its task alone; one that ends before its task says so.

use std::convert::Infallible;
use std::time::Duration;

use a2a_types::{A2aError, Message, StreamResponse, TaskEvent};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::admission::text_of;
use super::check;
use crate::a2a::limits::Permit;
use crate::a2a::tasks::Subscription;

/// What an open stream takes, until it is dropped.
pub(super) struct Place {
    pub(super) _of_all: OwnedSemaphorePermit,
    pub(super) _of_caller: Permit,
}

/// The events of a task to its end, or to an error.
pub(super) struct Events {
    first: Option<TaskEvent>,
    rest: BoxStream<'static, TaskEvent>,
    is_settled: bool,
    is_over: bool,
    _place: Place,
}

impl Events {
    /// The task, then its events; who goes on from a certain event has the task already.
    pub(super) fn of_task(
        subscription: Subscription,
        history_length: Option<i32>,
        place: Place,
    ) -> Self {
        let Subscription { task, sequence, is_continued, events } = subscription;
        let task = StreamResponse::Task(check::with_history(task, history_length));
        let first = (!is_continued).then_some(TaskEvent { sequence, event: task });
        Self { first, rest: events, is_settled: false, is_over: false, _place: place }
    }

    /// The one message that an agent answers without a task.
    pub(super) fn of_message(message: Message, place: Place) -> Self {
        let first = TaskEvent { sequence: 0, event: StreamResponse::Message(message) };
        let rest = futures::stream::empty().boxed();
        Self { first: Some(first), rest, is_settled: true, is_over: false, _place: place }
    }

    async fn next(&mut self) -> Option<Result<TaskEvent, A2aError>> {
        if self.is_over {
            return None;
        }
        let event = match self.first.take() {
            Some(first) => Some(first),
            None => self.rest.next().await,
        };
        match event {
            Some(event) => {
                self.is_settled = settles(&event.event).unwrap_or(self.is_settled);
                Some(Ok(event))
            }
            None if self.is_settled => None,
            None => {
                self.is_over = true;
                let why = "the stream ends before its task; subscribe again".to_owned();
                Some(Err(A2aError::Unavailable(why)))
            }
        }
    }

    /// The answer of HTTP; `write` gives each event the form of its binding.
    pub(super) fn respond(
        self,
        keep_alive: Duration,
        write: impl Fn(Result<TaskEvent, A2aError>) -> Event + Send + 'static,
    ) -> Response {
        let events = futures::stream::unfold((self, write), |(mut events, write)| async move {
            let event = events.next().await?;
            Some((Ok::<_, Infallible>(write(event)), (events, write)))
        });
        let mut answer =
            Sse::new(events).keep_alive(KeepAlive::new().interval(keep_alive)).into_response();
        // A proxy that collects the answer first would hold events back.
        let unbuffered = HeaderName::from_static("x-accel-buffering");
        answer.headers_mut().insert(unbuffered, HeaderValue::from_static("no"));
        answer
    }
}

/// Whether nothing has to follow this event; `None` when it says nothing of it.
fn settles(event: &StreamResponse) -> Option<bool> {
    match event {
        StreamResponse::Task(task) => Some(task.status.state.is_settled()),
        StreamResponse::StatusUpdate(update) => Some(update.status.state.is_settled()),
        StreamResponse::Message(_) => Some(true),
        StreamResponse::ArtifactUpdate(_) => None,
    }
}

/// The event after which a subscriber wants to go on.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, A2aError> {
    let Some(id) = text_of(headers, "last-event-id").filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let number = id.parse().map_err(|_| {
        A2aError::invalid_field("Last-Event-ID", "must be the id of an event of this task")
    })?;
    Ok(Some(number))
}
