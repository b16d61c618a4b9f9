//! The brake by the times of what opens, and what it tells.

use incident::{Alert, AlertStatus, Event, IncidentId, Limits, Opening, Severity};

use super::*;

const CONFIG: StormConfig = StormConfig { incidents: 10, seconds: 60 };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// How many of the incidents that would open at `times` do.
fn opened(storms: &mut Storms, times: impl IntoIterator<Item = i64>) -> usize {
    times.into_iter().filter(|seconds| storms.admits(&Group::Authenticated, at(*seconds))).count()
}

fn alert(source: &str, number: usize) -> Alert {
    Alert {
        source: source.into(),
        fingerprint: number.to_string(),
        status: AlertStatus::Firing,
        name: if number.is_multiple_of(4) { "DiskFull".into() } else { "HostDown".into() },
        severity: Severity::Critical,
        labels: [
            ("alertname".to_owned(), "x".to_owned()),
            ("cluster".to_owned(), "eu\u{0}".to_owned()),
            ("server".to_owned(), format!("db-{number}")),
        ]
        .into(),
        annotations: [].into(),
        starts_at: at(0),
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}

fn incident(number: u128, seconds: i64, is_authenticated: bool) -> Incident {
    let opening = Opening {
        id: IncidentId::new(uuid::Uuid::from_u128(number)),
        key: IncidentKey::from(number.to_string()),
        title: String::new(),
        description: String::new(),
        severity: Severity::Warning,
        affected_systems: Vec::new(),
        tags: Vec::new(),
        follows: None,
        is_authenticated,
    };
    Incident::open(opening, at(seconds), &Limits::default())
}

/// An incident that takes a storm with so many alerts.
fn storm(seconds: i64, is_authenticated: bool, alerts: usize) -> Incident {
    let mut storm = incident(99, seconds, is_authenticated);
    let began = Event::StormBegan { why: CONFIG.why() };
    let fired = (0..alerts).map(|number| Event::AlertReported(alert("grafana", number)));
    for event in std::iter::once(began).chain(fired) {
        storm.handle(event, at(seconds), &Limits::default()).unwrap();
    }
    storm
}

#[test]
fn what_opens_slowly_always_opens_and_a_storm_opens_as_many_as_it_may() {
    let mut storms = Storms::new(CONFIG);
    assert_eq!(opened(&mut storms, (0..1_000).map(|index| index * 6)), 1_000);
    let mut storms = Storms::new(CONFIG);
    assert_eq!(opened(&mut storms, (0..5_000).map(|_| 0)), 10);
    let off = StormConfig { incidents: 0, seconds: 60 };
    assert_eq!(opened(&mut Storms::new(off), (0..5_000).map(|_| 0)), 5_000);
}

#[test]
fn a_storm_is_over_when_less_than_half_as_much_would_open() {
    let mut storms = Storms::new(CONFIG);
    assert_eq!(opened(&mut storms, (0..20).map(|_| 0)), 10);
    // One every ten seconds is six a minute, of ten that make a storm.
    assert_eq!(opened(&mut storms, (1..60).map(|index| index * 10)), 0);
    // One every fifteen is four.
    let slower = (0..8).map(|index| 600 + index * 15);
    assert_eq!(opened(&mut storms, slower), 4);
    assert_eq!(opened(&mut storms, [5_000]), 1);
}

#[test]
fn a_source_that_may_be_anybody_brings_a_storm_upon_itself_only() {
    let mut storms = Storms::new(CONFIG);
    let anybody = Group::of(false, "webhook");
    let count = (0..100).filter(|_| storms.admits(&anybody, at(0))).count();
    assert_eq!(count, 10);
    assert!(storms.admits(&Group::of(false, "other"), at(0)));
    assert_eq!(opened(&mut storms, [0]), 1);
    assert_eq!(anybody.key().as_str(), "unauthenticated webhook: storm brake");
    assert_eq!(Group::of(true, "webhook").key().as_str(), "storm brake");
}

#[test]
fn a_restart_forgets_neither_what_opened_nor_a_storm() {
    let seeded = |incidents: &[Incident], now: i64| {
        let mut storms = Storms::new(CONFIG);
        storms.seed(incidents, at(now));
        storms
    };
    let newest: Vec<Incident> = (0..8).rev().map(|n| incident(n, 50, true)).collect();
    assert_eq!(opened(&mut seeded(&newest, 60), (0..5).map(|_| 60)), 2);
    assert_eq!(opened(&mut seeded(&newest, 111), (0..5).map(|_| 111)), 5, "long ago");
    let storming = [storm(0, true, 3)];
    let mut storms = seeded(&storming, 900);
    assert_eq!(opened(&mut storms, [901, 902, 950]), 0);
    assert_eq!(opened(&mut storms, [1_011]), 1, "nothing came for a while");
    let mut over = storm(0, true, 3);
    let close = Event::ClosedByPerson { by: "ana".into(), why: "known".into() };
    over.handle(close, at(1), &Limits::default()).unwrap();
    assert_eq!(opened(&mut seeded(&[over], 900), [901]), 1);
    let mut storms = seeded(&[storm(0, false, 3)], 900);
    assert_eq!(opened(&mut storms, [901]), 1);
    assert!(!storms.admits(&Group::of(false, "grafana"), at(901)));
}

#[test]
fn a_clock_that_was_set_back_keeps_no_storm_up() {
    let mut storms = Storms::new(CONFIG);
    assert_eq!(opened(&mut storms, (0..50).map(|_| 10_000)), 10);
    assert_eq!(opened(&mut storms, [0]), 1);
}

#[test]
fn a_summary_counts_what_is_frequent_and_is_due_at_every_doubling() {
    let mut incident = storm(0, true, 8);
    incident.others.total = 300;
    let summary = Summary::of(&incident, &CONFIG);
    assert_eq!(summary.title, "Storm: 308 alerts");
    let lines: Vec<&str> = summary.description.lines().collect();
    assert!(lines[0].starts_with("more than 10 incidents opened within 60 s"), "{lines:?}");
    assert_eq!(lines[1], "Of the first 8 alerts:");
    assert_eq!(lines[2], "by name: HostDown (6), DiskFull (2)");
    assert!(lines[3].starts_with("by label: cluster=eu (8), server=db-0 (1), "), "{lines:?}");
    assert_eq!(Summary::of(&storm(0, false, 1), &CONFIG).title, "Storm from grafana: 1 alert");
    let due: Vec<u64> = (0..400)
        .filter(|before| {
            incident.others.total = before + 1 - 8_u64.min(before + 1);
            incident.alerts.truncate(usize::try_from(before + 1).unwrap());
            let is_due = Summary::is_due(*before, &incident);
            incident = storm(0, true, 8);
            is_due
        })
        .map(|before| before + 1)
        .collect();
    assert_eq!(due, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
}

#[test]
fn a_setting_that_means_nothing_is_named() {
    let check = |incidents, seconds| StormConfig { incidents, seconds }.check();
    assert!(check(0, 0).is_ok() && check(100, 60).is_ok());
    for (wrong, field) in
        [(check(1, 0), "storm.seconds"), (check(1_000_000, 60), "storm.incidents")]
    {
        let error = wrong.unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}
