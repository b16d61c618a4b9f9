//! A `deployment-system` under test with a target, and requests for it.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::mcp::deployment::{
    Change, ChangeRequest, Grant, RUN_PLAYBOOK, STATUS, StatusInput, StatusOutput, UPDATE_CONFIG,
    canonical_arguments,
};
use jiff::{SignedDuration, Timestamp};
use mcp_tools::deployment_system::{Config, start};
use rpc::mcp::client::Client;
use serde_json::{Value, json};
use service::{Clock, Ids, ManualClock, Process, ProcessIdentity};
use sha2::{Digest, Sha256};
use store::{OpenOptions, Replica, Store};

use super::admin::Admin;
use super::{PATIENCE, Served, deploy_directory, serve_as};

/// What the target's admin API asks for, and nobody may see.
pub(crate) const ADMIN_TOKEN: &str = "hunter2-of-the-admin";

/// A server whose clock stands still: a deadline passes when the test says so, however slow the
/// machine is.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) admin: Admin,
    pub(crate) served: Served,
    pub(crate) clock: ManualClock,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    /// With other settings, and files that they name.
    pub(crate) async fn with(change: impl FnOnce(&Path, &mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let admin = Admin::start(&Process::new("admin")).await;
        let mut config = config(directory.path(), &admin);
        change(directory.path(), &mut config);
        let clock = ManualClock::starting_at(now());
        let process = Process::with("under-test", Clock::Manual(clock.clone()), Ids::default());
        let served = serve_as(process, config, start).await;
        Self { directory, admin, served, clock }
    }

    /// Has the deadline of a change come.
    pub(crate) fn pass_deadline_of(&self, asked: &ChangeRequest) {
        let left = asked.deadline.duration_since(self.clock.now());
        self.clock.advance(left.try_into().unwrap());
    }

    pub(crate) async fn change(&self, action: &str, request: &ChangeRequest) -> Change {
        self.served.call(action, request).await.unwrap()
    }
}

pub(crate) fn config(directory: &Path, admin: &Admin) -> Config {
    let inventory = directory.join("inventory.yaml");
    let token = directory.join("admin-token");
    std::fs::write(&token, ADMIN_TOKEN).unwrap();
    let token = token.display();
    let text = format!(
        "targets:\n  db-1:\n    service: database\n    \
         executor: {{kind: http_admin, url: \"{}\", token_file: \"{token}\"}}\n    \
         playbooks: [raise_connection_pool]\n  worker:\n    service: worker\n    executor:\n      \
         kind: process\n      command: [sleep, '600']\n      log_file: {}\n",
        admin.url(),
        directory.join("worker.log").display()
    );
    std::fs::write(&inventory, text).unwrap();
    Config {
        listen: "127.0.0.1:0".to_owned(),
        inventory,
        ansible_directory: deploy_directory().join("ansible"),
        database: directory.join("changes.db").display().to_string(),
        work_directory: directory.join("work"),
        ..Config::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "the servers under test run on the system clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn in_seconds(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

/// A request with a grant for exactly itself.
pub(crate) fn request(action: &str, target: &str, parameters: Value, key: &str) -> ChangeRequest {
    let Value::Object(parameters) = parameters else { panic!("not an object") };
    let arguments = canonical_arguments(action, target, &parameters);
    let grant = Grant {
        id: format!("grant of {key}"),
        principal: "policy:auto".to_owned(),
        target: target.to_owned(),
        arguments_sha256: hex::encode(Sha256::digest(arguments)),
        expires_at: in_seconds(60),
    };
    ChangeRequest {
        target: target.to_owned(),
        parameters,
        idempotency_key: key.to_owned(),
        grant: Some(grant),
        deadline: in_seconds(55),
        fencing_token: None,
        dry_run: false,
    }
}

/// Asks for a change, and goes away once something has happened of it.
pub(crate) async fn ask_until(
    client: &Client,
    action: &str,
    asked: &ChangeRequest,
    happened: impl Future<Output = ()>,
) {
    tokio::select! {
        answer = client.call::<_, Change>(action, asked, PATIENCE) => panic!("{answer:?}"),
        () = happened => {}
    }
}

/// The change of a key, once it has an end.
pub(crate) async fn ended(client: &Client, key: &str) -> Change {
    let input = StatusInput { idempotency_key: Some(key.to_owned()), ..StatusInput::default() };
    let wait = async {
        loop {
            let status = client.call::<_, StatusOutput>(STATUS, &input, PATIENCE).await;
            match status.unwrap().changes.pop() {
                Some(change) if change.finished_at.is_some() => return change,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(3 * PATIENCE, wait).await.expect("the change ends")
}

pub(crate) fn raise_pool(key: &str) -> ChangeRequest {
    let parameters = json!({"set": {"connection_pool_size": 20}, "restart": true});
    request(UPDATE_CONFIG, "db-1", parameters, key)
}

/// The playbook of the samples.
pub(crate) fn playbook(key: &str) -> ChangeRequest {
    let parameters =
        json!({"playbook": "raise_connection_pool", "variables": {"connection_pool_size": 20}});
    request(RUN_PLAYBOOK, "db-1", parameters, key)
}

/// Leaves what a process leaves that is killed after it committed an intent, and after it recorded an
/// executor if it did.
pub(crate) async fn begin(
    directory: &Path,
    id: &str,
    action: &str,
    asked: &ChangeRequest,
    intent: Value,
    executor: Option<Value>,
) {
    let store = open(directory).await;
    let grant = asked.grant.as_ref().unwrap();
    let change = store::Change {
        id: id.to_owned(),
        idempotency_key: asked.idempotency_key.clone(),
        grant_id: Some(grant.id.clone()),
        arguments_sha256: grant.arguments_sha256.clone(),
        target: asked.target.clone(),
        action: action.to_owned(),
        request: intent,
        started_at: now(),
    };
    store.begin_change(change, None).await.unwrap();
    if let Some(executor) = executor {
        store.record_executor(id.to_owned(), executor).await.unwrap();
    }
    store.close().await;
}

/// The database of a server that does not run.
pub(crate) async fn open(directory: &Path) -> Arc<dyn Store> {
    let database = directory.join("changes.db").display().to_string();
    store::open(&database, "deployment-system", options("earlier")).await.unwrap().store
}

pub(crate) fn options(replica: &str) -> OpenOptions {
    let process = ProcessIdentity::current();
    OpenOptions {
        replica: Replica {
            id: replica.to_owned(),
            host: process.host,
            pid: process.pid,
            start_time: process.start_time,
        },
        lease: Duration::from_secs(600),
        is_dead: Arc::new(|_| false),
        time: Arc::new(now),
    }
}
