//! Alerts as every source is normalised to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One alert as it was last reported. Identity is `source` and `fingerprint`; an episode begins at
/// `starts_at`. Labels and annotations are hostile text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub source: String,
    pub fingerprint: String,
    pub status: AlertStatus,
    pub name: String,
    pub severity: Severity,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// When the rule fired, which is after the fault began.
    pub starts_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
}

impl Alert {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn is_firing(&self) -> bool {
        self.status == AlertStatus::Firing
    }

    /// The alert with no text longer than `most_chars`; its identity stays whole.
    #[must_use]
    pub fn bounded(&self, most_chars: usize) -> Self {
        let cut = |text: &str| text.chars().take(most_chars).collect::<String>();
        let cut_values = |pairs: &BTreeMap<String, String>| {
            pairs.iter().map(|(name, value)| (name.clone(), cut(value))).collect()
        };
        Self {
            name: cut(&self.name),
            labels: cut_values(&self.labels),
            annotations: cut_values(&self.annotations),
            generator_url: cut(&self.generator_url),
            ..self.clone()
        }
    }

    /// Bytes of all its texts.
    pub fn text_bytes(&self) -> usize {
        let of = |pairs: &BTreeMap<String, String>| -> usize {
            pairs.iter().map(|(name, value)| name.len() + value.len()).sum()
        };
        let own = [&self.source, &self.fingerprint, &self.name, &self.generator_url];
        own.iter().map(|text| text.len()).sum::<usize>() + of(&self.labels) + of(&self.annotations)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    Firing,
    Resolved,
}

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    #[default]
    Warning,
    Critical,
}
