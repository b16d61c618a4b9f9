//! Building blocks of the schemas. Inputs refuse unknown fields; outputs leave room for new ones.

use serde_json::{Map, Value, json};

/// One field of an object.
pub(super) struct Property {
    name: &'static str,
    schema: Value,
    is_required: bool,
}

pub(super) fn required(name: &'static str, schema: Value) -> Property {
    Property { name, schema, is_required: true }
}

pub(super) fn optional(name: &'static str, schema: Value) -> Property {
    Property { name, schema, is_required: false }
}

/// An input object: every field not listed is refused.
pub(super) fn input<const N: usize>(fields: [Property; N]) -> Value {
    let mut schema = output(fields);
    schema["additionalProperties"] = json!(false);
    schema
}

/// An output object: fields added by a newer server are tolerated.
pub(super) fn output<const N: usize>(fields: [Property; N]) -> Value {
    let is_required = |field: &&Property| field.is_required;
    let required: Vec<_> = fields.iter().filter(is_required).map(|field| field.name).collect();
    let required = json!(required);
    let properties: Map<String, Value> =
        fields.into_iter().map(|field| (field.name.to_owned(), field.schema)).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

pub(super) fn text(description: &str, max_length: u32) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": max_length, "description": description
    })
}

pub(super) fn any_text() -> Value {
    json!({"type": "string"})
}

pub(super) fn time(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(super) fn number() -> Value {
    json!({"type": "number"})
}

pub(super) fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

pub(super) fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// The schema, or null.
pub(super) fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

pub(super) fn labels() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

pub(super) fn range() -> Value {
    output([required("start", time("Begin")), required("end", time("End"))])
}

/// A server, service or other target by its inventory name.
pub(super) fn target(description: &str) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": "^[a-zA-Z0-9_.:-]+$", "description": description
    })
}
