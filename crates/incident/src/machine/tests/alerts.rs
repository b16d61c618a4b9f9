//! Alerts that are only counted, that are silenced, that may come from anybody, and storms.

use super::*;

pub(super) fn suppressed(fingerprints: &[&str]) -> Event {
    Event::AlertsSuppressed {
        source: "alertmanager".into(),
        fingerprints: fingerprints.iter().map(|name| (*name).to_owned()).collect(),
        by: "silence 5f2c".into(),
    }
}

fn others(fired: u64, resolved: u64) -> Event {
    Event::OthersReported { new: fired, fired, resolved, severity: Severity::Critical }
}

#[test]
fn an_incident_is_over_only_when_the_alerts_it_counts_are() {
    let path = Path::planned().then(2, [others(3, 0), ends("a", 0), others(0, 2)]);
    assert_eq!((path.phase(), path.incident.severity), ("planned", Severity::Critical));
    assert_eq!((path.incident.others.total, path.incident.others.firing), (3, 1));
    let path = path.then(3, [others(0, 1)]);
    assert_eq!(path.incident.phase, Phase::Resolved { by: ResolvedBy::Source, at: at(3) });
    let path = path.then(4, [others(1, 0)]);
    assert_eq!((path.phase(), path.incident.round), ("diagnosing", 2));
}

#[test]
fn counted_alerts_that_are_still_reported_contradict_an_end() {
    let proven = || Path::remediating().then(9, [others(2, 0)]);
    let proven = || proven().then(30, [Event::Concluded(outcome(OutcomeResult::Proven))]);
    let closed = proven().then(700, [Event::DeadlineReached]);
    assert_eq!(closed.incident.phase, Phase::Closed { by: ResolvedBy::Proof, at: at(700) });
    let again = closed.then(710, [others(0, 0)]);
    assert_eq!((again.phase(), again.kinds()[0].clone()), ("diagnosing", EntryKind::AlertFired));
    let reported = proven().then(60, [others(0, 0)]);
    assert_eq!((reported.phase(), reported.effects.len()), ("resolved", 0));
    let path = reported.then(700, [Event::DeadlineReached]);
    assert_eq!(path.why(), "the source still reports the alert after our proof");
    let over = Path::closed().then(50, [others(0, 0)]);
    assert_eq!((over.phase(), over.effects.len()), ("closed", 0), "none of them fires");
}

#[test]
fn a_silence_of_every_alert_ends_what_has_not_acted() {
    for path in [Path::diagnosing(), Path::planned(), Path::waiting()] {
        let path = path.then(2, [fires("b", 1), suppressed(&["b", "x"])]);
        assert!(!path.incident.phase.is_final(), "one of two");
        assert_eq!(path.kinds(), [EntryKind::AlertFired, EntryKind::Note]);
        path.refuses(suppressed(&["b"]));
        let path = path.then(3, [suppressed(&["a", "b"])]);
        let reason = "every alert is suppressed at its source: silence 5f2c".to_owned();
        assert_eq!(path.incident.phase, Phase::Suppressed { reason, at: at(3) });
        assert_eq!(path.kinds(), [EntryKind::Note, EntryKind::Suppressed]);
        assert!(path.asks_for(&Effect::CancelResolution) && path.asks_for(&Effect::SyncTicket));
        assert_eq!(path.incident.deadline, None);
        path.refuses(suppressed(&["a"]));
    }
}

#[test]
fn the_last_alert_that_is_heard_ends_and_the_silenced_ones_remain() {
    let path = Path::planned().then(2, [fires("b", 1), suppressed(&["b"]), ends("a", 0)]);
    assert_eq!(path.phase(), "suppressed");
    let counted = Path::planned().then(2, [others(1, 0), suppressed(&["a"])]);
    assert_eq!(counted.phase(), "planned", "one that is only counted is heard");
}

#[test]
fn what_runs_finishes_under_a_silence_and_a_person_keeps_what_a_person_has() {
    for path in [Path::remediating(), Path::rolling_back()] {
        let before = path.phase();
        let path = path.then(4, [suppressed(&["a"])]);
        assert_eq!((path.phase(), path.kinds()), (before, vec![EntryKind::Note]));
        assert!(!path.asks_for(&Effect::CancelResolution));
    }
    let proven = Path::remediating()
        .then(4, [suppressed(&["a"]), Event::Concluded(outcome(OutcomeResult::Proven))])
        .then(700, [Event::DeadlineReached]);
    assert_eq!(proven.incident.phase, Phase::Closed { by: ResolvedBy::Proof, at: at(700) });
    let handed = Path::diagnosing().then(1, [Event::DiagnosisReady(diagnosis(None))]);
    assert_eq!(handed.then(2, [suppressed(&["a"])]).phase(), "needs_human");
}

#[test]
fn the_end_of_a_silence_opens_the_incident_anew_with_the_same_episode() {
    let silenced = || Path::planned().then(3, [suppressed(&["a"])]);
    let path = silenced().then(90, [fires("a", 0)]);
    assert_eq!((path.phase(), path.incident.round), ("diagnosing", 2));
    assert_eq!(path.kinds()[..2], [EntryKind::AlertFired, EntryKind::IncidentReopened]);
    assert!(path.asks_for(&Effect::Diagnose));
    let path = path.then(91, [suppressed(&["a"])]);
    assert_eq!(path.phase(), "suppressed", "silenced once more");
    let path = silenced().then(90, [ends("a", 0)]);
    assert_eq!((path.phase(), path.kinds()), ("suppressed", vec![EntryKind::AlertResolved]));
    assert_eq!(path.then(95, [fires("a", 0)]).phase(), "suppressed", "late: it has ended");
    let path = silenced().then(90, [ends("a", 0), fires("a", 80)]);
    assert_eq!(path.phase(), "diagnosing");
}

