//! The agent over real sockets, between a caller and two fake tools: what it does, what it refuses,
//! and what it leaves behind.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

#[expect(dead_code, reason = "each test file uses its part")]
mod world;

use a2a_types::{Message, Part, Role, Task, TaskState};
use incident::{OutcomeResult, Payload};
use serde_json::json;
use world::{Agent, TARGET, When, World, brief, diagnosis, entries, kinds, outcome, plan, request};

const PLAYBOOK: &str = "run_playbook";
const ROLLBACK: &str = "rollback";

async fn agent(world: &World, policy: &[(&str, &str)]) -> Agent {
    Agent::start(world, world.config(policy).await).await
}

#[tokio::test]
async fn a_fix_that_works_is_proven_on_samples_newer_than_the_act() {
    let world = World::new();
    let agent = agent(&world, &[]).await;
    let (task, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::Proven, "{}", outcome.summary);
    assert_eq!(task.status.state, TaskState::Completed);
    assert_eq!((world.acts(), world.pool()), (vec![PLAYBOOK.to_owned()], 20));
    assert_eq!(
        kinds(&task),
        ["planned", "step_started", "step_finished", "verification_started", "verified"]
    );
    let step = &outcome.steps[0];
    assert_eq!(step.before, json!({"connection_pool_size": 2}));
    assert_eq!(step.after, json!({"connection_pool_size": 20}));
    assert_eq!(outcome.checks.len(), 3);
    for check in &outcome.checks {
        assert!(check.passed && check.sampled_at.unwrap() > step.finished_at, "{check:?}");
    }
    let took = outcome.finished_at.duration_since(step.finished_at).as_secs_f64();
    assert!((2.0..7.0).contains(&took), "{took} s of its own time");
    let plan = plan(&task);
    assert_eq!(plan.gates.len(), 17);
    assert_eq!(plan.baseline.len(), 3);
    assert!(entries(&task)[0].detail["gates"].is_array());
}

#[tokio::test]
async fn a_fix_that_does_not_help_is_undone_and_the_undo_is_verified() {
    let world = World::with(|state| state.fix_works = false);
    let agent = agent(&world, &[]).await;
    let (task, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::Undone, "{}", outcome.summary);
    assert_eq!((world.acts(), world.pool()), (vec![PLAYBOOK.into(), ROLLBACK.into()], 2));
    assert!(!outcome.checks[0].passed && outcome.undo.len() == 1);
    assert!(outcome.undo_checks.iter().all(|check| check.passed), "{:?}", outcome.undo_checks);
    let kinds = kinds(&task);
    assert_eq!(kinds[4..], ["not_proven", "rollback_started", "rolled_back"]);
}

#[tokio::test]
async fn an_undo_is_compared_with_how_bad_it_had_been_not_with_one_lucky_look() {
    let world = World::with(|state| {
        state.fix_works = false;
        state.lowest_share = Some(0.45);
    });
    let agent = agent(&world, &[]).await;
    let (_, outcome) = agent.resolve().await;
    // One look before the act saw 0.7; after the undo it is 0.45, as it had been in between.
    assert_eq!(outcome.result, OutcomeResult::Undone, "{}", outcome.summary);
    assert!(outcome.undo_checks.iter().any(|check| check.value == Some(0.45) && check.passed));
}

#[tokio::test]
async fn a_fix_that_hurts_a_neighbour_is_undone_although_the_symptom_is_gone() {
    let world = World::with(|state| state.fix_hurts = true);
    let agent = agent(&world, &[]).await;
    let (_, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::Undone, "{}", outcome.summary);
    assert!(outcome.checks[0].passed || outcome.checks[0].value == Some(0.0));
    assert!(outcome.summary.contains("answers well"), "{}", outcome.summary);
    assert_eq!(world.pool(), 2);
}

#[tokio::test]
async fn metrics_that_vanish_after_the_act_are_no_proof() {
    let world = World::with(|state| state.app_vanished = true);
    let agent = agent(&world, &[]).await;
    let (_, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::Undone, "{}", outcome.summary);
    assert!(outcome.summary.contains("no data"), "{}", outcome.summary);
}

