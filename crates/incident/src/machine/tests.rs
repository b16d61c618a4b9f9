//! The machine through `Incident::handle`: every transition, and every event that comes late,
//! twice or out of order.

use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::{
    AlertStatus, Check, CheckRole, Comparison, Confidence, IncidentKey, Mode, Opening, PlanId,
    Severity,
};

mod alerts;
mod flapping;
mod random;

const LIMITS: Limits = Limits {
    diagnosis_seconds: 60,
    resolution_seconds: 900,
    approval_seconds: 1800,
    quiet_seconds: 600,
    reopen_seconds: 900,
    reminder_seconds: 14_400,
    rounds: 2,
    flap_changes: 6,
    flap_window_seconds: 600,
    flap_quiet_seconds: 300,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn id() -> IncidentId {
    IncidentId::new(Uuid::from_u128(1))
}

/// An incident as ingress opens it: no alert yet.
pub(crate) fn opened() -> Incident {
    let opening = Opening {
        id: id(),
        key: IncidentKey::from("server=\"db-1\"".to_owned()),
        title: "db-1 refuses connections".into(),
        description: String::new(),
        severity: Severity::Warning,
        affected_systems: vec!["db-1".into()],
        tags: Vec::new(),
        follows: None,
        is_authenticated: true,
    };
    Incident::open(opening, at(0), &LIMITS)
}

fn alert(fingerprint: &str, status: AlertStatus, starts_at: i64) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: fingerprint.into(),
        status,
        name: "DatabaseConnectionTimeout".into(),
        severity: Severity::Warning,
        labels: [("server".to_owned(), "db-1".to_owned())].into(),
        annotations: [].into(),
        starts_at: at(starts_at),
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}

fn fires(fingerprint: &str, starts_at: i64) -> Event {
    Event::AlertReported(alert(fingerprint, AlertStatus::Firing, starts_at))
}

fn ends(fingerprint: &str, starts_at: i64) -> Event {
    Event::AlertReported(alert(fingerprint, AlertStatus::Resolved, starts_at))
}

fn diagnosis(cause: Option<&str>) -> Diagnosis {
    Diagnosis {
        incident_id: id(),
        cause: cause.map(str::to_owned),
        summary: "the pool is exhausted".into(),
        target: cause.map(|_| "db-1".to_owned()),
        confidence: Confidence::new(0.9).unwrap(),
        cases: 0,
        rule: None,
        evidence: Vec::new(),
        missing: Vec::new(),
        alternatives: Vec::new(),
        runbooks: vec!["raise-pool".into()],
        facts: [].into(),
        started_at: at(0),
        finished_at: at(1),
    }
}

fn plan() -> Plan {
    Plan {
        id: PlanId::new(Uuid::from_u128(2)),
        incident_id: id(),
        runbook: "raise-pool".into(),
        cause: "db.connection_pool_exhausted".into(),
        target: "db-1".into(),
        mode: Mode::Auto,
        risk: "low".into(),
        steps: Vec::new(),
        checks: vec![Check {
            name: "timeouts stop".into(),
            role: CheckRole::Symptom,
            query: "rate(db_connection_timeout_total[30s])".into(),
            comparison: Comparison::AtMost,
            threshold: 0.0,
            hold: Duration::from_secs(5),
            within: Duration::from_secs(30),
        }],
        gates: Vec::new(),
        baseline: Vec::new(),
        created_at: at(1),
    }
}

fn outcome(result: OutcomeResult) -> Outcome {
    Outcome {
        incident_id: id(),
        plan_id: None,
        result,
        summary: format!("ended {result:?}"),
        steps: Vec::new(),
        checks: Vec::new(),
        undo: Vec::new(),
        undo_checks: Vec::new(),
        finished_at: at(30),
    }
}

fn progress(index: usize, kind: EntryKind) -> Event {
    let entry = TimelineEntry::new(at(9), "resolution-agent", kind, format!("entry {index}"));
    Event::Progressed { index, entry }
}

fn accepted() -> Event {
    Event::ResolutionAccepted { task_id: "task-1".into() }
}

