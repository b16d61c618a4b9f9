//! Reaches every state of an incident that differs in anything the machine looks at, by putting every
//! event to every state found so far.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use incident::{
    Alert, AlertStatus, Check, CheckRole, Comparison, Confidence, Diagnosis, Effect, EntryKind,
    Event, Incident, IncidentId, IncidentKey, Limits, Mode, Opening, Outcome, OutcomeResult, Phase,
    Plan, PlanId, Severity, TicketRef, TimelineEntry,
};
use jiff::Timestamp;
use uuid::Uuid;

pub(crate) const LIMITS: Limits = Limits {
    diagnosis_seconds: 60,
    resolution_seconds: 900,
    approval_seconds: 1800,
    quiet_seconds: 600,
    reopen_seconds: 900,
    reminder_seconds: 14_400,
    rounds: 2,
};
/// Seconds between two events.
const PACE: i64 = 10;

/// One event that was taken.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) before: Incident,
    pub(crate) event: &'static str,
    pub(crate) after: Incident,
    pub(crate) effects: Vec<Effect>,
}

pub(crate) fn explore() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut known = BTreeSet::from([what_counts(&opened())]);
    let mut waiting = VecDeque::from([(opened(), PACE)]);
    while let Some((before, seconds)) = waiting.pop_front() {
        for (name, event) in events(&before, seconds) {
            let mut after = before.clone();
            let Ok(effects) = after.handle(event, at(seconds), &LIMITS) else {
                assert_eq!(before, after, "a refused {name} changed it");
                continue;
            };
            if known.insert(what_counts(&after)) {
                waiting.push_back((after.clone(), seconds + PACE));
            }
            steps.push(Step { before: before.clone(), event: name, after, effects });
        }
    }
    assert!(known.len() < 5_000, "{} states: something grows without end", known.len());
    steps
}

/// Everything about an incident that a decision of the machine depends on.
fn what_counts(incident: &Incident) -> String {
    let firing: Vec<bool> = incident.alerts.iter().map(|t| t.alert.is_firing()).collect();
    let phase = match &incident.phase {
        Phase::Resolved { by, at } => {
            let fired_since =
                |t: &incident::TrackedAlert| t.alert.is_firing() && t.reported_at > *at;
            format!("resolved {by:?} {}", incident.alerts.iter().any(fired_since))
        }
        Phase::NeedsHuman { handoff, .. } => format!("needs_human {handoff:?}"),
        other => other.name().to_owned(),
    };
    let has = (incident.diagnosis.is_some(), incident.outcome.is_some());
    let round = incident.round.min(LIMITS.rounds + 1);
    format!("{phase} {firing:?} {has:?} {:?} {round}", incident.resolution_task)
}

/// Every event in every form that may matter.
fn events(incident: &Incident, seconds: i64) -> Vec<(&'static str, Event)> {
    use EntryKind::*;
    use OutcomeResult::*;
    let mut events = alerts(incident, seconds);
    let index = incident.progress_seen;
    let ticket = |handed_over_at| Event::TicketSynced { ticket: ticket(), handed_over_at };
    let handed_over_at = match incident.phase {
        Phase::NeedsHuman { at, .. } => Some(at),
        _ => None,
    };
    events.extend([
        ("diagnosis_ready with a cause", Event::DiagnosisReady(diagnosis(Some("db.pool")))),
        ("diagnosis_ready without a cause", Event::DiagnosisReady(diagnosis(None))),
        ("plan_ready", Event::PlanReady(plan())),
        ("approval_asked", Event::ApprovalAsked { plan_hash: plan().hash() }),
        ("resolution_accepted", Event::ResolutionAccepted { task_id: "task-1".into() }),
        ("resolution_accepted again", Event::ResolutionAccepted { task_id: "task-2".into() }),
        ("progressed out of order", progress(index + 1, StepStarted)),
        ("progressed: approved", progress(index, Approved)),
        ("progressed: step_started", progress(index, StepStarted)),
        ("progressed: step_finished", progress(index, StepFinished)),
        ("progressed: verification_started", progress(index, VerificationStarted)),
        ("progressed: rollback_started", progress(index, RollbackStarted)),
        ("agent_failed", Event::AgentFailed { agent: "an agent".into(), why: "why".into() }),
        ("ticket_synced", ticket(handed_over_at)),
        ("ticket_synced before", ticket(None)),
        ("ticket_failed", Event::TicketFailed { why: "why".into() }),
        ("effect_replayed", Event::EffectReplayed { kind: "resolve".into(), by: "ana".into() }),
        ("deadline_reached", Event::DeadlineReached),
        ("closed_by_person", Event::ClosedByPerson { by: "ana".into(), why: "why".into() }),
    ]);
    let concluded = [
        ("concluded: proven", Proven),
        ("concluded: undone", Undone),
        ("concluded: undo_failed", UndoFailed),
        ("concluded: refused", Refused),
        ("concluded: no_runbook", NoRunbook),
        ("concluded: recommended", Recommended),
        ("concluded: step_failed", StepFailed),
        ("concluded: cancelled", Cancelled),
    ];
    events.extend(concluded.map(|(name, result)| (name, Event::Concluded(outcome(result)))));
    events
}

/// Two alerts, each fired before, anew, or at its end.
fn alerts(incident: &Incident, seconds: i64) -> Vec<(&'static str, Event)> {
    let mut events = Vec::new();
    for fingerprint in ["a", "b"] {
        let known = incident.alerts.iter().find(|t| t.alert.fingerprint == fingerprint);
        let started = known.map_or(at(seconds), |t| t.alert.starts_at);
        let report =
            |status, starts_at| Event::AlertReported(alert(fingerprint, status, starts_at));
        let end = report(AlertStatus::Resolved, started);
        let is_last = incident
            .alerts
            .iter()
            .all(|t| t.alert.fingerprint == fingerprint || !t.alert.is_firing());
        events.push((if is_last { "the last alert ends" } else { "an alert ends" }, end));
        events.push(("an alert fires", report(AlertStatus::Firing, at(seconds))));
        if known.is_some() {
            events.push(("an alert is repeated", report(AlertStatus::Firing, started)));
        }
    }
    events
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn id() -> IncidentId {
    IncidentId::new(Uuid::from_u128(1))
}

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

fn alert(fingerprint: &str, status: AlertStatus, starts_at: Timestamp) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: fingerprint.into(),
        status,
        name: "DatabaseConnectionTimeout".into(),
        severity: Severity::Warning,
        labels: [("server".to_owned(), "db-1".to_owned())].into(),
        annotations: [].into(),
        starts_at,
        ends_at: None,
        generator_url: String::new(),
    }
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
        runbooks: Vec::new(),
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
        cause: "db.pool".into(),
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
    let entry = TimelineEntry::new(at(9), "resolution-agent", kind, "progress");
    Event::Progressed { index, entry }
}

fn ticket() -> TicketRef {
    let (key, url) = ("FB-1".into(), "file:///FB-1".into());
    TicketRef { key, url, status: "To Do".into(), sequence: 3 }
}
