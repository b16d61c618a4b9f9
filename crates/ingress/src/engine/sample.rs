//! One alert for unit tests, at times counted in seconds.

use incident::{Alert, AlertStatus, Severity};
use jiff::Timestamp;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn firing(starts_at: i64) -> Alert {
    alert(AlertStatus::Firing, starts_at, None)
}

pub(crate) fn resolved(starts_at: i64, ends_at: i64) -> Alert {
    alert(AlertStatus::Resolved, starts_at, Some(ends_at))
}

fn alert(status: AlertStatus, starts_at: i64, ends_at: Option<i64>) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: "f".into(),
        status,
        name: "A".into(),
        severity: Severity::Warning,
        labels: [].into(),
        annotations: [].into(),
        starts_at: at(starts_at),
        is_start_known: true,
        ends_at: ends_at.map(at),
        generator_url: String::new(),
    }
}
