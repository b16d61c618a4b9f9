//! Windows through their settings: what they cover, and when.

use incident::{AlertStatus, Severity};

use super::*;

fn windows(text: &str) -> Result<Maintenance, String> {
    let read: Vec<WindowConfig> =
        service::parse_yaml(text, "ingress.yaml").map_err(|error| error.to_string())?;
    Maintenance::new(&read).map_err(|error| error.to_string())
}

fn alert(labels: &[(&str, &str)]) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: "f".into(),
        status: AlertStatus::Firing,
        name: "A".into(),
        severity: Severity::Warning,
        labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        annotations: [].into(),
        starts_at: Timestamp::UNIX_EPOCH,
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}

/// A window of every alert with a `server`.
fn weekly(days: &str, from: &str, until: &str, timezone: &str) -> Maintenance {
    let text = format!(
        "- name: nightly\n  match: {{server: {{regex: .+}}}}\n  weekly: {{days: [{days}], from: \
         '{from}', until: '{until}', timezone: {timezone}}}"
    );
    windows(&text).unwrap()
}

fn is_open(maintenance: &Maintenance, now: &str) -> bool {
    maintenance.window(&alert(&[("server", "db-1")]), now.parse().unwrap()).is_some()
}

fn check(maintenance: &Maintenance, inside: &[&str], outside: &[&str]) {
    inside.iter().for_each(|now| assert!(is_open(maintenance, now), "{now} is outside"));
    outside.iter().for_each(|now| assert!(!is_open(maintenance, now), "{now} is inside"));
}

#[test]
fn every_matcher_must_match_the_whole_value() {
    let once = "once: {from: 2026-01-01T00:00:00Z, until: 2026-01-02T00:00:00Z}";
    let text = format!(
        "- name: patching\n  match: {{service: db, server: {{regex: 'db-[0-9]|cache'}}, team: ''}}\n  {once}"
    );
    let maintenance = windows(&text).unwrap();
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let of = |labels: &[(&str, &str)]| maintenance.window(&alert(labels), now).map(str::to_owned);
    assert_eq!(of(&[("service", "db"), ("server", "db-1")]).as_deref(), Some("patching"));
    assert_eq!(of(&[("service", "db"), ("server", "cache")]).as_deref(), Some("patching"));
    for other in [
        &[("service", "db"), ("server", "db-12")][..],
        &[("service", "db"), ("server", "a db-1")],
        &[("service", "db"), ("server", "cache\n")],
        &[("service", "dbx"), ("server", "db-1")],
        &[("service", "db")],
        &[("service", "db"), ("server", "db-1"), ("team", "x")],
    ] {
        assert_eq!(of(other), None, "{other:?}");
    }
}

#[test]
fn a_window_once_has_its_first_moment_and_not_its_last() {
    let text = "- name: move\n  match: {server: db-1}\n  once: {from: 2026-01-31T22:00:00+01:00, until: \
                2026-01-31T23:30:00Z}";
    let maintenance = windows(text).unwrap();
    check(
        &maintenance,
        &["2026-01-31T21:00:00Z", "2026-01-31T23:29:59.999Z"],
        &["2026-01-31T20:59:59.999Z", "2026-01-31T23:30:00Z"],
    );
    let end = |now: &str| maintenance.next_end(now.parse().unwrap());
    assert_eq!(end("2026-01-31T22:00:00Z"), Some("2026-01-31T23:30:00Z".parse().unwrap()));
    assert_eq!(end("2026-02-01T22:00:00Z"), None);
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
    // 2026-01-02 is a Friday.
    let friday = weekly("fri", "22:00", "02:00", "UTC");
    check(
        &friday,
        &["2026-01-02T22:00:00Z", "2026-01-03T01:59:59Z"],
        &["2026-01-02T01:00:00Z", "2026-01-03T02:00:00Z", "2026-01-03T22:30:00Z"],
    );
    let whole = weekly("sat, sun", "00:00", "24:00", "UTC");
    check(
        &whole,
        &["2026-01-03T00:00:00Z", "2026-01-03T23:59:59Z", "2026-01-04T00:00:00Z"],
        &["2026-01-02T23:59:59Z", "2026-01-05T00:00:00Z"],
    );
    let late = weekly("fri", "20:00", "24:00", "UTC");
    check(&late, &["2026-01-02T23:59:59Z"], &["2026-01-03T00:00:00Z"]);
    let to_midnight = weekly("fri", "20:00", "00:00", "UTC");
    check(&to_midnight, &["2026-01-02T23:59:59Z"], &["2026-01-03T00:00:00Z"]);
}

