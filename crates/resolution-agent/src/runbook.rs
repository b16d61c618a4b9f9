//! Runbooks: YAML files, one cause's repair each. A runbook without a check, or with a step that
//! has neither an undo nor `irreversible: true`, does not load.

mod parameters;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use a2a_types::mcp::deployment;
use incident::{Comparison, EffectClass, Undo, verification};
use serde::Deserialize;
use serde_json::Value;
use service::ConfigError;

pub(crate) use parameters::{Parameter, ParameterError};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runbook {
    pub id: String,
    /// What it does and why that helps, for a person who has to approve it.
    pub description: String,
    /// The catalogued causes it repairs.
    pub causes: Vec<String>,
    pub risk: Risk,
    /// What must be so before the act, beside the symptom.
    #[serde(default)]
    pub requires: Vec<Condition>,
    pub steps: Vec<Step>,
    pub checks: Checks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    Low,
    Medium,
    High,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawStep")]
pub struct Step {
    pub name: String,
    pub action: String,
    pub(crate) parameters: BTreeMap<String, Parameter>,
    pub effect: EffectClass,
    pub undo: Undo,
}

/// A step as it is written: the two ways to speak of its undo are not yet one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    name: String,
    action: String,
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    effect: EffectClass,
    undo: Option<RecordedUndo>,
    #[serde(default)]
    irreversible: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedUndo {
    Recorded,
}

/// What must be true afterwards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checks {
    /// The fault itself. It must fail before the act and pass after it.
    pub symptom: CheckTemplate,
    /// What the fault had made ill and the fix must make well.
    #[serde(default)]
    pub recovers: Vec<CheckTemplate>,
    /// What the fix must not make worse.
    #[serde(default)]
    pub neighbours: Vec<CheckTemplate>,
}

/// A check before `$target` and `$window` are known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckTemplate {
    pub name: String,
    pub query: Template,
    pub comparison: Comparison,
    pub threshold: f64,
    /// Seconds for which fresh samples must pass. Two scrapes at least, whatever stands here.
    pub hold_seconds: f64,
    /// Seconds after the act in which it must have passed for so long.
    pub within_seconds: f64,
}

/// A PromQL condition on the present.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub name: String,
    pub query: Template,
    pub comparison: Comparison,
    pub threshold: f64,
}

/// PromQL with `$target` and `$window` in it, and no other placeholder.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(String);

#[derive(Debug, thiserror::Error)]
pub enum RunbookError {
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error("cannot read the runbooks in {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: field `{field}`: {message}", path.display())]
    Invalid { path: PathBuf, field: String, message: String },
}

/// Every runbook, by id.
#[derive(Clone, Debug, Default)]
pub struct Runbooks(BTreeMap<String, Runbook>);

impl Runbooks {
    /// Reads every `.yaml` and `.yml` file of a directory.
    ///
    /// # Errors
    /// The first file that cannot be used, with line and field; two runbooks with one id; no file.
    pub fn load(directory: &Path) -> Result<Self, RunbookError> {
        let unreadable = |source| RunbookError::Directory { path: directory.to_owned(), source };
        let entries: Result<Vec<_>, _> =
            std::fs::read_dir(directory).map_err(unreadable)?.collect();
        let mut paths: Vec<PathBuf> =
            entries.map_err(unreadable)?.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"));
        paths.sort();
        let mut runbooks = BTreeMap::new();
        for path in &paths {
            let runbook: Runbook = service::read_yaml(path)?;
            let invalid =
                |(field, message)| RunbookError::Invalid { path: path.clone(), field, message };
            runbook.validate().map_err(invalid)?;
            let id = runbook.id.clone();
            if runbooks.insert(id.clone(), runbook).is_some() {
                return Err(invalid(("id".into(), format!("{id} is the id of another file too"))));
            }
        }
        if runbooks.is_empty() {
            let source = std::io::Error::other("no .yaml or .yml file in it");
            return Err(unreadable(source));
        }
        Ok(Self(runbooks))
    }

