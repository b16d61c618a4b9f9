//! The rules that give an alert its incident key, as they stand in the settings: labels that name a
//! target, or a condition and a key. A key begins with what its rule is: neither the value of a
//! label nor another rule can make the same one.

use std::fmt::{self, Write};

use incident::Alert;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::expression::{Expression, Scope};
use super::kinds::Kind;

/// Longest name of a rule.
const NAME_BYTES: usize = 64;

/// Alerts with the same key are one incident. An alert without a label that a rule needs is left to
/// the rules after it.
#[derive(Clone, Debug)]
pub struct CorrelationRule(Rule);

#[derive(Clone, Debug)]
enum Rule {
    Labels(Vec<String>),
    When { name: String, when: Expression, key: Key },
}

#[derive(Clone, Debug)]
enum Key {
    Labels(Vec<String>),
    Expression(Expression),
}

/// A rule as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    labels: Option<Vec<String>>,
    name: Option<String>,
    when: Option<String>,
    key: Option<KeyEntry>,
}

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "`key` is a CEL expression or a list of labels")]
enum KeyEntry {
    Expression(String),
    Labels(Vec<String>),
}

/// Checked inside the visitor, so that an error bears the line of the rule.
struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = CorrelationRule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a correlation rule")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CorrelationRule, A::Error> {
        let entry = Entry::deserialize(MapAccessDeserializer::new(map))?;
        CorrelationRule::try_from(entry).map_err(A::Error::custom)
    }
}

impl<'de> Deserialize<'de> for CorrelationRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntryVisitor)
    }
}

impl TryFrom<Entry> for CorrelationRule {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        match entry {
            Entry { labels: Some(labels), name: None, when: None, key: None } => {
                check_labels(&labels).map_err(|why| format!("`labels`: {why}"))?;
                Ok(Self(Rule::Labels(labels)))
            }
            Entry { labels: None, name: Some(name), when: Some(when), key: Some(key) } => {
                Self::when(name, &when, key)
            }
            Entry { name, .. } => {
                let rule = name.map(|name| format!("rule {name:?}: ")).unwrap_or_default();
                Err(format!("{rule}has either `labels`, or `name`, `when` and `key`"))
            }
        }
    }
}

impl CorrelationRule {
    /// One target is one incident, named by these labels.
    pub(crate) fn of_labels(labels: &[&str]) -> Self {
        Self(Rule::Labels(labels.iter().map(|label| (*label).to_owned()).collect()))
    }

    fn when(name: String, when: &str, key: KeyEntry) -> Result<Self, String> {
        if !is_plain(&name) {
            return Err(format!("rule {name:?}: `name` is lower-case letters, digits, - and _"));
        }
        let wrong = |field: &str, why: String| format!("rule `{name}`: `{field}`: {why}");
        let when = Expression::compile(when, Kind::Truth).map_err(|why| wrong("when", why))?;
        let key = match key {
            KeyEntry::Expression(key) => Key::Expression(
                Expression::compile(&key, Kind::Text).map_err(|why| wrong("key", why))?,
            ),
            KeyEntry::Labels(labels) => {
                check_labels(&labels).map_err(|why| wrong("key", why))?;
                Key::Labels(labels)
            }
        };
        Ok(Self(Rule::When { name, when, key }))
    }

    /// The name of a rule with a condition; no two may share it.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.0 {
            Rule::Labels(_) => None,
            Rule::When { name, .. } => Some(name),
        }
    }

    /// The key of an alert that the rule is for.
    pub(super) fn key(&self, alert: &Alert) -> Option<String> {
        match &self.0 {
            Rule::Labels(labels) => of_labels(String::new(), labels, alert),
            Rule::When { name, when, key } => {
                let scope = Scope::of(alert);
                if !when.holds(&scope) {
                    return None;
                }
                match key {
                    Key::Labels(labels) => of_labels(format!("rule {name}: "), labels, alert),
                    Key::Expression(key) => {
                        key.text(&scope).map(|text| format!("rule {name}: {text:?}"))
                    }
                }
            }
        }
    }
}

