//! Query parameters as a request object (specification section 11.5). Names come in camelCase, and
//! in snake_case as ProtoJSON allows. A parameter that is unknown, or comes twice, is an error: a
//! filter that is not understood would answer with tasks nobody asked for.

use a2a_types::A2aError;
use serde_json::{Map, Value};

use super::route::Operation;
use super::snake_case;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    /// By name or by number.
    State,
}

/// The parameters of an operation that has no body, beside those in its path.
fn known(operation: Operation) -> &'static [(&'static str, Kind)] {
    match operation {
        Operation::GetTask => &[("tenant", Kind::Text), ("historyLength", Kind::Number)],
        Operation::ListTasks => &[
            ("tenant", Kind::Text),
            ("contextId", Kind::Text),
            ("status", Kind::State),
            ("pageSize", Kind::Number),
            ("pageToken", Kind::Text),
            ("historyLength", Kind::Number),
            ("statusTimestampAfter", Kind::Text),
            ("includeArtifacts", Kind::Flag),
        ],
        Operation::ListPushes => {
            &[("tenant", Kind::Text), ("pageSize", Kind::Number), ("pageToken", Kind::Text)]
        }
        _ => &[("tenant", Kind::Text)],
    }
}

pub(super) fn parse(query: &str, operation: Operation) -> Result<Map<String, Value>, A2aError> {
    let known = known(operation);
    let mut params = Map::new();
    for (given, value) in url::form_urlencoded::parse(query.as_bytes()) {
        // Parameters of the protocol, such as its version, are not the operation's.
        if given.is_empty() || given.to_ascii_lowercase().starts_with("a2a-") {
            continue;
        }
        let found = known.iter().find(|(name, _)| given == *name || given == snake_case(name));
        let Some((name, kind)) = found else {
            return Err(A2aError::invalid_field(given, "is no parameter of this operation"));
        };
        if params.insert((*name).to_owned(), read(name, *kind, &value)?).is_some() {
            return Err(A2aError::invalid_field(*name, "must be given once"));
        }
    }
    Ok(params)
}

fn read(name: &str, kind: Kind, value: &str) -> Result<Value, A2aError> {
    let number = |why: &str| {
        let number: Result<i32, _> = value.parse();
        number.map(Value::from).map_err(|_| A2aError::invalid_field(name, why))
    };
    match (kind, value) {
        (Kind::Text, _) => Ok(Value::from(value)),
        (Kind::Number, _) => number("must be a number"),
        (Kind::Flag, "true") => Ok(Value::Bool(true)),
        (Kind::Flag, "false") => Ok(Value::Bool(false)),
        (Kind::Flag, _) => Err(A2aError::invalid_field(name, "must be true or false")),
        (Kind::State, name) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok(Value::from(name))
        }
        (Kind::State, _) => number("must be the name or the number of a state"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_values_are_read_as_protojson_has_them() {
        let query = "contextId=a%20b&page_size=7&status=TASK_STATE_WORKING&includeArtifacts=true\
                     &A2A-Version=1.0&pageToken=";
        let read = parse(query, Operation::ListTasks).unwrap();
        let expected = json!({"contextId": "a b", "pageSize": 7, "status": "TASK_STATE_WORKING",
            "includeArtifacts": true, "pageToken": ""});
        assert_eq!(Value::from(read), expected);
        assert_eq!(parse("status=2", Operation::ListTasks).unwrap()["status"], 2);
        assert!(parse("", Operation::GetTask).unwrap().is_empty());
    }

    #[test]
    fn a_parameter_that_cannot_be_used_is_named() {
        for (query, name) in [
            ("pagesize=1", "pagesize"),
            ("pageSize=1&pageSize=1", "pageSize"),
            ("pageSize=1&page_size=1", "pageSize"),
            ("pageSize=", "pageSize"),
            ("pageSize=4294967296", "pageSize"),
            ("historyLength=1.5", "historyLength"),
            ("includeArtifacts=yes", "includeArtifacts"),
            ("status=", "status"),
            ("contextId=a&contextId=b", "contextId"),
        ] {
            let Err(A2aError::InvalidParams { fields, .. }) = parse(query, Operation::ListTasks)
            else {
                panic!("{query} was read");
            };
            assert_eq!(fields[0].field, name, "{query}");
        }
    }
}
