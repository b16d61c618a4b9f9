//! Answers of the HTTP+JSON binding. Versions 1.0.0 and 1.0.1 of the specification name different
//! content types: whoever shows to know `application/a2a+json` gets it, anyone else plain JSON,
//! which every client reads.

use a2a_types::{A2aError, TaskEvent};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::a2a::media_type::essence;
use crate::a2a::server::admission;
use crate::a2a::server::refusal::Refusal;

const A2A_JSON: &str = "application/a2a+json";

/// The content type of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form(&'static str);

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let names = |header| admission::text_of(headers, header).unwrap_or_default();
        let mut shown = names("accept").split(',').chain([names("content-type")]);
        Self(if shown.any(|name| essence(name) == A2A_JSON) {
            A2A_JSON
        } else {
            "application/json"
        })
    }

    pub(super) fn answer(self, result: &impl Serialize) -> Response {
        let body = serde_json::to_vec(result).expect("answers have string keys only");
        ([(header::CONTENT_TYPE, self.0)], body).into_response()
    }

    pub(super) fn refuse(self, refusal: Refusal) -> Response {
        let body = status(refusal.status, &refusal.error).to_string();
        refusal.respond(self.0, body)
    }
}

/// An error as `google.rpc.Status` is written in HTTP (AIP-193).
fn status(status: StatusCode, error: &A2aError) -> Value {
    json!({"error": {
        "code": status.as_u16(),
        "status": error.status().1,
        "message": error.to_string(),
        "details": error.details(),
    }})
}

/// An event of a stream: the object itself, or the error that ends the stream before its task.
pub(super) fn write_event(event: Result<TaskEvent, A2aError>) -> Event {
    match event {
        Ok(TaskEvent { sequence, event }) => {
            let data = serde_json::to_string(&event).expect("events have string keys only");
            Event::default().id(sequence.to_string()).data(data)
        }
        Err(error) => {
            let body = status(Refusal::from(error.clone()).status, &error);
            Event::default().event("error").data(body.to_string())
        }
    }
}
