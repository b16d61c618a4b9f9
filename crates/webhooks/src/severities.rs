//! What a label says about how bad an alert is.

use std::collections::BTreeMap;

use incident::Severity;
use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Severities {
    /// The label that holds the severity.
    pub label: String,
    /// What the values of that label mean, in lower case; an unknown value is a warning.
    pub values: BTreeMap<String, Severity>,
}

impl Default for Severities {
    fn default() -> Self {
        let values = [
            ("critical", Severity::Critical),
            ("page", Severity::Critical),
            ("error", Severity::Critical),
            ("high", Severity::Critical),
            ("warning", Severity::Warning),
            ("medium", Severity::Warning),
            ("info", Severity::Info),
            ("low", Severity::Info),
            ("none", Severity::Info),
        ];
        let values = values.map(|(name, meaning)| (name.to_owned(), meaning));
        Self { label: "severity".into(), values: values.into() }
    }
}

impl Severities {
    /// The severity of an alert with these labels.
    pub fn of(&self, labels: &BTreeMap<String, String>) -> Severity {
        let value = labels.get(&self.label);
        value.and_then(|value| self.meaning(value)).unwrap_or_default()
    }

    /// What a value means, in whatever case it is written.
    pub(crate) fn meaning(&self, value: &str) -> Option<Severity> {
        let exact = self.values.get(value);
        exact.or_else(|| self.values.get(&value.to_lowercase())).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_severities_are_warnings() {
        let of = |value: &str| {
            Severities::default().of(&[("severity".to_owned(), value.to_owned())].into())
        };
        assert_eq!(of("critical"), Severity::Critical);
        assert_eq!(of("PAGE"), Severity::Critical);
        assert_eq!(of("purple"), Severity::Warning);
        assert_eq!(Severities::default().of(&BTreeMap::new()), Severity::Warning);
    }
}
