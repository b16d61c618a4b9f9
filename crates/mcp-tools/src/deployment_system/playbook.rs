//! The playbook catalogue: which playbooks exist, what values they take, and what undoes them. A
//! playbook that could hand a value to a shell does not load.

use std::collections::BTreeMap;
use std::path::PathBuf;

use a2a_types::mcp::deployment::{Inverse, RUN_PLAYBOOK, RunPlaybook};
use rpc::mcp::server::ToolError;
use serde_json::{Map, Value, json};
use serde_norway::Value as Yaml;
use service::ConfigError;

use super::Config;

/// Modules that run what they are given.
const SHELLS: [&str; 5] = ["shell", "command", "raw", "script", "expect"];
/// Words that bring in tasks this check would not see.
const INCLUDES: [&str; 8] = [
    "include",
    "include_tasks",
    "import_tasks",
    "include_role",
    "import_role",
    "roles",
    "import_playbook",
    "include_vars",
];

#[derive(Debug)]
pub(super) struct Playbooks {
    directory: PathBuf,
    entries: BTreeMap<String, Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    playbooks: BTreeMap<String, Entry>,
}

/// One playbook; its file is `NAME.yml` beside the catalogue.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// For people.
    #[expect(dead_code, reason = "read by people, in the file")]
    description: String,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    /// What undoes it: the same or another playbook, with variables from what `before` recorded.
    #[serde(default)]
    inverse: Option<InverseEntry>,
    /// Why nothing undoes it; needed when `inverse` is absent.
    #[serde(default)]
    no_inverse: Option<String>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct InverseEntry {
    playbook: String,
    /// Variable to field of `before`, as a dotted path.
    variables: BTreeMap<String, String>,
}

/// What a variable may be. Nothing outside it reaches Ansible.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Variable {
    Integer { minimum: i64, maximum: i64 },
    OneOf { values: Vec<String> },
    Boolean {},
}

#[derive(Debug, thiserror::Error)]
#[error("{task}: {message}")]
pub struct LintError {
    task: String,
    message: String,
}

impl Playbooks {
    pub(super) fn read(config: &Config) -> Result<Self, ConfigError> {
        let directory = config.ansible_directory.join("playbooks");
        let path = directory.join("catalogue.yaml");
        let catalogue: Catalogue = service::read_yaml(&path)?;
        for (name, entry) in &catalogue.playbooks {
            let invalid = |field: &str, message: String| ConfigError::Invalid {
                origin: path.display().to_string(),
                field: format!("playbooks.{name}.{field}").trim_end_matches('.').to_owned(),
                message,
            };
            if entry.inverse.is_none() == entry.no_inverse.is_none() {
                let message = "needs either `inverse` or `no_inverse` (a reason)".to_owned();
                return Err(invalid("", message));
            }
            if let Some(inverse) = &entry.inverse {
                check_inverse(&catalogue, inverse)
                    .map_err(|message| invalid("inverse", message))?;
            }
            let file = directory.join(format!("{name}.yml"));
            let text = std::fs::read_to_string(&file)
                .map_err(|source| ConfigError::Read { path: file.clone(), source })?;
            lint(&text).map_err(|error| ConfigError::Invalid {
                origin: file.display().to_string(),
                field: error.task,
                message: error.message,
            })?;
        }
        Ok(Self { directory, entries: catalogue.playbooks })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.yml"))
    }

    /// Checks the variables against the catalogue: all of them, and no others.
    pub(super) fn check(&self, run: &RunPlaybook) -> Result<(), ToolError> {
        let Some(entry) = self.entries.get(&run.playbook) else {
            let known = self.entries.keys().cloned().collect::<Vec<_>>().join(", ");
            let message = format!("no playbook {:?}; there are: {known}", run.playbook);
            return Err(ToolError::refused("parameters.playbook", message));
        };
        let field = |name: &str| format!("parameters.variables.{name}");
        for (name, value) in &run.variables {
            let Some(variable) = entry.variables.get(name) else {
                let known = entry.variables.keys().cloned().collect::<Vec<_>>().join(", ");
                let message = format!("not a variable of {}; it has: {known}", run.playbook);
                return Err(ToolError::refused(field(name), message));
            };
            variable.check(value).map_err(|message| ToolError::refused(field(name), message))?;
        }
        match entry.variables.keys().find(|name| !run.variables.contains_key(*name)) {
            Some(missing) => Err(ToolError::refused(field(missing), "is missing")),
            None => Ok(()),
        }
    }

