//! Replicas as processes of their own over one PostgreSQL server: they race, are killed and are frozen
//! for longer than their lease, and a target sees one effect a step and none beside another.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use std::time::Duration;

use a2a_types::mcp::FaultKind;
use a2a_types::mcp::deployment::{
    Change, ChangeRequest, ChangeState, RESTART_SERVICE, RUN_PLAYBOOK, SCALE, STATUS, StatusInput,
    StatusOutput,
};
use mcp_tools::deployment_system::Config;
use postgres_server::Server;
use rpc::mcp::client::McpError;
use rustix::process::Signal;
use serde_json::json;
use service::Process;
use support::PATIENCE;
use support::admin::Admin;
use support::deployment::{config, ended, in_seconds, playbook, request};
use support::effects::{
    assert_one_by_one, effects, effects_reach, processes_of, slow_effect, until,
};
use support::program::Program;

struct Site {
    directory: tempfile::TempDir,
    admin: Admin,
    server: Server,
}

impl Site {
    /// `None` where PostgreSQL is not installed.
    async fn new() -> Option<Self> {
        let server = Server::start()?;
        let directory = tempfile::tempdir().unwrap();
        let admin = Admin::start(&Process::new("admin")).await;
        Some(Self { directory, admin, server })
    }

    fn config(&self, replica: &str, effect_seconds: &str) -> Config {
        let mut config = config(self.directory.path(), &self.admin);
        config.database = self.server.url();
        config.work_directory = self.directory.path().join(replica);
        config.ansible_playbook = slow_effect(self.directory.path(), effect_seconds);
        config.lease_seconds = 2;
        config
    }

    async fn replica(&self, name: &str, effect_seconds: &str) -> Program {
        self.replica_with(name, effect_seconds, &[]).await
    }

    async fn replica_with(
        &self,
        name: &str,
        effect_seconds: &str,
        environment: &[(&str, &str)],
    ) -> Program {
        let config = self.config(name, effect_seconds);
        let program = Program::start_with(self.directory.path(), &config, environment);
        program.is_ready().await;
        program
    }
}

/// With time for a lease to run out.
fn patient(key: &str) -> ChangeRequest {
    ChangeRequest { deadline: in_seconds(120), ..playbook(key) }
}

async fn ask(program: &Program, asked: &ChangeRequest) -> Result<Change, McpError> {
    program.client.call(RUN_PLAYBOOK, asked, 3 * PATIENCE).await
}

