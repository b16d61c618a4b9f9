//! The JSON-RPC 2.0 envelope (<https://www.jsonrpc.org/specification>).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ErrorObject;

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
