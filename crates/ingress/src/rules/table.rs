//! Enrichment tables: what is known of a label's value (who owns the server, how much it matters, where
//! its runbook is) becomes labels of the alert. A table adds only what an alert lacks, so that a
//! source that knows better is believed, and no more than an alert may hold.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::fmt;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use incident::Alert;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use service::ConfigError;

use super::pairs::{Entry, Pairs};
use super::watched::Watched;
use webhooks::limits::{NAME_BYTES, PAIRS, VALUE_BYTES};

/// One table of the settings.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrichment {
    /// The table, by its extension: `.yaml`, `.yml` or `.csv`.
    pub file: PathBuf,
    /// The label whose value a row is for.
    #[serde(rename = "match")]
    pub match_label: String,
    /// The only labels that are taken from the table; without it, all.
    #[serde(default)]
    pub labels: Option<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct Table {
    match_label: String,
    pub(super) rows: Watched<Rows>,
}

/// The labels to add, by the value of the label they are for.
pub(super) type Rows = HashMap<String, Vec<(String, String)>>;

impl Table {
    /// # Errors
    /// The table cannot be read: file, line and field are named.
    pub(super) fn open(settings: &Enrichment) -> Result<Self, ConfigError> {
        let Enrichment { file, match_label, labels } = settings.clone();
        let format = Format::of(&file)?;
        let label = match_label.clone();
        let reading = move |text: &str, origin: &str| {
            let mut rows = match format {
                Format::Yaml => yaml(text, origin)?,
                Format::Csv => csv(text, origin, &label)?,
            };
            if let Some(allowed) = &labels {
                rows.values_mut().for_each(|row| row.retain(|(name, _)| allowed.contains(name)));
            }
            Ok(rows)
        };
        Ok(Self { match_label, rows: Watched::open(&file, Box::new(reading))? })
    }

    /// Adds the labels of the alert's row that the alert lacks.
    pub(super) fn enrich(&self, alert: &mut Alert) {
        let Some(value) = alert.label(&self.match_label) else { return };
        let rows = self.rows.now();
        for (name, value) in rows.get(value).into_iter().flatten() {
            let is_full = alert.labels.len() >= PAIRS && !alert.labels.contains_key(name);
            if alert.label(name).is_none() && !is_full {
                alert.labels.insert(name.clone(), value.clone());
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Yaml,
    Csv,
}

impl Format {
    fn of(file: &Path) -> Result<Self, ConfigError> {
        match file.extension().and_then(std::ffi::OsStr::to_str) {
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some("csv") => Ok(Self::Csv),
            _ => {
                let why = format!("{}: is neither .yaml, .yml nor .csv", file.display());
                Err(ConfigError::setting("enrichment.file", why))
            }
        }
    }
}

/// `db-1: {owner: dba, tier: 1}`
fn yaml(text: &str, origin: &str) -> Result<Rows, ConfigError> {
    let rows: Pairs<YamlRow> = service::parse_yaml(text, origin)?;
    let row = |(value, row): (String, YamlRow)| {
        (value, row.0.0.into_iter().map(|(name, label)| (name, label.0)).collect())
    };
    Ok(rows.0.into_iter().map(row).collect())
}

#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
struct YamlRow(Pairs<Label>);

impl Entry<'_> for YamlRow {
    fn check_name(value: &str) -> Result<(), String> {
        check_value(value)
    }
}

#[derive(Debug)]
struct Label(String);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Checked inside the visitor, so that an error bears the line of the value.
        struct LabelVisitor;
        impl Visitor<'_> for LabelVisitor {
            type Value = Label;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of a label")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Label, E> {
                check_value(value).map_err(E::custom)?;
                Ok(Label(value.to_owned()))
            }
        }
        deserializer.deserialize_str(LabelVisitor)
    }
}

impl Entry<'_> for Label {
    fn check_name(name: &str) -> Result<(), String> {
        check_name(name)
    }
}

/// A first line of names, among them the label that is matched; an empty field is no label.
fn csv(text: &str, origin: &str, match_label: &str) -> Result<Rows, ConfigError> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
    let wrong = |line: u64, field: &str, message: String| ConfigError::Invalid {
        origin: format!("{origin}:{line}"),
        field: field.to_owned(),
        message,
    };
    let broken = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        let message = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("the line has {len} fields, the first one has {expected_len}")
            }
            _ => error.to_string(),
        };
        wrong(line, match_label, message)
    };
    let names = reader.headers().map_err(broken)?.clone();
    for (column, name) in names.iter().enumerate() {
        check_name(name).map_err(|why| wrong(1, name, why))?;
        if names.iter().take(column).any(|other| other == name) {
            return Err(wrong(1, name, "is there twice".to_owned()));
        }
    }
    let Some(column) = names.iter().position(|name| name == match_label) else {
        return Err(wrong(1, match_label, "there is no such column".to_owned()));
    };
    let mut rows = Rows::new();
    for record in reader.records() {
        let record: StringRecord = record.map_err(broken)?;
        let line = record.position().map_or(1, csv::Position::line);
        let value = record.get(column).unwrap_or_default();
        if value.is_empty() {
            return Err(wrong(line, match_label, "must not be empty".to_owned()));
        }
        let mut row = Vec::new();
        for (name, value) in names.iter().zip(&record) {
            check_value(value).map_err(|why| wrong(line, name, why))?;
            if name != match_label && !value.is_empty() {
                row.push((name.to_owned(), value.to_owned()));
            }
        }
        match rows.entry(value.to_owned()) {
            MapEntry::Vacant(place) => place.insert(row),
            MapEntry::Occupied(_) => {
                return Err(wrong(line, match_label, format!("{value:?} is there twice")));
            }
        };
    }
    Ok(rows)
}

