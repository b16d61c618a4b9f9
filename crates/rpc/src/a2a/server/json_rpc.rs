//! The JSON-RPC binding (specification section 9). axum owns the route, the headers, the envelope
//! and the two methods that stream; jsonrpsee dispatches the others.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use a2a_types::{
    A2aError, Id, Request as Envelope, Response as Answer, SendMessageRequest,
    SubscribeToTaskRequest, TaskEvent, envelope,
};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use jsonrpsee::types::Params;
use jsonrpsee::{Extensions, RpcModule};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tracing::Instrument;

use super::admission::{self, Call};
use super::operations::Operations;
use super::refusal::Refusal;
use super::stream::{Events, last_event_id};
use super::{Inner, Server, fields};

/// The code of errors that JSON-RPC leaves to servers.
const SERVER_ERROR: i64 = -32000;

/// The methods with one answer each.
pub(super) fn methods(operations: Operations) -> RpcModule<Operations> {
    let mut module = RpcModule::new(operations);
    register(&mut module, "SendMessage", Operations::send_message);
    register(&mut module, "GetTask", Operations::get_task);
    register(&mut module, "ListTasks", Operations::list_tasks);
    register(&mut module, "CancelTask", Operations::cancel_task);
    register(&mut module, "CreateTaskPushNotificationConfig", Operations::create_push);
    register(&mut module, "GetTaskPushNotificationConfig", Operations::get_push);
    register(&mut module, "ListTaskPushNotificationConfigs", Operations::list_pushes);
    register(&mut module, "DeleteTaskPushNotificationConfig", Operations::delete_push);
    register(&mut module, "GetExtendedAgentCard", Operations::get_extended_agent_card);
    module
}

fn register<T, R, F>(
    module: &mut RpcModule<Operations>,
    method: &'static str,
    operation: fn(Operations, Call, T) -> F,
) where
    T: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
    F: Future<Output = Result<R, A2aError>> + Send + 'static,
{
    let run = move |_: Params<'static>, operations: Arc<Operations>, extensions: Extensions| async move {
        let request: &Dispatched = extensions.get().expect("every request brings its own");
        let call = request.call.clone();
        let answer = match fields::parse(request.params.clone()) {
            Ok(params) => operation(Operations::clone(&operations), call, params).await,
            Err(error) => Err(error),
        };
        let write = |result| to_raw_value(&result).expect("results have string keys only");
        request.answer.set(answer.map(write)).expect("a method answers once");
    };
    module.register_async_method(method, run).expect("registered once");
}

/// A request on its way through jsonrpsee, which sees neither its parameters nor its answer: it
/// writes both into its log, credentials of push notifications included.
#[derive(Clone, Debug)]
struct Dispatched {
    call: Call,
    params: Value,
    answer: Arc<OnceLock<Result<Box<RawValue>, A2aError>>>,
}

pub(super) async fn serve(State(server): State<Server>, request: Request) -> Response {
    let span = tracing::info_span!("a2a.request");
    crate::trace::adopt(&span, request.headers());
    answer(&server.0, request).instrument(span).await
}

async fn answer(server: &Inner, request: Request) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let (call, request) = match receive(server, request).await {
        Ok(received) => received,
        Err(answer) => return *answer,
    };
    match server.admission.negotiate(&headers, &uri) {
        Ok(activated) => activated.declare(dispatch(server, call, request, &headers).await),
        Err(error) => failed(request.id, error),
    }
}

/// Who calls and what for, or the answer to a request that does not get so far.
pub(super) async fn receive(
    server: &Inner,
    request: Request,
) -> Result<(Call, Envelope), Box<Response>> {
    let read = read(server, request).await;
    let (call, body) = read.map_err(|refusal| Box::new(refused(Id::Null, refusal)))?;
    let envelope = envelope::parse(&body).map_err(|(id, error)| Box::new(failed(id, error)))?;
    Ok((call, envelope))
}

/// All that can be said of a request before its envelope is read.
async fn read(server: &Inner, request: Request) -> Result<(Call, Bytes), Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::method_not_allowed(request.method().as_str(), "POST"));
    }
    admission::check_url(request.uri(), &server.options)?;
    admission::check_content_type(request.headers())?;
    let call = server.admission.admit(&request)?;
    Ok((call, admission::read(request, server).await?))
}

async fn dispatch(server: &Inner, call: Call, request: Envelope, headers: &HeaderMap) -> Response {
    let id = request.id;
    let params = request.params.unwrap_or_else(|| json!({}));
    let events = match request.method.as_str() {
        "SendStreamingMessage" => stream_message(server, call, params).await,
        "SubscribeToTask" => subscribe(server, call, params, headers).await,
        method => return run(server, call, id, method, params).await,
    };
    match events {
        Ok(events) => events.respond(server.options.keep_alive, move |event| write(&id, event)),
        Err(error) => failed(id, error),
    }
}

async fn stream_message(server: &Inner, call: Call, params: Value) -> Result<Events, A2aError> {
    let request: SendMessageRequest = fields::parse(params)?;
    server.operations.clone().stream_message(call, request).await
}

async fn subscribe(
    server: &Inner,
    call: Call,
    params: Value,
    headers: &HeaderMap,
) -> Result<Events, A2aError> {
    let request: SubscribeToTaskRequest = fields::parse(params)?;
    let after = last_event_id(headers)?;
    server.operations.clone().subscribe_to_task(call, request, after).await
}

/// An event of a stream: the same response object that a single answer would be.
fn write(id: &Id, event: Result<TaskEvent, A2aError>) -> Event {
    match event {
        Ok(TaskEvent { sequence, event }) => {
            Event::default().id(sequence.to_string()).data(to_json(&Success::of(id, &event)))
        }
        Err(error) => Event::default().data(to_json(&Answer::error(id.clone(), error.to_object()))),
    }
}

#[derive(Serialize)]
struct Success<'a, T> {
    jsonrpc: &'static str,
    id: &'a Id,
    result: &'a T,
}

impl<'a, T> Success<'a, T> {
    fn of(id: &'a Id, result: &'a T) -> Self {
        Self { jsonrpc: "2.0", id, result }
    }
}

async fn run(server: &Inner, call: Call, id: Id, method: &str, params: Value) -> Response {
    if server.methods.method(method).is_none() {
        return failed(id, A2aError::MethodNotFound(method.to_owned()));
    }
    let answer = Arc::default();
    let mut methods = server.methods.clone();
    methods.extensions_mut().insert(Dispatched { call, params, answer: Arc::clone(&answer) });
    let inner = json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string();
    let dispatched = methods.raw_json_request(&inner, 1).await;
    match answer.get() {
        Some(Ok(result)) => respond(&Success::of(&id, result)),
        Some(Err(error)) => failed(id, error.clone()),
        None => {
            tracing::error!(?dispatched, method, "the dispatch of a method has no answer");
            failed(id, A2aError::Internal("the method has no answer".into()))
        }
    }
}

/// An error of the protocol has its own code, so HTTP says 200, except where a proxy or a client
/// library has to understand it too: authentication, rights, quota, capacity.
pub(super) fn failed(id: Id, error: A2aError) -> Response {
    match error.code() {
        SERVER_ERROR => refused(id, error.into()),
        _ => respond(&Answer::error(id, error.to_object())),
    }
}

fn refused(id: Id, refusal: Refusal) -> Response {
    let body = to_json(&Answer::error(id, refusal.error.to_object()));
    refusal.respond("application/json", body)
}

pub(super) fn respond(answer: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], to_json(answer)).into_response()
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("answers have string keys only")
}
