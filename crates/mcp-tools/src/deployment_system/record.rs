//! What is recorded of a change, and what is made of a record without an end.

use std::path::PathBuf;

use a2a_types::mcp::deployment::{Change, ChangeState, Difference, Inverse};
use rpc::mcp::server::ToolError;
use serde_json::{Map, Value};
use store::{ChangeRow, StoreError};

use super::change::Deployer;
use super::executor::{self, Effect, Undo};

impl Deployer {
    /// Completes the record of changes that an earlier process left without an end, from what their
    /// playbooks recorded: they stay unknown, but can be undone. Their executors have ended.
    pub(super) async fn recover(&self, runs: &[PathBuf]) -> anyhow::Result<()> {
        for run in runs {
            let id = run.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let row = self.store.change(id).await?;
            if let Some(row) = row.filter(|row| row.outcome.is_none()) {
                let change = self.interrupted(&row, executor::read_record(run));
                let outcome = serde_json::to_value(change)?;
                self.store.finish_change(id, &outcome, self.process.now()).await?;
            }
            std::fs::remove_dir_all(run)?;
        }
        Ok(())
    }

    fn interrupted(&self, row: &ChangeRow, recorded: Effect) -> Change {
        let mut change = read_change(row);
        change.before = recorded.before.unwrap_or(change.before);
        change.after = recorded.after.unwrap_or(change.after);
        change.diff = differences(&change.before, &change.after);
        if let Some(playbook) = row.change.request["playbook"].as_str() {
            let undo = self.playbooks.undo(&change.target, playbook, &change.before);
            (change.inverse, change.no_inverse) = split(undo);
        }
        change.error = Some("it was interrupted; what carried it out has ended".to_owned());
        change.finished_at = Some(self.process.now());
        change
    }
}

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