#[test]
fn a_silence_that_comes_and_goes_uses_up_no_round_unless_a_step_may_be_under_way() {
    let hushed = |path: Path, seconds| {
        let path = path.then(seconds, [suppressed(&["a"])]);
        assert_eq!(path.phase(), "suppressed");
        path.then(seconds + 1, [fires("a", 0)])
    };
    let mut path = Path::diagnosing();
    for time in 1..=20 {
        path = hushed(path, 100 * time);
        assert_eq!((path.phase(), path.incident.counted_rounds()), ("diagnosing", 1));
        if time % 2 == 0 {
            let asked = Event::ApprovalAsked { plan_hash: plan().hash() };
            let found = Event::DiagnosisReady(diagnosis(Some("db.pool")));
            path = path.then(100 * time + 2, [found, accepted(), Event::PlanReady(plan()), asked]);
        }
    }
    assert_eq!(path.incident.round, 21, "every one has its own requests");
    // Rounds bound acts still: of these nobody knows that they did nothing.
    let mut phases = Vec::new();
    for time in 30..=31 {
        let found = Event::DiagnosisReady(diagnosis(Some("db.pool")));
        path = match path.phase() {
            "diagnosing" => path.then(100 * time, [found]),
            _ => hushed(path, 100 * time).then(100 * time + 2, [found]),
        };
        path = hushed(path, 100 * time + 3);
        phases.push((path.phase(), path.incident.counted_rounds()));
    }
    assert_eq!(phases, [("diagnosing", 2), ("needs_human", 3)]);
    assert_eq!(path.why(), "the fault came back after 2 rounds");
}

#[test]
fn a_source_that_proves_nothing_is_diagnosed_and_left_to_a_person() {
    let mut path = Path { incident: opened(), effects: Vec::new() };
    path.incident.is_authenticated = false;
    let path = path.then(0, [fires("a", 0)]);
    assert!(path.asks_for(&Effect::Diagnose));
    let path = path.then(1, [Event::DiagnosisReady(diagnosis(Some("db.pool")))]);
    assert_eq!(
        path.why(),
        "the source alertmanager does not prove who it is, so nothing acts by itself; found: the \
         pool is exhausted"
    );
    assert!(!path.asks_for(&Effect::Resolve) && path.asks_for(&Effect::SyncTicket));
    assert!(path.incident.diagnosis.is_some());
}

#[test]
fn a_storm_goes_to_a_person_at_once_and_is_over_with_its_last_alert() {
    let began = Event::StormBegan { why: "100 incidents in 60 s".into() };
    let counted = || Event::StormCounted { title: "128 alerts".into(), description: "x".into() };
    let path = Path::new([began.clone(), fires("a", 0), others(127, 0)]);
    assert_eq!(path.why(), "100 incidents in 60 s");
    assert!(!path.asks_for(&Effect::Diagnose), "there is nothing one diagnosis could say");
    path.refuses(began.clone());
    let path = path.then(1, [counted()]);
    assert_eq!((path.incident.title.as_str(), path.kinds()), ("128 alerts", vec![EntryKind::Note]));
    path.refuses(counted());
    let path = path.then(2, [ends("a", 0), others(0, 127)]);
    assert_eq!(path.incident.phase, Phase::Resolved { by: ResolvedBy::Source, at: at(2) });
    let again = path.then(3, [fires("b", 3)]);
    assert_eq!((again.phase(), again.why()), ("needs_human", "alerts of the storm fire again"));
    let over = again.then(4, [ends("b", 3)]).then(700, [Event::DeadlineReached]);
    assert_eq!(over.incident.phase, Phase::Closed { by: ResolvedBy::Source, at: at(700) });
    Path::diagnosing().refuses(began);
    Path::diagnosing().refuses(counted());
}

#[test]
fn an_alert_that_becomes_worse_raises_its_incident_and_begins_nothing() {
    let worse = |name: &str| match fires(name, 0) {
        Event::AlertReported(alert) => {
            Event::AlertReported(Alert { severity: Severity::Critical, ..alert })
        }
        other => other,
    };
    let mut planned = Path::planned();
    planned.incident.severity = Severity::Warning;
    let path = planned.then(2, [worse("a")]);
    assert_eq!((path.phase(), path.incident.severity), ("planned", Severity::Critical));
    assert_eq!((path.kinds(), path.incident.round), (vec![EntryKind::Note], 1));
    assert!(path.asks_for(&Effect::SyncTicket));
    let path = path.then(3, [worse("a")]);
    assert_eq!(path.effects.len(), 0, "said once");
    let mut counted = Path::planned().then(2, [others(2, 0)]);
    counted.incident.severity = Severity::Warning;
    let path = counted.then(3, [others(0, 0)]);
    assert_eq!((path.incident.severity, path.kinds()), (Severity::Critical, vec![EntryKind::Note]));
}
