//! How an incident is described from its first alert: which labels and annotations give its title,
//! description, severity, affected systems and tags. Every field has a fallback, so an alert with
//! nothing but a name still makes a readable incident.

use incident::Alert;
use serde::Deserialize;
use service::ConfigError;
use webhooks::Severities;

/// Longest title and description kept; alerts are hostile text.
const TITLE_CHARS: usize = 200;
const DESCRIPTION_CHARS: usize = 4_000;
/// Longest link to a runbook; a longer one is left out.
const LINK_CHARS: usize = 500;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// Annotations or labels that may give the title, best first; then name and target.
    pub title: Vec<String>,
    /// Annotations or labels that may give the description, best first. The link of `runbook_url` stands
    /// below it.
    pub description: Vec<String>,
    /// What says how bad an alert is.
    pub severities: Severities,
    /// Labels that name affected systems.
    pub affected_systems: Vec<String>,
    /// Labels that become tags, as `label:value`.
    pub tags: Vec<String>,
}

impl Default for Mapping {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            title: names(&["summary", "title"]),
            description: names(&["description", "message"]),
            severities: Severities::default(),
            affected_systems: names(&["server", "service", "instance"]),
            tags: names(&[
                "alertname",
                "service",
                "team",
                "owner",
                "tier",
                "cluster",
                "environment",
            ]),
        }
    }
}

/// What is said of an incident when it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) affected_systems: Vec<String>,
    pub(crate) tags: Vec<String>,
}

impl Mapping {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.severities.label.is_empty() {
            return Err(ConfigError::setting("mapping.severities.label", "must not be empty"));
        }
        Ok(())
    }

    pub(crate) fn describe(&self, alert: &Alert) -> Description {
        let affected_systems = self.values(alert, &self.affected_systems);
        let target = affected_systems.first().map(|target| format!(" on {target}"));
        let title = self
            .first(alert, &self.title)
            .unwrap_or_else(|| format!("{}{}", alert.name, target.unwrap_or_default()));
        let description = self
            .first(alert, &self.description)
            .unwrap_or_else(|| format!("alert {} from {}", alert.name, alert.source));
        let tags = self
            .tags
            .iter()
            .filter_map(|name| alert.label(name).map(|value| format!("{name}:{value}")))
            .collect();
        let mut description = clean(&description, DESCRIPTION_CHARS);
        if let Some(link) = runbook(alert).filter(|link| !description.contains(link.as_str())) {
            description = format!("{description}\nRunbook: {link}");
        }
        Description { title: clean(&title, TITLE_CHARS), description, affected_systems, tags }
    }

    fn first(&self, alert: &Alert, names: &[String]) -> Option<String> {
        names.iter().find_map(|name| {
            let annotation = alert.annotations.get(name).map(String::as_str);
            annotation.or_else(|| alert.label(name)).map(str::trim).and_then(non_empty)
        })
    }

    fn values(&self, alert: &Alert, names: &[String]) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for value in names.iter().filter_map(|name| alert.label(name)) {
            if !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
        }
        values
    }
}

/// Where a person reads what to do, as the alert or a table says.
fn runbook(alert: &Alert) -> Option<String> {
    let annotation = alert.annotations.get("runbook_url").map(String::as_str);
    let link = annotation.or_else(|| alert.label("runbook_url"))?.trim();
    let is_link = link.starts_with("https://") || link.starts_with("http://");
    (is_link && link.chars().count() <= LINK_CHARS).then(|| clean(link, LINK_CHARS))
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// One bounded text without control characters, except line ends.
fn clean(text: &str, most_chars: usize) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(most_chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Alert {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        Alert {
            source: "alertmanager".into(),
            fingerprint: "f".into(),
            status: incident::AlertStatus::Firing,
            name: "DiskFull".into(),
            severity: incident::Severity::Warning,
            labels: map(labels),
            annotations: map(annotations),
            starts_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            is_start_known: true,
            ends_at: None,
            generator_url: String::new(),
        }
    }

    #[test]
    fn an_alert_with_nothing_but_a_name_still_describes_an_incident() {
        let described = Mapping::default().describe(&alert(&[("server", "db-1")], &[]));
        assert_eq!(described.title, "DiskFull on db-1");
        assert_eq!(described.description, "alert DiskFull from alertmanager");
        assert_eq!(described.affected_systems, ["db-1"]);
    }

    #[test]
    fn annotations_win_and_hostile_text_is_bounded() {
        let long = "x\u{0}\u{1b}".repeat(10_000);
        let described = Mapping::default()
            .describe(&alert(&[], &[("summary", "disk"), ("description", &long)]));
        assert_eq!(described.title, "disk");
        assert_eq!(described.description.len(), DESCRIPTION_CHARS);
        assert!(described.description.chars().all(|c| c == 'x'));
    }

    #[test]
    fn the_link_to_the_runbook_is_at_hand_whatever_else_is_said() {
        let link = "https://wiki.example/db";
        let of = |labels: &[(&str, &str)], annotations: &[(&str, &str)]| {
            Mapping::default().describe(&alert(labels, annotations)).description
        };
        let long = "x".repeat(5_000);
        assert!(of(&[("runbook_url", link)], &[("description", &long)]).ends_with(link));
        assert_eq!(
            of(&[("runbook_url", link)], &[("description", "slow")]),
            format!("slow\nRunbook: {link}")
        );
        assert_eq!(of(&[("runbook_url", link)], &[("description", link)]), link, "said once");
        for other in ["javascript:alert(1)", "", &format!("https://{long}")] {
            assert_eq!(of(&[], &[("description", "slow"), ("runbook_url", other)]), "slow");
        }
    }
}