/// `start`, and the labels with their values, if the alert has them all.
fn of_labels(start: String, labels: &[String], alert: &Alert) -> Option<String> {
    let mut key = start;
    for (index, name) in labels.iter().enumerate() {
        let value = alert.label(name)?;
        let comma = if index == 0 { "" } else { "," };
        write!(key, "{comma}{name}={value:?}").expect("a text takes what is written to it");
    }
    Some(key)
}

/// Names that cannot be taken for another part of a key.
fn check_labels(labels: &[String]) -> Result<(), String> {
    if labels.is_empty() {
        return Err("names no label".to_owned());
    }
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "=:,\"".contains(c);
    match labels.iter().find(|label| label.is_empty() || label.contains(is_odd)) {
        Some(odd) => Err(format!("{odd:?} is no name of a label")),
        None => Ok(()),
    }
}

fn is_plain(name: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::alert;

    fn read(text: &str) -> Result<CorrelationRule, String> {
        service::parse_yaml(text, "rule.yaml").map_err(|error| error.to_string())
    }

    fn key(rule: &str, labels: &[(&str, &str)]) -> Option<String> {
        read(rule).unwrap().key(&alert(labels))
    }

    #[test]
    fn a_rule_of_labels_needs_all_of_them() {
        let rule = "labels: [cluster, server]";
        let both = [("server", "db-1"), ("cluster", "eu")];
        assert_eq!(key(rule, &both).unwrap(), r#"cluster="eu",server="db-1""#);
        assert_eq!(key(rule, &both[..1]), None);
        assert_eq!(key(rule, &[("server", "db-1"), ("cluster", "")]), None);
    }

    #[test]
    fn a_condition_chooses_the_key() {
        let rule =
            "{name: disks, when: 'has(labels.device)', key: 'labels.server + labels.device'}";
        let disk = [("server", "db-1"), ("device", "sda")];
        assert_eq!(key(rule, &disk).unwrap(), r#"rule disks: "db-1sda""#);
        assert_eq!(key(rule, &disk[..1]), None);
        assert_eq!(key(rule, &disk[1..]), None, "the key needs the server");
        let rule = "{name: disks, when: 'true', key: [server, device]}";
        assert_eq!(key(rule, &disk).unwrap(), r#"rule disks: server="db-1",device="sda""#);
        assert_eq!(key(rule, &disk[..1]), None);
    }

    #[test]
    fn a_rule_that_cannot_work_is_named_with_its_place() {
        for (rule, why) in [
            (
                "{name: disks, when: 'lables.a == \"b\"', key: name}",
                "rule `disks`: `when`: column 1: `lables` is unknown",
            ),
            (
                "{name: disks, when: 'labels.a', key: name}",
                "rule `disks`: `when`: gives a text, not true or false",
            ),
            ("{name: disks, when: 'name == ', key: name}", "rule `disks`: `when`: column"),
            (
                "{name: disks, when: 'true', key: 'name == \"a\"'}",
                "rule `disks`: `key`: gives true or false, not a text",
            ),
            ("{name: disks, when: 'true', key: []}", "rule `disks`: `key`: names no label"),
            (
                "{name: disks, when: 'true', key: 7}",
                "`key` is a CEL expression or a list of labels",
            ),
            ("{name: disks, when: 'true'}", "has either `labels`, or `name`, `when` and `key`"),
            ("{name: disks, labels: [a]}", "has either `labels`, or `name`, `when` and `key`"),
            ("{name: 'My Disks', when: 'true', key: name}", "`name` is lower-case letters"),
            ("labels: []", "`labels`: names no label"),
            ("labels: ['a=\"b\",c']", "is no name of a label"),
            ("{labels: [a], whn: b}", "unknown field `whn`"),
        ] {
            let said = read(rule).unwrap_err();
            assert!(said.starts_with("rule.yaml:1:") && said.contains(why), "{rule}: {said}");
        }
    }
}
