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
use support::deployment::{ADMIN_TOKEN, ask_until, config, ended, playbook, request};
use support::effects::{effects, effects_reach, held_effect, let_go, processes_of, program, until};
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

/// Asks for a playbook whose program is killed in the middle of it.
async fn ask_until_it_acts(program: &Program, directory: &std::path::Path) {
    let acts = effects_reach(directory, 1);
    ask_until(&program.client, RUN_PLAYBOOK, &playbook("k"), acts).await;
}

fn log_of_program(directory: &std::path::Path) -> String {
    std::fs::read_to_string(directory.join("program.log")).unwrap()
}

/// Waits until the program has begun to stop.
async fn drains(directory: &std::path::Path) {
    until("the drain", || log_of_program(directory).contains("draining")).await;
}

#[tokio::test]
async fn killed_in_mid_effect_its_executor_is_ended_by_the_next_run_and_not_repeated() {
    let (directory, _admin, config) = site(BEGIN_AND_HANG).await;
    let mut first = Program::start(directory.path(), &config);
    first.is_ready().await;
    ask_until_it_acts(&first, directory.path()).await;
    first.signal(Signal::KILL);
    first.has_ended().await;
    let id = effects(directory.path())[0].strip_prefix("begin ").unwrap().to_owned();
    assert!(!processes_of(&id).is_empty(), "the executor outlives its program");

    let second = Program::start(directory.path(), &config);
    second.is_ready().await;
    ended(&second.client, "k").await;
    let change: Change = second.call(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!((change.state, change.change_id.as_deref()), (ChangeState::Unknown, Some(&*id)));
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
    let acts = until("the restart", || !admin.changes().is_empty());
    ask_until(&first.client, RESTART_SERVICE, &restart, acts).await;
    first.signal(Signal::KILL);
    first.has_ended().await;
    let second = Program::start(directory.path(), &config);
    second.is_ready().await;
    ended(&second.client, "k").await;
    let change: Change = second.call(RESTART_SERVICE, &restart).await;
    assert_eq!(change.state, ChangeState::Unknown, "a restart leaves nothing to tell it by");
    assert_eq!(admin.changes(), ["restart"]);
}

#[tokio::test]
async fn stopped_in_mid_effect_it_waits_for_a_short_one() {
    let (directory, _admin, mut config) = site("exit 0").await;
    config.ansible_playbook = held_effect(directory.path());
    let mut first = Program::start(directory.path(), &config);
    first.is_ready().await;
    let asked = playbook("k");
    let stopped = async {
        effects_reach(directory.path(), 1).await;
        first.signal(Signal::TERM);
        drains(directory.path()).await;
        let_go(directory.path());
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
    ask_until_it_acts(&first, directory.path()).await;
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
    ask_until_it_acts(&first, directory.path()).await;
    first.signal(Signal::TERM);
    drains(directory.path()).await;
    first.signal(Signal::TERM);
    assert_eq!(first.has_ended().await.code(), Some(1));
    let second = Program::start(directory.path(), &config);
    second.is_ready().await;
    let change = ended(&second.client, "k").await;
    assert_eq!(change.state, ChangeState::Unknown);
    assert_eq!(processes_of(change.change_id.as_deref().unwrap()), Vec::<i32>::new());
    assert_eq!(effects(directory.path()).len(), 1);
    let log = log_of_program(directory.path());
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
