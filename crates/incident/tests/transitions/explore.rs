//! Reaches every state of an incident that differs in anything the machine looks at, by putting every
//! event to every state found so far.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use incident::{
    Alert, AlertStatus, Check, CheckRole, Comparison, Confidence, Diagnosis, Effect, EntryKind,
    Event, Incident, IncidentId, IncidentKey, Limits, Mode, Opening, Outcome, OutcomeResult, Phase,
    Plan, PlanId, Severity, TicketRef, TimelineEntry, TrackedAlert,
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
    // Two changes, one right after the other, flap; two steps without one are quiet.
    flap_changes: 2,
    flap_window_seconds: 15,
    flap_quiet_seconds: 15,
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

/// Where an exploration starts. All that matters at once would be too much: two alerts that can be
/// silenced, or one that can flap beside alerts that are only counted.
struct World {
    first: Incident,
    alerts: &'static [&'static str],
    limits: Limits,
}

/// Every step that can be taken in any of the worlds.
pub(crate) fn explore() -> Vec<Step> {
    let anybody = Incident { is_authenticated: false, ..opened() };
    let still = Limits { flap_changes: 0, ..LIMITS };
    let worlds = [
        World { first: opened(), alerts: &["a", "b"], limits: still },
        World { first: opened(), alerts: &["a"], limits: LIMITS },
        World { first: anybody, alerts: &["a"], limits: LIMITS },
    ];
    let (mut steps, mut states) = (Vec::new(), 0);
    for world in &worlds {
        states += world.explore(&mut steps);
    }
    println!("{states} states, {} events taken", steps.len());
    steps
}

impl World {
    /// Adds the steps of this world, and returns how many states it has.
    fn explore(&self, steps: &mut Vec<Step>) -> usize {
        let mut known = BTreeSet::from([what_counts(&self.first, 0)]);
        let mut waiting = VecDeque::from([(self.first.clone(), PACE)]);
        while let Some((found, seconds)) = waiting.pop_front() {
            let before = self.calmed(&found, seconds, steps);
            for (name, event) in self.events(&before, seconds) {
                let Some(step) = self.step(&found, &before, (name, event), seconds) else {
                    continue;
                };
                if known.insert(what_counts(&step.after, seconds)) {
                    waiting.push_back((step.after.clone(), seconds + PACE));
                }
                steps.push(step);
            }
        }
        assert!(known.len() < 10_000, "{} states: something grows without end", known.len());
        known.len()
    }

    /// The incident once it has seen that what flapped is quiet, which it does before any event.
    fn calmed(&self, found: &Incident, seconds: i64, steps: &mut Vec<Step>) -> Incident {
        let mut after = found.clone();
        let nothing = Event::EffectReplayed { kind: "nothing".into(), by: "ana".into() };
        let mut effects = after.handle(nothing, at(seconds), &self.limits).unwrap();
        if after != *found {
            effects.pop();
            let (before, event) = (found.clone(), "what flapped is quiet");
            steps.push(Step { before, event, after: after.clone(), effects });
        }
        after
    }

