//! Executors that misbehave, and callers whose lock another has: whatever a playbook does, it ends
//! with its change, and what is recorded of it is bounded and holds no secret.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use std::path::Path;

use a2a_types::mcp::FaultKind;
use a2a_types::mcp::deployment::{
    Change, ChangeRequest, ChangeState, RUN_PLAYBOOK, STATUS, StatusInput, StatusOutput,
    UPDATE_CONFIG,
};
use mcp_tools::deployment_system::start;
use service::Process;
use support::admin::Admin;
use support::deployment::{ADMIN_TOKEN, World, config, in_seconds, playbook, raise_pool};
use support::effects::{effects, effects_reach, log_of, processes_of, program, until};
use support::program::Program;
use support::{PATIENCE, serve};

/// A server whose playbooks are this program.
async fn world(text: &str) -> World {
    World::with(|directory, config| config.ansible_playbook = program(directory, text)).await
}

fn id(change: &Change) -> &str {
    change.change_id.as_deref().unwrap()
}

fn status_of(target: &str, token: i64) -> StatusInput {
    StatusInput {
        target: Some(target.to_owned()),
        fencing_token: Some(token),
        ..StatusInput::default()
    }
}

#[tokio::test]
async fn a_greater_fencing_token_shuts_out_smaller_ones_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let admin = Admin::start(&Process::new("admin")).await;
    let served = serve(config(directory.path(), &admin), start).await;
    let with_token =
        |key: &str, token| ChangeRequest { fencing_token: Some(token), ..raise_pool(key) };
    let _: StatusOutput = served.call(STATUS, &status_of("db-1", 7)).await.unwrap();
    served.stop().await;
    // What was shut out stays shut out.
    let served = serve(config(directory.path(), &admin), start).await;
    let older = served.call::<Change>(UPDATE_CONFIG, &with_token("old", 6)).await.unwrap_err();
    let fault = older.fault().unwrap();
    assert_eq!((fault.kind, fault.field.as_deref()), (FaultKind::Refused, Some("fencing_token")));
    assert!(fault.message.contains("6 is smaller than 7"), "{}", fault.message);
    let older = served.call::<StatusOutput>(STATUS, &status_of("db-1", 6)).await.unwrap_err();
    assert_eq!(older.fault().unwrap().field.as_deref(), Some("fencing_token"));
    assert_eq!(admin.changes(), Vec::<String>::new());
    let by_key = StatusInput { idempotency_key: Some("old".to_owned()), ..status_of("db-1", 8) };
    let status: StatusOutput = served.call(STATUS, &by_key).await.unwrap();
    assert_eq!((status.changes, status.target), (Vec::new(), None), "it never began");

    let change: Change = served.call(UPDATE_CONFIG, &with_token("new", 8)).await.unwrap();
    assert_eq!(change.state, ChangeState::Done);
    // A change raises the fence itself; another target has its own.
    let _: Change = served.call(UPDATE_CONFIG, &with_token("newer", 9)).await.unwrap();
    served.call::<Change>(UPDATE_CONFIG, &with_token("late", 8)).await.unwrap_err();
    let _: StatusOutput = served.call(STATUS, &status_of("worker", 1)).await.unwrap();
    let unknown = served.call::<StatusOutput>(STATUS, &status_of("nowhere", 99)).await;
    assert_eq!(support::refused_field(unknown), "target");
    let alone = StatusInput { fencing_token: Some(99), ..StatusInput::default() };
    assert!(served.call::<StatusOutput>(STATUS, &alone).await.is_err());
}

#[tokio::test]
async fn a_playbook_that_hangs_and_ignores_sigterm_ends_at_its_deadline_with_its_children() {
    let world = world(
        "trap '' TERM\n(trap '' TERM; while :; do sleep 1; done) &\necho started\n\
         echo begin >> \"$LOG\"\nwhile :; do sleep 1; done",
    )
    .await;
    let asked = playbook("k");
    let deadline = async {
        effects_reach(world.directory.path(), 1).await;
        world.pass_deadline_of(&asked);
    };
    let (change, ()) = tokio::join!(world.change(RUN_PLAYBOOK, &asked), deadline);
    assert_eq!(change.state, ChangeState::Failed);
    assert!(change.error.as_deref().unwrap().contains("the deadline passed"), "{change:?}");
    assert_eq!(change.output, "started\n", "what it said until then is kept");
    assert_eq!(effects(world.directory.path()), ["begin"]);
    assert_eq!(processes_of(id(&change)), Vec::<i32>::new());
}

