//! What monitoring systems send, read into one alert type. Pure: bytes in, alerts out, nothing is
//! remembered. A body is read whole or refused with the field that cannot be used. A group's status
//! is never trusted where its alerts have their own.

mod alertmanager;
mod cloudevents;
mod datadog;
mod fields;
mod fingerprint;
mod format;
mod grafana;
mod json;
pub mod limits;
mod pagerduty;
mod pairs;
mod reading;
mod severities;
mod time;

pub use format::Format;
pub use json::{Field, JsonMapping, PairsMapping, Pointer, SeverityMapping, StatusMapping, Word};
pub use reading::{BadField, Reading};
pub use severities::Severities;

/// The label of an alert that says that its rule got no data, `no_data`, or no answer, `error`: it
/// tells nothing of the symptom.
pub const MISSING_DATA: &str = "missing_data";
