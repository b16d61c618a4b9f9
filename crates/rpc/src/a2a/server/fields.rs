//! From a JSON object to a typed request. Every error names the field by its path. What is nested
//! too deep is refused here, once for all bindings: a task keeps what its caller wrote inside
//! objects of its own, and must stay readable for a parser with a limit.

use a2a_types::A2aError;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Levels of objects and arrays in one field. Parsers of JSON commonly take 100, or 128 as ours
/// does; the difference is for the objects around it.
const LEVELS: usize = 64;

pub(super) fn parse<T: DeserializeOwned>(params: Value) -> Result<T, A2aError> {
    let mut fields = params.as_object().into_iter().flatten();
    if let Some((field, _)) = fields.find(|(_, value)| is_deeper(value, LEVELS)) {
        let why = format!("must not be nested deeper than {LEVELS} levels");
        return Err(A2aError::invalid_field(field, why));
    }
    serde_path_to_error::deserialize(params).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        A2aError::invalid_field(field_at_fault(&path, &why), why)
    })
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(items), Some(rest)) => items.iter().any(|item| is_deeper(item, rest)),
        (Value::Object(fields), Some(rest)) => fields.values().any(|field| is_deeper(field, rest)),
        (Value::Array(_) | Value::Object(_), None) => true,
        _ => false,
    }
}

/// The path of a field, down to the one that is missing.
fn field_at_fault(path: &str, why: &str) -> String {
    let missing = why.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match (path, missing) {
        (".", None) => "params".to_owned(),
        (".", Some(missing)) => missing.to_owned(),
        (path, None) => path.to_owned(),
        (path, Some(missing)) => format!("{path}.{missing}"),
    }
}