fn ticket(status: &str) -> Event {
    let (key, url) = ("FB-1".into(), "file:///FB-1".into());
    let ticket = TicketRef { key, url, status: status.into(), sequence: 3 };
    Event::TicketSynced { ticket, handed_over_at: None }
}

/// An incident driven through events, all at one time, which must all be taken.
struct Path {
    incident: Incident,
    effects: Vec<Effect>,
}

impl Path {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        Self { incident: opened(), effects: Vec::new() }.then(0, events)
    }

    fn diagnosing() -> Self {
        Self::new([fires("a", 0)])
    }

    fn planned() -> Self {
        Self::diagnosing().then(1, [Event::DiagnosisReady(diagnosis(Some("db.pool"))), accepted()])
    }

    fn waiting() -> Self {
        let asked = Event::ApprovalAsked { plan_hash: plan().hash() };
        Self::planned().then(2, [Event::PlanReady(plan()), asked])
    }

    fn remediating() -> Self {
        Self::planned().then(2, [progress(0, EntryKind::StepStarted)])
    }

    fn rolling_back() -> Self {
        Self::remediating().then(3, [progress(1, EntryKind::RollbackStarted)])
    }

    fn resolved_by_proof() -> Self {
        Self::remediating().then(30, [Event::Concluded(outcome(OutcomeResult::Proven))])
    }

    fn closed() -> Self {
        Self::resolved_by_proof().then(40, [ends("a", 0)])
    }

    /// Takes more events, and keeps the effects of these only.
    fn then(mut self, seconds: i64, events: impl IntoIterator<Item = Event>) -> Self {
        self.effects.clear();
        for event in events {
            let name = event.name();
            let taken = self.incident.handle(event, at(seconds), &LIMITS);
            self.effects.extend(taken.unwrap_or_else(|error| panic!("{name}: {error}")));
        }
        self
    }

    fn phase(&self) -> &'static str {
        self.incident.phase.name()
    }

    fn kinds(&self) -> Vec<EntryKind> {
        let entry = |effect: &Effect| match effect {
            Effect::Record(entry) => Some(entry.kind.clone()),
            _ => None,
        };
        self.effects.iter().filter_map(entry).collect()
    }

    fn asks_for(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    /// The event is refused, and nothing has changed.
    fn refuses(&self, event: Event) {
        let (name, mut incident) = (event.name(), self.incident.clone());
        let taken = incident.handle(event, at(9_999), &LIMITS);
        assert!(taken.is_err(), "{name} was taken in {}", self.phase());
        assert_eq!(incident, self.incident, "{name} changed a {} incident", self.phase());
    }

    fn deadline_after(&self, seconds: i64, limit: u64) {
        let limit = i64::try_from(limit).unwrap();
        assert_eq!(self.incident.deadline, Some(at(seconds + limit)), "in {}", self.phase());
    }

    fn why(&self) -> &str {
        match &self.incident.phase {
            Phase::NeedsHuman { reason, .. } => &reason.why,
            other => panic!("{} needs nobody", other.name()),
        }
    }
}

#[test]
fn a_firing_alert_starts_a_diagnosis() {
    let path = Path::diagnosing();
    assert_eq!(path.phase(), "diagnosing");
    assert_eq!(path.kinds(), [EntryKind::AlertFired, EntryKind::DiagnosisStarted]);
    assert!(path.asks_for(&Effect::Diagnose) && path.asks_for(&Effect::SyncTicket));
    path.deadline_after(0, LIMITS.diagnosis_seconds);
}

#[test]
fn a_cause_is_handed_to_resolution_and_no_cause_to_a_person() {
    let path = Path::planned();
    assert_eq!(path.phase(), "planned");
    assert_eq!(path.incident.resolution_task.as_deref(), Some("task-1"));
    assert!(path.asks_for(&Effect::Resolve));
    path.deadline_after(1, LIMITS.resolution_seconds);
    let none = Path::diagnosing().then(1, [Event::DiagnosisReady(diagnosis(None))]);
    assert_eq!(none.why(), "no cause found: the pool is exhausted");
    assert!(!none.asks_for(&Effect::Resolve));
    let mut without_target = diagnosis(Some("db.pool"));
    without_target.target = None;
    let path = Path::diagnosing().then(1, [Event::DiagnosisReady(without_target)]);
    assert_eq!(path.phase(), "needs_human");
}

