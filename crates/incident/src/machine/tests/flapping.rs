//! An alert that comes and goes.

use super::*;

/// Fires and ends, again and again, one change every `pace` seconds from `from` on; the last is at the
/// returned time.
fn flips(mut path: Path, from: i64, pace: i64, count: i64) -> (Path, i64, Vec<EntryKind>) {
    let (mut kinds, mut last) = (Vec::new(), from);
    for index in 0..count {
        last = from + index * pace;
        // The alert fires already: it ends first.
        let episode = from + (index / 2) * 2 * pace - pace;
        let event = match index % 2 {
            0 => Event::AlertReported(alert("a", AlertStatus::Resolved, episode)),
            _ => fires("a", last),
        };
        path = path.then(last, [event]);
        kinds.extend(path.kinds());
        assert!(index < 6 || path.effects.is_empty(), "flip {index}: {:?}", path.effects);
    }
    (path, last, kinds)
}

#[test]
fn flapping_is_told_once_and_its_flips_ask_for_nothing() {
    let (path, last, kinds) = flips(Path::remediating(), 10, 10, 41);
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    assert_eq!(kinds[5], EntryKind::FlappingBegan);
    assert_eq!((path.phase(), path.incident.round), ("remediating", 1));
    let tracked = &path.incident.alerts[0];
    assert!(!tracked.alert.is_firing() && tracked.counts_as_firing());
    assert_eq!(tracked.changes.len(), 6);
    let path = path.then(last + 5, [Event::Concluded(outcome(OutcomeResult::Proven))]);
    assert_eq!(path.phase(), "resolved", "it may be back at any moment");
}

/// Flapping before anything was done, resolved at last, with a plan that waits for a person.
fn flapped_and_waiting() -> (Path, i64) {
    let (path, last, kinds) = flips(Path::waiting(), 10, 10, 7);
    assert_eq!((path.phase(), path.incident.round, path.incident.spared), ("diagnosing", 4, 3));
    assert_eq!(kinds.iter().filter(|kind| **kind == EntryKind::FlappingBegan).count(), 1);
    let diagnosed = Event::DiagnosisReady(diagnosis(Some("db.pool")));
    let asked = Event::ApprovalAsked { plan_hash: plan().hash() };
    (path.then(last, [diagnosed, accepted(), Event::PlanReady(plan()), asked]), last)
}

#[test]
fn rounds_that_end_by_themselves_count_where_they_are_slow_or_many() {
    let mut path = Path::diagnosing();
    let mut phases = Vec::new();
    for index in 0..6 {
        let now = 200 + index * 400;
        let episode = if index == 0 { 0 } else { now - 200 };
        path = path.then(now, [ends("a", episode), fires("a", now + 1)]);
        path = path.then(now + 2, [ends("a", now + 1), fires("a", now + 200)]);
        phases.push((path.phase(), path.incident.spared));
    }
    assert_eq!(phases[0], ("diagnosing", 2));
    assert_eq!(phases[2], ("needs_human", 3), "{phases:?}");
    let slow = |path: Path, ends_at: i64, started: i64| {
        path.then(ends_at, [ends("a", started)]).then(ends_at + 601, [fires("a", ends_at + 601)])
    };
    let path = slow(slow(Path::diagnosing(), 10, 0), 700, 611);
    assert_eq!((path.phase(), path.incident.spared), ("needs_human", 0));
}

#[test]
fn what_flapped_and_stays_resolved_ends_by_itself() {
    let (path, last) = flapped_and_waiting();
    assert_eq!(path.phase(), "awaiting_approval", "it counts as firing");
    let due = last + 1800;
    let path = path.then(due, [Event::DeadlineReached]);
    assert_eq!(path.incident.phase, Phase::Resolved { by: ResolvedBy::Source, at: at(due) });
    assert_eq!(path.kinds(), [EntryKind::FlappingEnded, EntryKind::Resolved]);
    assert!(path.asks_for(&Effect::CancelResolution) && path.asks_for(&Effect::SyncTicket));
    path.deadline_after(due, LIMITS.quiet_seconds);
    let path = path.then(due + 600, [Event::DeadlineReached]);
    assert_eq!(path.incident.phase, Phase::Closed { by: ResolvedBy::Source, at: at(due + 600) });
}

#[test]
fn a_proof_and_the_quiet_of_what_flapped_close_an_incident() {
    let (path, last, _) = flips(Path::remediating(), 10, 10, 7);
    let path = path.then(last + 1, [Event::Concluded(outcome(OutcomeResult::Proven))]);
    let due = last + 1 + 600;
    let path = path.then(due, [Event::DeadlineReached]);
    assert_eq!(path.incident.phase, Phase::Closed { by: ResolvedBy::ProofAndSource, at: at(due) });
    assert_eq!(path.kinds(), [EntryKind::FlappingEnded, EntryKind::Closed]);
}

#[test]
fn what_flaps_on_after_the_proof_goes_to_a_person() {
    let (path, last, _) = flips(Path::remediating(), 10, 10, 7);
    let path = path.then(last + 1, [Event::Concluded(outcome(OutcomeResult::Proven))]);
    let (path, _, kinds) = flips_on(path, last + 400, 50, 4);
    assert_eq!((path.phase(), kinds.len()), ("resolved", 0), "no flip opens it anew");
    let path = path.then(last + 601, [Event::DeadlineReached]);
    assert_eq!(path.why(), "the source still reports the alert after our proof");
}