    /// What one event makes of an incident: the same whether quiet was seen before or is with it.
    fn step(
        &self,
        found: &Incident,
        before: &Incident,
        (name, event): (&'static str, Event),
        seconds: i64,
    ) -> Option<Step> {
        let mut at_once = found.clone();
        let is_taken = at_once.handle(event.clone(), at(seconds), &self.limits).is_ok();
        let mut after = before.clone();
        let effects = after.handle(event, at(seconds), &self.limits);
        let is_overtaken = found != before && name == "deadline_reached" && at_once == *before;
        assert!(at_once == after || is_overtaken, "{name} in {}", found.phase.name());
        if effects.is_err() {
            assert_eq!(*before, after, "a refused {name} changed it");
            assert_eq!(is_taken, found != before, "{name} in {}", found.phase.name());
        }
        let effects = effects.ok().filter(|_| !is_overtaken)?;
        Some(Step { before: before.clone(), event: name, after, effects })
    }

    fn events(&self, incident: &Incident, seconds: i64) -> Vec<(&'static str, Event)> {
        let mut all = events(incident);
        if self.alerts.len() == 1 {
            // What these do has nothing to do with alerts.
            let elsewhere = ["ticket_failed", "resolution_accepted again"];
            all.retain(|(name, _)| !elsewhere.contains(name));
        }
        all.extend(self.alerts.iter().flat_map(|alert| reports(incident, alert, seconds)));
        all.extend(silences());
        if self.alerts.len() == 1 {
            all.extend(others(incident));
        }
        all
    }
}

/// Everything about an incident that a decision of the machine depends on, at the time of its last
/// event.
fn what_counts(incident: &Incident, seconds: i64) -> String {
    let alert = |t: &TrackedAlert| {
        let is_suppressed = t.suppressed_by.is_some();
        let has_just_changed = t.changes.last() == Some(&at(seconds));
        (t.alert.is_firing(), t.is_flapping, has_just_changed, is_suppressed)
    };
    let mut alerts: Vec<_> = incident.alerts.iter().map(alert).collect();
    alerts.sort_unstable();
    let phase = match &incident.phase {
        Phase::Resolved { by, at } => {
            let since = |t: &TrackedAlert| {
                let firing = t.alert.is_firing() && t.reported_at > *at;
                (firing, t.is_flapping && t.changes.iter().rev().nth(1).is_some_and(|c| c > at))
            };
            let mut since: Vec<_> = incident.alerts.iter().map(since).collect();
            since.sort_unstable();
            let others = &incident.others;
            let others = (
                others.firing > 0 && others.reported_at.is_some_and(|reported| reported > *at),
                others.is_flapping && others.changes.iter().rev().nth(1).is_some_and(|c| c > at),
            );
            format!("resolved {by:?} {since:?} {others:?}")
        }
        Phase::NeedsHuman { handoff, .. } => format!("needs_human {handoff:?}"),
        other => other.name().to_owned(),
    };
    let has = (incident.diagnosis.is_some(), incident.outcome.is_some());
    let round = incident.counted_rounds().min(LIMITS.rounds + 1);
    let is = (incident.is_authenticated, incident.is_storm, incident.spared);
    let others = &incident.others;
    let have_just_changed = others.changes.last() == Some(&at(seconds));
    let others = (others.firing, others.is_flapping, have_just_changed);
    let task = &incident.resolution_task;
    format!("{phase} {alerts:?} {others:?} {has:?} {task:?} {round} {is:?}")
}

/// Every event in every form that may matter.
fn events(incident: &Incident) -> Vec<(&'static str, Event)> {
    use EntryKind::*;
    use OutcomeResult::*;
    let index = incident.progress_seen;
    let ticket = |handed_over_at| Event::TicketSynced { ticket: ticket(), handed_over_at };
    let handed_over_at = match incident.phase {
        Phase::NeedsHuman { at, .. } => Some(at),
        _ => None,
    };
    let mut events = vec![
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
        ("storm_began", Event::StormBegan { why: "why".into() }),
        ("storm_counted", storm_counted(incident)),
        ("effect_replayed", Event::EffectReplayed { kind: "resolve".into(), by: "ana".into() }),
        ("deadline_reached", Event::DeadlineReached),
        ("closed_by_person", Event::ClosedByPerson { by: "ana".into(), why: "why".into() }),
    ];
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

/// One alert, fired before, anew, or at its end.
fn reports(incident: &Incident, fingerprint: &str, seconds: i64) -> Vec<(&'static str, Event)> {
    let known = incident.alerts.iter().find(|t| t.alert.fingerprint == fingerprint);
    let started = known.map_or(at(seconds), |t| t.alert.starts_at);
    let report = |status, starts_at| Event::AlertReported(alert(fingerprint, status, starts_at));
    let is_last = incident.others.firing == 0
        && incident
            .alerts
            .iter()
            .all(|t| t.alert.fingerprint == fingerprint || !t.alert.is_firing());
    let end = report(AlertStatus::Resolved, started);
    let mut events = vec![
        (if is_last { "the last alert ends" } else { "an alert ends" }, end),
        ("an alert fires", report(AlertStatus::Firing, at(seconds))),
    ];
    if known.is_some() {
        events.push(("an alert is repeated", report(AlertStatus::Firing, started)));
    }
    events
}

fn silences() -> [(&'static str, Event); 2] {
    let suppressed = |fingerprints: &[&str]| Event::AlertsSuppressed {
        source: "alertmanager".into(),
        fingerprints: fingerprints.iter().map(|name| (*name).to_owned()).collect(),
        by: "silence 1".into(),
    };
    [
        ("one alert is silenced", suppressed(&["a"])),
        ("the alerts are silenced", suppressed(&["a", "b"])),
    ]
}

/// Alerts that are only counted: none, or one that fires.
fn others(incident: &Incident) -> Vec<(&'static str, Event)> {
    let reported = |fired, resolved| {
        let severity = Severity::Warning;
        Event::OthersReported { new: fired, fired, resolved, severity }
    };
    let repeated = ("other alerts are repeated", reported(0, 0));
    match incident.others.firing {
        0 => vec![
            repeated,
            ("other alerts fire", reported(1, 0)),
            ("other alerts fire and end", reported(1, 1)),
        ],
        _ => vec![repeated, ("other alerts end", reported(0, 1))],
    }
}

fn storm_counted(incident: &Incident) -> Event {
    let (title, description) = (incident.title.clone() + "+", "100 alerts".into());
    Event::StormCounted { title, description }
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
        is_start_known: true,
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
