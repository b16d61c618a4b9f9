//! Each invariant, broken by hand in an account that is right, is found and named.

use serde_json::json;
use store::{Attempt, Change};

use super::*;
use crate::Ticket;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

const INCIDENT: &str = "inc_00000000000070008000000000000001";
const ATTEMPTS: [&str; 2] =
    ["att_00000000000070008000000000000001", "att_00000000000070008000000000000002"];

/// Everything of one run, owned.
struct World {
    records: Records,
    effects: Vec<Effect>,
    acknowledged: BTreeSet<Acknowledged>,
    kilobytes: Vec<(String, u64)>,
    scratch: tempfile::TempDir,
}

fn case(id: &str, phase: Value) -> Case {
    let alert = json!({
        "source": "alertmanager", "fingerprint": "f-1", "status": "resolved", "name": "stuck",
        "severity": "critical", "labels": {}, "annotations": {}, "starts_at": at(0),
        "ends_at": at(9), "generator_url": "",
    });
    let incident = json!({
        "id": id, "key": "server=t-01", "title": "", "description": "", "severity": "critical",
        "affected_systems": [], "tags": [], "phase": phase, "opened_at": at(0), "round": 1,
        "alerts": [{"alert": alert, "reported_at": at(9)}], "deadline": null,
    });
    let entry = |second, kind| json!({"at": at(second), "actor": "a", "kind": kind, "summary": ""});
    let timeline = json!([entry(0, "incident_opened"), entry(10, "closed")]);
    Case {
        incident: serde_json::from_value(incident).unwrap(),
        timeline: serde_json::from_value(timeline).unwrap(),
    }
}

fn closed() -> Value {
    json!({"name": "closed", "by": "proof_and_source", "at": at(10)})
}

fn attempt(number: usize, token: i64) -> AttemptRow {
    AttemptRow {
        attempt: Attempt {
            id: ATTEMPTS[number].parse().unwrap(),
            task_id: "task".into(),
            target: "t-01".into(),
            body: json!({"plan": "pln_1", "step": 0, "kind": "act", "token": token}),
            started_at: at(number as i64),
        },
        outcome: Some(json!({})),
        finished_at: Some(at(9)),
    }
}

fn change(number: usize) -> ChangeRow {
    ChangeRow {
        change: Change {
            id: format!("chg_{number}"),
            idempotency_key: ATTEMPTS[number].to_owned(),
            grant_id: None,
            arguments_sha256: String::new(),
            target: "t-01".into(),
            action: "run_playbook".into(),
            request: json!({}),
            started_at: at(number as i64),
        },
        executor: None,
        outcome: Some(json!({"state": "done"})),
        finished_at: Some(at(9)),
    }
}

fn effect(number: usize, began: i64, ended: Option<i64>) -> Effect {
    Effect {
        target: "t-01".into(),
        change: Some(format!("chg_{number}")),
        began: at(began),
        ended: ended.map(at),
        is_cut_short: false,
    }
}

fn ticket(status: TicketStatus) -> Ticket {
    let text = json!({"key": "FB-1", "incident": INCIDENT, "status": status});
    serde_json::from_value(text).unwrap()
}

/// Two effects, one after the other, of an incident that was closed.
fn right() -> World {
    World {
        records: Records {
            cases: vec![case(INCIDENT, closed())],
            attempts: vec![attempt(0, 1), attempt(1, 2)],
            changes: vec![change(0), change(1)],
            tickets: vec![ticket(TicketStatus::Closed)],
            ..Records::default()
        },
        effects: vec![effect(0, 2, Some(3)), effect(1, 4, Some(5))],
        acknowledged: BTreeSet::from([Acknowledged {
            fingerprint: "f-1".into(),
            target: "t-01".into(),
        }]),
        kilobytes: vec![("ingress-0".into(), 20_000)],
        scratch: tempfile::tempdir().unwrap(),
    }
}

fn violations(world: &World) -> Vec<Violation> {
    let targets = [Target { name: "t-01".into(), kind: Kind::Fenced }];
    let seen = Seen {
        records: &world.records,
        effects: &world.effects,
        acknowledged: &world.acknowledged,
        targets: &targets,
        kilobytes: world.kilobytes.clone(),
        secrets: vec!["only-agents-knows".into()],
        scratch: world.scratch.path(),
    };
    seen.violations()
}

