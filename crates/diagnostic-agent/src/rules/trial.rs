//! The tests a rule file carries: an alert and values in, and what must come of them.

use incident::{Alert, AlertStatus, IncidentId, IncidentSummary, Severity};
use jiff::Timestamp;
use serde_json::Value;

use super::Scope;
use super::file::{Expected, Rule, RuleTest};
use super::judge::{alert_value, incident_value};

/// Runs the tests of a rule.
///
/// # Errors
/// The first test that fails: its index, its name and why.
pub(super) fn run(rule: &Rule) -> Result<(), (usize, String, String)> {
    for (index, test) in rule.tests.iter().enumerate() {
        passes(rule, test).map_err(|why| (index, test.name.clone(), why))?;
    }
    Ok(())
}

fn passes(rule: &Rule, test: &RuleTest) -> Result<(), String> {
    if let Some(name) =
        test.values.keys().find(|name| !rule.evidence.iter().any(|e| e.name == **name))
    {
        return Err(format!("`{name}` is no evidence of this rule"));
    }
    let alert = alert(&test.alert, test.labels.clone());
    if !rule.matches(&alert, &incident()) {
        return match test.expect {
            Expected::NoMatch => Ok(()),
            expected => Err(format!("expected {expected}, but the rule does not match the alert")),
        };
    }
    if test.expect == Expected::NoMatch {
        return Err("expected no match, but the rule matches the alert".into());
    }
    let target = rule.target_of(&alert)?;
    let verdict = rule.judge(&test.values, &target);
    match (test.expect, verdict.failed.first()) {
        (Expected::Satisfied, Some(why)) => Err(format!("expected satisfied, but {why}")),
        (Expected::NotSatisfied, None) => {
            Err("expected not satisfied, but every condition holds".into())
        }
        (Expected::Satisfied, None) => has_facts(&verdict.facts, &test.facts),
        _ => Ok(()),
    }
}

fn has_facts(
    facts: &std::collections::BTreeMap<String, Value>,
    expected: &std::collections::BTreeMap<String, Value>,
) -> Result<(), String> {
    for (name, value) in expected {
        let found = facts.get(name);
        if found != Some(value) {
            let found = found.map_or("absent".to_owned(), Value::to_string);
            return Err(format!("fact `{name}` should be {value} and is {found}"));
        }
    }
    Ok(())
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Satisfied => "satisfied",
            Self::NotSatisfied => "not satisfied",
            Self::NoMatch => "no match",
        })
    }
}

/// An alert to try expressions on.
pub(super) fn sample_alert() -> Scope {
    let labels = ["server", "instance", "service"].map(|name| (name.to_owned(), "a".to_owned()));
    let alert = alert("a", labels.into());
    Scope::from([
        ("alert".to_owned(), alert_value(&alert)),
        ("incident".to_owned(), incident_value(&incident())),
    ])
}

fn alert(name: &str, labels: std::collections::BTreeMap<String, String>) -> Alert {
    Alert {
        source: "test".into(),
        fingerprint: "test".into(),
        status: AlertStatus::Firing,
        name: name.into(),
        severity: Severity::Critical,
        labels,
        annotations: Default::default(),
        starts_at: Timestamp::UNIX_EPOCH,
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}

fn incident() -> IncidentSummary {
    IncidentSummary {
        id: IncidentId::new(uuid::Uuid::nil()),
        title: String::new(),
        description: String::new(),
        severity: Severity::Critical,
        affected_systems: Vec::new(),
        tags: Vec::new(),
        opened_at: Timestamp::UNIX_EPOCH,
    }
}
