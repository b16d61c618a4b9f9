//! `deployment-system`: the only tool that changes anything. Every change has one request shape,
//! so that a plan's step needs no code of its own; its parameters differ by action.
//!
//! A request without a valid grant is refused. The same idempotency key with the same arguments is
//! answered from the record and never carried out twice; with other arguments it is refused.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::schema::{
    any_text, flag, input, list, nullable, optional, output, required, target, text, time,
};
use super::{Effect, ToolDefinition};

/// The name of the server.
pub const SERVER: &str = "deployment-system";
pub const RUN_PLAYBOOK: &str = "run_playbook";
pub const RESTART_SERVICE: &str = "restart_service";
pub const SCALE: &str = "scale";
pub const UPDATE_CONFIG: &str = "update_config";
pub const CLEANUP: &str = "cleanup";
pub const STOP_JOB: &str = "stop_job";
pub const START_JOB: &str = "start_job";
pub const ROLLBACK: &str = "rollback";
pub const STATUS: &str = "status";

pub const TOOLS: [ToolDefinition; 9] = [
    ToolDefinition {
        name: RUN_PLAYBOOK,
        title: "Run a catalogued playbook",
        description: "Runs one Ansible playbook of the catalogue with typed variables.",
        input_schema: || change_input_schema(run_playbook_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Destroys,
    },
    ToolDefinition {
        name: RESTART_SERVICE,
        title: "Restart a service",
        description: "Restarts the target's service and waits until it is healthy.",
        input_schema: || change_input_schema(no_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Destroys,
    },
    ToolDefinition {
        name: SCALE,
        title: "Scale a service",
        description: "Sets the number of replicas of the target's service.",
        input_schema: || change_input_schema(scale_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Changes,
    },
    ToolDefinition {
        name: UPDATE_CONFIG,
        title: "Change a service's configuration",
        description: "Sets configuration keys of the target's service; keys not named stay.",
        input_schema: || change_input_schema(update_config_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Changes,
    },
    ToolDefinition {
        name: CLEANUP,
        title: "Delete old files",
        description: "Deletes the target's old, rebuildable files to free disk space.",
        input_schema: || change_input_schema(no_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Destroys,
    },
    ToolDefinition {
        name: STOP_JOB,
        title: "Stop a job",
        description: "Stops one running job of the target by its name.",
        input_schema: || change_input_schema(job_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Destroys,
    },
    ToolDefinition {
        name: START_JOB,
        title: "Start a job",
        description: "Starts one job of the target by its name; what undoes `stop_job`.",
        input_schema: || change_input_schema(job_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Changes,
    },
    ToolDefinition {
        name: ROLLBACK,
        title: "Undo a change",
        description: "Carries out the recorded inverse of an earlier change, itself a change.",
        input_schema: || change_input_schema(rollback_parameters()),
        output_schema: change_output_schema,
        effect: Effect::Changes,
    },
    ToolDefinition {
        name: STATUS,
        title: "State of a target or of a change",
        description: "Reads a target's present state and its latest changes, or one change by \
                      its id or idempotency key. Changes no target; a fencing token shuts out \
                      changes with a smaller one.",
        input_schema: status_input_schema,
        output_schema: status_output_schema,
        effect: Effect::ReadOnly,
    },
];

/// The input of every tool here but `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeRequest {
    /// A target of the inventory.
    pub target: String,
    /// By action: [`RunPlaybook`], [`Scale`], [`UpdateConfig`], [`Job`], [`Rollback`]; empty
    /// for the others.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// One per intended change, chosen by the caller, kept over its retries.
    pub idempotency_key: String,
    /// May be absent for a dry run only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// After this nothing is started, and what runs is stopped.
    pub deadline: Timestamp,
    /// The number of the lock under which the caller acts. Smaller than the greatest that the target
    /// has seen: refused, nothing is done. No part of what the grant's digest is taken over: who
    /// takes a step over asks for the same change with a greater token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
    /// Says what would be done, with before and diff, and does nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The permission for one change: the plan's gates passed for exactly these arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Single use: a second change under the same id is refused.
    pub id: String,
    /// On whose authority, such as `policy:auto` or a person's name.
    pub principal: String,
    pub target: String,
    /// SHA-256, lower-case hex, of [`canonical_arguments`].
    pub arguments_sha256: String,
    pub expires_at: Timestamp,
}

/// The bytes a grant's digest is taken over: action, target and parameters as JSON with sorted
/// keys and without blanks.
pub fn canonical_arguments(action: &str, target: &str, parameters: &Map<String, Value>) -> String {
    let arguments = json!({"action": action, "target": target, "parameters": parameters});
    let mut text = String::new();
    write_canonical(&arguments, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (position, (name, value)) in fields.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPlaybook {
    /// A name of the playbook catalogue.
    pub playbook: String,
    /// Checked against the types and ranges of the catalogue.
    #[serde(default)]
    pub variables: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    pub replicas: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateConfig {
    pub set: Map<String, Value>,
    /// Restarts the service afterwards, for settings that are read at start.
    #[serde(default)]
    pub restart: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub job: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    pub change_id: String,
}

/// The record of one change, and the answer to every [`ChangeRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// `chg_…`; absent for a dry run, which is not recorded.
    pub change_id: Option<String>,
    pub target: String,
    pub action: String,
    pub state: ChangeState,
    /// What differs between `before` and `after`; of a dry run, what would.
    pub diff: Vec<Difference>,
    /// The target's state that the action touches, read before it.
    pub before: Value,
    /// The same, read after it. Null when it could not be read, and for a dry run.
    pub after: Value,
    /// What undoes this change.
    pub inverse: Option<Inverse>,
    /// Why `inverse` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_inverse: Option<String>,
    pub started_at: Timestamp,
    /// Absent while it runs. With state `unknown` it says that whatever carried the change out has
    /// ended: nothing more comes of it, and it can be undone.
    pub finished_at: Option<Timestamp>,
    /// The end of the executor's output, bounded and redacted.
    pub output: String,
    /// Why, for `failed` and `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// The executor succeeded. Whether it helped is for the verification to prove.
    Done,
    /// The recorded answer of an earlier call with the same key: that call succeeded.
    AlreadyDone,
    /// Nothing was done, as asked.
    DryRun,
    /// The executor failed; `after` shows what is left. Asking again answers the same.
    Failed,
    /// Begun, and its end is not recorded yet or never will be. Never repeated by itself.
    #[serde(other)]
    Unknown,
}

/// One changed value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Dotted path inside before and after.
    pub path: String,
    pub before: Value,
    pub after: Value,
}

/// An action that undoes another; carried out by `rollback`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inverse {
    pub action: String,
    pub target: String,
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

/// At least one of the first three is given. A change asked for by id or key is the only one answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusInput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Needs `target`. Before this is answered, every later change of the target with a smaller token
    /// is shut out for good; a token smaller than the greatest seen is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusOutput {
    pub time: Timestamp,
    /// Null where a change was asked for.
    pub target: Option<TargetStatus>,
    /// Newest first; empty when no such change is recorded.
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    pub target: String,
    pub service: String,
    pub healthy: bool,
    /// As the executor reports it.
    pub state: Value,
    /// The actions this target's executor can carry out.
    pub actions: Vec<String>,
    /// Why no change is taken until a person opens the target again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
}

fn change_input_schema(parameters: Value) -> Value {
    let needs_parameters =
        parameters["required"].as_array().is_some_and(|required| !required.is_empty());
    let parameters = match needs_parameters {
        true => required("parameters", parameters),
        false => optional("parameters", parameters),
    };
    let grant = input([
        required("id", text("Single-use id", 200)),
        required("principal", text("On whose authority", 200)),
        required("target", target("Target granted")),
        required("arguments_sha256", json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})),
        required("expires_at", time("End of validity")),
    ]);
    input([
        required("target", target("Target of the inventory")),
        parameters,
        required("idempotency_key", text("One per intended change", 200)),
        optional("grant", grant),
        required("deadline", time("After this nothing is started and what runs is stopped")),
        optional("fencing_token", fencing_token()),
        optional("dry_run", flag("Only say what would be done")),
    ])
}

/// From 1 to the greatest integer that every JSON reader keeps.
fn fencing_token() -> Value {
    let description = "Number of the caller's lock of the target; a smaller one than the target has \
                       seen is refused";
    json!({
        "type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_i64,
        "description": description
    })
}

fn no_parameters() -> Value {
    input([])
}

fn run_playbook_parameters() -> Value {
    let variables = json!({
        "type": "object", "maxProperties": 50,
        "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
        "additionalProperties": {"type": ["string", "number", "boolean"], "maxLength": 1000}
    });
    let name = json!({"type": "string", "maxLength": 100, "pattern": "^[a-z][a-z0-9_-]*$"});
    input([required("playbook", name), optional("variables", variables)])
}

fn scale_parameters() -> Value {
    let replicas = json!({"type": "integer", "minimum": 1, "maximum": 1000});
    input([required("replicas", replicas)])
}

fn update_config_parameters() -> Value {
    let set = json!({
        "type": "object", "minProperties": 1, "maxProperties": 50,
        "propertyNames": {"pattern": "^[a-zA-Z][a-zA-Z0-9_.-]*$"},
        "additionalProperties": {"type": ["string", "number", "boolean"], "maxLength": 1000}
    });
    input([required("set", set), optional("restart", flag("Restart the service afterwards"))])
}

fn job_parameters() -> Value {
    let job = json!({"type": "string", "maxLength": 200, "pattern": "^[a-zA-Z0-9_.-]+$"});
    input([required("job", job)])
}

fn rollback_parameters() -> Value {
    input([required("change_id", text("The change to undo", 100))])
}

fn change_output_schema() -> Value {
    let difference = output([
        required("path", any_text()),
        required("before", json!({})),
        required("after", json!({})),
    ]);
    let inverse = output([
        required("action", any_text()),
        required("target", any_text()),
        required("parameters", json!({"type": "object"})),
    ]);
    let states = ["done", "already_done", "dry_run", "failed", "unknown"];
    output([
        required("change_id", nullable(any_text())),
        required("target", any_text()),
        required("action", any_text()),
        required("state", json!({"type": "string", "enum": states})),
        required("diff", list(difference)),
        required("before", json!({})),
        required("after", json!({})),
        required("inverse", nullable(inverse)),
        optional("no_inverse", any_text()),
        required("started_at", time("Begin")),
        required("finished_at", nullable(time("End"))),
        required("output", any_text()),
        optional("error", any_text()),
    ])
}

fn status_input_schema() -> Value {
    let mut schema = input([
        optional("target", target("Target of the inventory")),
        optional("change_id", text("Id of a change", 100)),
        optional("idempotency_key", text("Key of a change", 200)),
        optional("fencing_token", fencing_token()),
    ]);
    schema["minProperties"] = json!(1);
    schema["dependentRequired"] = json!({"fencing_token": ["target"]});
    schema["not"] = json!({"required": ["change_id", "idempotency_key"]});
    schema
}

fn status_output_schema() -> Value {
    let status = output([
        required("target", any_text()),
        required("service", any_text()),
        required("healthy", flag("The service answers and says it is well")),
        required("state", json!({})),
        required("actions", list(any_text())),
        optional("closed", any_text()),
    ]);
    output([
        required("time", time("When this was read")),
        required("target", nullable(status)),
        required("changes", list(change_output_schema())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_arguments_do_not_depend_on_the_order_of_fields() {
        let one: Map<String, Value> =
            serde_json::from_str(r#"{"b": [1, {"y": 2, "x": "é\n"}], "a": true}"#).unwrap();
        let other: Map<String, Value> =
            serde_json::from_str(r#"{"a": true, "b": [1, {"x": "é\n", "y": 2}]}"#).unwrap();
        let text = canonical_arguments("scale", "app-1", &one);
        assert_eq!(text, canonical_arguments("scale", "app-1", &other));
        assert_eq!(
            text,
            r#"{"action":"scale","parameters":{"a":true,"b":[1,{"x":"é\n","y":2}]},"target":"app-1"}"#
        );
    }
}