#[test]
fn the_whole_way_to_closed_is_told_in_order() {
    let path = Path::planned().then(
        2,
        [
            Event::PlanReady(plan()),
            progress(0, EntryKind::Planned),
            progress(1, EntryKind::StepStarted),
            progress(2, EntryKind::StepFinished),
            progress(3, EntryKind::VerificationStarted),
            progress(4, EntryKind::Verified),
        ],
    );
    assert_eq!(path.phase(), "verifying");
    path.deadline_after(1, LIMITS.resolution_seconds);
    let path = path.then(30, [Event::Concluded(outcome(OutcomeResult::Proven))]);
    assert_eq!(path.incident.phase, Phase::Resolved { by: ResolvedBy::Proof, at: at(30) });
    path.deadline_after(30, LIMITS.quiet_seconds);
    let path = path.then(40, [ends("a", 0)]);
    assert_eq!(path.incident.phase, Phase::Closed { by: ResolvedBy::ProofAndSource, at: at(40) });
    assert_eq!(path.kinds(), [EntryKind::AlertResolved, EntryKind::Closed]);
    assert!(path.asks_for(&Effect::SyncTicket));
    assert_eq!(path.incident.deadline, None);
}

#[test]
fn an_alert_gone_before_the_proof_closes_with_it() {
    let path = Path::remediating().then(20, [ends("a", 0)]);
    assert_eq!(path.phase(), "remediating", "a running step finishes and is verified");
    assert!(!path.asks_for(&Effect::CancelResolution));
    let path = path.then(30, [Event::Concluded(outcome(OutcomeResult::Proven))]);
    assert_eq!(path.incident.phase, Phase::Closed { by: ResolvedBy::ProofAndSource, at: at(30) });
}

#[test]
fn a_proof_closes_after_quiet_when_the_source_stays_silent() {
    let path = Path::resolved_by_proof().then(700, [Event::DeadlineReached]);
    assert_eq!(path.incident.phase, Phase::Closed { by: ResolvedBy::Proof, at: at(700) });
}

#[test]
fn a_proof_the_source_contradicts_goes_to_a_person() {
    let path = Path::resolved_by_proof().then(60, [fires("a", 0)]);
    assert_eq!((path.phase(), path.kinds()), ("resolved", vec![]), "the same episode is no news");
    let path = path.then(700, [Event::DeadlineReached]);
    assert_eq!(path.why(), "the source still reports the alert after our proof");
}

#[test]
fn an_alert_that_ends_by_itself_cancels_what_has_not_begun() {
    for path in [Path::diagnosing(), Path::planned(), Path::waiting()] {
        let before = path.phase();
        let path = path.then(5, [ends("a", 0)]);
        let resolved = Phase::Resolved { by: ResolvedBy::Source, at: at(5) };
        assert_eq!(path.incident.phase, resolved, "from {before}");
        assert!(path.asks_for(&Effect::CancelResolution));
        path.deadline_after(5, LIMITS.quiet_seconds);
        let path = path.then(700, [Event::DeadlineReached]);
        assert_eq!(path.incident.phase, Phase::Closed { by: ResolvedBy::Source, at: at(700) });
    }
}

#[test]
fn an_incident_is_over_only_when_its_last_alert_is() {
    let path = Path::planned().then(2, [fires("b", 1), ends("a", 0)]);
    assert_eq!(path.phase(), "planned");
    let path = path.then(3, [ends("b", 1)]);
    assert_eq!(path.phase(), "resolved");
}

