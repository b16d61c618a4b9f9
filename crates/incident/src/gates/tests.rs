//! Each gate stops a plan that every other gate lets pass.

use serde_json::Map;
use uuid::Uuid;

use super::*;
use crate::{Check, CheckRole, Comparison, EffectClass, IncidentId, PlanId, PlannedStep, Undo};

const NOW: &str = "2026-01-01T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn policy() -> Policy {
    Policy {
        runbooks: [("fix".to_owned(), Mode::Auto)].into(),
        environments: [("test".to_owned(), set(&["db-1", "app-1", "app-2"]))].into(),
        scope: vec![Scope {
            actions: set(&["scale"]),
            targets: set(&["db-1"]),
            environments: set(&["test"]),
        }],
        ..Policy::default()
    }
}

fn plan() -> Plan {
    Plan {
        id: PlanId::new(Uuid::from_u128(1)),
        incident_id: IncidentId::new(Uuid::from_u128(2)),
        runbook: "fix".into(),
        cause: "slow".into(),
        target: "db-1".into(),
        mode: Mode::Auto,
        risk: "low".into(),
        steps: vec![PlannedStep {
            name: "more".into(),
            action: "scale".into(),
            parameters: Map::new(),
            effect: EffectClass::Idempotent,
            undo: Undo::Recorded,
        }],
        checks: vec![Check {
            name: "timeouts".into(),
            role: CheckRole::Symptom,
            query: "x".into(),
            comparison: Comparison::Below,
            threshold: 1.0,
            hold: std::time::Duration::from_secs(2),
            within: std::time::Duration::from_secs(10),
        }],
        gates: Vec::new(),
        baseline: Vec::new(),
        created_at: at("2026-01-01T11:59:59Z"),
    }
}

fn situation() -> Situation {
    let signal = |query: &str| ("system-monitor.query".to_owned(), query.to_owned());
    Situation {
        now: at(NOW),
        confidence: Confidence::new(0.9).unwrap(),
        signals: vec![signal("a"), signal("b")],
        firing_alerts: 1,
        symptom: Symptom::Present { value: 4.0 },
        preconditions: vec![("pool is below 100".into(), true)],
        kill_switch: false,
        quarantine: None,
        history: Vec::new(),
        neighbours: [("app-1".to_owned(), true), ("app-2".to_owned(), false)].into(),
    }
}

fn act(plan: &str, target: &str, runbook: &str, action: &str, time: &str) -> PastAct {
    PastAct {
        plan: plan.into(),
        runbook: runbook.into(),
        target: target.into(),
        action: action.into(),
        at: at(time),
    }
}

/// The gates that stop, after one thing was changed.
fn stopped(change: impl FnOnce(&mut Policy, &mut Plan, &mut Situation)) -> Vec<String> {
    let (mut policy, mut plan, mut situation) = (policy(), plan(), situation());
    change(&mut policy, &mut plan, &mut situation);
    let verdicts = evaluate(&policy, &plan, &situation);
    assert_eq!(verdicts.len(), 17, "every gate is recorded");
    assert!(verdicts.iter().all(|verdict| !verdict.reason.is_empty()));
    verdicts.into_iter().filter(|verdict| !verdict.passed).map(|verdict| verdict.gate).collect()
}

#[test]
fn a_plan_within_policy_passes_every_gate() {
    assert_eq!(stopped(|_, _, _| ()), Vec::<String>::new());
}

