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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlertStatus, Severity};

    fn key(name: &str, labels: &[(&str, &str)], rules: &[&[&str]]) -> String {
        let alert = Alert {
            source: "alertmanager".into(),
            fingerprint: "f1".into(),
            status: AlertStatus::Firing,
            name: name.into(),
            severity: Severity::Warning,
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            annotations: [].into(),
            starts_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            ends_at: None,
            generator_url: String::new(),
        };
        let rule = |labels: &&[&str]| CorrelationRule {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        };
        let rules: Vec<CorrelationRule> = rules.iter().map(rule).collect();
        correlate(&alert, &rules).as_str().to_owned()
    }

    #[test]
    fn two_alerts_on_one_target_are_one_incident() {
        let rules: &[&[&str]] = &[&["cluster", "server"], &["server"]];
        let timeouts = key("Timeouts", &[("server", "db-1"), ("severity", "critical")], rules);
        assert_eq!(timeouts, key("SlowQueries", &[("server", "db-1")], rules));
        assert_ne!(timeouts, key("Timeouts", &[("server", "db-2")], rules));
        assert_ne!(timeouts, key("Timeouts", &[("server", "db-1"), ("cluster", "eu")], rules));
    }

    #[test]
    fn an_alert_without_target_labels_stands_alone() {
        let alone = "alertmanager:f1";
        assert_eq!(key("Watchdog", &[], &[&["server"]]), alone);
        assert_eq!(key("Watchdog", &[("server", "")], &[&["server"]]), alone);
        assert_eq!(key("Watchdog", &[("server", "db-1")], &[&[]]), alone);
    }

    #[test]
    fn label_values_cannot_imitate_another_key() {
        let rules: &[&[&str]] = &[&["service", "instance"], &["service"]];
        let hostile = key("A", &[("service", "db\",instance=\"i")], rules);
        assert_ne!(hostile, key("A", &[("service", "db"), ("instance", "i")], rules));
    }
}
