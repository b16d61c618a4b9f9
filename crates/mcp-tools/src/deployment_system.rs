//! `deployment-system`: the only program that changes anything. It refuses what has no grant, what
//! is not in its inventory and what it did before; it records intent before effect.

mod action;
mod change;
mod executor;
mod grant;
mod group;
mod inventory;
mod playbook;
mod record;
mod status;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use a2a_types::mcp::deployment;
use anyhow::Context;
use rpc::mcp::server::{Tool, ToolServer};
use service::{ConfigError, Configuration, Env, Process, Running};
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
    /// The record of changes (SQLite); one process per file.
    pub database: PathBuf,
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
            database: "data/deployment-system.db".into(),
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
        if self.longest_change_seconds == 0 {
            return Err(ConfigError::setting("longest_change_seconds", "must be above 0"));
        }
        self.access.validate()
    }

    fn check_files(&self) -> anyhow::Result<()> {
        read_files(self).map(drop)
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

/// Serves the tools until shutdown. Executors that an earlier process left behind are ended first.
///
/// # Errors
/// The listener's address is taken, or inventory, playbooks, database or a token cannot be used.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
    let access = config.access.read()?;
    let (inventory, playbooks) = read_files(&config)?;
    create_private(&config.work_directory)?;
    let runs = config.work_directory.join("runs");
    create_private(&runs)?;
    let interrupted =
        group::end_leftovers(&runs).await.context("end executors of an earlier process")?;
    if let Some(parent) = config.database.parent().filter(|path| !path.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    let store = store::FileStore::open(&config.database).await?;
    let listen = config.listen.clone();
    let deployer =
        Arc::new(change::Deployer::new(config, inventory, playbooks, store, process.clone())?);
    deployer.recover(&interrupted).await.context("recover interrupted changes")?;
    let routes = rpc::mcp::server::router(server(&deployer), access)?;
    let address = service::serve(&process, &listen, "listen", routes).await?;
    Ok(Running { address })
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
