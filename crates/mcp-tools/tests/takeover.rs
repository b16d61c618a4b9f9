//! Several replicas over one database: one effect a step, none beside another, and none by a replica
//! that was frozen for so long that another has taken its change over.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use a2a_types::mcp::FaultKind;
use a2a_types::mcp::deployment::{
    Change, ChangeState, RESTART_SERVICE, RUN_PLAYBOOK, SCALE, STATUS, StatusInput, StatusOutput,
};
use jiff::SignedDuration;
use mcp_tools::deployment_system::{Config, start_with};
use serde_json::json;
use service::{Clock, Ids, ManualClock, Process};
use store::{Fault, Faults, MemoryDatabase, OpenOptions};
use support::admin::Admin;
use support::deployment::{ADMIN_TOKEN, config, ended, now, options, playbook, request};
use support::effects::{
    assert_one_by_one, effects, effects_reach, held_effect, let_go, processes_of, slow_effect,
    until,
};
use support::{Served, serve_as};

const NAME: &str = "deployment-system";

/// Replicas that share a database and a target.
struct Site {
    directory: tempfile::TempDir,
    admin: Admin,
    database: MemoryDatabase,
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let admin = Admin::start(&Process::new("admin")).await;
        Self { directory, admin, database: MemoryDatabase::new() }
    }

    fn config(&self, effect_seconds: &str) -> Config {
        let mut config = config(self.directory.path(), &self.admin);
        config.ansible_playbook = slow_effect(self.directory.path(), effect_seconds);
        config.lease_seconds = 600;
        config
    }

    async fn replica(&self, id: &str, config: Config) -> Served {
        self.replica_with(options(id), config).await
    }

    /// Its clock stands still, so that no deadline passes on a slow machine; its lease goes by the
    /// database's.
    async fn replica_with(&self, options: OpenOptions, config: Config) -> Served {
        let store = self.database.open(NAME, options);
        let clock = Clock::Manual(ManualClock::starting_at(now()));
        let process = Process::with("under-test", clock, Ids::default());
        serve_as(process, config, |config, process| start_with(config, process, store)).await
    }

    /// A replica for which the leases of all others have run out.
    async fn successor(&self, config: Config) -> Served {
        let mut options = options("successor");
        options.time = Arc::new(|| now() + SignedDuration::from_hours(1));
        self.replica_with(options, config).await
    }

    /// Freezes the replica `a` at its next call of this name. The receiver tells when it is; dropping
    /// the sender lets it go on.
    fn freeze(&self, name: &'static str) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (frozen, is_frozen) = mpsc::channel();
        let (thaw, is_thawed) = mpsc::channel::<()>();
        let ends = Mutex::new(Some((frozen, is_thawed)));
        self.database.set_faults(Faults::new(move |call| {
            if (call.replica, call.name) == ("a", name) {
                let ends = ends.lock().unwrap().take();
                if let Some((frozen, is_thawed)) = ends {
                    frozen.send(()).unwrap();
                    // The runtime goes on, however few threads it has.
                    tokio::task::block_in_place(|| is_thawed.recv().unwrap_err());
                }
            }
            None
        }));
        (is_frozen, thaw)
    }
}

async fn wait_for(frozen: mpsc::Receiver<()>) {
    until("the replica is frozen", || frozen.try_recv().is_ok()).await;
}