    /// What undoes a run that recorded `before`.
    pub(super) fn undo(&self, target: &str, name: &str, before: &Value) -> Result<Inverse, String> {
        let entry = self.entries.get(name).ok_or("the playbook is not in the catalogue")?;
        let Some(inverse) = &entry.inverse else {
            return Err(entry.no_inverse.clone().unwrap_or_default());
        };
        let mut variables = Map::new();
        for (variable, path) in &inverse.variables {
            let pointer = format!("/{}", path.replace('.', "/"));
            let value = before
                .pointer(&pointer)
                .ok_or_else(|| format!("the playbook recorded no {path} before it acted"))?;
            variables.insert(variable.clone(), value.clone());
        }
        let parameters = json!({"playbook": inverse.playbook, "variables": variables});
        let Value::Object(parameters) = parameters else { unreachable!("an object above") };
        Ok(Inverse { action: RUN_PLAYBOOK.to_owned(), target: target.to_owned(), parameters })
    }
}

impl Playbooks {
    /// Of what a run recorded, the values that its inverse sets; `null` when one is not known.
    pub(super) fn settings(&self, name: &str, recorded: &Value) -> Value {
        let inverse = self.entries.get(name).and_then(|entry| entry.inverse.as_ref());
        let mut settings = json!({});
        for path in inverse.iter().flat_map(|inverse| inverse.variables.values()) {
            let pointer = format!("/{}", path.replace('.', "/"));
            let Some(value) = recorded.pointer(&pointer) else { return Value::Null };
            let mut place = &mut settings;
            for name in path.split('.') {
                place = &mut place[name];
            }
            *place = value.clone();
        }
        settings
    }
}

fn check_inverse(catalogue: &Catalogue, inverse: &InverseEntry) -> Result<(), String> {
    let entry = catalogue
        .playbooks
        .get(&inverse.playbook)
        .ok_or_else(|| format!("no playbook {:?}", inverse.playbook))?;
    if !entry.variables.keys().eq(inverse.variables.keys()) {
        return Err(format!("must give exactly the variables of {}", inverse.playbook));
    }
    Ok(())
}

impl Variable {
    fn check(&self, value: &Value) -> Result<(), String> {
        let is_good = match self {
            Self::Integer { minimum, maximum } => {
                value.as_i64().is_some_and(|number| (*minimum..=*maximum).contains(&number))
            }
            Self::OneOf { values } => {
                value.as_str().is_some_and(|text| values.iter().any(|one| one == text))
            }
            Self::Boolean {} => value.is_boolean(),
        };
        if is_good { Ok(()) } else { Err(format!("{value} is not {self}")) }
    }
}

impl std::fmt::Display for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer { minimum, maximum } => {
                write!(f, "an integer from {minimum} to {maximum}")
            }
            Self::OneOf { values } => write!(f, "one of {}", values.join(", ")),
            Self::Boolean {} => f.write_str("true or false"),
        }
    }
}

/// Refuses a playbook in which a value could reach a shell, or that brings in tasks from elsewhere.
///
/// # Errors
/// The first such task.
pub fn lint(text: &str) -> Result<(), LintError> {
    let document: Yaml = serde_norway::from_str(text)
        .map_err(|error| LintError { task: String::new(), message: error.to_string() })?;
    lint_value(&document, "playbook")
}