#[test]
fn approval_is_waited_for_and_its_time_is_not_taken_from_the_resolution() {
    let path = Path::waiting();
    assert_eq!(path.incident.phase, Phase::AwaitingApproval { plan_hash: plan().hash() });
    assert_eq!(path.incident.plan, Some(plan()));
    path.deadline_after(2, LIMITS.approval_seconds);
    let approved = path.then(1790, [progress(0, EntryKind::Approved)]);
    assert_eq!(approved.phase(), "planned");
    approved.deadline_after(1790, LIMITS.resolution_seconds);
    let acting = approved.then(1795, [progress(1, EntryKind::StepStarted)]);
    assert_eq!(acting.phase(), "remediating");
    acting.deadline_after(1790, LIMITS.resolution_seconds);
    let unsaid = Path::waiting().then(1790, [progress(0, EntryKind::StepStarted)]);
    unsaid.deadline_after(1790, LIMITS.resolution_seconds);
}

#[test]
fn every_outcome_but_proof_needs_a_human() {
    use OutcomeResult::*;
    for result in [Undone, UndoFailed, Refused, NoRunbook, Recommended, StepFailed, Cancelled] {
        for path in [Path::planned(), Path::waiting(), Path::remediating(), Path::rolling_back()] {
            let before = path.phase();
            let path = path.then(30, [Event::Concluded(outcome(result))]);
            assert_eq!(path.why(), format!("ended {result:?}"), "from {before}");
            assert_eq!(path.kinds(), [EntryKind::Concluded, EntryKind::HandedOver]);
            assert!(path.asks_for(&Effect::SyncTicket));
            assert_eq!(path.incident.outcome.as_ref().unwrap().result, result);
            path.deadline_after(30, LIMITS.reminder_seconds);
        }
    }
}

#[test]
fn an_agent_that_fails_for_good_needs_a_human() {
    let failed = || Event::AgentFailed { agent: "an agent".into(), why: "broken".into() };
    for path in [Path::diagnosing(), Path::planned(), Path::remediating()] {
        assert_eq!(path.then(3, [failed()]).why(), "an agent failed: broken");
    }
    let left = Path::remediating().then(3, [failed()]);
    assert!(left.asks_for(&Effect::CancelResolution), "what it still does is not wanted any more");
    Path::resolved_by_proof().refuses(failed());
    Path::closed().refuses(failed());
}

#[test]
fn the_deadline_of_every_phase_has_its_end() {
    let late = |path: Path| path.then(90_000, [Event::DeadlineReached]);
    let path = late(Path::diagnosing());
    assert_eq!(path.why(), "diagnosing took longer than its deadline");
    let path = late(Path::waiting());
    assert_eq!(path.why(), "nobody approved in time; that counts as a no");
    assert!(path.asks_for(&Effect::CancelResolution));
    for path in [Path::planned(), Path::remediating(), Path::rolling_back()] {
        let why = format!("{} took longer than its deadline", path.phase());
        let path = late(path);
        assert_eq!(path.why(), why);
        assert!(path.asks_for(&Effect::CancelResolution));
        path.deadline_after(90_000, LIMITS.reminder_seconds);
    }
    let reminded = late(Path::diagnosing()).then(200_000, [Event::DeadlineReached]);
    assert_eq!((reminded.phase(), reminded.kinds()), ("needs_human", vec![EntryKind::Note]));
    assert!(reminded.asks_for(&Effect::SyncTicket));
    reminded.deadline_after(200_000, LIMITS.reminder_seconds);
    Path::closed().refuses(Event::DeadlineReached);
}

#[test]
fn what_a_resolution_did_after_its_deadline_is_told_and_stays_with_the_person() {
    let path = Path::remediating().then(950, [Event::DeadlineReached]);
    let path = path.then(960, [progress(1, EntryKind::RollbackStarted)]);
    assert_eq!((path.phase(), path.kinds()), ("needs_human", vec![EntryKind::RollbackStarted]));
    let path = path.then(970, [Event::Concluded(outcome(OutcomeResult::Undone))]);
    assert_eq!((path.phase(), path.kinds()), ("needs_human", vec![EntryKind::Concluded]));
    assert!(path.asks_for(&Effect::SyncTicket));
    path.refuses(Event::Concluded(outcome(OutcomeResult::Undone)));
}

