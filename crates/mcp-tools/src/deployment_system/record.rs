//! What is recorded of a change, and what is made of a record without an end.

use a2a_types::mcp::deployment::{Change, ChangeState, Difference, Inverse};
use rpc::mcp::server::ToolError;
use serde_json::{Map, Value};
use store::{ChangeRow, StoreError};

use super::executor::Undo;

/// What the record says of a change. Without an outcome it runs, or its process died: unknown.
pub(super) fn read_change(row: &ChangeRow) -> Change {
    let outcome = row.outcome.clone().and_then(|outcome| serde_json::from_value(outcome).ok());
    outcome.unwrap_or_else(|| {
        let request = &row.change.request;
        Change {
            change_id: Some(row.change.id.clone()),
            target: row.change.target.clone(),
            action: row.change.action.clone(),
            state: ChangeState::Unknown,
            diff: Vec::new(),
            before: request["before"].clone(),
            after: Value::Null,
            inverse: serde_json::from_value(request["inverse"].clone()).ok(),
            no_inverse: request["no_inverse"].as_str().map(str::to_owned),
            started_at: row.change.started_at,
            finished_at: None,
            output: String::new(),
            error: Some("it began, and no end is recorded".to_owned()),
        }
    })
}

pub(super) fn split(undo: Undo) -> (Option<Inverse>, Option<String>) {
    match undo {
        Ok(inverse) => (Some(inverse), None),
        Err(reason) => (None, Some(reason)),
    }
}

pub(super) fn unavailable(error: &StoreError) -> ToolError {
    let mut text = format!("the record of changes: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    ToolError::Unavailable(text)
}

/// The leaves that differ, by dotted path.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    if !before.is_null() && !after.is_null() {
        compare("", before, after, &mut found);
    }
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let of =
                    |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                compare(&path, &of(one), &of(other), found);
            }
        }
        (before, after) if before != after => found.push(Difference {
            path: path.to_owned(),
            before: before.clone(),
            after: after.clone(),
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_the_leaves_that_changed() {
        let before = json!({"config": {"pool": 2, "same": 1}, "gone": true});
        let after = json!({"config": {"pool": 20, "same": 1}, "new": [1]});
        let found = differences(&before, &after);
        let paths: Vec<_> = found.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!(paths, ["config.pool", "gone", "new"]);
        assert_eq!((&found[0].before, &found[0].after), (&json!(2), &json!(20)));
        assert_eq!(differences(&Value::Null, &after), []);
    }
}