async fn of_key(served: &Served, key: &str) -> Option<Change> {
    let input = StatusInput { idempotency_key: Some(key.to_owned()), ..StatusInput::default() };
    served.call::<StatusOutput>(STATUS, &input).await.unwrap().changes.pop()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_race_for_one_step_have_one_effect() {
    let site = Site::new().await;
    let config = site.config("0.2");
    let (a, b) = (site.replica("a", config.clone()).await, site.replica("b", config).await);
    for round in 0..5 {
        let asked = playbook(&format!("step {round}"));
        let (one, other) = tokio::join!(
            a.call::<Change>(RUN_PLAYBOOK, &asked),
            b.call::<Change>(RUN_PLAYBOOK, &asked)
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.change_id, other.change_id);
        ended(&a.client, &asked.idempotency_key).await;
    }
    assert_eq!(assert_one_by_one(site.directory.path()), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_race_for_one_target_have_one_effect_at_a_time() {
    let site = Site::new().await;
    let config = site.config("0.1");
    let (a, b) = (site.replica("a", config.clone()).await, site.replica("b", config).await);
    let until_done = async |served: &Served, key: String| {
        let asked = playbook(&key);
        loop {
            match served.call::<Change>(RUN_PLAYBOOK, &asked).await {
                Ok(change) => break assert_eq!(change.state, ChangeState::Done),
                Err(error) => {
                    assert_eq!(error.fault().unwrap().kind, FaultKind::Unavailable, "{error}");
                }
            }
        }
    };
    let changes =
        (0..4).flat_map(|n| [until_done(&a, format!("a {n}")), until_done(&b, format!("b {n}"))]);
    futures::future::join_all(changes).await;
    assert_eq!(assert_one_by_one(site.directory.path()), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_frozen_before_its_gate_opens_does_nothing_when_it_wakes() {
    let site = Site::new().await;
    let config = site.config("0");
    let a = site.replica("a", config.clone()).await;
    let (frozen, thaw) = site.freeze("record_executor");
    let asked = playbook("k");
    let successor = async {
        wait_for(frozen).await;
        let b = site.successor(config).await;
        let change = ended(&b.client, "k").await;
        assert_eq!(change.state, ChangeState::Failed);
        assert!(change.error.as_deref().unwrap().contains("nothing was done"), "{change:?}");
        assert_eq!(
            (change.inverse, change.no_inverse.as_deref()),
            (None, Some("nothing was done"))
        );
        let next: Change = b.call(RUN_PLAYBOOK, &playbook("next")).await.unwrap();
        assert_eq!(next.state, ChangeState::Done);
        drop(thaw);
        change.change_id.unwrap()
    };
    let (of_a, id) = tokio::join!(a.call::<Change>(RUN_PLAYBOOK, &asked), successor);
    let error = of_a.unwrap_err();
    assert_eq!(error.fault().unwrap().kind, FaultKind::Unknown);
    assert!(error.to_string().contains("another process has taken it over"), "{error}");
    until("the launcher has ended", || processes_of(&id).is_empty()).await;
    assert_eq!(assert_one_by_one(site.directory.path()), 1, "only the next change acted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_executor_of_a_frozen_replica_is_ended_before_its_change_is() {
    let site = Site::new().await;
    let config = site.config("600");
    let a = site.replica("a", config.clone()).await;
    let asked = playbook("k");
    let successor = async {
        effects_reach(site.directory.path(), 1).await;
        let b = site.successor(site.config("0")).await;
        let change = ended(&b.client, "k").await;
        assert_eq!(processes_of(change.change_id.as_deref().unwrap()), Vec::<i32>::new());
        assert_eq!(change.state, ChangeState::Unknown);
        assert!(change.error.as_deref().unwrap().contains("has ended"), "{change:?}");
        let next: Change = b.call(RUN_PLAYBOOK, &playbook("next")).await.unwrap();
        assert_eq!(next.state, ChangeState::Done);
    };
    let (of_a, ()) = tokio::join!(a.call::<Change>(RUN_PLAYBOOK, &asked), successor);
    assert_eq!(of_a.unwrap_err().fault().unwrap().kind, FaultKind::Unknown);
    let effects = effects(site.directory.path());
    assert_eq!(effects.len(), 3, "{effects:?}");
    assert!(effects[1].starts_with("begin ") && effects[1] != effects[0], "{effects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_does_not_act() {
    let site = Site::new().await;
    let a = site.replica("a", site.config("0")).await;
    site.database
        .set_faults(Faults::new(|call| (call.name == "record_executor").then_some(Fault::Away)));
    let change: Change = a.call(RUN_PLAYBOOK, &playbook("k")).await.unwrap();
    assert_eq!(change.state, ChangeState::Failed);
    let scale = request(SCALE, "db-1", json!({"replicas": 3}), "scale");
    let scaled: Change = a.call(SCALE, &scale).await.unwrap();
    assert_eq!(scaled.no_inverse.as_deref(), Some("nothing was done"));
    assert_eq!(effects(site.directory.path()), Vec::<String>::new());
    assert_eq!(site.admin.changes(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_outlives_its_lease_alone_carries_its_change_to_its_end() {
    let site = Site::new().await;
    let options = OpenOptions { lease: Duration::from_secs(1), ..options("a") };
    let ansible_playbook = held_effect(site.directory.path());
    let config = Config { lease_seconds: 1, ansible_playbook, ..site.config("0") };
    let a = site.replica_with(options, config).await;
    let beats = Arc::new(Mutex::new(0));
    let counted = beats.clone();
    // The lease is a second long, and the database is away for longer.
    site.database.set_faults(Faults::new(move |call| {
        let mut beats = counted.lock().unwrap();
        *beats += u32::from(call.name == "heartbeat");
        (*beats < 6).then_some(Fault::Away).filter(|_| call.name == "heartbeat")
    }));
    let with_a_new_lease = async {
        until("a new lease", || *beats.lock().unwrap() > 6).await;
        let_go(site.directory.path());
    };
    let asked = playbook("k");
    let (change, ()) = tokio::join!(a.call::<Change>(RUN_PLAYBOOK, &asked), with_a_new_lease);
    let change = change.unwrap();
    assert_eq!((change.state, change.error), (ChangeState::Done, None));
    assert_eq!(of_key(&a, "k").await.unwrap().state, ChangeState::Done);
    assert_eq!(assert_one_by_one(site.directory.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_whose_answer_was_lost_is_brought_to_an_end() {
    let site = Site::new().await;
    let a = site.replica("a", site.config("0")).await;
    for name in ["begin_change", "finish_change"] {
        let is_first = Mutex::new(true);
        site.database.set_faults(Faults::new(move |call| {
            let is_lost = call.name == name && std::mem::take(&mut *is_first.lock().unwrap());
            is_lost.then_some(Fault::AnswerLost)
        }));
        let asked = playbook(name);
        let answer = a.call::<Change>(RUN_PLAYBOOK, &asked).await;
        assert_eq!(answer.is_ok(), name == "finish_change", "{answer:?}");
        let change = ended(&a.client, name).await;
        let expected = match name {
            "finish_change" => ChangeState::Done,
            _ => ChangeState::Failed,
        };
        assert_eq!(change.state, expected, "{name}");
    }
    assert_eq!(assert_one_by_one(site.directory.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_whose_answer_was_lost_is_seen_through() {
    let site = Site::new().await;
    let gone = site.database.open(NAME, options("gone"));
    let intent = store::Change {
        id: "chg_1".into(),
        idempotency_key: "k".into(),
        grant_id: None,
        arguments_sha256: String::new(),
        target: "db-1".into(),
        action: RESTART_SERVICE.into(),
        request: json!({"is_gated": true}),
        started_at: now(),
    };
    gone.begin_change(intent, None).await.unwrap();
    let is_first = Mutex::new(true);
    site.database.set_faults(Faults::new(move |call| {
        let is_lost =
            call.name == "adopt_changes" && std::mem::take(&mut *is_first.lock().unwrap());
        is_lost.then_some(Fault::AnswerLost)
    }));
    let config = Config { lease_seconds: 1, ..site.config("0") };
    let successor = site.successor(config).await;
    let change = ended(&successor.client, "k").await;
    assert_eq!(change.state, ChangeState::Failed);
}

/// Has a replica at work on a restart that does not come to its end, and another that took it over.
async fn closed_target(site: &Site) -> (tokio::task::JoinHandle<()>, Served) {
    let config = site.config("0");
    let a = site.replica("a", config.clone()).await;
    site.admin.hold(true);
    let process = a.process.clone();
    let at_work = process.spawn(async move {
        let restart = request(RESTART_SERVICE, "db-1", json!({}), "k");
        let lost = a.call::<Change>(RESTART_SERVICE, &restart).await.unwrap_err();
        assert_eq!(lost.fault().unwrap().kind, FaultKind::Unknown, "{lost}");
    });
    until("the restart", || !site.admin.changes().is_empty()).await;
    (at_work, site.successor(config).await)
}

async fn closed_since(served: &Served) -> Option<String> {
    let input = StatusInput { target: Some("db-1".to_owned()), ..StatusInput::default() };
    served.call::<StatusOutput>(STATUS, &input).await.unwrap().target.unwrap().closed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_executor_may_still_act_is_closed_until_a_person_opens_it() {
    let site = Site::new().await;
    let (at_work, b) = closed_target(&site).await;
    let reason = loop {
        if let Some(reason) = closed_since(&b).await {
            break reason;
        }
    };
    assert!(reason.contains("its executor may still act: deployment-system (pid "), "{reason}");
    assert!(reason.contains("POST /api/v1/quarantine/db-1/release"), "{reason}");
    let scale = request(SCALE, "db-1", json!({"replicas": 3}), "scale");
    let refused = b.call::<Change>(SCALE, &scale).await;
    assert_eq!(support::refused_field(refused), "target");

    let url = format!("http://{}/api/v1/quarantine", b.address);
    let http = reqwest::Client::new();
    let listed: serde_json::Value = http.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed[0]["target"], "db-1");
    assert!(!listed.to_string().contains(ADMIN_TOKEN));
    let release =
        |target: &str, body| http.post(format!("{url}/{target}/release")).json(&body).send();
    assert_eq!(release("db-1", json!({"by": " "})).await.unwrap().status(), 400);
    assert_eq!(release("nowhere", json!({"by": "ada"})).await.unwrap().status(), 404);
    assert_eq!(release("db-1", json!({"by": "ada"})).await.unwrap().status(), 200);
    let change = ended(&b.client, "k").await;
    assert_eq!(change.state, ChangeState::Unknown);
    assert!(change.error.unwrap().contains("a person released the target"));
    let scaled: Change = b.call(SCALE, &scale).await.unwrap();
    assert_eq!(scaled.state, ChangeState::Done);
    assert_eq!(closed_since(&b).await, None);
    site.admin.hold(false);
    at_work.await.unwrap();
    assert_eq!(ended(&b.client, "k").await.state, ChangeState::Unknown, "the first record stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_target_opens_by_itself_once_its_executor_is_proven_to_have_ended() {
    let site = Site::new().await;
    let (at_work, b) = closed_target(&site).await;
    while closed_since(&b).await.is_none() {}
    site.admin.hold(false);
    at_work.await.unwrap();
    let change = ended(&b.client, "k").await;
    assert!(change.error.unwrap().contains("what carried it out has ended"));
    while closed_since(&b).await.is_some() {}
    let scale = request(SCALE, "db-1", json!({"replicas": 3}), "scale");
    let scaled: Change = b.call(SCALE, &scale).await.unwrap();
    assert_eq!(scaled.state, ChangeState::Done);
    assert_eq!(site.admin.changes(), ["restart", "scale 3"]);
}
