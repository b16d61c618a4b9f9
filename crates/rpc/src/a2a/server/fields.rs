//! From a JSON object to a typed request. Every error names the field by its path.

use a2a_types::A2aError;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) fn parse<T: DeserializeOwned>(params: Value) -> Result<T, A2aError> {
    serde_path_to_error::deserialize(params).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        A2aError::invalid_field(field_at_fault(&path, &why), why)
    })
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
