//! What holds of whatever is read: the alerts are within the limits and can be kept and known again,
//! a refusal names its field, and the same bytes say the same again.

use http::HeaderMap;
use incident::Alert;
use webhooks::{BadField, Format, Reading, Severities, limits};

/// Longest path of a field and longest reason that an answer should carry.
const FIELD_BYTES: usize = 2_000;
const WHY_BYTES: usize = 8_000;

/// # Panics
/// Something does not hold.
pub fn check(format: &Format, headers: &HeaderMap, body: &[u8]) {
    let read = || {
        let now = "2026-01-01T00:00:00Z".parse().expect("a literal time");
        format.read("source", headers, body, &Severities::default(), now)
    };
    let reading = read();
    assert_eq!(reading, read(), "the same bytes say the same");
    match reading {
        Ok(reading) => check_reading(&reading),
        Err(error) => check_refusal(&error),
    }
}

fn check_reading(reading: &Reading) {
    assert!(reading.alerts.len() <= limits::ALERTS);
    reading.alerts.iter().for_each(check_alert);
}

fn check_alert(alert: &Alert) {
    assert!((1..=limits::FINGERPRINT_BYTES).contains(&alert.fingerprint.len()));
    assert_eq!(alert.source, "source");
    assert!(!alert.name.is_empty());
    for pairs in [&alert.labels, &alert.annotations] {
        assert!(pairs.len() <= limits::PAIRS);
        for (name, value) in pairs {
            assert!(name.len() <= limits::NAME_BYTES && !name.contains('\0'));
            check_text(value);
        }
    }
    [&alert.fingerprint, &alert.name, &alert.generator_url]
        .into_iter()
        .for_each(|text| check_text(text));
    let written = serde_json::to_vec(alert).expect("an alert can be written");
    let again: Alert = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, *alert);
}

fn check_text(text: &str) {
    assert!(text.len() <= limits::VALUE_BYTES && !text.contains('\0'));
}

fn check_refusal(error: &BadField) {
    assert!((1..=FIELD_BYTES).contains(&error.field.len()), "{error}");
    assert!((1..=WHY_BYTES).contains(&error.why.len()), "{error}");
}
