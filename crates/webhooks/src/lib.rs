//! What monitoring systems send, read into one alert type. Pure: bytes in, alerts out, nothing is
//! remembered. A body is read whole or refused with the field that cannot be used. A group's status
//! is never trusted where its alerts have their own.

mod alertmanager;
mod fields;
mod fingerprint;
mod format;
mod json;
pub mod limits;
mod reading;
mod severities;

pub use format::Format;
pub use json::{Field, JsonMapping, PairsMapping, Pointer, SeverityMapping, StatusMapping};
pub use reading::{BadField, Reading};
pub use severities::Severities;
