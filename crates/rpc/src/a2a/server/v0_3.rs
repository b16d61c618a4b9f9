//! The interface for callers that still speak 0.3: JSON-RPC only, at its own address, and only
//! where a setting asks for it. It translates; what a request does stands in `operations`.

mod card;
mod inbound;
mod outbound;

use a2a_types::{
    A2aError, GetExtendedAgentCardRequest, Id, Request as Envelope, Response as Answer,
    SendMessageResponse, TaskEvent, VERSION_HEADER,
};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use serde_json::{Value, json};
use tracing::Instrument;

use super::admission::{Call, text_of};
use super::json_rpc::{failed, receive, respond, to_json};
use super::stream::{Events, last_event_id};
use super::{Inner, Server, fields};

pub(super) use card::{document, offered_by};
use inbound::{OnePushParams, SendParams, SetPushParams, TaskParams};

/// The codes that 0.3 knows; others are internal errors to its callers.
const KNOWN_CODES: std::ops::RangeInclusive<i64> = -32007..=-32001;
const JSON_RPC_CODES: [i64; 5] = [-32700, -32600, -32601, -32602, -32603];

pub(super) async fn serve(State(server): State<Server>, request: Request) -> Response {
    let span = tracing::info_span!("a2a.request", a2a.version = "0.3");
    crate::trace::adopt(&span, request.headers());
    answer(&server.0, request).instrument(span).await
}

async fn answer(server: &Inner, request: Request) -> Response {
    let headers = request.headers().clone();
    let (call, request) = match receive(server, request).await {
        Ok(received) => received,
        Err(answer) => return *answer,
    };
    let id = request.id.clone();
    match check_version(&headers) {
        Ok(()) => dispatch(server, call, request, &headers).await,
        Err(error) => failed(id, known_to_0_3(error)),
    }
}

/// Callers of 0.3 name no version; one who names another is at the wrong address.
fn check_version(headers: &HeaderMap) -> Result<(), A2aError> {
    match text_of(headers, VERSION_HEADER).map(str::trim) {
        None | Some("" | "0.3") => Ok(()),
        Some(version) if version.starts_with("0.3.") => Ok(()),
        Some(version) => {
            let why = format!("this address speaks A2A 0.3 alone, not {version}");
            Err(A2aError::InvalidRequest(why))
        }
    }
}

async fn dispatch(server: &Inner, call: Call, request: Envelope, headers: &HeaderMap) -> Response {
    let id = request.id;
    let params = request.params.unwrap_or_else(|| json!({}));
    let events = match request.method.as_str() {
        "message/stream" => stream_message(server, call, params).await,
        "tasks/resubscribe" => resubscribe(server, call, params, headers).await,
        method => {
            let result = run(server, call, method, params).await;
            return match result {
                Ok(result) => respond(&Answer::result(id, result)),
                Err(error) => failed(id, known_to_0_3(error)),
            };
        }
    };
    match events {
        Ok(events) => events.respond(server.options.keep_alive, move |event| write(&id, event)),
        Err(error) => failed(id, known_to_0_3(error)),
    }
}

async fn stream_message(server: &Inner, call: Call, params: Value) -> Result<Events, A2aError> {
    let params: SendParams = fields::parse(params)?;
    server.operations.clone().stream_message(call, params.into_request()).await
}

async fn resubscribe(
    server: &Inner,
    call: Call,
    params: Value,
    headers: &HeaderMap,
) -> Result<Events, A2aError> {
    let params: TaskParams = fields::parse(params)?;
    let after = last_event_id(headers)?;
    server.operations.clone().subscribe_to_task(call, params.into_subscribe(), after).await
}

/// The methods with one answer each.
async fn run(server: &Inner, call: Call, method: &str, params: Value) -> Result<Value, A2aError> {
    let operations = server.operations.clone();
    match method {
        "message/send" => {
            let params: SendParams = fields::parse(params)?;
            Ok(match operations.send_message(call, params.into_request()).await? {
                SendMessageResponse::Task(task) => outbound::task(&task),
                SendMessageResponse::Message(message) => outbound::message(&message),
            })
        }
        "tasks/get" => {
            let params: TaskParams = fields::parse(params)?;
            Ok(outbound::task(&operations.get_task(call, params.into_get()).await?))
        }
        "tasks/cancel" => {
            let params: TaskParams = fields::parse(params)?;
            Ok(outbound::task(&operations.cancel_task(call, params.into_cancel()).await?))
        }
        "tasks/pushNotificationConfig/set" => {
            let params: SetPushParams = fields::parse(params)?;
            let config = operations.create_push(call, params.into_config()).await?;
            Ok(outbound::push_config(&config))
        }
        "tasks/pushNotificationConfig/get" => {
            let params: OnePushParams = fields::parse(params)?;
            get_push(server, call, params).await
        }
        "tasks/pushNotificationConfig/list" => {
            let params: TaskParams = fields::parse(params)?;
            let listed = operations.list_pushes(call, params.into_list_pushes()).await?;
            Ok(Value::Array(listed.configs.iter().map(outbound::push_config).collect()))
        }
        "tasks/pushNotificationConfig/delete" => {
            let params: OnePushParams = fields::parse(params)?;
            operations.delete_push(call, params.into_request()).await?;
            Ok(Value::Null)
        }
        "agent/getAuthenticatedExtendedCard" => {
            let request = GetExtendedAgentCardRequest::default();
            let card = operations.get_extended_agent_card(call, request).await?;
            Ok(document(&card))
        }
        other => Err(A2aError::MethodNotFound(other.to_owned())),
    }
}

/// 0.3 lets a caller leave the name of the configuration out: it then means the first.
async fn get_push(server: &Inner, call: Call, params: OnePushParams) -> Result<Value, A2aError> {
    let operations = server.operations.clone();
    if params.is_named() {
        let config = operations.get_push(call, params.into_request()).await?;
        return Ok(outbound::push_config(&config));
    }
    let task_id = params.task_id().to_owned();
    let listed = operations.list_pushes(call, params.into_list()).await?;
    let first = listed.configs.first().map(outbound::push_config);
    first.ok_or_else(|| A2aError::TaskNotFound(format!("{task_id} has no configuration")))
}

fn write(id: &Id, event: Result<TaskEvent, A2aError>) -> Event {
    match event {
        Ok(event) => {
            let result = outbound::event(&event.event);
            let data = to_json(&Answer::result(id.clone(), result));
            Event::default().data(data).id(event.sequence.to_string())
        }
        Err(error) => {
            let object = known_to_0_3(error).to_object();
            Event::default().data(to_json(&Answer::error(id.clone(), object)))
        }
    }
}

/// The error, or one that callers of 0.3 know instead. Those of HTTP stay what they are.
fn known_to_0_3(error: A2aError) -> A2aError {
    let code = error.code();
    let is_known = KNOWN_CODES.contains(&code) || JSON_RPC_CODES.contains(&code) || code == -32000;
    if is_known { error } else { A2aError::Internal(error.to_string()) }
}
