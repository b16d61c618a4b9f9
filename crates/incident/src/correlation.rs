//! Which incident an alert belongs to: a key made of its target labels, never of its name, so that
//! two alerts on one database are one incident.

use serde::{Deserialize, Serialize};

use crate::Alert;

/// The labels that name a target, for alerts that have all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrelationRule {
    pub labels: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentKey(String);

impl IncidentKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for IncidentKey {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// The key of the first rule whose labels the alert all has; without one, the alert stands alone.
pub fn correlate(alert: &Alert, rules: &[CorrelationRule]) -> IncidentKey {
    let key = rules.iter().find_map(|rule| {
        let values: Option<Vec<String>> = rule
            .labels
            .iter()
            .map(|name| alert.label(name).map(|value| format!("{name}={value:?}")))
            .collect();
        values.filter(|values| !values.is_empty()).map(|values| values.join(","))
    });
    IncidentKey(key.unwrap_or_else(|| format!("{}:{}", alert.source, alert.fingerprint)))
}
