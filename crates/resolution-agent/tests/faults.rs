//! The agent under faults: frozen runs that are overtaken, calls that are cut off, a database that fails,
//! clocks that are set, locks that nobody gives back.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

#[expect(dead_code, reason = "each test file uses its part")]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use a2a_types::TaskState;
use incident::{AttemptId, OutcomeResult};
use jiff::SignedDuration;
use serde_json::{Value, json};
use store::{Attempt, Call, Fault, Faults, TargetLock};
use world::{Agent, CutOff, TARGET, When, World, entries, kinds, outcome, request};

const PLAYBOOK: &str = "run_playbook";
const ROLLBACK: &str = "rollback";

/// Takes the other runbooks out of the policy: it may name none that is not there.
const OTHERS: [(&str, &str); 1] = [(
    "  restart-leaking-service: auto\n  scale-out-gateway: auto\n  clean-up-disk: auto\n  stop-runaway-job: auto\n",
    "",
)];

/// An agent whose only runbook has an effect of this class.
async fn agent_of_class(world: &World, class: &str) -> Agent {
    let mut config = world.config(&OTHERS).await;
    let shipped = config.runbooks.join("raise-connection-pool.yaml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let text = text.replace("effect: fenced", &format!("effect: {class}"));
    config.runbooks = world.directory.path().join("runbooks");
    std::fs::create_dir(&config.runbooks).unwrap();
    std::fs::write(config.runbooks.join("r.yaml"), text).unwrap();
    Agent::start(world, config).await
}

async fn get(agent: &Agent, path: &str) -> String {
    let url = format!("{}{path}", agent.address);
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

async fn release(agent: &Agent, target: &str) -> u16 {
    let url = format!("{}/api/v1/quarantine/{target}/release", agent.address);
    let asked = reqwest::Client::new().post(url).json(&json!({"by": "ann"})).send();
    asked.await.unwrap().status().as_u16()
}

/// The value of a counter as `/metrics` has it.
async fn counted(agent: &Agent, name: &str) -> u64 {
    let text = get(agent, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
}

/// One replica freezes at a call, another takes its task over, and the call arrives at last.
async fn overtaken(hold: (&'static str, When), fix_works: bool) -> (World, Agent, a2a_types::Task) {
    let world = World::with(|state| (state.hold, state.fix_works) = (Some(hold), fix_works));
    let frozen = Agent::start(&world, world.config(&[]).await).await;
    let task = frozen.send(request()).await;
    frozen.until(&task.id, |_| world.is_holding()).await;
    world.state.lock().unwrap().hold = None;
    world.tasks.forget("first");
    let other = Agent::start_as(&world, world.config(&[]).await, "second").await;
    let ended = other.settled(&task.id).await;
    world.answer.notify_one();
    // What the frozen run does now it does before its process has drained.
    frozen.process.shut_down(Duration::from_secs(10)).await.unwrap();
    (world, other, ended)
}

#[tokio::test]
async fn a_call_that_was_frozen_on_its_way_is_refused_when_another_replica_has_gone_on() {
    let (world, other, ended) = overtaken((PLAYBOOK, When::BeforeEffect), true).await;
    let outcome = outcome(&ended);
    assert_eq!(outcome.result, OutcomeResult::Proven, "{}", outcome.summary);
    assert_eq!(world.acts(), [PLAYBOOK], "one effect");
    assert_eq!(world.state.lock().unwrap().fenced_out, 1, "the frozen call was shut out");
    let started = kinds(&ended).iter().filter(|kind| *kind == "step_started").count();
    assert_eq!(started, 1, "{:?}", entries(&ended));
    assert_eq!(counted(&other, "firebreak_unknown_outcomes_total").await, 1);
    assert!(counted(&other, "firebreak_outcome_probes_total").await >= 1);
}

#[tokio::test]
async fn an_answer_that_was_frozen_on_its_way_changes_nothing_any_more() {
    let (world, _, ended) = overtaken((PLAYBOOK, When::AfterEffect), true).await;
    assert_eq!(outcome(&ended).result, OutcomeResult::Proven);
    assert_eq!(world.acts(), [PLAYBOOK], "one effect");
    let rows = world.store("reader").attempts_of_task(ended.id.clone()).await.unwrap();
    let ends: Vec<&Value> = rows.iter().map(|row| &row.outcome.as_ref().unwrap()["end"]).collect();
    assert_eq!(ends, ["done"]);
}

#[tokio::test]
async fn an_undo_that_was_frozen_on_its_way_is_done_once() {
    for when in [When::BeforeEffect, When::AfterEffect] {
        let (world, _, ended) = overtaken((ROLLBACK, when), false).await;
        assert_eq!(outcome(&ended).result, OutcomeResult::Undone, "{}", outcome(&ended).summary);
        assert_eq!((world.acts(), world.pool()), (vec![PLAYBOOK.into(), ROLLBACK.into()], 2));
    }
}

#[tokio::test]
async fn what_was_cut_off_is_decided_by_the_class_of_its_effect() {
    use CutOff::{Everything, Nothing, Unseen};
    let proven = OutcomeResult::Proven;
    for (class, left, acts, result, ends) in [
        ("pure", Nothing, 2, proven, vec!["cut_off", "done"]),
        ("idempotent", Everything, 2, proven, vec!["cut_off", "done"]),
        ("fenced", Nothing, 2, proven, vec!["cut_off", "done"]),
        ("probeable", Nothing, 2, proven, vec!["cut_off", "done"]),
        ("probeable", Everything, 1, proven, vec!["done"]),
        ("probeable", Unseen, 1, proven, vec!["done"]),
        ("at_most_once", Nothing, 1, OutcomeResult::StepFailed, vec!["unknown"]),
    ] {
        let world = World::with(|state| state.cut_off = Some(left));
        let agent = agent_of_class(&world, class).await;
        let (task, outcome) = agent.resolve().await;
        assert_eq!(outcome.result, result, "{class} {left:?}: {}", outcome.summary);
        assert_eq!(world.acts().len(), acts, "{class} {left:?}");
        let rows = world.store("reader").attempts_of_task(task.id.clone()).await.unwrap();
        let found: Vec<String> = rows
            .iter()
            .map(|row| row.outcome.as_ref().unwrap()["end"].as_str().unwrap().to_owned())
            .map(|end| if end == "interrupted" { "cut_off".into() } else { end })
            .collect();
        assert_eq!(found, ends, "{class} {left:?}");
        let quarantined = get(&agent, "/api/v1/quarantine").await;
        let is_left_to_a_person = class == "at_most_once";
        assert_eq!(quarantined.contains(TARGET), is_left_to_a_person, "{quarantined}");
        let quarantines = counted(&agent, "firebreak_quarantines_total").await;
        assert_eq!(quarantines, u64::from(is_left_to_a_person));
    }
}

#[tokio::test]
async fn a_step_cut_off_twice_is_undone() {
    let world = World::with(|state| {
        (state.cut_off, state.cut_off_always) = (Some(CutOff::Everything), true);
    });
    let agent = agent_of_class(&world, "idempotent").await;
    let (_, outcome) = agent.resolve().await;
    assert_eq!(outcome.result, OutcomeResult::StepFailed, "{}", outcome.summary);
    assert_eq!(world.pool(), 2, "{:?}", world.acts());
}

/// The agent on a database some of whose calls fail for a while.
async fn with_faults(name: &'static str, fault: Fault, times: u32) -> (World, a2a_types::Task) {
    let world = World::new();
    let agent = Agent::start(&world, world.config(&[]).await).await;
    let failed = Arc::new(AtomicU32::new(0));
    let (counter, seen) = (failed.clone(), world.clone());
    world.database.set_faults(Faults::new(move |call: Call<'_>| {
        let is_meant = call.name == name && counter.load(Ordering::SeqCst) < times;
        is_meant.then(|| {
            counter.fetch_add(1, Ordering::SeqCst);
            if name == "begin_attempt" {
                assert_eq!(seen.acts(), Vec::<String>::new(), "no intent, no act");
            }
            fault
        })
    }));
    let task = agent.send(request()).await;
    let ended = agent.settled(&task.id).await;
    assert!(failed.load(Ordering::SeqCst) > 0, "{name} is not called");
    (world, ended)
}

#[tokio::test]
async fn a_database_that_fails_stops_every_act_and_doubles_none() {
    for name in ["begin_attempt", "finish_attempt", "lock_target", "attempts_of_task"] {
        for fault in [Fault::Away, Fault::AnswerLost] {
            let (world, ended) = with_faults(name, fault, 2).await;
            assert_eq!(ended.status.state, TaskState::Completed, "{name} {fault:?}");
            let outcome = outcome(&ended);
            assert_eq!(outcome.result, OutcomeResult::Proven, "{name} {fault:?}: {outcome:?}");
            assert_eq!(world.acts(), [PLAYBOOK], "{name} {fault:?}");
            let rows = world.store("reader").attempts_of_task(ended.id.clone()).await.unwrap();
            assert!(rows.iter().all(|row| row.outcome.is_some()), "{rows:?}");
        }
    }
}

#[tokio::test]
async fn a_clock_set_by_an_hour_in_mid_resolution_proves_nothing_that_is_not_so_and_ends_in_time() {
    let at_the_call = |world: &World, _: &a2a_types::Task| world.is_holding();
    let at_the_proof = |_: &World, task: &a2a_types::Task| {
        kinds(task).iter().any(|kind| kind == "verification_started")
    };
    type IsThere = fn(&World, &a2a_types::Task) -> bool;
    let moments: [(&str, IsThere); 2] = [("the call", at_the_call), ("the proof", at_the_proof)];
    for (moment, is_there) in moments {
        for hours in [1, -1] {
            let hold = (moment == "the call").then_some((PLAYBOOK, When::AfterEffect));
            let world = World::with(|state| state.hold = hold);
            let agent = Agent::start(&world, world.config(&[]).await).await;
            let task = agent.send(request()).await;
            agent.until(&task.id, |task| is_there(&world, task)).await;
            let clock = service::Clock::Manual(world.clock.clone());
            let before = clock.instant();
            world.clock.jump(SignedDuration::from_hours(hours));
            world.state.lock().unwrap().hold = None;
            world.answer.notify_one();
            let outcome = outcome(&agent.settled(&task.id).await);
            let took = clock.instant() - before;
            assert!(took >= Duration::from_secs(2), "{moment} {hours}: {took:?} is no hold time");
            assert!(took < Duration::from_secs(120), "{moment} {hours}: {took:?}");
            match hours {
                1 => assert_eq!(outcome.result, OutcomeResult::Proven, "{moment}: {outcome:?}"),
                // Samples from before the act look like new ones: they are not believed.
                _ => {
                    assert_eq!(outcome.result, OutcomeResult::UndoFailed, "{moment}: {outcome:?}");
                    assert_eq!(world.acts(), [PLAYBOOK, ROLLBACK]);
                    assert!(get(&agent, "/api/v1/quarantine").await.contains(TARGET));
                }
            }
        }
    }
}

#[tokio::test]
async fn the_lock_of_a_task_that_is_over_is_given_back_or_left_to_a_person() {
    let world = World::new();
    let store = world.store("old");
    let locked = store.lock_target(TARGET.into(), "gone".into()).await.unwrap();
    let TargetLock::Held { token } = locked else { panic!("{locked:?}") };
    let other = store.lock_target("db-server-99".into(), "ghost".into()).await.unwrap();
    assert!(matches!(other, TargetLock::Held { .. }));
    let id: AttemptId = "att_00000000000000000000000000000001".parse().unwrap();
    let started_at = world.clock.now();
    let (task_id, body) = ("gone".to_owned(), json!({}));
    let attempt = Attempt { id, task_id, target: TARGET.into(), body, started_at };
    store.begin_attempt(attempt, token).await.unwrap();
    let agent = Agent::start(&world, world.config(&[]).await).await;
    assert_eq!(get(&agent, "/api/v1/locks").await, "[]");
    let quarantined = get(&agent, "/api/v1/quarantine").await;
    assert!(quarantined.contains(TARGET) && !quarantined.contains("db-server-99"), "{quarantined}");
    let rows = store.attempts_of_task("gone".into()).await.unwrap();
    assert_eq!(rows[0].outcome.as_ref().unwrap()["end"], "unknown");
    let (_, refused) = agent.resolve().await;
    assert_eq!(refused.result, OutcomeResult::Refused);
    assert_eq!(world.acts(), Vec::<String>::new());
    assert_eq!(release(&agent, TARGET).await, 204);
    assert_eq!(release(&agent, TARGET).await, 404);
}

#[tokio::test]
async fn locks_are_listed_and_one_of_a_task_at_work_is_not_released() {
    let world = World::with(|state| state.hold = Some((PLAYBOOK, When::AfterEffect)));
    let agent = Agent::start(&world, world.config(&[]).await).await;
    let task = agent.send(request()).await;
    agent.until(&task.id, |_| world.is_holding()).await;
    let locks: Value = serde_json::from_str(&get(&agent, "/api/v1/locks").await).unwrap();
    assert_eq!(locks[0]["target"], TARGET);
    assert_eq!(locks[0]["task"], task.id.as_str());
    assert!(locks[0]["since"].is_string(), "{locks}");
    assert_eq!(release(&agent, TARGET).await, 409);
    world.state.lock().unwrap().hold = None;
    world.answer.notify_one();
    assert_eq!(outcome(&agent.settled(&task.id).await).result, OutcomeResult::Proven);
    assert_eq!(get(&agent, "/api/v1/locks").await, "[]");
    // What is left when a process ends between a task's end and the release.
    let left = world.store("old").lock_target(TARGET.into(), task.id.clone()).await.unwrap();
    assert!(matches!(left, TargetLock::Held { .. }));
    assert_eq!(release(&agent, TARGET).await, 204);
    assert_eq!(get(&agent, "/api/v1/locks").await, "[]");
}

#[tokio::test]
async fn a_call_that_outlasts_its_deadline_is_shut_out_before_it_is_repeated() {
    let world = World::with(|state| state.hold = Some((PLAYBOOK, When::BeforeEffect)));
    let mut config = world.config(&[]).await;
    config.step_seconds = 1;
    let agent = Agent::start(&world, config).await;
    let task = agent.send(request()).await;
    agent.until(&task.id, |_| world.is_holding()).await;
    world.state.lock().unwrap().hold = None;
    let outcome = outcome(&agent.settled(&task.id).await);
    assert_eq!(outcome.result, OutcomeResult::Proven, "{}", outcome.summary);
    assert_eq!(world.acts(), [PLAYBOOK], "one effect");
    assert!(world.state.lock().unwrap().fence > 1, "its own token is shut out");
}
