//! Bodies of one's own, by settings that say where each field stands. What an alert leaves out and the
//! settings do not fill is refused by its pointer; nothing is guessed.

mod alert;
mod settings;

use incident::Severity;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use crate::fields::{check_alerts, parse};
use crate::{BadField, Reading, Severities};
use alert::AlertAt;

pub use settings::{Field, Pointer, Word};

/// Where the fields of an alert stand in a body. All but `alerts` start at the alert.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonMapping {
    /// An array of alerts, or one; by default the whole body.
    #[serde(default)]
    pub alerts: Pointer,
    /// What together tells one alert from all others of this source, and is the same when it ends.
    #[serde(deserialize_with = "settings::at_least_one")]
    pub fingerprint: Vec<Pointer>,
    pub status: StatusMapping,
    pub name: Field,
    /// Default: what the labels say.
    #[serde(default)]
    pub severity: Option<SeverityMapping>,
    #[serde(default)]
    pub labels: PairsMapping,
    #[serde(default)]
    pub annotations: PairsMapping,
    /// RFC 3339, or seconds or milliseconds since 1970. Default: when the request came.
    #[serde(default)]
    pub starts_at: Option<Pointer>,
    /// The same. Default for an alert that has ended: when the request came.
    #[serde(default)]
    pub ends_at: Option<Pointer>,
    /// A page about the alert.
    #[serde(default)]
    pub generator_url: Option<Field>,
}

/// Where the status stands, and its values, in whatever case; another value is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "settings::RawStatus")]
pub struct StatusMapping {
    pub at: Field,
    pub firing: Vec<Word>,
    pub resolved: Vec<Word>,
}

/// Where the severity stands, and what its values mean beyond those that every source may use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityMapping {
    pub at: Field,
    #[serde(default)]
    pub values: BTreeMap<Word, Severity>,
}

/// Where labels or annotations come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairsMapping {
    /// Objects whose single values are taken over, by their names there.
    pub all: Vec<Pointer>,
    /// Single ones by their name here; they win.
    pub each: BTreeMap<String, Field>,
}

impl JsonMapping {
    pub(crate) fn read(
        &self,
        source: &str,
        text: &str,
        severities: &Severities,
        now: Timestamp,
    ) -> Result<Reading, BadField> {
        let body = parse(text)?;
        let place = if self.alerts.is_whole() { "body" } else { self.alerts.as_str() };
        let found = self.alerts.of(&body).ok_or_else(|| BadField::new(place, "is missing"))?;
        let one = |path: String, value: &Value| {
            AlertAt { mapping: self, path, value }.read(source, severities, now)
        };
        let alerts = match found {
            Value::Array(items) => {
                check_alerts(items.len()).map_err(|why| BadField::new(place, why))?;
                let path = |index: usize| format!("{}/{index}", self.alerts.as_str());
                let items = items.iter().enumerate();
                items.map(|(index, item)| one(path(index), item)).collect::<Result<_, _>>()?
            }
            Value::Object(_) => vec![one(self.alerts.as_str().to_owned(), found)?],
            _ => return Err(BadField::new(place, "must be an array of alerts, or one object")),
        };
        Ok(Reading { alerts, ..Reading::default() })
    }
}

#[cfg(test)]
mod tests;
