//! A compiled JSON Schema that says which field breaks it. Resolves no reference outside itself,
//! and matches patterns in linear time, since schemas also come from servers we do not own.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

#[derive(Debug)]
pub(super) struct Schema(Validator);

/// The first way in which a value breaks its schema.
#[derive(Debug)]
pub(super) struct Violation {
    /// Dotted path; empty for the value as a whole.
    pub(super) field: String,
    pub(super) message: String,
}

impl Schema {
    pub(super) fn compile(schema: &Value) -> Result<Self, String> {
        jsonschema::options()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map(Self)
            .map_err(|error| bounded(&error.to_string()))
    }

    pub(super) fn check(&self, value: &Value) -> Result<(), Violation> {
        match self.0.iter_errors(value).next() {
            None => Ok(()),
            Some(error) => Err(violation(&error)),
        }
    }
}

fn violation(error: &ValidationError<'_>) -> Violation {
    let parent = error.instance_path().to_string();
    let mut path: Vec<String> = parent.split('/').skip(1).map(unescape).collect();
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            path.extend(property.as_str().map(str::to_owned));
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            path.extend(unexpected.first().cloned());
        }
        _ => {}
    }
    Violation { field: path.join("."), message: bounded(&error.to_string()) }
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// Messages quote the value at fault, which can be megabytes.
fn bounded(message: &str) -> String {
    const LONGEST: usize = 400;
    match message.char_indices().nth(LONGEST) {
        None => message.to_owned(),
        Some((cut, _)) => format!("{}…", &message[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use a2a_types::mcp::{ToolDefinition, deployment, logs, metrics};
    use serde_json::json;

    use super::*;

    fn definitions() -> impl Iterator<Item = ToolDefinition> {
        logs::TOOLS.into_iter().chain(metrics::TOOLS).chain(deployment::TOOLS)
    }

    #[test]
    fn every_schema_of_the_three_tools_compiles_and_has_an_object_at_its_root() {
        for tool in definitions() {
            for schema in [(tool.input_schema)(), (tool.output_schema)()] {
                Schema::compile(&schema).unwrap_or_else(|error| panic!("{}: {error}", tool.name));
                assert_eq!(schema["type"], "object", "{}", tool.name);
            }
        }
    }

    #[test]
    fn a_violation_names_the_field_at_fault() {
        let scale = deployment::TOOLS.iter().find(|tool| tool.name == deployment::SCALE).unwrap();
        let schema = Schema::compile(&(scale.input_schema)()).unwrap();
        let good = json!({
            "target": "app-1", "parameters": {"replicas": 3}, "idempotency_key": "k",
            "deadline": "2026-01-01T00:00:00Z"
        });
        schema.check(&good).unwrap();
        let cases = [
            ("/parameters/replicas", json!("three"), "parameters.replicas"),
            ("/parameters/replicas", json!(0), "parameters.replicas"),
            ("/parameters", json!({}), "parameters.replicas"),
            ("/parameters", json!({"replicas": 1, "force": true}), "parameters.force"),
            ("/target", json!("a; rm -rf /"), "target"),
            ("/deadline", json!("tomorrow"), "deadline"),
        ];
        for (at, value, field) in cases {
            let mut input = good.clone();
            *input.pointer_mut(at).unwrap() = value;
            let violation = schema.check(&input).unwrap_err();
            assert_eq!(violation.field, field, "{}", violation.message);
        }
        let violation = schema.check(&json!({"target": "x".repeat(100_000)})).unwrap_err();
        assert!(violation.message.len() < 500);
    }
}
