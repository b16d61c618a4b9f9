//! The HTTP+JSON binding (specification section 11, routes of the proto's annotations). A path, a
//! query and a body together become one request object, which is then read as in JSON-RPC.

mod answer;
mod query;
mod route;

use a2a_types::A2aError;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tracing::Instrument;

use self::answer::Form;
use self::route::{Operation, Target};
use super::admission::{self, Call};
use super::refusal::Refusal;
use super::stream::last_event_id;
use super::{Inner, REST_PATH, Server, fields};

pub(super) async fn serve(State(server): State<Server>, request: Request) -> Response {
    let span = tracing::info_span!("a2a.request");
    crate::trace::adopt(&span, request.headers());
    let form = Form::of(request.headers());
    let answer = answer(&server.0, request, form).instrument(span).await;
    answer.unwrap_or_else(|refusal| form.refuse(refusal))
}

async fn answer(server: &Inner, request: Request, form: Form) -> Result<Response, Refusal> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let headers = request.headers().clone();
    admission::check_url(&uri, &server.options)?;
    let path = uri.path().strip_prefix(REST_PATH).unwrap_or_default();
    let Target { operation, fields } = route::find(&method, path)?;
    let call = server.admission.admit(&request)?;
    let body = admission::read(request, server).await?;
    let activated = server.admission.negotiate(&headers, &uri)?;
    let params = match method {
        Method::POST => in_body(&headers, &body)?,
        _ => query::parse(uri.query().unwrap_or_default(), operation)?,
    };
    let params = bind(params, fields)?;
    let answer = perform(server, operation, call, params, &headers, form).await?;
    Ok(activated.declare(answer))
}

/// The request object of a body; none is an empty one, for methods whose path says it all.
fn in_body(headers: &HeaderMap, body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    admission::check_content_type(headers)?;
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(A2aError::invalid_field("body", "must be an object").into()),
        Err(error) => Err(A2aError::Parse(error.to_string()).into()),
    }
}

/// Adds what the path says. The rest of the request may say it again, but nothing else.
fn bind(
    mut params: Map<String, Value>,
    fields: Vec<(&'static str, String)>,
) -> Result<Value, A2aError> {
    for (name, value) in fields {
        let given = [params.remove(name), params.remove(&snake_case(name))];
        let given = given.into_iter().flatten().filter(|given| !given.is_null() && *given != "");
        if let Some(other) = given.into_iter().find(|given| *given != value.as_str()) {
            let why = format!("is {other} here and {value:?} in the path");
            return Err(A2aError::invalid_field(name, why));
        }
        params.insert(name.to_owned(), Value::String(value));
    }
    Ok(Value::Object(params))
}

fn snake_case(name: &str) -> String {
    let lower = |letter: char| match letter.is_ascii_uppercase() {
        true => format!("_{}", letter.to_ascii_lowercase()),
        false => letter.to_string(),
    };
    name.chars().map(lower).collect()
}

async fn perform(
    server: &Inner,
    operation: Operation,
    call: Call,
    params: Value,
    headers: &HeaderMap,
    form: Form,
) -> Result<Response, A2aError> {
    let operations = server.operations.clone();
    let keep_alive = server.options.keep_alive;
    match operation {
        Operation::SendMessage => {
            unary(form, params, |request| operations.send_message(call, request)).await
        }
        Operation::StreamMessage => {
            let events = operations.stream_message(call, fields::parse(params)?).await?;
            Ok(events.respond(keep_alive, answer::write_event))
        }
        Operation::GetTask => {
            unary(form, params, |request| operations.get_task(call, request)).await
        }
        Operation::ListTasks => {
            unary(form, params, |request| operations.list_tasks(call, request)).await
        }
        Operation::CancelTask => {
            unary(form, params, |request| operations.cancel_task(call, request)).await
        }
        Operation::SubscribeToTask => {
            let (request, after) = (fields::parse(params)?, last_event_id(headers)?);
            let events = operations.subscribe_to_task(call, request, after).await?;
            Ok(events.respond(keep_alive, answer::write_event))
        }
        Operation::CreatePush => {
            unary(form, params, |request| operations.create_push(call, request)).await
        }
        Operation::GetPush => {
            unary(form, params, |request| operations.get_push(call, request)).await
        }
        Operation::ListPushes => {
            unary(form, params, |request| operations.list_pushes(call, request)).await
        }
        Operation::DeletePush => {
            unary(form, params, |request| operations.delete_push(call, request)).await
        }
        Operation::GetExtendedAgentCard => {
            unary(form, params, |request| operations.get_extended_agent_card(call, request)).await
        }
    }
}

async fn unary<T, R, F>(
    form: Form,
    params: Value,
    operation: impl FnOnce(T) -> F,
) -> Result<Response, A2aError>
where
    T: DeserializeOwned,
    R: Serialize,
    F: Future<Output = Result<R, A2aError>>,
{
    Ok(form.answer(&operation(fields::parse(params)?).await?))
}
