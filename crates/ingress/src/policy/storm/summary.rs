//! What a person is told of a storm: how many alerts there are, and what most of them have in
//! common. It is told anew whenever their number has doubled, and when they are gone.

use std::collections::BTreeMap;

use incident::{Event, Incident};

use super::{Group, StormConfig};

/// Names of alerts, and of labels with their values, that are told.
const TOP: usize = 5;
/// Characters of one of them: hostile text.
const NAME_CHARS: usize = 80;

#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) title: String,
    pub(crate) description: String,
}

impl Summary {
    pub(crate) fn of(incident: &Incident, config: &StormConfig) -> Self {
        let storm = match Group::of_incident(incident) {
            Group::Authenticated => "Storm".to_owned(),
            Group::Source(source) => format!("Storm from {source}"),
        };
        let title = format!("{storm}: {}", count(Self::alerts(incident), "alert"));
        let lines = [
            format!(
                "{}: what would open more is here, and nothing acts on it by itself.",
                config.why()
            ),
            format!("Of the first {}:", count(kept(incident), "alert")),
            names(incident),
            labels(incident),
        ];
        Self { title, description: lines.join("\n") }
    }

    pub(crate) fn into_event(self) -> Event {
        Event::StormCounted { title: self.title, description: self.description }
    }

    /// All alerts of an incident.
    pub(crate) fn alerts(incident: &Incident) -> u64 {
        incident.others.total.saturating_add(kept(incident))
    }

    /// Whether an incident that had so many alerts has become worth telling of.
    pub(crate) fn is_due(before: u64, incident: &Incident) -> bool {
        let now = Self::alerts(incident);
        now > 0 && (before == 0 || now.ilog2() > before.ilog2())
    }
}

fn kept(incident: &Incident) -> u64 {
    incident.alerts.len().try_into().unwrap_or(u64::MAX)
}

/// The most frequent names.
fn names(incident: &Incident) -> String {
    let names = incident.alerts.iter().map(|tracked| tracked.alert.name.clone());
    format!("by name: {}", top(names))
}

/// The most frequent labels with their values, but for the name.
fn labels(incident: &Incident) -> String {
    let labels = incident.alerts.iter().flat_map(|tracked| &tracked.alert.labels);
    let labels = labels.filter(|(label, _)| *label != "alertname");
    format!("by label: {}", top(labels.map(|(label, value)| format!("{label}={value}"))))
}

fn top(texts: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for text in texts {
        let text = text.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
        *counts.entry(text).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told = counts.into_iter().take(TOP).map(|(text, count)| format!("{text} ({count})"));
    told.collect::<Vec<_>>().join(", ")
}

/// `1 alert`, `2 alerts`.
pub(super) fn count(number: impl Into<u64>, of: &str) -> String {
    let number = number.into();
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}
