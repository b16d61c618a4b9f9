//! `deployment-system` over MCP, against a service with an admin API.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use a2a_types::mcp::FaultKind;
use a2a_types::mcp::deployment::{
    CLEANUP, Change, ChangeState, RESTART_SERVICE, ROLLBACK, RUN_PLAYBOOK, SCALE, START_JOB,
    STATUS, STOP_JOB, StatusInput, StatusOutput, UPDATE_CONFIG,
};
use mcp_tools::deployment_system::{Config, start};
use serde_json::{Value, json};
use service::Process;
use support::admin::Admin;
use support::deployment::{
    World, ask_until, begin, config, ended, in_seconds, raise_pool, request,
};
use support::effects::until;
use support::{installed, refused_field, serve};

#[tokio::test]
async fn a_change_records_before_after_and_inverse_and_rollback_restores() {
    let world = World::new().await;
    let change = world.change(UPDATE_CONFIG, &raise_pool("k1")).await;
    assert_eq!(change.state, ChangeState::Done);
    assert_eq!(change.before["effective"]["connection_pool_size"], 2);
    assert_eq!(change.after["effective"]["connection_pool_size"], 20);
    assert_eq!(change.diff.len(), 2);
    assert_eq!(world.admin.effective_pool(), 20);
    let inverse = change.inverse.as_ref().unwrap();
    assert_eq!(inverse.parameters["set"], json!({"connection_pool_size": 2}));

    let id = change.change_id.clone().unwrap();
    let undo = request(ROLLBACK, "db-1", json!({"change_id": id}), "k2");
    let undone = world.change(ROLLBACK, &undo).await;
    assert_eq!((undone.state, undone.action.as_str()), (ChangeState::Done, ROLLBACK));
    assert_eq!(world.admin.effective_pool(), 2);
    // The undoing is a change itself, with an inverse of its own.
    assert_eq!(undone.inverse.unwrap().parameters["set"], json!({"connection_pool_size": 20}));

    let input = StatusInput { change_id: Some(id), ..StatusInput::default() };
    let status: StatusOutput = world.served.call(STATUS, &input).await.unwrap();
    assert_eq!(status.changes, [change]);
    let input = StatusInput { target: Some("db-1".to_owned()), ..StatusInput::default() };
    let status: StatusOutput = world.served.call(STATUS, &input).await.unwrap();
    assert_eq!(status.changes.len(), 2);
    assert!(status.target.unwrap().healthy);
}

#[tokio::test]
async fn what_somebody_changed_since_is_not_undone() {
    let world = World::new().await;
    let first = world.change(UPDATE_CONFIG, &raise_pool("k1")).await;
    let since = json!({"set": {"connection_pool_size": 40}, "restart": true});
    world.change(UPDATE_CONFIG, &request(UPDATE_CONFIG, "db-1", since, "k2")).await;
    let undo = |key| request(ROLLBACK, "db-1", json!({"change_id": first.change_id}), key);
    let error = world.served.call::<Change>(ROLLBACK, &undo("k3")).await.unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.message.contains("it left 20, now 40"), "{}", fault.message);
    assert_eq!(world.admin.effective_pool(), 40, "another's change stands");
    let back = json!({"set": {"connection_pool_size": 20}, "restart": true});
    world.change(UPDATE_CONFIG, &request(UPDATE_CONFIG, "db-1", back, "k4")).await;
    world.change(ROLLBACK, &undo("k5")).await;
    assert_eq!(world.admin.effective_pool(), 2);
    let again = world.served.call::<Change>(ROLLBACK, &undo("k6")).await;
    assert!(again.is_err(), "what is undone is not undone again");
}

#[tokio::test]
async fn the_same_key_is_answered_from_the_record_and_never_carried_out_twice() {
    let world = World::new().await;
    let first = world.change(UPDATE_CONFIG, &raise_pool("k")).await;
    let changes = world.admin.changes();
    // Also when the grant has expired since.
    let mut again = raise_pool("k");
    again.grant.as_mut().unwrap().expires_at = in_seconds(-3600);
    let second = world.change(UPDATE_CONFIG, &again).await;
    assert_eq!(second.state, ChangeState::AlreadyDone);
    assert_eq!(second.change_id, first.change_id);
    assert_eq!(world.admin.changes(), changes);

    let parameters = json!({"set": {"connection_pool_size": 30}, "restart": true});
    let other = request(UPDATE_CONFIG, "db-1", parameters, "k");
    let refused = world.served.call::<Change>(UPDATE_CONFIG, &other).await;
    assert_eq!(refused_field(refused), "idempotency_key");
    assert_eq!(world.admin.changes(), changes);
}