/// Carries a change out, however often the target is taken.
async fn until_done(program: &Program, key: &str) -> Change {
    loop {
        match ask(program, &patient(key)).await {
            Ok(change) => return change,
            Err(error) => {
                assert_eq!(error.fault().unwrap().kind, FaultKind::Unavailable, "{error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test]
async fn replicas_race_for_steps_and_a_target_and_no_effect_is_doubled_or_overlaps() {
    let Some(site) = Site::new().await else { return };
    // A replica that the machine holds up loses nothing: no lease runs out.
    let replica = async |name| {
        let config = Config { lease_seconds: 600, ..site.config(name, "0.1") };
        let program = Program::start(site.directory.path(), &config);
        program.is_ready().await;
        program
    };
    let (a, b) = tokio::join!(replica("a"), replica("b"));
    for round in 0..5 {
        let key = format!("step {round}");
        let (one, other) = tokio::join!(until_done(&a, &key), until_done(&b, &key));
        assert_eq!(one.change_id, other.change_id);
        assert_eq!(ended(&b.client, &key).await.state, ChangeState::Done);
    }
    let keys: Vec<_> = (0..6).map(|n| format!("target {n}")).collect();
    let changes =
        keys.iter().enumerate().map(|(n, key)| until_done(if n % 2 == 0 { &a } else { &b }, key));
    for change in futures::future::join_all(changes).await {
        assert_eq!(change.state, ChangeState::Done);
    }
    assert_eq!(assert_one_by_one(site.directory.path()), 11);
}

#[tokio::test]
async fn a_frozen_replica_is_taken_over_and_does_nothing_when_it_wakes() {
    let Some(site) = Site::new().await else { return };
    let a = site.replica("a", "600").await;
    let b = site.replica("b", "0").await;
    let asked = patient("k");
    let taken_over = async {
        effects_reach(site.directory.path(), 1).await;
        a.signal(Signal::STOP);
        let change = ended(&b.client, "k").await;
        assert_eq!(processes_of(change.change_id.as_deref().unwrap()), Vec::<i32>::new());
        assert_eq!(until_done(&b, "next").await.state, ChangeState::Done);
        a.signal(Signal::CONT);
        change
    };
    let (of_a, change) = tokio::join!(ask(&a, &asked), taken_over);
    assert_eq!(of_a.unwrap_err().fault().unwrap().kind, FaultKind::Unknown);
    assert_eq!(change.state, ChangeState::Unknown);
    assert_eq!(ended(&a.client, "k").await, change, "the first record stays");
    let effects = effects(site.directory.path());
    assert_eq!(effects.len(), 3, "{effects:?}");
    // It works again, with a lease of its own.
    assert_eq!(until_done(&b, "last").await.state, ChangeState::Done);
}

#[tokio::test]
async fn a_killed_replica_is_taken_over_by_one_that_lives() {
    let Some(site) = Site::new().await else { return };
    let mut a = site.replica("a", "600").await;
    let b = site.replica("b", "0").await;
    let asked = patient("k");
    let killed = async {
        effects_reach(site.directory.path(), 1).await;
        a.signal(Signal::KILL);
    };
    let (of_a, ()) = tokio::join!(ask(&a, &asked), killed);
    assert!(of_a.unwrap_err().may_have_acted());
    a.has_ended().await;
    let change = ended(&b.client, "k").await;
    assert_eq!(change.state, ChangeState::Unknown);
    assert_eq!(processes_of(change.change_id.as_deref().unwrap()), Vec::<i32>::new());
    assert_eq!(until_done(&b, "next").await.state, ChangeState::Done);
    assert_eq!(effects(site.directory.path()).len(), 3);
}

#[tokio::test]
async fn a_replica_frozen_while_it_acts_itself_closes_its_target_until_it_has_ended() {
    let Some(site) = Site::new().await else { return };
    let a = site.replica("a", "0").await;
    let b = site.replica("b", "0").await;
    site.admin.hold(true);
    let mut restart = request(RESTART_SERVICE, "db-1", json!({}), "k");
    restart.deadline = in_seconds(120);
    let closed = async {
        until("the restart", || !site.admin.changes().is_empty()).await;
        a.signal(Signal::STOP);
        let input = StatusInput { target: Some("db-1".to_owned()), ..StatusInput::default() };
        let state = async || -> StatusOutput { b.call(STATUS, &input).await };
        while state().await.target.unwrap().closed.is_none() {}
        let mut scale = request(SCALE, "db-1", json!({"replicas": 3}), "scale");
        scale.deadline = in_seconds(120);
        let refused = b.client.call::<_, Change>(SCALE, &scale, PATIENCE).await;
        assert_eq!(support::refused_field(refused), "target");
        site.admin.hold(false);
        a.signal(Signal::CONT);
        while state().await.target.unwrap().closed.is_some() {}
        let scaled: Change = b.call(SCALE, &scale).await;
        assert_eq!(scaled.state, ChangeState::Done);
    };
    let of_a = a.client.call::<_, Change>(RESTART_SERVICE, &restart, 3 * PATIENCE);
    let (of_a, ()) = tokio::join!(of_a, closed);
    assert_eq!(of_a.unwrap_err().fault().unwrap().kind, FaultKind::Unknown);
    assert_eq!(ended(&b.client, "k").await.state, ChangeState::Unknown);
    assert_eq!(site.admin.changes(), ["restart", "scale 3"]);
}

/// At each of the places where a fault is worst.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_replica_that_is_killed_or_frozen_at_a_failpoint_leaves_one_effect_at_most() {
    let Some(site) = Site::new().await else { return };
    let b = site.replica("b", "0").await;
    let places = [failpoints::AFTER_CLAIM, failpoints::BEFORE_EFFECT, failpoints::AFTER_EFFECT];
    for point in
        places.into_iter().flat_map(|name| [format!("{name}=kill"), format!("{name}=stop")])
    {
        let environment = [("FIREBREAK_FAILPOINTS", point.as_str())];
        let a = site.replica_with(&point, "0", &environment).await;
        let before = effects(site.directory.path()).len();
        let asked = patient(&point);
        let call = ask(&a, &asked);
        let taken_over = async {
            let change = ended(&b.client, &point).await;
            assert_eq!(until_done(&b, &format!("next to {point}")).await.state, ChangeState::Done);
            if point.ends_with("stop") {
                a.signal(Signal::CONT);
            }
            change
        };
        let (of_a, change) = tokio::join!(call, taken_over);
        assert!(of_a.unwrap_err().may_have_acted(), "{point}");
        let acted = effects(site.directory.path()).len() - before - 2;
        let is_before = point.starts_with("after_claim") || point.starts_with("before_effect");
        assert_eq!(acted, if is_before { 0 } else { 2 }, "{point}");
        let state = if point.starts_with("after_claim") {
            ChangeState::Failed
        } else {
            ChangeState::Unknown
        };
        assert_eq!(change.state, state, "{point}");
        assert_eq!(processes_of(change.change_id.as_deref().unwrap()), Vec::<i32>::new());
    }
    assert_one_by_one(site.directory.path());
}
