//! Bodies of one's own, by settings that say where each field stands.

mod pointer;

use std::collections::BTreeMap;

use incident::Severity;
use serde::Deserialize;

pub use pointer::Pointer;

/// Where the fields of an alert stand in a body. Pointers start at the alert.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonMapping {
    /// An array of alerts, or one; by default the whole body.
    #[serde(default)]
    pub alerts: Pointer,
    /// What together tells one alert from all others of this source, and is the same when it ends.
    pub fingerprint: Vec<Pointer>,
    pub status: StatusMapping,
    pub name: Field,
    /// Default: what the labels say.
    pub severity: Option<SeverityMapping>,
    #[serde(default)]
    pub labels: PairsMapping,
    #[serde(default)]
    pub annotations: PairsMapping,
    /// RFC 3339, or seconds or milliseconds since 1970. Default: when the request came.
    pub starts_at: Option<Pointer>,
    pub ends_at: Option<Pointer>,
    pub generator_url: Option<Field>,
}

/// A place in the alert, `/title`, or the same text always, `{constant: text}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Field {
    At(Pointer),
    Constant { constant: String },
}

/// Where the status stands, and its values; another value is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusMapping {
    pub at: Pointer,
    pub firing: Vec<String>,
    pub resolved: Vec<String>,
}

/// Where the severity stands, and what its values mean beyond those that every source may use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityMapping {
    pub at: Field,
    #[serde(default)]
    pub values: BTreeMap<String, Severity>,
}

/// Where labels or annotations come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairsMapping {
    /// Objects whose fields are taken over.
    pub all: Vec<Pointer>,
    /// Single ones by their name; they win.
    pub each: BTreeMap<String, Field>,
}