fn check_name(name: &str) -> Result<(), String> {
    if name.contains('\0') {
        return Err("the name of a label must not hold NUL".to_owned());
    }
    match name.len() {
        0 => Err("the name of a label must not be empty".to_owned()),
        1..=NAME_BYTES => Ok(()),
        _ => Err(format!("the name of a label is longer than {NAME_BYTES} bytes")),
    }
}

fn check_value(value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("the value of a label must not hold NUL".to_owned());
    }
    match value.len() {
        ..=VALUE_BYTES => Ok(()),
        _ => Err(format!("the value of a label is longer than {VALUE_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::alert;

    fn table(name: &str, text: &str, labels: Option<&[&str]>) -> Result<Table, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        let labels = labels.map(|labels| labels.iter().map(|l| (*l).to_owned()).collect());
        Table::open(&Enrichment { file, match_label: "server".into(), labels })
            .map_err(|error| error.to_string())
    }

    fn enriched(table: &Table, labels: &[(&str, &str)]) -> Vec<String> {
        let mut alert = alert(labels);
        table.enrich(&mut alert);
        alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    const YAML: &str =
        "# who owns what\ndb-1: {owner: dba, tier: 1, version: 1.10}\nweb: {owner: ''}\n";
    const CSV: &str = "server,owner,tier\ndb-1,dba,1\nweb ,\"front, end\",\n";

    #[test]
    fn a_row_adds_what_the_alert_lacks() {
        let yaml = table("t.yaml", YAML, None).unwrap();
        assert_eq!(
            enriched(&yaml, &[("server", "db-1")]),
            ["owner=dba", "server=db-1", "tier=1", "version=1.10"]
        );
        assert_eq!(
            enriched(
                &yaml,
                &[("server", "db-1"), ("owner", "ana"), ("tier", ""), ("version", "2")]
            ),
            ["owner=ana", "server=db-1", "tier=1", "version=2"]
        );
        assert_eq!(enriched(&yaml, &[("server", "db-2")]), ["server=db-2"]);
        assert_eq!(enriched(&yaml, &[("host", "db-1")]), ["host=db-1"]);
        let csv = table("t.csv", CSV, None).unwrap();
        assert_eq!(enriched(&csv, &[("server", "db-1")]), ["owner=dba", "server=db-1", "tier=1"]);
        assert_eq!(enriched(&csv, &[("server", "web")]), ["owner=front, end", "server=web"]);
    }

    #[test]
    fn only_the_labels_named_are_taken() {
        let table = table("t.yaml", YAML, Some(&["owner"])).unwrap();
        assert_eq!(enriched(&table, &[("server", "db-1")]), ["owner=dba", "server=db-1"]);
    }

    #[test]
    fn an_alert_never_grows_beyond_its_bound() {
        let table = table("t.yaml", YAML, None).unwrap();
        let mut full = alert(&[("server", "db-1")]);
        for number in 2..PAIRS {
            full.labels.insert(format!("l{number}"), "x".into());
        }
        table.enrich(&mut full);
        assert_eq!(full.labels.len(), PAIRS);
    }

    #[test]
    fn a_bad_table_is_named_with_line_and_field() {
        let long = "x".repeat(VALUE_BYTES + 1);
        for (name, text, why) in [
            (
                "t.yaml",
                "db-1: {owner: dba}\ndb-1: {tier: 1}\n",
                ":2:1: field `db-1`: \"db-1\" is there twice",
            ),
            (
                "t.yaml",
                "db-1:\n  owner: dba\n  owner: ana\n",
                ":3:3: field `db-1.owner`: db-1: \"owner\" is there twice",
            ),
            ("t.yaml", "db-1:\n  owner: [dba]\n", ":2:10: field `db-1.owner`: invalid type"),
            (
                "t.yaml",
                &format!("db-1:\n  owner: dba\n  tier: {long}\n"),
                ":3:9: field `db-1.tier`: the value of a label is longer",
            ),
            ("t.yaml", "- db-1\n", "expected a mapping"),
            ("t.csv", "host,owner\ndb-1,dba\n", ":1: field `server`: there is no such column"),
            ("t.csv", "server,owner,owner\n", ":1: field `owner`: is there twice"),
            (
                "t.csv",
                "server,owner\ndb-1,dba\ndb-1,ana\n",
                ":3: field `server`: \"db-1\" is there twice",
            ),
            ("t.csv", "server,owner\ndb-1,dba\ndb-2\n", ":3: field `server`"),
            ("t.csv", "server,owner\n,dba\n", ":2: field `server`: must not be empty"),
            (
                "t.csv",
                &format!("server,owner\ndb-1,{long}\n"),
                ":2: field `owner`: the value of a label is longer",
            ),
            ("t.txt", "", "is neither .yaml, .yml nor .csv"),
        ] {
            let said = table(name, text, None).unwrap_err();
            assert!(said.contains(why), "{text:.60}: {said}");
        }
        let absent =
            Enrichment { file: "absent.csv".into(), match_label: "a".into(), labels: None };
        let said = Table::open(&absent).unwrap_err().to_string();
        assert_eq!(said, "cannot read absent.csv");
    }
}
