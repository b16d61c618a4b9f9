//! `deployment-system`: the only program that changes anything. It refuses what has no grant, what
//! is not in its inventory and what it did before; it records intent before effect.

mod act;
mod action;
mod change;
mod check;
mod deadline;
mod executor;
mod gate;
mod grant;
mod group;
mod identity;
mod inventory;
mod playbook;
mod quarantine;
mod record;
mod run;
mod status;
mod takeover;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::mcp::deployment;
use anyhow::Context;
use rpc::mcp::server::{Tool, ToolServer};
use service::{ConfigError, Configuration, Env, Process, ProcessIdentity, Running};
use store::{Replica, Store, StoreError};
use url::Url;

pub use inventory::{ExecutorConfig, HttpAdminConfig, Inventory, ProcessConfig, Target};
pub use playbook::{LintError, lint};

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the listener.
    pub listen: String,
    pub access: crate::access::AccessConfig,
    /// The targets and how each is changed. Nothing else can be changed.
    pub inventory: PathBuf,
    /// URLs that replace those of the inventory, by target: the same inventory serves a laptop and a
    /// network where the targets have other addresses.
    pub target_urls: BTreeMap<String, Url>,
    /// Directory with `ansible.cfg` and `playbooks/catalogue.yaml`.
    pub ansible_directory: PathBuf,
    /// The record of changes: a SQLite file for one process, or a `postgres://` URL for several.
    pub database: String,
    /// How long this process is believed to live after each sign of life; then another of the same
    /// database may take its changes over.
    pub lease_seconds: u32,
    /// Directory for files of running executors; only this program may write there.
    pub work_directory: PathBuf,
    /// The program that runs playbooks.
    pub ansible_playbook: PathBuf,
    /// Output of an executor kept with its change, from its end.
    pub output_bytes: usize,
    /// Longest time a change may take, whatever its deadline says.
    pub longest_change_seconds: u32,
    /// Whether a dry run needs a grant too.
    pub dry_run_needs_grant: bool,
    /// Calls served at a time; more are refused as unavailable.
    pub concurrent_calls: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5130".to_owned(),
            access: Default::default(),
            inventory: "deploy/config/inventory.yaml".into(),
            target_urls: BTreeMap::new(),
            ansible_directory: "deploy/ansible".into(),
            database: "data/deployment-system.db".to_owned(),
            lease_seconds: 10,
            work_directory: "data/deployment-system".into(),
            ansible_playbook: "/usr/bin/ansible-playbook".into(),
            output_bytes: 64 * 1024,
            longest_change_seconds: 600,
            dry_run_needs_grant: false,
            concurrent_calls: 32,
        }
    }
}

impl Configuration for Config {
    fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        env.apply("FIREBREAK_LISTEN", &mut self.listen)?;
        env.apply("FIREBREAK_INVENTORY", &mut self.inventory)?;
        if let Some(pairs) = env.get("FIREBREAK_TARGET_URLS") {
            self.target_urls = parse_target_urls(&pairs)?;
        }
        env.apply("FIREBREAK_ANSIBLE_DIR", &mut self.ansible_directory)?;
        env.apply("FIREBREAK_DATABASE", &mut self.database)?;
        env.apply("FIREBREAK_WORK_DIR", &mut self.work_directory)?;
        self.access.apply_env(env)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let output_bytes = u64::try_from(self.output_bytes).unwrap_or(u64::MAX);
        let longest = self.longest_change_seconds.into();
        ConfigError::check_range("longest_change_seconds", longest, 1..=24 * 3_600)?;
        ConfigError::check_range("lease_seconds", self.lease_seconds.into(), 1..=3_600)?;
        ConfigError::check_range("output_bytes", output_bytes, 0..=16 << 20)?;
        crate::access::check_calls(self.concurrent_calls)?;
        self.access.validate()
    }

    fn check_files(&self, _process: &Process) -> anyhow::Result<()> {
        self.access.read()?;
        let (inventory, _) = read_files(self)?;
        inventory.check_tokens(&self.inventory)
    }
}

impl Config {
    fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.into())
    }
}

/// Reads the inventory and the playbooks, which must fit one another.
fn read_files(config: &Config) -> anyhow::Result<(Inventory, playbook::Playbooks)> {
    let mut inventory = Inventory::read(&config.inventory)?;
    inventory.redirect(&config.target_urls)?;
    let playbooks = playbook::Playbooks::read(config)?;
    inventory.check_playbooks(&config.inventory, &playbooks)?;
    Ok((inventory, playbooks))
}