    pub fn get(&self, id: &str) -> Option<&Runbook> {
        self.0.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Runbook> {
        self.0.values()
    }

    /// The runbook for a cause: the first recommended one that repairs it, else any that does.
    pub(crate) fn choose(&self, cause: &str, recommended: &[String]) -> Option<&Runbook> {
        let repairs = |runbook: &&Runbook| runbook.causes.iter().any(|known| known == cause);
        recommended
            .iter()
            .filter_map(|id| self.get(id))
            .find(repairs)
            .or_else(|| self.iter().find(repairs))
    }
}

impl Runbook {
    /// What the types of the fields cannot say; the first field at fault, and why.
    fn validate(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, message: &str| Err((field.to_owned(), message.to_owned()));
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || !self.id.chars().all(is_plain) {
            return wrong("id", "must be lower-case letters, digits and dashes");
        }
        if self.causes.is_empty() {
            return wrong("causes", "must name at least one cause");
        }
        if self.steps.is_empty() {
            return wrong("steps", "must hold at least one step");
        }
        let mut steps: Vec<_> = self.steps.iter().map(|step| &step.name).collect();
        steps.sort();
        if steps.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong("steps", "two steps have one name");
        }
        let checks = &self.checks;
        check_times("checks.symptom", &checks.symptom)?;
        for (list, name) in [(&checks.recovers, "recovers"), (&checks.neighbours, "neighbours")] {
            for (index, check) in list.iter().enumerate() {
                check_times(&format!("checks.{name}[{index}]"), check)?;
            }
        }
        let mut names: Vec<_> = self.check_templates().map(|check| &check.name).collect();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong("checks", "two checks have one name");
        }
        Ok(())
    }

    fn check_templates(&self) -> impl Iterator<Item = &CheckTemplate> {
        let Checks { symptom, recovers, neighbours } = &self.checks;
        std::iter::once(symptom).chain(recovers).chain(neighbours)
    }
}

fn check_times(field: &str, check: &CheckTemplate) -> Result<(), (String, String)> {
    for (name, seconds) in
        [("hold_seconds", check.hold_seconds), ("within_seconds", check.within_seconds)]
    {
        if !(0.0..=86_400.0).contains(&seconds) {
            return Err((format!("{field}.{name}"), "must be within 0 to 86400".into()));
        }
    }
    if check.hold_seconds >= check.within_seconds {
        let message = "must be more than hold_seconds".to_owned();
        return Err((format!("{field}.within_seconds"), message));
    }
    if !check.threshold.is_finite() {
        return Err((format!("{field}.threshold"), "must be a number".into()));
    }
    Ok(())
}

impl TryFrom<RawStep> for Step {
    type Error = String;

    fn try_from(raw: RawStep) -> Result<Self, String> {
        let changes = |tool: &&str| !matches!(*tool, deployment::STATUS | deployment::ROLLBACK);
        let known: Vec<_> =
            deployment::TOOLS.iter().map(|tool| tool.name).filter(changes).collect();
        if !known.contains(&raw.action.as_str()) {
            return Err(format!("action: {:?} is none of {}", raw.action, known.join(", ")));
        }
        let undo = match (&raw.undo, raw.irreversible) {
            (Some(RecordedUndo::Recorded), false) => Undo::Recorded,
            (None, true) => Undo::Irreversible,
            (None, false) => {
                return Err("undo: a step needs `undo: recorded` or `irreversible: true`".into());
            }
            (Some(_), true) => return Err("undo: an irreversible step cannot have one".into()),
        };
        let RawStep { name, action, parameters, effect, .. } = raw;
        Ok(Self { name, action, parameters, effect, undo })
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut rest = text.as_str();
        while let Some(at) = rest.find('$') {
            rest = &rest[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = &rest[..end.unwrap_or(rest.len())];
            if !matches!(name, "target" | "window") {
                return Err(format!("${name} is neither $target nor $window"));
            }
        }
        let template = Self(text);
        verification::lookback(&template.fill("x", Duration::from_secs(1)))?;
        Ok(template)
    }
}

impl Template {
    /// The query for one target. `target` is a name of the inventory, whose characters have no
    /// meaning inside a PromQL string.
    pub(crate) fn fill(&self, target: &str, window: Duration) -> String {
        let window = format!("{}ms", window.as_millis());
        self.0.replace("$target", target).replace("$window", &window)
    }
}

impl Step {
    /// The parameters with the facts of a diagnosis filled in.
    pub(crate) fn arguments(
        &self,
        facts: &BTreeMap<String, Value>,
    ) -> Result<serde_json::Map<String, Value>, ParameterError> {
        parameters::resolve(&self.parameters, facts)
    }
}

#[cfg(test)]
mod tests;
