//! One rule against given values. Pure: whether it matches an alert, what its target is, which
//! conditions fail with which values, and the facts it hands on.

use std::collections::BTreeMap;

use incident::{Alert, IncidentSummary};
use serde_json::{Value, json};

use super::Scope;
use super::expression::{EvaluationError, Expression};
use super::file::{Ask, Rule};
use crate::text::{clean, fill, is_plain_name, shown, with_unit};

/// What a rule says of the evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// The conditions that do not hold, with the values; none: satisfied.
    pub(crate) failed: Vec<String>,
    pub(crate) facts: BTreeMap<String, Value>,
}

impl Verdict {
    pub(crate) fn is_satisfied(&self) -> bool {
        self.failed.is_empty()
    }
}

impl Rule {
    /// Whether the rule is for this alert. A label that the alert lacks is no match.
    pub(crate) fn matches(&self, alert: &Alert, incident: &IncidentSummary) -> bool {
        let scope = Scope::from([
            ("alert".to_owned(), alert_value(alert)),
            ("incident".to_owned(), incident_value(incident)),
        ]);
        match self.matches.holds(&scope) {
            Ok(matches) => matches,
            Err(EvaluationError::NoSuchKey(_)) => false,
            Err(EvaluationError::Failed(why)) => {
                tracing::warn!(rule = self.id, alert.fingerprint, why, "`matches` not evaluated");
                false
            }
        }
    }

    /// The inventory name of what is at fault; safe inside a query.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn target_of(&self, alert: &Alert) -> Result<String, String> {
        let name = match &self.target {
            Some(target) => {
                let scope = Scope::from([("alert".to_owned(), alert_value(alert))]);
                let value = target.evaluate(&scope).map_err(|error| error.to_string())?;
                value.as_str().map(str::to_owned).ok_or("the target is not text")?
            }
            None => ["server", "instance", "service"]
                .iter()
                .find_map(|label| alert.label(label))
                .ok_or("the alert has no label server, instance or service")?
                .to_owned(),
        };
        match is_plain_name(&name) {
            true => Ok(name),
            false => Err(format!("the target {:?} is not a plain name", clean(&name))),
        }
    }

    /// Holds the conditions against values by name; a name without a value is missing.
    pub(crate) fn judge(&self, values: &Scope, target: &str) -> Verdict {
        let mut scope = values.clone();
        scope.insert("target".to_owned(), json!(target));
        let failed = self.conditions.iter().filter_map(|condition| why_not(condition, &scope));
        let fact = |expression: &Expression| {
            let value = expression.evaluate(&scope).ok()?;
            Some(value.as_f64().and_then(crate::text::number).unwrap_or(value))
        };
        let facts = self.facts.iter().filter_map(|(name, of)| Some((name.clone(), fact(of)?)));
        Verdict { failed: failed.collect(), facts: facts.collect() }
    }

    /// The summary with its values.
    pub(crate) fn sentence(&self, values: &Scope, target: &str, alert: &str) -> String {
        fill(&self.summary, |name| match name {
            "target" => target.to_owned(),
            "alert" => clean(alert),
            name => match values.get(name) {
                Some(value) if self.is_share(name) => with_unit(value, Some("1")),
                Some(value) => shown(value),
                None => "unknown".to_owned(),
            },
        })
    }

    /// Whether a value is a share of 1, shown in percent.
    fn is_share(&self, name: &str) -> bool {
        self.evidence.iter().any(|spec| {
            spec.name == name
                && matches!(&spec.ask, Ask::Metric(ask) if ask.unit.as_deref() == Some("1"))
        })
    }
}

/// Why a condition does not hold, if so.
fn why_not(condition: &Expression, scope: &Scope) -> Option<String> {
    let source = condition.source();
    let missing: Vec<&str> = condition
        .variables()
        .iter()
        .map(String::as_str)
        .filter(|name| !scope.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        return Some(format!("`{source}` cannot be told: {} {verb} missing", missing.join(", ")));
    }
    match condition.holds(scope) {
        Ok(true) => None,
        Ok(false) => {
            let values = condition
                .variables()
                .iter()
                .map(|name| format!("{name} = {}", scope.get(name).map(shown).unwrap_or_default()));
            let values: Vec<String> = values.collect();
            Some(format!("`{source}` is false ({})", values.join(", ")))
        }
        Err(error) => Some(format!("`{source}` cannot be told: {error}")),
    }
}

pub(super) fn alert_value(alert: &Alert) -> Value {
    json!({
        "name": alert.name,
        "severity": alert.severity,
        "source": alert.source,
        "labels": alert.labels,
        "annotations": alert.annotations,
    })
}

pub(super) fn incident_value(incident: &IncidentSummary) -> Value {
    json!({
        "title": incident.title,
        "description": incident.description,
        "severity": incident.severity,
        "tags": incident.tags,
        "affected_systems": incident.affected_systems,
    })
}