#[test]
fn each_gate_stops_alone() {
    type Change = fn(&mut Policy, &mut Plan, &mut Situation);
    let cases: Vec<(&str, Change)> = vec![
        ("mode", |policy, _, _| policy.runbooks = [("fix".to_owned(), Mode::Off)].into()),
        ("scope", |policy, _, _| policy.scope.clear()),
        ("scope", |_, plan, _| plan.steps[0].action = "restart_service".into()),
        ("scope", |_, plan, _| plan.steps.clear()),
        ("scope", |_, plan, _| plan.target = "app-1".into()),
        ("scope", |policy, _, _| policy.scope[0].environments = set(&["production"])),
        ("protected_target", |policy, _, _| policy.protected_targets = set(&["db-1"])),
        ("kill_switch", |_, _, situation| situation.kill_switch = true),
        ("quarantine", |_, _, situation| situation.quarantine = Some("undo failed".into())),
        ("alert", |_, _, situation| situation.firing_alerts = 0),
        ("fresh_evidence", |_, _, situation| situation.symptom = Symptom::Gone { value: 0.0 }),
        ("fresh_evidence", |_, _, situation| {
            situation.symptom = Symptom::Unknown { why: "no data".into() };
        }),
        ("fresh_evidence", |_, plan, _| plan.checks.clear()),
        ("precondition", |_, _, situation| situation.preconditions[0].1 = false),
        ("confidence", |_, _, situation| situation.confidence = Confidence::new(0.69).unwrap()),
        ("independent_signals", |_, _, situation| {
            let first = situation.signals[0].clone();
            situation.signals = vec![first.clone(), first];
        }),
        ("cooldown", |_, _, situation| {
            situation.history = vec![act("p", "db-1", "other", "cleanup", "2026-01-01T11:59:31Z")];
        }),
        ("rate_target", |policy, _, situation| {
            policy.rate.per_target = 1;
            situation.history = vec![act("p", "db-1", "other", "cleanup", "2026-01-01T11:30:00Z")];
        }),
        ("rate_runbook", |policy, _, situation| {
            policy.rate.per_runbook = 1;
            situation.history = vec![act("p", "app-1", "fix", "scale", "2026-01-01T11:30:00Z")];
        }),
        ("rate_total", |policy, _, situation| {
            policy.rate.total = 1;
            situation.history = vec![act("p", "app-1", "other", "x", "2026-01-01T11:30:00Z")];
        }),
        ("repeated_action", |_, _, situation| {
            let earlier = |time| act("p", "db-1", "other", "scale", time);
            situation.history =
                vec![earlier("2026-01-01T11:55:00Z"), earlier("2026-01-01T11:58:00Z")];
        }),
        ("blast_radius", |_, _, situation| {
            situation.neighbours.insert("app-1".into(), false);
        }),
    ];
    for (gate, change) in cases {
        assert_eq!(stopped(change), [gate]);
    }
}

#[test]
fn a_target_outside_every_environment_is_refused() {
    assert!(stopped(|_, plan, _| plan.target = "db-9".into()).contains(&"target".to_owned()));
    assert!(stopped(|_, plan, _| plan.target.clear()).contains(&"target".to_owned()));
}

#[test]
fn acts_outside_their_window_are_forgotten() {
    let none = stopped(|policy, _, situation| {
        policy.rate.total = 1;
        let long_ago = || act("p", "db-1", "fix", "scale", "2026-01-01T10:59:59Z");
        situation.history = vec![long_ago(), long_ago()];
    });
    assert_eq!(none, Vec::<String>::new());
}

#[test]
fn the_mode_decides_when_every_gate_passes_and_nothing_else_does() {
    let passed = [verdict("x", true, "")];
    let failed = [verdict("x", true, ""), verdict("y", false, "")];
    let cases = [
        (Mode::Off, Decision::Refuse),
        (Mode::Observe, Decision::Recommend),
        (Mode::Recommend, Decision::Recommend),
        (Mode::Approve, Decision::AskApproval),
        (Mode::Auto, Decision::Act),
    ];
    for (mode, decision) in cases {
        assert_eq!(decide(mode, &passed), decision);
        assert_eq!(decide(mode, &failed), Decision::Refuse);
    }
    assert_eq!(policy().mode_of("a-new-runbook"), Mode::Observe);
}

#[test]
fn an_approval_is_bound_to_the_plan_its_time_and_another_person() {
    let (policy, plan) = (policy(), plan());
    let now = at(NOW);
    let ask = |hash: &str, by: &str, now| approval(&policy, &plan, hash, by, "agent", now).passed;
    assert!(ask(&plan.hash(), "ann", now));
    assert!(!ask("0123", "ann", now));
    assert!(!ask(&plan.hash(), "agent", now));
    assert!(!ask(&plan.hash(), " ", now));
    assert!(!ask(&plan.hash(), "ann", at("2026-01-01T12:30:00Z")));
}

#[test]
fn an_unknown_setting_is_an_error() {
    for text in [r#"{"confidence_flor": 0.1}"#, r#"{"rate": {"per_hour": 1}}"#] {
        let error = serde_json::from_str::<Policy>(text).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}