/// Goes on flipping within the quiet time: fires first.
fn flips_on(mut path: Path, until: i64, pace: i64, count: i64) -> (Path, i64, Vec<EntryKind>) {
    let first = until - pace * count;
    let mut kinds = Vec::new();
    for index in 0..count * 2 {
        let now = first + index * pace;
        let starts_at = first + (index / 2) * 2 * pace;
        let status = [AlertStatus::Firing, AlertStatus::Resolved][usize::from(index % 2 == 1)];
        path = path.then(now, [Event::AlertReported(alert("a", status, starts_at))]);
        kinds.extend(path.kinds());
    }
    (path, first + (count * 2 - 1) * pace, kinds)
}

#[test]
fn changes_that_are_slow_do_not_flap_and_an_end_counts_again_after_the_quiet() {
    let (path, _, kinds) = flips(Path::remediating(), 10, 200, 5);
    assert!(!kinds.contains(&EntryKind::FlappingBegan) && !path.incident.alerts[0].is_flapping);
    let (path, last, _) = flips(Path::remediating(), 10, 10, 6);
    assert!(path.incident.alerts[0].alert.is_firing());
    let path = path.then(last + 300, [fires("a", last)]);
    assert_eq!(path.kinds(), [EntryKind::FlappingEnded], "it fires, and no longer flaps");
    let path = path.then(last + 301, [ends("a", last)]);
    assert_eq!(path.kinds(), [EntryKind::AlertResolved]);
    assert!(!path.incident.is_any_alert_firing());
}

#[test]
fn what_has_become_quiet_is_seen_at_any_event() {
    let (path, last) = flapped_and_waiting();
    let mut early = path.incident.clone();
    let late = Event::DiagnosisReady(diagnosis(Some("late")));
    assert!(early.handle(late.clone(), at(last + 299), &LIMITS).is_err());
    let path = path.then(last + 300, [late]);
    assert_eq!(path.phase(), "resolved");
    assert!(path.asks_for(&Effect::CancelResolution) && !path.asks_for(&Effect::Resolve));
}

#[test]
fn a_closed_incident_begins_anew_with_what_flapped() {
    let (path, last, _) = flips(Path::waiting(), 10, 10, 7);
    let closed = Event::ClosedByPerson { by: "ana".into(), why: "known".into() };
    let path = path.then(last + 1, [closed]);
    assert_eq!(path.phase(), "closed");
    let path = path.then(last + 5, [fires("a", last + 4)]);
    assert_eq!(path.phase(), "diagnosing");
    let kinds = path.kinds();
    assert_eq!(kinds[..2], [EntryKind::FlappingBegan, EntryKind::IncidentReopened]);
    let path = path.then(last + 6, [ends("a", last + 4)]);
    assert_eq!((path.phase(), path.effects.len()), ("diagnosing", 0));
}

#[test]
fn flapping_is_switched_off_by_0_also_where_it_has_begun() {
    let limits = Limits { flap_changes: 0, ..LIMITS };
    let mut incident = Path::remediating().incident;
    for index in 0..20 {
        let (status, start) = [(AlertStatus::Resolved, index - 1), (AlertStatus::Firing, index)]
            [usize::from(index % 2 == 1)];
        let event = Event::AlertReported(alert("a", status, start.max(0)));
        let effects = incident.handle(event, at(10 + index), &limits).unwrap();
        assert_eq!(effects.len(), 1, "flip {index}");
    }
    assert!(incident.alerts[0].changes.is_empty());
    let (path, last, _) = flips(Path::waiting(), 10, 10, 7);
    let mut incident = path.incident;
    incident.handle(fires("b", last), at(last + 1), &limits).unwrap();
    assert!(!incident.alerts[0].is_flapping);
}

/// The other alerts of an incident whose kept one has ended come and go.
#[test]
fn other_alerts_that_flap_are_told_once_and_use_up_no_round() {
    let others = |fired, resolved| Event::OthersReported {
        new: 0,
        fired,
        resolved,
        severity: Severity::Warning,
    };
    let flips = |mut path: Path, count: i64| {
        let mut kinds = Vec::new();
        for index in 0..count {
            let event = if index % 2 == 0 { others(0, 1) } else { others(1, 0) };
            path = path.then(10 + 10 * index, [event]);
            kinds.extend(path.kinds());
            assert!(index < 6 || path.effects.is_empty(), "flip {index}: {:?}", path.effects);
        }
        (path, kinds)
    };
    let first =
        Event::OthersReported { new: 3, fired: 3, resolved: 2, severity: Severity::Warning };
    let path = Path::diagnosing().then(2, [first, ends("a", 0)]);
    let (path, kinds) = flips(path, 40);
    assert_eq!(kinds.iter().filter(|kind| **kind == EntryKind::FlappingBegan).count(), 1);
    assert_eq!((path.phase(), path.incident.counted_rounds()), ("diagnosing", 1));
    let (path, _) = (flips(path, 1).0, ());
    assert_eq!(path.incident.others.firing, 0);
    assert!(path.incident.is_any_alert_firing(), "they may be back at any moment");
    // Quiet at last: they are gone, as every event shows first.
    let over = path.then(10 + 400 + LIMITS.flap_quiet_seconds as i64, [others(0, 0)]);
    assert_eq!(over.kinds(), [EntryKind::FlappingEnded, EntryKind::Resolved]);
    assert_eq!(over.phase(), "resolved");
    assert_eq!(over.incident.others.changes, []);
}

#[test]
fn other_alerts_that_come_and_go_within_one_report_flap_too() {
    let both =
        || Event::OthersReported { new: 0, fired: 1, resolved: 1, severity: Severity::Warning };
    let mut path = Path::remediating();
    for index in 0..8 {
        path = path.then(10 + index, [both()]);
    }
    assert!(path.incident.others.is_flapping && path.incident.others.firing == 0);
    let path = path.then(20, [ends("a", 0), Event::Concluded(outcome(OutcomeResult::Proven))]);
    assert_eq!(path.phase(), "resolved", "not closed: they may be back");
}
