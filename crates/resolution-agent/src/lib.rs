//! The resolution agent: from a diagnosis to a proven fix, or to the state before it. Decides by
//! its policy alone; acts only through deployment-system, believes only what system-monitor shows.

mod agent;
mod card;
mod config;
mod help;
mod journal;
mod locks;
mod metrics;
mod planner;
mod policy;
mod request;
mod resolution;
mod runbook;
mod situation;
mod targets;
mod tools;

use std::path::PathBuf;
use std::sync::Arc;

use a2a_types::TaskStore;
use anyhow::Context;
use incident::gates::Policy;
use service::ProcessIdentity;
use store::{OpenOptions, Opened, Store};

pub use card::SKILL;
pub use config::Config;
pub use planner::{PlanError, Profile};
pub use runbook::{Runbook, RunbookError, Runbooks};

use agent::Resolver;
use metrics::ResolutionMetrics;
use tools::Tools;

/// The name under which this agent acts and signs.
pub const NAME: &str = "resolution-agent";

/// Starts the agent and takes up what a former process left unfinished.
///
/// # Errors
/// A runbook, the policy, the database or the listener cannot be used.
pub async fn start(config: Config, process: service::Process) -> anyhow::Result<service::Running> {
    let this = ProcessIdentity::current();
    let options = OpenOptions::of_process(
        process.new_id().to_string(),
        (this.host, this.pid, this.start_time),
        |host, pid, start_time| ProcessIdentity { host, pid, start_time }.is_dead(),
        config.lease(),
        process.time_source(),
    );
    let Opened { store, tasks } = store::open(&config.database, NAME, options).await?;
    start_with(config, process, store, tasks).await
}

/// The same on a database that is open already.
///
/// # Errors
/// A runbook, the policy, the database or the listener cannot be used.
pub async fn start_with(
    config: Config,
    process: service::Process,
    store: Arc<dyn Store>,
    tasks: Arc<dyn TaskStore>,
) -> anyhow::Result<service::Running> {
    let (mut policy, runbooks) = read_files(&config)?;
    policy.kill_switch = place_of_kill_switch(&policy)?;
    tracing::info!(kill_switch = %policy.kill_switch.display(), "this file would stop all changes");
    let tools = Tools::new(&config, process.exchange().into())?;
    let card = card::card(&config.address()?);
    let host = rpc::Host::new(
        process.time_source(),
        process.id_source(),
        process.tracker().clone(),
        process.shutdown_token(),
    );
    let setting = "`listen` in the configuration file";
    let listen = config.listen.clone();
    let options = config.a2a.open().context("settings of `a2a`")?;
    let clock = process.clock().clone();
    process.spawn(store::keep_alive(
        store.clone(),
        config.lease(),
        move |pause| {
            let clock = clock.clone();
            async move { clock.sleep(pause).await }
        },
        |error| tracing::warn!(%error, "no sign of life given"),
        process.shutdown_token(),
    ));
    let targets = targets::routes(store.clone(), tasks.clone());
    let resolver = Arc::new(Resolver {
        config,
        policy,
        runbooks,
        store,
        tasks: tasks.clone(),
        tools,
        metrics: ResolutionMetrics::new(process.metrics()),
        process: process.clone(),
    });
    let server = rpc::a2a::Server::new(&card, resolver.clone(), tasks, &host, options);
    let routes = server.router().merge(server.guard(targets));
    let address = service::serve(&process, &listen, setting, routes).await?;
    // Before anything is taken up: what a task that is over has locked is nobody's.
    resolver.free_locks().await.context("free the locks of ended tasks")?;
    process.spawn_until_shutdown(resolver.clone().watch_locks());
    let resumed = server.resume().await?;
    if resumed > 0 {
        tracing::info!(tasks = resumed, "resumed");
    }
    Ok(service::Running { address })
}

/// Reads the policy and the runbooks, which must fit one another.
fn read_files(config: &Config) -> anyhow::Result<(Policy, Runbooks)> {
    let runbooks = Runbooks::load(&config.runbooks)?;
    let policy: Policy = service::read_yaml(&config.policy)?;
    policy::check(&policy, &runbooks).with_context(|| config.policy.display().to_string())?;
    Ok((policy, runbooks))
}

/// Where the kill switch is, in full, with the directory made: whoever needs it has no time to look.
fn place_of_kill_switch(policy: &Policy) -> anyhow::Result<PathBuf> {
    let place = std::path::absolute(&policy.kill_switch).context("field `kill_switch`")?;
    let directory = place.parent().unwrap_or(&place);
    std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    Ok(place)
}
