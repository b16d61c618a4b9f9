//! The JSON-RPC 2.0 envelope (<https://www.jsonrpc.org/specification>).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{A2aError, ErrorObject};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub jsonrpc: String,
    pub id: Id,
    pub method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
}

/// A request's id, sent back as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    Number(serde_json::Number),
    Text(String),
    Null,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    pub jsonrpc: String,
    pub id: Id,
    #[serde(flatten)]
    pub payload: ResponsePayload,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponsePayload {
    Result(Value),
    Error(ErrorObject),
}

impl Request {
    pub fn new(id: Id, method: &str, params: Value) -> Self {
        Self { jsonrpc: "2.0".into(), id, method: method.into(), params: Some(params) }
    }
}

impl Response {
    pub fn result(id: Id, result: Value) -> Self {
        Self { jsonrpc: "2.0".into(), id, payload: ResponsePayload::Result(result) }
    }

    pub fn error(id: Id, error: ErrorObject) -> Self {
        Self { jsonrpc: "2.0".into(), id, payload: ResponsePayload::Error(error) }
    }
}

/// Reads one request.
///
/// # Errors
/// The body is no JSON, or no request of JSON-RPC 2.0 with an object as its parameters. The id is
/// the request's where it can be told, or null.
pub fn parse(body: &[u8]) -> Result<Request, (Id, A2aError)> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| (Id::Null, A2aError::Parse(error.to_string())))?;
    if value.is_array() {
        return Err((Id::Null, A2aError::InvalidRequest("batches are not supported".into())));
    }
    let id = value.get("id").cloned().and_then(|id| serde_json::from_value(id).ok());
    let id = id.unwrap_or(Id::Null);
    let invalid = |why: &str| (id.clone(), A2aError::InvalidRequest(why.into()));
    if value.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid("`jsonrpc` must be \"2.0\""));
    }
    if value.get("id").is_none_or(|id| !(id.is_string() || id.is_number() || id.is_null())) {
        return Err(invalid("`id` must be a string, a number or null"));
    }
    if !value.get("method").is_some_and(Value::is_string) {
        return Err(invalid("`method` must be a string"));
    }
    if value.get("params").is_some_and(|params| !params.is_object()) {
        return Err((id, A2aError::invalid_field("params", "must be an object")));
    }
    serde_json::from_value(value).map_err(|error| (id, A2aError::InvalidRequest(error.to_string())))
}