/// Reads `name=url` pairs with commas between them.
fn parse_target_urls(pairs: &str) -> Result<BTreeMap<String, Url>, ConfigError> {
    let bad = |pair: &str, why: &str| ConfigError::Env {
        name: "FIREBREAK_TARGET_URLS".to_owned(),
        message: format!("{pair:?}: {why}"),
    };
    pairs
        .split(',')
        .map(|pair| {
            let (name, url) = pair.split_once('=').ok_or_else(|| bad(pair, "is not name=url"))?;
            let url = url
                .trim()
                .parse()
                .map_err(|error: url::ParseError| bad(pair, &error.to_string()))?;
            Ok((name.trim().to_owned(), url))
        })
        .collect()
}

/// The name of the program, and of its tables where a database is shared.
const NAME: &str = "deployment-system";
/// How long the start waits for changes of an earlier process to be brought to their end. It goes on
/// afterwards; until then their targets take no other change.
const FIRST_LOOK: Duration = Duration::from_millis(800);

/// Opens the database and serves the tools until shutdown.
///
/// # Errors
/// The listener's address is taken, or inventory, playbooks, database or a token cannot be used.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
    let identity = ProcessIdentity::current();
    let replica = Replica {
        id: process.new_id().to_string(),
        host: identity.host,
        pid: identity.pid,
        start_time: identity.start_time,
    };
    let options = store::OpenOptions {
        replica,
        lease: config.lease(),
        is_dead: Arc::new(|replica| {
            let Replica { host, pid, start_time, .. } = replica.clone();
            ProcessIdentity { host, pid, start_time }.is_dead()
        }),
        time: process.time_source(),
    };
    let opened = store::open(&config.database, NAME, options).await?;
    start_with(config, process, opened.store).await
}

/// Serves the tools over an open database until shutdown. Changes whose process is gone are brought to
/// their end first.
///
/// # Errors
/// The listener's address is taken, or inventory, playbooks or a token cannot be used.
pub async fn start_with(
    config: Config,
    process: Process,
    store: Arc<dyn Store>,
) -> anyhow::Result<Running> {
    let access = config.access.read()?;
    let (inventory, playbooks) = read_files(&config)?;
    create_private(&config.work_directory)?;
    create_private(&config.work_directory.join("runs"))?;
    let (listen, lease) = (config.listen.clone(), config.lease());
    let deployer =
        Arc::new(change::Deployer::new(config, inventory, playbooks, store, process.clone())?);
    process.spawn(live(deployer.clone(), lease));
    let (first, is_over) = tokio::sync::oneshot::channel::<()>();
    process.spawn_until_shutdown(take_over(deployer.clone(), first, lease / 3));
    let _ = tokio::time::timeout(FIRST_LOOK, is_over).await;
    let beside = rpc::mcp::server::guarded(quarantine::routes(deployer.clone()), &access);
    let routes = rpc::mcp::server::router(server(&deployer), access)?.merge(beside);
    let address = service::serve(&process, &listen, "listen", routes).await?;
    Ok(Running { address })
}

/// Keeps this replica's lease, on which its changes stay its own; at shutdown once more, until what is
/// in hand has ended. What is left then is free for others.
async fn live(deployer: Arc<change::Deployer>, lease: Duration) {
    let shutdown = deployer.process.shutdown_token();
    loop {
        let is_last = shutdown.is_cancelled();
        match deployer.store.heartbeat(lease).await {
            Ok(()) => {}
            Err(StoreError::Lost { .. }) => {
                tracing::warn!("no sign of life for longer than the lease: changes may be lost");
            }
            Err(error) => tracing::warn!(%error, "no sign of life given"),
        }
        if is_last {
            break;
        }
        let _ = tokio::time::timeout(lease / 3, shutdown.cancelled()).await;
    }
    deployer.at_work.close();
    deployer.at_work.wait().await;
    deployer.store.close().await;
}

/// Looks for changes of processes that are gone, at once and from time to time.
async fn take_over(
    deployer: Arc<change::Deployer>,
    first: tokio::sync::oneshot::Sender<()>,
    interval: Duration,
) {
    deployer.take_over().await;
    let _ = first.send(());
    if let Err(error) = deployer.sweep().await {
        tracing::warn!(%error, "directories of earlier runs were not cleared");
    }
    deployer.take_over_always(interval).await;
}

fn create_private(path: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("create {}", path.display()))
}

fn server(deployer: &Arc<change::Deployer>) -> ToolServer {
    let tools = deployment::TOOLS
        .iter()
        .map(|definition| {
            let deployer = deployer.clone();
            match definition.name {
                deployment::STATUS => {
                    Tool::new(definition, move |input, _| deployer.clone().status(input))
                }
                action => {
                    Tool::new(definition, move |input, _| deployer.clone().change(action, input))
                }
            }
        })
        .collect();
    ToolServer {
        name: deployment::SERVER,
        version: env!("CARGO_PKG_VERSION"),
        instructions: "Changes targets of its inventory. Every change needs a grant; ask `status` \
                       before repeating a call whose answer was lost.",
        tools,
        concurrent_calls: deployer.concurrent_calls(),
    }
}
