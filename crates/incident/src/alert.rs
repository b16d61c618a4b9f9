//! Alerts as every source is normalised to.

use std::borrow::Cow;
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
    /// Whether the source said so; else `starts_at` is when it was first heard of.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub is_start_known: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_true(flag: &bool) -> bool {
    *flag
}

impl Alert {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn is_firing(&self) -> bool {
        self.status == AlertStatus::Firing
    }

    /// This report with the start of the episode that is known, where it says no other: a report that
    /// does not know its start begins an episode only when the known one is over.
    #[must_use]
    pub fn in_episode_of<'a>(&'a self, known: &Self) -> Cow<'a, Self> {
        let is_of_it = match (self.is_start_known, known.is_start_known) {
            // What was sent before the episode began does not end it.
            (false, _) if known.is_firing() => {
                self.is_firing() || self.starts_at >= known.starts_at
            }
            (false, _) => !self.is_firing(),
            // It began before it was first heard of.
            (true, false) => {
                known.is_firing() && self.is_firing() && self.starts_at < known.starts_at
            }
            (true, true) => false,
        };
        if !is_of_it {
            return Cow::Borrowed(self);
        }
        let (starts_at, is_start_known) = (known.starts_at, known.is_start_known);
        Cow::Owned(Self { starts_at, is_start_known, ..self.clone() })
    }

    /// Whether this report, as `in_episode_of` gives it, is of an episode that is over, or older than
    /// the one that is known.
    pub fn is_late_after(&self, known: &Self) -> bool {
        let fires_anew = self.is_firing() && !known.is_firing();
        // When it began is a guess: what fires may not be lost for it.
        if fires_anew && !self.is_start_known {
            return false;
        }
        // Sources may move the start of a running episode back: its end is known by when it ended.
        let ends_known_episode =
            !self.is_firing() && self.ends_at.is_some_and(|ends_at| ends_at > known.starts_at);
        (self.starts_at < known.starts_at && !ends_known_episode)
            || (self.starts_at == known.starts_at && fires_anew)
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