#[tokio::test]
async fn metrics_of_another_time_are_no_proof_and_do_not_hold_up_the_end() {
    let stuck = "2026-01-01T12:00:00Z".parse().unwrap();
    let world = World::with(|state| state.answers_of = Some(stuck));
    let agent = agent(&world, &[]).await;
    let (_, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::Undone, "{}", outcome.summary);
    assert!(outcome.summary.contains("the answer is of 2026-01-01T12:00:00Z"), "{outcome:?}");
}

#[tokio::test]
async fn an_undo_that_fails_closes_the_target_for_later_plans() {
    let world = World::with(|state| (state.fix_works, state.undo_fails) = (false, true));
    let agent = agent(&world, &[]).await;
    let (task, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::UndoFailed, "{}", outcome.summary);
    assert_eq!(kinds(&task).last().unwrap(), "rollback_failed");
    let (_, next) = agent.resolve().await;
    assert_eq!(next.result, OutcomeResult::Refused);
    assert!(next.summary.contains("quarantine: left to a person"), "{}", next.summary);
    assert_eq!(world.acts().len(), 2, "nothing more was done");
}

#[tokio::test]
async fn a_person_gives_a_quarantined_target_back() {
    let world = World::with(|state| (state.fix_works, state.undo_fails) = (false, true));
    let agent = agent(&world, &[]).await;
    assert_eq!(agent.resolve().await.1.result, OutcomeResult::UndoFailed);
    let http = reqwest::Client::new();
    let list = format!("{}/api/v1/quarantine", agent.address);
    let waiting = async || -> serde_json::Value {
        http.get(&list).send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(waiting().await[0]["target"], TARGET);
    let release = async |target: &str, by: &str| {
        let url = format!("{list}/{target}/release");
        let answer = http.post(url).json(&json!({ "by": by })).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(release("another", "ana").await, 404);
    assert_eq!(release(TARGET, " ").await, 400);
    let forged = http.post(format!("{list}/{TARGET}/release")).body("{\"by\": \"ana\"}");
    assert_eq!(forged.send().await.unwrap().status().as_u16(), 415);
    assert_eq!(release(TARGET, "ana").await, 204);
    assert_eq!(waiting().await, json!([]));
    let (_, next) = agent.resolve().await;
    assert!(!next.summary.contains("quarantine"), "{}", next.summary);
}

#[tokio::test]
async fn a_step_that_fails_without_a_change_is_reported_and_not_undone() {
    let world = World::with(|state| state.step_fails = true);
    let agent = agent(&world, &[]).await;
    let (_, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::StepFailed, "{}", outcome.summary);
    assert_eq!(outcome.steps[0].error.as_deref(), Some("the executor said no"));
    assert_eq!(world.acts(), [PLAYBOOK], "what changed nothing is not undone");
}

#[tokio::test]
async fn a_gate_that_refuses_stops_everything_and_says_why() {
    let world = World::new();
    let protect = ("protected_targets: []", "protected_targets: [db-server-01]");
    let agent = agent(&world, &[protect]).await;
    let (task, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::Refused);
    assert!(outcome.summary.contains("protected_target: db-server-01 is protected"));
    assert_eq!(kinds(&task), ["planned", "gate_stopped"]);
    assert_eq!(world.acts(), Vec::<String>::new());
}

#[tokio::test]
async fn the_mode_decides_how_far_it_goes() {
    let world = World::new();
    let only = |mode| ("raise-connection-pool: auto", mode);
    for mode in ["raise-connection-pool: observe", "raise-connection-pool: recommend"] {
        let agent = agent(&world, &[only(mode)]).await;
        let (_, outcome) = agent.resolve().await;
        assert_eq!(outcome.result, OutcomeResult::Recommended, "{mode}");
        agent.process.shut_down(std::time::Duration::from_secs(5)).await.unwrap();
    }
    assert_eq!(world.acts(), Vec::<String>::new());
}

#[tokio::test]
async fn a_symptom_that_is_gone_is_left_alone() {
    let world = World::with(|state| state.healed = true);
    let agent = agent(&world, &[]).await;
    let (task, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::Cancelled);
    assert!(outcome.summary.starts_with("nothing to do"), "{}", outcome.summary);
    assert_eq!(task.status.state, TaskState::Completed);
    assert_eq!(world.acts(), Vec::<String>::new());
}

#[tokio::test]
async fn a_diagnosis_nothing_repairs_or_with_a_strange_target_is_not_acted_upon() {
    let world = World::new();
    let agent = agent(&world, &[]).await;
    for (field, value, result, words) in [
        ("cause", json!("cosmic.rays"), OutcomeResult::NoRunbook, "no runbook repairs"),
        ("cause", json!(null), OutcomeResult::NoRunbook, "names no cause"),
        ("target", json!("db\"} or vector(1)"), OutcomeResult::Refused, "no environment"),
        ("target", json!("db-server-99"), OutcomeResult::Refused, "no environment"),
        ("target", json!(null), OutcomeResult::Refused, "names no target"),
        ("facts", json!({"pool_size": "x; rm"}), OutcomeResult::Refused, "is no number"),
        ("confidence", json!(0.2), OutcomeResult::Refused, "confidence_floor is 0.70"),
    ] {
        let mut changed = diagnosis();
        changed[field] = value;
        let task = agent.send(vec![Part::data(brief()), Part::data(changed)]).await;
        let outcome = outcome(&agent.settled(&task.id).await);
        assert_eq!(outcome.result, result, "{field}");
        assert!(outcome.summary.contains(words), "{}", outcome.summary);
    }
    assert_eq!(world.acts(), Vec::<String>::new());
}

#[tokio::test]
async fn a_malformed_payload_is_rejected_by_its_field() {
    let world = World::new();
    let agent = agent(&world, &[]).await;
    let mut bad = diagnosis();
    bad["confidence"] = json!(7);
    let mut other = diagnosis();
    other["incident_id"] = json!("inc_00000000000000000000000000000008");
    for (parts, words) in [
        (vec![brief(), bad], "parts[1].data"),
        (vec![brief(), json!({"type": "Diagnosis"})], "incident_id"),
        (vec![json!({"type": "Nonsense"})], "parts[0].data"),
        (vec![brief()], "type Diagnosis is missing"),
        (vec![diagnosis()], "type Brief is missing"),
        (vec![brief(), other], "Diagnosis.incident_id"),
    ] {
        let task = agent.send(parts.into_iter().map(Part::data).collect()).await;
        let task = agent.settled(&task.id).await;
        assert_eq!(task.status.state, TaskState::Rejected);
        assert!(task.status_text().contains(words), "{}", task.status_text());
    }
}

#[tokio::test]
async fn plain_text_is_answered_with_the_runbooks() {
    let world = World::new();
    let agent = agent(&world, &[]).await;
    let task = agent.send(vec![Part::text("what can you do?")]).await;
    let text = agent.settled(&task.id).await.status_text();
    for part in ["raise-connection-pool (mode auto", "clean-up-disk", "confidence", "Diagnosis"] {
        assert!(text.contains(part), "{text}");
    }
    let card = agent.client.card().await.unwrap();
    assert_eq!(card.skills[0].id, resolution_agent::SKILL);
    assert_eq!(card.capabilities.extensions[0].uri, incident::EXTENSION_URI);
}

const TWO_STEPS: &str = r#"
id: raise-connection-pool
description: in two steps
causes: [db.connection_pool_exhausted]
risk: low
steps:
  - name: first
    action: run_playbook
    parameters: {playbook: raise_connection_pool, variables: {connection_pool_size: 20}}
    effect: idempotent
    undo: recorded
  - name: second
    action: restart_service
    effect: idempotent
    irreversible: true
checks:
  symptom:
    name: timeouts
    query: sum(rate(db_connection_timeout_total{server="$target"}[$window]))
    comparison: "<"
    threshold: 0.5
    hold_seconds: 2
    within_seconds: 15
"#;

/// Takes the other runbooks out of the policy: it may name none that is not there.
const OTHERS: [(&str, &str); 1] = [(
    "  restart-leaking-service: auto\n  scale-out-gateway: auto\n  clean-up-disk: auto\n  stop-runaway-job: auto\n",
    "",
)];

/// An agent whose only runbook has two steps.
async fn agent_of_two_steps(world: &World) -> Agent {
    let runbooks = world.directory.path().join("runbooks");
    std::fs::create_dir(&runbooks).unwrap();
    std::fs::write(runbooks.join("r.yaml"), TWO_STEPS).unwrap();
    let mut config = world.config(&OTHERS).await;
    config.runbooks = runbooks;
    Agent::start(world, config).await
}

#[tokio::test]
async fn the_kill_switch_stops_before_the_first_step_and_between_steps() {
    let world = World::new();
    let agent = agent_of_two_steps(&world).await;
    std::fs::write(world.kill_switch(), "").unwrap();
    let (_, stopped) = agent.resolve().await;
    assert_eq!(stopped.result, OutcomeResult::Refused);
    assert!(stopped.summary.contains("kill_switch"), "{}", stopped.summary);
    assert_eq!(world.acts(), Vec::<String>::new());
    std::fs::remove_file(world.kill_switch()).unwrap();
    world.state.lock().unwrap().touch = Some(world.kill_switch());
    let (_, stopped) = agent.resolve().await;
    assert_eq!(stopped.result, OutcomeResult::StepFailed);
    assert!(stopped.summary.contains("after 1 of 2 steps"), "{}", stopped.summary);
    assert_eq!(world.acts(), [PLAYBOOK]);
}

#[tokio::test]
async fn the_kill_switch_can_be_made_where_the_agent_says_it_is() {
    let world = World::new();
    let config = world.config(&[]).await;
    let (known, switch) = (world.kill_switch(), world.directory.path().join("not/there/yet"));
    let policy = std::fs::read_to_string(&config.policy).unwrap();
    let policy = policy.replace(known.to_str().unwrap(), switch.to_str().unwrap());
    std::fs::write(&config.policy, policy).unwrap();
    let agent = Agent::start(&world, config).await;
    std::fs::write(&switch, "").unwrap();
    let (_, stopped) = agent.resolve().await;
    assert_eq!(stopped.result, OutcomeResult::Refused);
    assert!(stopped.summary.contains(switch.to_str().unwrap()), "{}", stopped.summary);
    assert_eq!(world.acts(), Vec::<String>::new());
}

#[tokio::test]
async fn the_kill_switch_stops_a_step_that_is_tried_again() {
    let world = World::with(|state| state.is_busy = true);
    world.state.lock().unwrap().touch = Some(world.kill_switch());
    let agent = agent(&world, &[]).await;
    let (_, stopped) = agent.resolve().await;
    assert_eq!(stopped.result, OutcomeResult::StepFailed);
    assert!(stopped.summary.contains("the kill switch is on"), "{}", stopped.summary);
    assert_eq!(world.state.lock().unwrap().turned_away, 1, "it was not tried again");
}

#[tokio::test]
async fn what_was_planned_before_another_tasks_act_is_not_done_after_it() {
    let world = World::with(|state| state.hold = Some(("status", When::BeforeEffect)));
    let agent = agent(&world, &[]).await;
    // Its gates wait for a slow neighbour, and know nothing of what happens meanwhile.
    let slow = agent.send(request()).await;
    agent.until(&slow.id, |_| world.is_holding()).await;
    world.state.lock().unwrap().hold = None;
    let (_, outcome_of_other) = agent.resolve().await;
    assert_eq!(outcome_of_other.result, OutcomeResult::Proven, "{}", outcome_of_other.summary);
    world.answer.notify_waiters();
    let outcome = outcome(&agent.settled(&slow.id).await);
    assert_eq!(outcome.result, OutcomeResult::Refused, "{}", outcome.summary);
    assert!(outcome.summary.contains("while this was planned"), "{}", outcome.summary);
    assert_eq!(world.acts(), [PLAYBOOK], "one effect");
}

#[tokio::test]
async fn a_cancelled_task_finishes_the_step_in_flight_verifies_it_and_begins_no_other() {
    let world = World::with(|state| state.hold = Some((PLAYBOOK, When::AfterEffect)));
    let agent = agent_of_two_steps(&world).await;
    let task = agent.send(request()).await;
    agent.until(&task.id, |_| world.is_holding()).await;
    // The step is let go only after many more calls were answered than the cancellation needs.
    let release = async {
        for _ in 0..20 {
            agent.client.task(&task.id).await.unwrap();
        }
        world.state.lock().unwrap().hold = None;
        world.answer.notify_one();
        agent.settled(&task.id).await
    };
    let (cancelled, ended) = futures::join!(agent.client.cancel(&task.id), release);
    assert_eq!(cancelled.unwrap().status.state, TaskState::Completed, "it had begun");
    let outcome = outcome(&ended);
    assert_eq!(world.acts(), [PLAYBOOK], "the second step was not begun");
    assert_eq!(outcome.result, OutcomeResult::Proven, "{}", outcome.summary);
    assert_eq!(outcome.steps.len(), 1);
}

#[tokio::test]
async fn a_plan_waits_for_its_approval_and_acts_on_no_other() {
    let world = World::new();
    let agent =
        agent(&world, &[("raise-connection-pool: auto", "raise-connection-pool: approve")]).await;
    let asked = agent.send(request()).await;
    let asked = agent.settled(&asked.id).await;
    assert_eq!(asked.status.state, TaskState::InputRequired);
    assert_eq!(kinds(&asked), ["planned", "approval_asked"]);
    let told = asked.status.message.as_ref().unwrap();
    let Some(Payload::Plan(plan)) = rpc::payloads(&told.parts).unwrap().pop() else { panic!() };
    let answer = |hash: &str, approved, by: &str| {
        let approval = Payload::Approval { plan_hash: hash.into(), approved, by: by.into() };
        let mut message = Message::new("m2", Role::User, vec![rpc::part(&approval)]);
        message.task_id = asked.id.clone();
        message
    };
    for (hash, by) in [("00ff", "ann"), (plan.hash().as_str(), "resolution-agent")] {
        agent.turn(answer(hash, true, by)).await;
        let again = agent.settled(&asked.id).await;
        assert_eq!(again.status.state, TaskState::InputRequired);
        assert!(again.status_text().contains("approval refused"), "{}", again.status_text());
    }
    assert_eq!(world.acts(), Vec::<String>::new());
    agent.turn(answer(&plan.hash(), true, "ann")).await;
    let ended = agent.settled(&asked.id).await;
    assert_eq!(outcome(&ended).result, OutcomeResult::Proven);
    assert!(kinds(&ended).contains(&"approved".to_owned()));
    assert_eq!(world.acts(), [PLAYBOOK]);
}

#[tokio::test]
async fn a_declined_plan_is_refused() {
    let world = World::new();
    let agent =
        agent(&world, &[("raise-connection-pool: auto", "raise-connection-pool: approve")]).await;
    let asked = agent.send(request()).await;
    let asked = agent.settled(&asked.id).await;
    let decline =
        Payload::Approval { plan_hash: plan(&asked).hash(), approved: false, by: "ann".into() };
    let mut message = Message::new("m2", Role::User, vec![rpc::part(&decline)]);
    message.task_id = asked.id.clone();
    agent.turn(message).await;
    let outcome = outcome(&agent.settled(&asked.id).await);
    assert_eq!(outcome.result, OutcomeResult::Refused);
    assert!(outcome.summary.contains("declined by ann"), "{}", outcome.summary);
    assert_eq!(world.acts(), Vec::<String>::new());
}

#[tokio::test]
async fn the_kill_switch_stops_the_undo_too_and_the_target_is_left_to_a_person() {
    let world = World::with(|state| state.fix_works = false);
    world.state.lock().unwrap().touch = Some(world.kill_switch());
    let agent = agent(&world, &[]).await;
    let (_, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::UndoFailed);
    assert!(outcome.summary.contains("kill switch stops the undo"), "{}", outcome.summary);
    assert_eq!(world.acts(), [PLAYBOOK]);
}

#[tokio::test]
async fn two_tasks_never_work_on_one_target_at_a_time() {
    let world = World::with(|state| state.hold = Some((PLAYBOOK, When::AfterEffect)));
    let agent = agent(&world, &[("cooldown_seconds: 30", "cooldown_seconds: 0")]).await;
    // The world is as ill as before, so that only the lock stands in the way.
    world.state.lock().unwrap().fix_works = false;
    let first = agent.send(request()).await;
    agent.until(&first.id, |_| world.is_holding()).await;
    let (_, second) = agent.resolve().await;
    assert_eq!(second.result, OutcomeResult::Refused);
    assert!(
        second.summary.contains(&format!("task {} is working on", first.id)),
        "{}",
        second.summary
    );
    world.state.lock().unwrap().hold = None;
    world.answer.notify_one();
    assert_eq!(outcome(&agent.settled(&first.id).await).result, OutcomeResult::Undone);
}

/// Resolves across a crash: the process dies in the middle of a held call, with all its tasks, and
/// another one takes its database up.
fn across_a_crash(world: &World, policy: &[(&str, &str)], effect: Option<&str>) -> Task {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (outer, doomed) = (runtime(), runtime());
    let mut config = outer.block_on(world.config(policy));
    if let Some(effect) = effect {
        let shipped = config.runbooks.join("raise-connection-pool.yaml");
        let text = std::fs::read_to_string(shipped).unwrap().replace("effect: fenced", effect);
        let directory = world.directory.path().join("runbooks");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("r.yaml"), text).unwrap();
        config.runbooks = directory;
    }
    let (started, told) = (config.clone(), world.clone());
    let starting = doomed.spawn(async move { Agent::start(&told, started).await });
    let first = outer.block_on(starting).unwrap();
    let id = outer.block_on(async {
        let task = first.send(request()).await;
        first.until(&task.id, |_| world.is_holding()).await;
        task.id
    });
    doomed.shutdown_timeout(std::time::Duration::from_secs(10));
    drop(first);
    world.state.lock().unwrap().hold = None;
    world.tasks.forget("first");
    outer.block_on(async { Agent::start_as(world, config, "second").await.settled(&id).await })
}

#[test]
fn a_step_begun_before_a_crash_is_found_out_about_and_never_taken_twice() {
    let world = World::with(|state| state.hold = Some((PLAYBOOK, When::AfterEffect)));
    let task = across_a_crash(&world, &[], None);
    let outcome = outcome(&task);
    assert_eq!(outcome.result, OutcomeResult::Proven, "{}", outcome.summary);
    assert_eq!(world.acts(), [PLAYBOOK], "the step was taken once");
    assert_eq!(kinds(&task).iter().filter(|kind| *kind == "step_started").count(), 1);
    assert_eq!(outcome.steps[0].after, json!({"connection_pool_size": 20}));
    assert_eq!(plan(&task).target, TARGET);
}

#[test]
fn a_step_that_never_arrived_before_a_crash_is_taken_under_the_same_key() {
    let world = World::with(|state| state.hold = Some((PLAYBOOK, When::BeforeEffect)));
    let task = across_a_crash(&world, &[], None);
    assert_eq!(outcome(&task).result, OutcomeResult::Proven);
    assert_eq!(world.acts(), [PLAYBOOK]);
}

#[test]
fn a_step_that_is_not_repeatable_and_of_unknown_outcome_is_left_to_a_person() {
    let world = World::with(|state| state.hold = Some((PLAYBOOK, When::BeforeEffect)));
    let task = across_a_crash(&world, &OTHERS, Some("effect: at_most_once"));
    let outcome = outcome(&task);
    assert_eq!(outcome.result, OutcomeResult::StepFailed, "{}", outcome.summary);
    assert!(outcome.summary.contains("is unknown"), "{}", outcome.summary);
    assert_eq!(world.acts(), Vec::<String>::new());
}

#[test]
fn an_undo_begun_before_a_crash_is_finished_and_verified() {
    let world = World::with(|state| {
        (state.fix_works, state.hold) = (false, Some((ROLLBACK, When::AfterEffect)));
    });
    let task = across_a_crash(&world, &[], None);
    let outcome = outcome(&task);
    assert_eq!(outcome.result, OutcomeResult::Undone, "{}", outcome.summary);
    assert_eq!((world.acts(), world.pool()), (vec![PLAYBOOK.into(), ROLLBACK.into()], 2));
}