#[test]
fn the_clock_on_the_wall_of_the_time_zone_counts() {
    // Berlin is an hour ahead in winter, two in summer; a Monday there begins on Sunday elsewhere.
    let berlin = weekly("mon", "00:30", "02:00", "Europe/Berlin");
    check(&berlin, &["2026-01-04T23:30:00Z"], &["2026-01-04T23:29:59Z", "2026-01-05T01:00:00Z"]);
    check(&berlin, &["2026-07-05T22:30:00Z"], &["2026-07-05T22:29:59Z", "2026-07-06T00:00:00Z"]);
    let auckland = weekly("mon", "09:00", "10:00", "Pacific/Auckland");
    check(&auckland, &["2026-01-04T20:00:00Z"], &["2026-01-05T20:00:00Z"]);
}

#[test]
fn an_hour_that_is_skipped_or_comes_twice_is_met_as_the_clock_shows_it() {
    // On 2026-03-29 Berlin goes from 02:00 to 03:00, at 01:00 UTC.
    let over = weekly("sun", "01:00", "04:00", "Europe/Berlin");
    check(&over, &["2026-03-29T00:00:00Z", "2026-03-29T01:59:59Z"], &["2026-03-29T02:00:00Z"]);
    let into = weekly("sun", "01:00", "02:30", "Europe/Berlin");
    check(&into, &["2026-03-29T01:29:59Z"], &["2026-03-29T01:30:00Z"]);
    let from = weekly("sun", "02:30", "05:00", "Europe/Berlin");
    check(&from, &["2026-03-29T01:30:00Z", "2026-03-29T02:59:59Z"], &["2026-03-29T01:29:59Z"]);
    // On 2026-10-25 it goes from 03:00 back to 02:00, at 01:00 UTC.
    let twice = weekly("sun", "02:00", "02:30", "Europe/Berlin");
    check(
        &twice,
        &["2026-10-25T00:00:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:29:59Z"],
        &["2026-10-24T23:59:59Z", "2026-10-25T01:30:00Z"],
    );
    let night = weekly("sat", "22:00", "06:00", "Europe/Berlin");
    check(&night, &["2026-10-24T20:00:00Z", "2026-10-25T04:59:59Z"], &["2026-10-25T05:00:00Z"]);
}

#[test]
fn the_first_end_of_what_is_open_is_known() {
    let text = "- name: long\n  match: {server: db-1}\n  weekly: {days: [fri], from: '20:00', until: '23:00', \
                timezone: UTC}\n- name: short\n  match: {server: db-2}\n  weekly: {days: [fri], from: '20:00', \
                until: '21:00', timezone: UTC}";
    let maintenance = windows(text).unwrap();
    let end = |now: &str| maintenance.next_end(now.parse().unwrap()).map(|end| end.to_string());
    assert_eq!(end("2026-01-02T20:30:00Z").as_deref(), Some("2026-01-02T21:00:00Z"));
    assert_eq!(end("2026-01-02T21:00:00Z").as_deref(), Some("2026-01-02T23:00:00Z"));
    assert_eq!(end("2026-01-02T19:00:00Z"), None);
}

#[test]
fn a_setting_that_means_nothing_is_named() {
    let of = |body: &str| format!("- name: n\n  {body}");
    let times = |text: &str| {
        of(&format!("match: {{a: b}}\n  weekly: {{days: [mon], timezone: UTC, {text}}}"))
    };
    for (text, why) in [
        (
            of("match: {}\n  once: {from: 2026-01-01T00:00:00Z, until: 2026-01-02T00:00:00Z}"),
            "[0].match`",
        ),
        (of("match: {a: b}"), "maintenance[0].once`"),
        (
            of("match: {a: b}\n  once: {from: 2026-01-02T00:00:00Z, until: 2026-01-02T00:00:00Z}"),
            "once.until`",
        ),
        (of("match: {a: b}\n  once: {from: 2026-01-02, until: 2026-01-03}"), "once"),
        (
            of(
                "match: {a: {regex: '('}}\n  weekly: {days: [mon], from: '01:00', until: '02:00', timezone: UTC}",
            ),
            "match.a`",
        ),
        (
            of(
                "match: {a: {regex: 'x)|(y'}}\n  weekly: {days: [mon], from: '01:00', until: '02:00', timezone: UTC}",
            ),
            "match.a`",
        ),
        (times("from: '1:00', until: '02:00'"), "weekly.from`"),
        (times("from: '24:00', until: '02:00'"), "weekly.from`"),
        (times("from: '01:00', until: '24:01'"), "weekly.until`"),
        (times("from: '01:00', until: '01:00'"), "weekly.until`"),
        (times("from: '01:60', until: '02:00'"), "weekly.from`"),
        (times("from: '01:00', until: '02:00'").replace("mon", "monday"), "weekly.days`"),
        (times("from: '01:00', until: '02:00'").replace("mon", ""), "weekly.days`"),
        (times("from: '01:00', until: '02:00'").replace("UTC", "Berlin"), "weekly.timezone`"),
        (times("from: '01:00', until: '02:00', zone: x"), "zone"),
        (
            of("match: {a: b}\n  once: {from: 2026-01-01T00:00:00Z, until: 2026-01-02T00:00:00Z}")
                .replace(": n", ": ''"),
            "name`",
        ),
    ] {
        let error = windows(&text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}