/// The numbers of the invariants that break, each once.
fn broken(breaks: impl FnOnce(&mut World)) -> Vec<String> {
    let mut world = right();
    breaks(&mut world);
    let numbers = violations(&world).into_iter();
    let mut numbers: Vec<String> = numbers
        .map(|violation| violation.invariant.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    numbers.dedup();
    numbers
}

#[test]
fn right_account_has_no_violation() {
    assert_eq!(violations(&right()), []);
}

#[test]
fn alert_in_no_incident_or_in_two_is_found() {
    let lost = |world: &mut World| world.records.cases[0].incident.alerts.clear();
    assert_eq!(broken(lost), ["1"]);
    let other = "inc_00000000000070008000000000000002";
    let twice = |world: &mut World| world.records.cases.push(case(other, closed()));
    assert_eq!(broken(twice), ["1", "2", "8"], "and both were open at once, one without a ticket");
}

#[test]
fn second_effect_of_one_change_is_found() {
    let again = |world: &mut World| world.effects.push(effect(1, 6, Some(7)));
    assert_eq!(broken(again), ["3"]);
}

#[test]
fn second_effect_of_one_attempt_is_found() {
    let again = |world: &mut World| {
        world.records.changes[1].change.idempotency_key = ATTEMPTS[0].to_owned();
    };
    assert_eq!(broken(again), ["3"]);
}

#[test]
fn overlapping_effects_are_found() {
    assert_eq!(broken(|world| world.effects[0].ended = Some(at(5))), ["4"]);
    assert_eq!(broken(|world| world.effects[0].ended = None), ["4"]);
}

#[test]
fn fence_that_goes_back_is_found() {
    let back = |world: &mut World| world.records.attempts[1].attempt.body["token"] = json!(0);
    assert_eq!(broken(back), ["5"]);
}

#[test]
fn incident_that_stays_or_is_handed_over_to_nobody_is_found() {
    let stays = |world: &mut World| {
        world.records.cases[0] = case(INCIDENT, json!({"name": "diagnosing"}));
    };
    assert_eq!(broken(stays), ["6"]);
    let reason = json!({"during": "diagnosing", "why": "no cause"});
    let needs = json!({"name": "needs_human", "reason": reason, "at": at(9)});
    let phase: Phase = serde_json::from_value(needs).unwrap();
    let untold = |world: &mut World| world.records.cases[0].incident.phase = phase.clone();
    assert_eq!(broken(untold), ["6"]);
    let told = |world: &mut World| {
        world.records.cases[0].incident.phase = phase.clone();
        world.records.tickets = vec![ticket(TicketStatus::NeedsHuman)];
    };
    assert_eq!(broken(told), Vec::<String>::new());
}

#[test]
fn effect_without_intent_or_outcome_is_found() {
    assert_eq!(broken(|world| world.effects[0].change = None), ["7"]);
    assert_eq!(broken(|world| world.records.changes[0].change.started_at = at(3)), ["7"]);
    assert_eq!(broken(|world| world.records.attempts[0].outcome = None), ["7"]);
    assert_eq!(broken(|world| world.records.changes[0].outcome = None), ["7"]);
    let edited = |world: &mut World| world.records.broken_chains.push("row 3".into());
    assert_eq!(broken(edited), ["7"]);
}

#[test]
fn second_ticket_of_an_incident_is_found() {
    let again = |world: &mut World| world.records.tickets.push(ticket(TicketStatus::Closed));
    assert_eq!(broken(again), ["8"]);
}

#[test]
fn secret_in_a_file_is_found_but_not_in_its_own() {
    let leak = |name: &'static str| {
        move |world: &mut World| {
            let file = world.scratch.path().join(name);
            std::fs::write(file, "token only-agents-knows!").unwrap();
        }
    };
    assert_eq!(broken(leak("ingress-0.log")), ["9"]);
    assert_eq!(broken(leak("agents.token")), Vec::<String>::new());
}

#[test]
fn memory_and_outbox_have_bounds() {
    assert_eq!(broken(|world| world.kilobytes[0].1 = MOST_KILOBYTES + 1), ["10"]);
    assert_eq!(broken(|world| world.records.outbox = Some(at(1))), ["10"]);
}
