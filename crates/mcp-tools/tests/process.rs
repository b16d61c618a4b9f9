//! The program itself, with signals: killed, stopped and frozen in the middle of an effect and during
//! its start.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use a2a_types::mcp::deployment::{Change, ChangeState, RESTART_SERVICE, RUN_PLAYBOOK};
use mcp_tools::deployment_system::Config;
use rustix::process::Signal;
use serde_json::json;
use service::Process;
use support::admin::Admin;
use support::deployment::{ADMIN_TOKEN, config, playbook, request};
use support::effects::{effects, effects_reach, processes_of, program, slow_effect, until};
use support::program::Program;

async fn site(text: &str) -> (tempfile::TempDir, Admin, Config) {
    let directory = tempfile::tempdir().unwrap();
    let admin = Admin::start(&Process::new("admin")).await;
    let mut config = config(directory.path(), &admin);
    config.ansible_playbook = program(directory.path(), text);
    (directory, admin, config)
}

const BEGIN_AND_HANG: &str = "echo '{\"before\": {\"config\": {\"connection_pool_size\": 2}}}' > \
                              record.json\necho \"begin $FIREBREAK_CHANGE\" >> \"$LOG\"\nsleep 600\n\
                              echo \"end $FIREBREAK_CHANGE\" >> \"$LOG\"";

/// Calls that nobody waits for: their program is about to be killed.
async fn ask_and_forget(program: &Program, tool: &str, asked: &impl serde::Serialize) {
    let wait = std::time::Duration::from_millis(500);
    let _ = program.client.call::<_, Change>(tool, asked, wait).await;
}

#[tokio::test]
async fn killed_in_mid_effect_its_executor_is_ended_by_the_next_run_and_not_repeated() {
    let (directory, _admin, config) = site(BEGIN_AND_HANG).await;
    let mut first = Program::start(directory.path(), &config);
    first.is_ready().await;
    ask_and_forget(&first, RUN_PLAYBOOK, &playbook("k")).await;
    effects_reach(directory.path(), 1).await;
    first.signal(Signal::KILL);
    first.has_ended().await;
    let id = effects(directory.path())[0].strip_prefix("begin ").unwrap().to_owned();
    assert!(!processes_of(&id).is_empty(), "the executor outlives its program");

    let second = Program::start(directory.path(), &config);
    second.is_ready().await;
    let change: Change = second.call(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!((change.state, change.change_id.as_deref()), (ChangeState::Unknown, Some(&*id)));
    assert!(change.finished_at.is_some(), "its end is recorded by the time of the start");
    assert_eq!(change.inverse.unwrap().parameters["variables"], json!({"connection_pool_size": 2}));
    assert_eq!(processes_of(&id), Vec::<i32>::new());
    assert_eq!(effects(directory.path()).len(), 1, "neither ended nor begun again");
}

#[tokio::test]
async fn killed_in_mid_call_the_target_itself_says_what_was_done() {
    let (directory, admin, config) = site("exit 0").await;
    let mut first = Program::start(directory.path(), &config);
    first.is_ready().await;
    admin.hold(true);
    let restart = request(RESTART_SERVICE, "db-1", json!({}), "k");
    ask_and_forget(&first, RESTART_SERVICE, &restart).await;
    until("the restart", || !admin.changes().is_empty()).await;
    first.signal(Signal::KILL);
    first.has_ended().await;
    let second = Program::start(directory.path(), &config);
    second.is_ready().await;
    let change: Change = second.call(RESTART_SERVICE, &restart).await;
    assert_eq!(change.state, ChangeState::Unknown, "a restart leaves nothing to tell it by");
    assert!(change.finished_at.is_some());
    assert_eq!(admin.changes(), ["restart"]);
}

#[tokio::test]
async fn stopped_in_mid_effect_it_waits_for_a_short_one() {
    let (directory, _admin, mut config) = site("exit 0").await;
    config.ansible_playbook = slow_effect(directory.path(), "2");
    let mut first = Program::start(directory.path(), &config);
    first.is_ready().await;
    let asked = playbook("k");
    let stopped = async {
        effects_reach(directory.path(), 1).await;
        first.signal(Signal::TERM);
    };
    let (change, ()) = tokio::join!(first.call::<Change>(RUN_PLAYBOOK, &asked), stopped);
    assert_eq!(change.state, ChangeState::Done);
    assert!(first.has_ended().await.success());
    assert_eq!(effects(directory.path()).len(), 2);
}

#[tokio::test]
async fn stopped_in_mid_effect_it_ends_a_long_one_and_records_that() {
    let (directory, _admin, config) = site(BEGIN_AND_HANG).await;
    let mut first = Program::start(directory.path(), &config);
    first.is_ready().await;
    ask_and_forget(&first, RUN_PLAYBOOK, &playbook("k")).await;
    effects_reach(directory.path(), 1).await;
    first.signal(Signal::TERM);
    assert!(first.has_ended().await.success(), "it ends within its bound");
    let second = Program::start(directory.path(), &config);
    second.is_ready().await;
    let change: Change = second.call(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!(change.state, ChangeState::Failed);
    assert!(change.error.unwrap().contains("deployment-system was stopped"));
    assert_eq!(processes_of(change.change_id.as_deref().unwrap()), Vec::<i32>::new());
}

#[tokio::test]
async fn a_second_signal_in_mid_effect_ends_it_at_once_and_the_next_run_cleans_up() {
    let (directory, _admin, config) = site(BEGIN_AND_HANG).await;
    let mut first = Program::start(directory.path(), &config);
    first.is_ready().await;
    ask_and_forget(&first, RUN_PLAYBOOK, &playbook("k")).await;
    effects_reach(directory.path(), 1).await;
    first.signal(Signal::TERM);
    let log = directory.path().join("program.log");
    until("the drain", || std::fs::read_to_string(&log).unwrap().contains("draining")).await;
    first.signal(Signal::TERM);
    assert_eq!(first.has_ended().await.code(), Some(1));
    let second = Program::start(directory.path(), &config);
    second.is_ready().await;
    let change: Change = second.call(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!(change.state, ChangeState::Unknown);
    assert_eq!(processes_of(change.change_id.as_deref().unwrap()), Vec::<i32>::new());
    assert_eq!(effects(directory.path()).len(), 1);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains(ADMIN_TOKEN) && log.contains("taken over"), "{log}");
}

#[tokio::test]
async fn a_signal_during_the_start_stops_it_and_leaves_a_database_that_opens() {
    let (directory, _admin, config) = site("exit 0").await;
    for wait in [0, 5, 20, 60] {
        let mut starting = Program::start(directory.path(), &config);
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        starting.signal(Signal::TERM);
        starting.has_ended().await;
    }
    let program = Program::start(directory.path(), &config);
    program.is_ready().await;
    let change: Change = program.call(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!(change.state, ChangeState::Done);
}