fn lint_value(value: &Yaml, task: &str) -> Result<(), LintError> {
    match value {
        Yaml::Sequence(items) => items.iter().try_for_each(|item| lint_value(item, task)),
        Yaml::Tagged(tagged) => lint_value(&tagged.value, task),
        Yaml::String(text) if pipes(text) => Err(refuse(task, "a pipe lookup runs a shell")),
        Yaml::Mapping(fields) => {
            let task = fields.get("name").and_then(Yaml::as_str).unwrap_or(task);
            for (key, inner) in fields {
                let key = key.as_str().unwrap_or_default();
                let module = key.rsplit('.').next().unwrap_or_default();
                if INCLUDES.contains(&module) {
                    return Err(refuse(task, &format!("`{key}` brings in what is not checked")));
                }
                let runs_shell = SHELLS.contains(&module)
                    || matches!(key, "action" | "local_action") && names_a_shell(inner);
                if runs_shell && has_template(value) {
                    return Err(refuse(task, &format!("`{key}` with a value in a template")));
                }
                if key == "with_pipe" {
                    return Err(refuse(task, "a pipe lookup runs a shell"));
                }
                lint_value(inner, task)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn refuse(task: &str, message: &str) -> LintError {
    LintError { task: task.to_owned(), message: message.to_owned() }
}

fn pipes(text: &str) -> bool {
    let compact: String = text.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let compact = compact.replace('\'', "");
    ["lookup(", "query(", "q("].iter().any(|call| {
        compact.contains(&format!("{call}pipe"))
            || compact.contains(&format!("{call}ansible.builtin.pipe"))
    })
}

fn names_a_shell(value: &Yaml) -> bool {
    let is_shell = |text: &str| {
        let module = text.split_whitespace().next().unwrap_or_default();
        SHELLS.contains(&module.rsplit('.').next().unwrap_or_default())
    };
    match value {
        Yaml::String(text) => is_shell(text),
        Yaml::Mapping(fields) => fields.get("module").and_then(Yaml::as_str).is_some_and(is_shell),
        _ => false,
    }
}

fn has_template(value: &Yaml) -> bool {
    match value {
        Yaml::String(text) => text.contains("{{") || text.contains("{%"),
        Yaml::Sequence(items) => items.iter().any(has_template),
        Yaml::Mapping(fields) => {
            fields.iter().any(|(key, value)| has_template(key) || has_template(value))
        }
        Yaml::Tagged(tagged) => has_template(&tagged.value),
        _ => false,
    }
}

/// Where a playbook's own files are, for a test of the samples.
#[cfg(test)]
pub(super) fn sample_directory() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/ansible")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Playbooks {
        let config = Config { ansible_directory: sample_directory(), ..Config::default() };
        Playbooks::read(&config).unwrap()
    }

    fn run(variables: Value) -> RunPlaybook {
        let Value::Object(variables) = variables else { panic!("not an object") };
        RunPlaybook { playbook: "raise_connection_pool".into(), variables }
    }

    #[test]
    fn the_sample_playbooks_load_and_check_their_variables() {
        let playbooks = samples();
        playbooks.check(&run(json!({"connection_pool_size": 20}))).unwrap();
        for (variables, field) in [
            (json!({"connection_pool_size": 100_000}), "parameters.variables.connection_pool_size"),
            (json!({"connection_pool_size": "20"}), "parameters.variables.connection_pool_size"),
            (json!({}), "parameters.variables.connection_pool_size"),
            (json!({"connection_pool_size": 20, "x": 1}), "parameters.variables.x"),
        ] {
            match playbooks.check(&run(variables.clone())) {
                Err(ToolError::Refused { field: Some(named), .. }) => assert_eq!(named, field),
                other => panic!("{variables}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_inverse_is_the_playbook_with_the_old_value() {
        let before = json!({"config": {"connection_pool_size": 2}});
        let inverse = samples().undo("db-server-01", "raise_connection_pool", &before).unwrap();
        assert_eq!(inverse.action, RUN_PLAYBOOK);
        assert_eq!(inverse.parameters["variables"], json!({"connection_pool_size": 2}));
        let unknown = samples().undo("db-server-01", "raise_connection_pool", &Value::Null);
        assert!(unknown.unwrap_err().contains("recorded no config.connection_pool_size"));
    }

    #[test]
    fn a_playbook_that_could_hand_a_value_to_a_shell_is_refused() {
        let task =
            |body: &str| format!("- hosts: localhost\n  tasks:\n    - name: t\n      {body}\n");
        for bad in [
            "ansible.builtin.shell: echo {{ x }}",
            "command: {argv: [echo, '{{ x }}']}",
            "raw: \"{% if x %}id{% endif %}\"",
            "local_action: shell echo {{ x }}",
            "action: {module: ansible.legacy.command, cmd: '{{ x }}'}",
            "ansible.builtin.debug: {msg: \"{{ lookup('pipe', x) }}\"}",
            "ansible.builtin.debug: {msg: \"{{ query( \\\"ansible.builtin.pipe\\\", x) }}\"}",
            "include_tasks: other.yml",
            "block: [{name: t, command: 'echo {{ x }}'}]",
        ] {
            let error = lint(&task(bad)).unwrap_err();
            assert_eq!(error.task, "t", "{bad}");
        }
        lint(&task("command: uptime")).unwrap();
        lint(&task("ansible.builtin.uri: {url: '{{ firebreak_admin_url }}/admin'}")).unwrap();
    }
}