#[test]
fn a_step_that_ran_although_its_alert_ended_is_not_forgotten() {
    let ended = || Path::planned().then(5, [ends("a", 0)]);
    let told = ended().then(6, [progress(0, EntryKind::StepStarted)]);
    assert_eq!((told.phase(), told.kinds()), ("resolved", vec![EntryKind::StepStarted]));
    for (result, phase) in [
        (OutcomeResult::Proven, "closed"),
        (OutcomeResult::Undone, "resolved"),
        (OutcomeResult::Cancelled, "resolved"),
        (OutcomeResult::UndoFailed, "needs_human"),
        (OutcomeResult::StepFailed, "needs_human"),
    ] {
        let path = ended().then(9, [Event::Concluded(outcome(result))]);
        assert_eq!(path.phase(), phase, "{result:?}");
    }
}

#[test]
fn progress_is_applied_once_and_in_order() {
    let path = Path::remediating();
    assert_eq!(path.incident.progress_seen, 1);
    path.refuses(progress(0, EntryKind::StepStarted));
    path.refuses(progress(2, EntryKind::StepFinished));
    let path = path.then(4, [progress(1, EntryKind::StepFinished)]);
    assert_eq!(path.incident.progress_seen, 2);
    assert_eq!(path.kinds(), [EntryKind::StepFinished]);
    assert!(!path.asks_for(&Effect::SyncTicket), "the phase is the same");
}

#[test]
fn a_second_task_of_a_round_is_followed_from_its_start() {
    let again = Event::ResolutionAccepted { task_id: "task-2".into() };
    let path = Path::remediating().then(4, [accepted(), again]);
    assert_eq!(path.incident.progress_seen, 0);
    let path = path.then(5, [progress(0, EntryKind::StepStarted)]);
    assert_eq!(path.incident.progress_seen, 1);
}

#[test]
fn a_rollback_does_not_turn_back_into_remediation() {
    let path = Path::rolling_back().then(
        4,
        [progress(2, EntryKind::StepStarted), progress(3, EntryKind::VerificationStarted)],
    );
    assert_eq!(path.phase(), "rolling_back");
}

#[test]
fn answers_that_come_twice_or_too_late_change_nothing() {
    let late = || {
        [
            Event::DiagnosisReady(diagnosis(Some("other"))),
            Event::PlanReady(plan()),
            Event::ApprovalAsked { plan_hash: "x".into() },
        ]
    };
    late().into_iter().for_each(|event| Path::remediating().refuses(event));
    Path::planned().refuses(Event::DiagnosisReady(diagnosis(Some("other"))));
    for event in [accepted(), progress(0, EntryKind::StepStarted)] {
        Path::diagnosing().refuses(event.clone());
        Path::resolved_by_proof().refuses(event.clone());
        Path::closed().refuses(event);
    }
    let concluded = || Event::Concluded(outcome(OutcomeResult::Undone));
    Path::diagnosing().refuses(concluded());
    Path::resolved_by_proof().refuses(concluded());
    Path::closed().refuses(concluded());
    Path::closed().refuses(Event::ClosedByPerson { by: "ana".into(), why: "again".into() });
}

#[test]
fn repeated_late_and_reordered_reports_converge() {
    let path = Path::planned().then(2, [fires("a", 0), fires("a", 0)]);
    assert_eq!(path.kinds(), [], "a repetition is no news");
    let ended = path.then(3, [ends("a", 0), ends("a", 0), fires("a", 0)]);
    assert_eq!(ended.phase(), "resolved", "a late firing report of an ended episode is dropped");
    let old = Path::new([fires("a", 100)]).then(1, [ends("a", 50), fires("a", 50)]);
    assert_eq!((old.phase(), old.kinds()), ("diagnosing", vec![]), "an older episode");
    assert_eq!(old.incident.alerts[0].alert.starts_at, at(100));
}