#[tokio::test]
async fn a_daemon_that_a_playbook_leaves_behind_is_ended_and_named() {
    let world = world(
        "setsid sh -c 'echo $$ >> \"$0\"; exec sleep 600' \"$LOG\" &\n\
         while ! [ -s \"$LOG\" ]; do sleep 0.01; done\necho done",
    )
    .await;
    let change = world.change(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!((change.state, change.error.as_deref()), (ChangeState::Done, None));
    let pid = effects(world.directory.path())[0].clone();
    let told = format!("ended what it left behind: \"sleep\" (pid {pid})");
    assert!(change.output.contains(&told), "{}", change.output);
    assert_eq!(processes_of(id(&change)), Vec::<i32>::new());
}

#[tokio::test]
async fn a_flood_of_output_costs_no_memory_and_shows_no_secret() {
    let line = format!("Authorization: Bearer {ADMIN_TOKEN} and {ADMIN_TOKEN} too");
    // First by lines, then a line without an end.
    let text = format!(
        "yes '{line}' | head -c 100000000\nyes | tr -d '\\n' | head -c 20000000 >&2\n\
         echo >&2\necho 'error: {ADMIN_TOKEN}' >&2\nexit 3",
    );
    let directory = tempfile::tempdir().unwrap();
    let admin = Admin::start(&Process::new("admin")).await;
    let mut config = config(directory.path(), &admin);
    config.ansible_playbook = program(directory.path(), &text);
    // A process of its own: what other tests of this one need is none of its memory.
    let server = Program::start(directory.path(), &config);
    server.is_ready().await;
    let before = memory_kib(&server, "VmRSS");
    let asked = ChangeRequest { deadline: in_seconds(600), ..playbook("k") };
    let asked = server.client.call::<_, Change>(RUN_PLAYBOOK, &asked, 3 * PATIENCE);
    let change = asked.await.unwrap();
    let grown = memory_kib(&server, "VmHWM").saturating_sub(before);
    assert!(grown < 16 * 1024, "memory grew by {grown} KiB");
    assert_eq!(change.error.as_deref(), Some("ansible-playbook: exit status: 3"));
    assert!(change.output.len() <= 64 * 1024 + 3, "{}", change.output.len());
    assert!(change.output.contains("error: ***"), "{}", change.output);
    let told = serde_json::to_string(&change).unwrap();
    assert!(!told.contains(ADMIN_TOKEN) && !told.contains("hunter2"));
    assert_no_secret_below(&directory.path().join("work"));
}

#[tokio::test]
async fn a_secret_that_a_playbook_records_is_not_kept() {
    let world = world(&format!(
        "printf '{{\"before\": {{\"header\": \"Bearer {ADMIN_TOKEN}\"}}, \"after\": [\"{ADMIN_TOKEN}\"]}}' \
         > record.json"
    ))
    .await;
    let change = world.change(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!(change.before["header"], "Bearer ***");
    assert_eq!(change.after[0], "***");
    world.served.stop().await;
    assert!(!log_of(world.directory.path()).exists());
    for file in ["changes.db", "changes.db-wal"] {
        let path = world.directory.path().join(file);
        let kept = std::fs::read(&path).unwrap_or_default();
        let secret = ADMIN_TOKEN.as_bytes();
        assert!(!kept.windows(secret.len()).any(|bytes| bytes == secret), "{file}");
    }
}

#[tokio::test]
async fn a_playbook_that_cannot_be_started_did_nothing() {
    let world = world("exit 0").await;
    let program = world.directory.path().join("playbook-program");
    std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    let change = world.change(RUN_PLAYBOOK, &playbook("k")).await;
    assert_eq!(change.state, ChangeState::Failed);
    until("the end of every process", || processes_of(id(&change)).is_empty()).await;
}

fn memory_kib(server: &Program, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn assert_no_secret_below(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_secret_below(&path);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains(ADMIN_TOKEN), "{}", path.display());
        }
    }
}