#[tokio::test]
async fn nothing_is_done_without_a_grant_for_exactly_this_change() {
    let world = World::new().await;
    let mut cases = Vec::new();
    let mut missing = raise_pool("a");
    missing.grant = None;
    cases.push((missing, "grant"));
    let mut elsewhere = raise_pool("b");
    elsewhere.grant.as_mut().unwrap().target = "worker".to_owned();
    cases.push((elsewhere, "grant.target"));
    let mut larger = raise_pool("c");
    larger.parameters["set"]["connection_pool_size"] = json!(200);
    cases.push((larger, "grant.arguments_sha256"));
    let mut expired = raise_pool("d");
    expired.grant.as_mut().unwrap().expires_at = in_seconds(-3600);
    cases.push((expired, "grant.expires_at"));
    let mut late = raise_pool("e");
    late.deadline = in_seconds(-3600);
    cases.push((late, "deadline"));
    for (request, field) in cases {
        let refused = world.served.call::<Change>(UPDATE_CONFIG, &request).await;
        assert_eq!(refused_field(refused), field);
    }
    // A grant for one action is none for another with the same parameters.
    let granted = request(START_JOB, "db-1", json!({"job": "backup"}), "f");
    let refused = world.served.call::<Change>(STOP_JOB, &granted).await;
    assert_eq!(refused_field(refused), "grant.arguments_sha256");
    assert_eq!(world.admin.changes(), Vec::<String>::new());

    world.change(UPDATE_CONFIG, &raise_pool("g")).await;
    let mut reused = raise_pool("h");
    reused.grant.as_mut().unwrap().id = "grant of g".to_owned();
    let refused = world.served.call::<Change>(UPDATE_CONFIG, &reused).await;
    assert_eq!(refused_field(refused), "grant.id");
    assert_eq!(world.admin.changes().len(), 2);
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let world = World::new().await;
    let mut dry = raise_pool("k");
    (dry.dry_run, dry.grant) = (true, None);
    let change = world.change(UPDATE_CONFIG, &dry).await;
    assert_eq!((change.state, change.change_id), (ChangeState::DryRun, None));
    assert_eq!(change.diff[0].path, "config.connection_pool_size");
    assert_eq!((&change.diff[0].before, &change.diff[0].after), (&json!(2), &json!(20)));
    assert!(change.inverse.is_some());
    assert_eq!(world.admin.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn every_action_acts_and_knows_its_inverse_or_why_there_is_none() {
    let world = World::new().await;
    let scaled = world.change(SCALE, &request(SCALE, "db-1", json!({"replicas": 3}), "a")).await;
    assert_eq!(scaled.inverse.unwrap().parameters, *json!({"replicas": 1}).as_object().unwrap());
    let job = json!({"job": "backup"});
    let stopped = world.change(STOP_JOB, &request(STOP_JOB, "db-1", job, "b")).await;
    assert_eq!(stopped.inverse.unwrap().action, START_JOB);
    let cleaned = world.change(CLEANUP, &request(CLEANUP, "db-1", json!({}), "c")).await;
    assert_eq!(cleaned.diff[0].path, "avail_bytes");
    assert_eq!(cleaned.no_inverse.as_deref(), Some("deleted files do not come back"));
    let restarted =
        world.change(RESTART_SERVICE, &request(RESTART_SERVICE, "db-1", json!({}), "d")).await;
    assert_eq!((restarted.inverse, restarted.after["generation"].clone()), (None, json!(2)));
    assert_eq!(world.admin.changes(), ["scale 3", "stop backup", "cleanup", "restart"]);

    let none = request(ROLLBACK, "db-1", json!({"change_id": cleaned.change_id}), "e");
    let refused = world.served.call::<Change>(ROLLBACK, &none).await;
    assert_eq!(refused_field(refused), "parameters.change_id");
}

#[tokio::test]
async fn bad_input_is_refused_by_the_field_it_is_in() {
    let world = World::new().await;
    for (action, target, parameters, field) in [
        (SCALE, "nowhere", json!({"replicas": 3}), "target"),
        (SCALE, "worker", json!({"replicas": 3}), "target"),
        (STOP_JOB, "db-1", json!({"job": "no-such"}), "parameters.job"),
        (STOP_JOB, "db-1", json!({"job": "../restart"}), "parameters.job"),
        (UPDATE_CONFIG, "db-1", json!({"set": {"colour": 1}}), "parameters.set.colour"),
        (RUN_PLAYBOOK, "db-1", json!({"playbook": "no-such"}), "parameters.playbook"),
        (ROLLBACK, "db-1", json!({"change_id": "chg_none"}), "parameters.change_id"),
    ] {
        let request = request(action, target, parameters, "k");
        let refused = world.served.call::<Change>(action, &request).await;
        assert_eq!(refused_field(refused), field);
    }
    // What only the service knows is recorded as a change that failed.
    let parameters = json!({"set": {"connection_pool_size": 0}});
    let change =
        world.change(UPDATE_CONFIG, &request(UPDATE_CONFIG, "db-1", parameters, "k")).await;
    assert_eq!(change.state, ChangeState::Failed);
    assert!(change.error.unwrap().contains("out of bounds"));
    assert_eq!((change.inverse, change.no_inverse.as_deref()), (None, Some("nothing was done")));
    assert_eq!(world.admin.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_change_without_a_recorded_end_is_unknown_and_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let admin = Admin::start(&Process::new("admin")).await;
    let asked = raise_pool("k");
    let inverse = json!({
        "action": UPDATE_CONFIG, "target": "db-1",
        "parameters": {"set": {"connection_pool_size": 2}}
    });
    let intent = json!({
        "is_gated": true, "before": {"config": {"connection_pool_size": 2}}, "inverse": inverse,
        "parameters": asked.parameters
    });
    // The process that began it acted itself, and has ended: another has its pid.
    let mut executor = executor("in_process", std::process::id(), directory.path());
    executor["process"]["start_time"] = json!(1);
    begin(directory.path(), "chg_lost", UPDATE_CONFIG, &asked, intent, Some(executor)).await;
    let served = serve(config(directory.path(), &admin), start).await;
    ended(&served.client, "k").await;
    let change: Change = served.call(UPDATE_CONFIG, &asked).await.unwrap();
    assert_eq!(change.state, ChangeState::Unknown);
    assert_eq!(change.change_id.as_deref(), Some("chg_lost"));
    assert_eq!(admin.changes(), Vec::<String>::new());
    // Its inverse was recorded with the intent, so it can still be undone.
    let undo = request(ROLLBACK, "db-1", json!({"change_id": "chg_lost"}), "undo");
    let undone: Change = served.call(ROLLBACK, &undo).await.unwrap();
    assert_eq!(undone.state, ChangeState::Done);
    assert_eq!(admin.changes(), ["set connection_pool_size=2"]);
}

#[tokio::test]
async fn a_target_has_one_writer_and_a_deadline_ends_the_wait() {
    let world = World::new().await;
    world.admin.hold(true);
    let slow = request(RESTART_SERVICE, "db-1", json!({}), "slow");
    let asked_meanwhile = async {
        until("the restart", || !world.admin.changes().is_empty()).await;
        let repeated = world.change(RESTART_SERVICE, &slow).await;
        let other = request(SCALE, "db-1", json!({"replicas": 2}), "other");
        let other = world.served.call::<Change>(SCALE, &other).await;
        world.pass_deadline_of(&slow);
        (repeated, other)
    };
    let (first, (repeated, other)) =
        tokio::join!(world.change(RESTART_SERVICE, &slow), asked_meanwhile);
    assert_eq!(repeated.state, ChangeState::Unknown);
    assert_eq!(repeated.change_id, first.change_id);
    let other = other.unwrap_err();
    assert_eq!(other.fault().unwrap().kind, FaultKind::Unavailable);
    assert!(other.is_transient() && !other.may_have_acted());
    assert_eq!(first.state, ChangeState::Failed);
    assert!(first.error.unwrap().contains("the deadline passed before the service runs again"));
    assert_eq!(world.admin.changes(), ["restart"]);
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_goes_away() {
    let world = World::new().await;
    world.admin.hold(true);
    let asked = raise_pool("k");
    let begun = until("the change", || !world.admin.changes().is_empty());
    ask_until(&world.served.client, UPDATE_CONFIG, &asked, begun).await;
    world.admin.hold(false);
    assert_eq!(ended(&world.served.client, "k").await.state, ChangeState::Done);
    assert_eq!(world.admin.effective_pool(), 20);
}

#[tokio::test]
async fn a_local_process_is_restarted_as_another_process_of_its_own_group() {
    let world = World::new().await;
    let pid = |change: &Change| change.after["process"]["pid"].as_i64().unwrap();
    let first =
        world.change(RESTART_SERVICE, &request(RESTART_SERVICE, "worker", json!({}), "a")).await;
    assert_eq!((first.state, &first.before["running"]), (ChangeState::Done, &json!(false)));
    let second =
        world.change(RESTART_SERVICE, &request(RESTART_SERVICE, "worker", json!({}), "b")).await;
    assert_ne!(pid(&first), pid(&second));
    let is_running = |pid: i64| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(!is_running(pid(&first)) && is_running(pid(&second)));
    let group = rustix::process::Pid::from_raw(pid(&second) as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
}

/// What is recorded of a process that is to act.
fn executor(kind: &str, pid: u32, directory: &std::path::Path) -> Value {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_time = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap();
    let process = json!({
        "boot_id": std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
        "pid": pid,
        "start_time": start_time.parse::<u64>().unwrap()
    });
    json!({"kind": kind, "process": process, "directory": directory})
}

#[tokio::test]
async fn an_interrupted_playbook_is_ended_at_the_start_and_can_be_undone() {
    let directory = tempfile::tempdir().unwrap();
    let admin = Admin::start(&Process::new("admin")).await;
    let mut child = std::os::unix::process::CommandExt::process_group(
        std::process::Command::new("sleep").arg("600"),
        0,
    )
    .spawn()
    .unwrap();
    let run = directory.path().join("work/runs/chg_left");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("lock"), "").unwrap();
    let record = json!({"before": {"config": {"connection_pool_size": 2}}});
    std::fs::write(run.join("record.json"), record.to_string()).unwrap();
    let parameters =
        json!({"playbook": "raise_connection_pool", "variables": {"connection_pool_size": 20}});
    let asked = request(RUN_PLAYBOOK, "db-1", parameters, "k");
    let intent = json!({"is_gated": true, "playbook": "raise_connection_pool", "before": null});
    let executor = executor("group", child.id(), &run);
    begin(directory.path(), "chg_left", RUN_PLAYBOOK, &asked, intent, Some(executor)).await;

    let served = serve(config(directory.path(), &admin), start).await;
    assert!(ended(&served.client, "k").await.finished_at.is_some());
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    until("its files are gone", || !run.exists()).await;
    let change: Change = served.call(RUN_PLAYBOOK, &asked).await.unwrap();
    assert_eq!(
        (change.state, change.change_id.as_deref()),
        (ChangeState::Unknown, Some("chg_left"))
    );
    assert_eq!(change.before, record["before"]);
    assert_eq!(change.inverse.unwrap().parameters["variables"], json!({"connection_pool_size": 2}));
    assert_eq!(admin.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_playbook_repairs_records_and_is_undone() {
    if installed("ansible-playbook").is_none() {
        return;
    }
    let world = World::new().await;
    let parameters =
        json!({"playbook": "raise_connection_pool", "variables": {"connection_pool_size": 20}});
    let mut dry = request(RUN_PLAYBOOK, "db-1", parameters.clone(), "dry");
    (dry.dry_run, dry.grant) = (true, None);
    let would = world.change(RUN_PLAYBOOK, &dry).await;
    assert_eq!(would.error, None, "{}", would.output);
    assert_eq!((&would.diff[0].before, &would.diff[0].after), (&json!(2), &json!(20)));
    assert_eq!(world.admin.changes(), Vec::<String>::new());

    let run = request(RUN_PLAYBOOK, "db-1", parameters, "run");
    let change = world.change(RUN_PLAYBOOK, &run).await;
    assert_eq!((change.state, change.error), (ChangeState::Done, None), "{}", change.output);
    assert_eq!(world.admin.effective_pool(), 20);
    assert_eq!(change.before["effective"], json!({"connection_pool_size": 2}));
    assert_eq!(change.after["effective"], json!({"connection_pool_size": 20}));
    assert!(change.output.contains("Restart the service"));
    let again = world.change(RUN_PLAYBOOK, &run).await;
    assert_eq!(again.state, ChangeState::AlreadyDone);

    let undo = request(ROLLBACK, "db-1", json!({"change_id": change.change_id}), "undo");
    let undone = world.change(ROLLBACK, &undo).await;
    assert_eq!((undone.state, undone.error), (ChangeState::Done, None), "{}", undone.output);
    assert_eq!(world.admin.effective_pool(), 2);
    // No run leaves its files behind; they hold the credential.
    let runs = std::fs::read_dir(world.directory.path().join("work/runs")).unwrap();
    assert_eq!(runs.count(), 0);
}

#[tokio::test]
async fn a_playbook_does_not_undo_what_somebody_changed_since() {
    if installed("ansible-playbook").is_none() {
        return;
    }
    let world = World::new().await;
    let parameters =
        json!({"playbook": "raise_connection_pool", "variables": {"connection_pool_size": 20}});
    let change =
        world.change(RUN_PLAYBOOK, &request(RUN_PLAYBOOK, "db-1", parameters, "run")).await;
    let since = json!({"set": {"connection_pool_size": 40}, "restart": true});
    world.change(UPDATE_CONFIG, &request(UPDATE_CONFIG, "db-1", since, "k2")).await;
    let undo = request(ROLLBACK, "db-1", json!({"change_id": change.change_id}), "undo");
    let undone = world.change(ROLLBACK, &undo).await;
    assert_eq!((undone.state, undone.inverse), (ChangeState::Failed, None));
    let error = undone.error.unwrap();
    assert!(
        error.contains("connection_pool_size was changed since: it left 20, now 40"),
        "{error}"
    );
    assert_eq!(world.admin.effective_pool(), 40, "another's change stands");
}

#[tokio::test]
async fn without_ansible_a_playbook_is_unavailable_and_nothing_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let admin = Admin::start(&Process::new("admin")).await;
    let absent = directory.path().join("no-such-program");
    let config = Config { ansible_playbook: absent, ..config(directory.path(), &admin) };
    let served = serve(config, start).await;
    let parameters =
        json!({"playbook": "raise_connection_pool", "variables": {"connection_pool_size": 20}});
    let run = request(RUN_PLAYBOOK, "db-1", parameters, "k");
    let error = served.call::<Change>(RUN_PLAYBOOK, &run).await.unwrap_err();
    assert_eq!(error.fault().unwrap().kind, FaultKind::Unavailable);
    let input = StatusInput { idempotency_key: Some("k".to_owned()), ..StatusInput::default() };
    let status: StatusOutput = served.call(STATUS, &input).await.unwrap();
    assert_eq!(status.changes, []);
}

#[tokio::test]
async fn a_playbook_past_its_deadline_ends_with_all_its_processes_and_can_be_undone() {
    if installed("ansible-playbook").is_none() {
        return;
    }
    let world = World::new().await;
    world.admin.hold(true);
    let parameters =
        json!({"playbook": "raise_connection_pool", "variables": {"connection_pool_size": 20}});
    let run = request(RUN_PLAYBOOK, "db-1", parameters, "run");
    let deadline = async {
        until("the restart", || world.admin.changes().len() == 2).await;
        world.pass_deadline_of(&run);
    };
    let (change, ()) = tokio::join!(world.change(RUN_PLAYBOOK, &run), deadline);
    assert_eq!(change.state, ChangeState::Failed);
    let error = change.error.unwrap();
    assert!(error.contains("the deadline passed"), "{error}");
    assert_eq!(world.admin.changes(), ["set connection_pool_size=20", "restart"]);
    assert_eq!(change.inverse.unwrap().parameters["variables"], json!({"connection_pool_size": 2}));
    let work = world.directory.path().display().to_string();
    let left = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
    assert_eq!(left.filter(|command| command.contains(&work)).count(), 0);
}