#[test]
fn a_report_that_knows_no_start_is_of_the_known_episode() {
    let report = |status, seconds| {
        let guess = Alert { is_start_known: false, ..alert("a", status, seconds) };
        Event::AlertReported(guess)
    };
    let fires = |seconds| report(AlertStatus::Firing, seconds);
    let ends = |seconds| report(AlertStatus::Resolved, seconds);
    let path = Path::new([fires(0)]).then(2, [fires(2), fires(3), fires(-1)]);
    assert_eq!(path.kinds(), [], "the same again");
    let path = path.then(4, [ends(-1)]);
    assert_eq!(path.phase(), "diagnosing", "an end from before it began");
    let ended = path.then(5, [ends(5), ends(6)]);
    assert_eq!(ended.phase(), "resolved");
    assert_eq!(ended.incident.alerts[0].alert.starts_at, at(0), "the end of that episode");
    let again = ended.then(7, [fires(7)]);
    assert_eq!((again.phase(), again.incident.round), ("diagnosing", 2));
    assert_eq!(again.incident.alerts[0].alert.starts_at, at(7), "an episode of its own");
}

#[test]
fn the_end_of_an_episode_counts_even_when_its_start_was_moved_back() {
    let mut end = alert("a", AlertStatus::Resolved, 50);
    end.ends_at = Some(at(200));
    let path = Path::new([fires("a", 100)]).then(200, [Event::AlertReported(end)]);
    assert_eq!(path.phase(), "resolved");
    let mut older = alert("a", AlertStatus::Resolved, 50);
    older.ends_at = Some(at(90));
    let path = Path::new([fires("a", 100)]).then(200, [Event::AlertReported(older)]);
    assert_eq!(path.phase(), "diagnosing", "this end is of the episode before");
}

#[test]
fn a_new_episode_reopens_and_the_last_round_goes_to_a_person() {
    for path in [Path::resolved_by_proof(), Path::closed()] {
        let path = path.then(50, [fires("a", 45)]);
        assert_eq!((path.phase(), path.incident.round), ("diagnosing", 2));
        assert!(path.kinds().contains(&EntryKind::IncidentReopened));
        assert!(path.asks_for(&Effect::Diagnose));
        path.deadline_after(50, LIMITS.diagnosis_seconds);
        let fresh = &path.incident;
        assert!(fresh.diagnosis.is_none() && fresh.plan.is_none() && fresh.outcome.is_none());
        assert!(fresh.resolution_task.is_none() && fresh.progress_seen == 0);
        let proven = Event::Concluded(outcome(OutcomeResult::Proven));
        let fixed = path.then(51, [Event::DiagnosisReady(diagnosis(Some("db.pool"))), proven]);
        let path = fixed.then(60, [fires("a", 55)]);
        assert_eq!(path.why(), "the fault came back after 2 rounds");
        assert!(!path.asks_for(&Effect::Diagnose));
    }
}

#[test]
fn a_source_that_still_reports_a_closed_incident_reopens_it() {
    let closed = Path::resolved_by_proof().then(700, [Event::DeadlineReached]);
    assert_eq!(closed.phase(), "closed");
    assert_eq!(closed.then(710, [fires("a", 0)]).phase(), "diagnosing");
}

#[test]
fn late_ends_of_a_closed_incident_are_recorded_only() {
    let closed = Path::resolved_by_proof().then(700, [Event::DeadlineReached]);
    let path = closed.then(800, [ends("a", 0)]);
    assert_eq!((path.phase(), path.kinds()), ("closed", vec![EntryKind::AlertResolved]));
    assert_eq!(path.effects.len(), 1);
}

#[test]
fn a_person_keeps_what_a_person_has_and_can_close_it() {
    let handed = || Path::diagnosing().then(1, [Event::DiagnosisReady(diagnosis(None))]);
    assert_eq!(handed().then(2, [ends("a", 0), fires("a", 1)]).phase(), "needs_human");
    let close = || Event::ClosedByPerson { by: "ana".into(), why: "replaced the disk".into() };
    let path = handed().then(3, [close()]);
    assert_eq!(path.incident.phase, Phase::Closed { by: ResolvedBy::Person, at: at(3) });
    assert_eq!(path.incident.deadline, None);
    assert!(!path.asks_for(&Effect::CancelResolution));
    let path = Path::remediating().then(3, [close()]);
    assert_eq!(path.phase(), "closed");
    assert!(path.asks_for(&Effect::CancelResolution));
}

#[test]
fn a_ticket_is_told_once_for_each_status_and_in_every_phase() {
    let path = Path::diagnosing().then(1, [ticket("To Do")]);
    assert_eq!(path.kinds(), [EntryKind::TicketSynced]);
    assert!(!path.asks_for(&Effect::SyncTicket), "a written ticket asks for no other");
    let path = path.then(2, [ticket("To Do")]);
    assert_eq!(path.kinds(), []);
    let path = Path::closed().then(50, [ticket("Done")]);
    assert_eq!((path.phase(), path.kinds()), ("closed", vec![EntryKind::TicketSynced]));
    assert_eq!(path.incident.ticket.as_ref().unwrap().status, "Done");
}

#[test]
fn a_hand_off_is_delivered_when_the_ticket_was_told_of_this_very_one() {
    let told = |seconds| {
        let Event::TicketSynced { ticket, .. } = ticket("Needs a person") else { unreachable!() };
        Event::TicketSynced { ticket, handed_over_at: Some(at(seconds)) }
    };
    let handoff = |path: &Path| match path.incident.phase {
        Phase::NeedsHuman { handoff, .. } => handoff,
        _ => panic!("{} hands nothing over", path.phase()),
    };
    let failed = || Event::TicketFailed { why: "no such project".into() };
    let path = Path::diagnosing().then(1, [Event::DiagnosisReady(diagnosis(None))]);
    assert_eq!(handoff(&path), HandOff::Pending);
    let path = path.then(2, [ticket("Investigating"), told(0)]);
    assert_eq!(handoff(&path), HandOff::Pending, "what was told before says nothing of it");
    let path = path.then(3, [failed()]);
    assert_eq!((handoff(&path), path.kinds()), (HandOff::Failed, vec![EntryKind::Note]));
    path.refuses(failed());
    path.deadline_after(1, LIMITS.reminder_seconds);
    let path = path.then(20_000, [Event::DeadlineReached]);
    assert_eq!(handoff(&path), HandOff::Pending, "a hand-off is never given up for good");
    assert!(path.asks_for(&Effect::SyncTicket));
    let path = path.then(20_001, [told(1)]);
    assert_eq!(handoff(&path), HandOff::Delivered);
    path.refuses(failed());
    let path = path.then(40_000, [Event::DeadlineReached]);
    assert_eq!(handoff(&path), HandOff::Delivered);
    Path::diagnosing().refuses(failed());
}

#[test]
fn what_a_person_has_performed_again_is_told_in_every_phase() {
    for path in [Path::diagnosing(), Path::rolling_back(), Path::closed()] {
        let before = path.phase();
        let replayed = Event::EffectReplayed { kind: "sync_ticket".into(), by: "ana".into() };
        let path = path.then(50, [replayed]);
        assert_eq!((path.phase(), path.kinds()), (before, vec![EntryKind::Note]));
        assert_eq!(path.effects.len(), 1);
    }
}

#[test]
fn the_worst_severity_stays() {
    let mut worse = alert("b", AlertStatus::Firing, 1);
    worse.severity = Severity::Critical;
    let path = Path::diagnosing().then(1, [Event::AlertReported(worse)]);
    let path = path.then(2, [ends("b", 1)]);
    assert_eq!(path.incident.severity, Severity::Critical);
}

#[test]
fn an_incident_in_any_phase_reads_back_from_its_json() {
    for path in [Path::waiting(), Path::rolling_back(), Path::resolved_by_proof(), Path::closed()] {
        let json: Value = serde_json::to_value(&path.incident).unwrap();
        assert_eq!(serde_json::from_value::<Incident>(json).unwrap(), path.incident);
    }
}
