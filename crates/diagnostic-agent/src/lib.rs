//! The diagnostic agent: from the alerts of an incident to its cause, with every piece of evidence.
//! Rules decide, no model; it reads logs and metrics and can change nothing.

use std::sync::Arc;

use a2a_types::TaskStore;
use anyhow::Context;
use rpc::Host;
use rpc::a2a::{MemoryTaskStore, Server};
use service::{Process, ProcessIdentity, Running};
use store::{OpenOptions, Opened};

mod card;
mod cases;
mod config;
mod diagnose;
mod evidence;
mod gather;
mod report;
mod rules;
mod skills;
mod text;

pub use card::SKILL;
pub use config::{Config, KnownTarget, ToolSettings};
pub use rules::{Rule, RuleBook};
pub use skills::ARTIFACT;

/// The name under which this agent keeps its tables.
pub const NAME: &str = "diagnostic-agent";

/// Starts the agent.
///
/// # Errors
/// A setting or rule that cannot be used, or a port that is taken. Tools that are down are none:
/// what they would have said is missing evidence.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
    let tasks = task_store(&config, &process).await?;
    start_with(config, process, tasks).await
}

/// The same with tasks that are kept elsewhere. A task that another replica had begun is done anew:
/// it only reads, so that harms nobody.
///
/// # Errors
/// As `start`.
pub async fn start_with(
    config: Config,
    process: Process,
    tasks: Arc<dyn TaskStore>,
) -> anyhow::Result<Running> {
    let rules = RuleBook::load(&config.rules)?;
    tracing::info!(rules = rules.rules().len(), "rules loaded");
    let gatherer = gather::Gatherer::new(&config, &process.exchange().into())
        .context("clients of the tools")?;
    process.spawn_until_shutdown(gatherer.connect());
    let card = card::card(&config.address()?);
    let listen = config.listen.clone();
    let options = config.a2a.open().context("settings of `a2a`")?;
    let agent = Arc::new(skills::Diagnose::new(rules, gatherer, config, process.clone()));
    let host = Host::new(
        process.time_source(),
        process.id_source(),
        process.tracker().clone(),
        process.shutdown_token(),
    );
    let server = Server::new(&card, agent, tasks, &host, options);
    let resumed = server.resume().await.context("resume unfinished tasks")?;
    if resumed > 0 {
        tracing::info!(tasks = resumed, "resumed");
    }
    let address = service::serve(&process, &listen, "listen", server.router()).await?;
    Ok(Running { address })
}

/// In memory unless a database is configured.
async fn task_store(config: &Config, process: &Process) -> anyhow::Result<Arc<dyn TaskStore>> {
    let Some(database) = &config.database else {
        return Ok(Arc::new(MemoryTaskStore::default()));
    };
    let this = ProcessIdentity::current();
    let options = OpenOptions::of_process(
        process.new_id().to_string(),
        (this.host, this.pid, this.start_time),
        |host, pid, start_time| ProcessIdentity { host, pid, start_time }.is_dead(),
        config.lease(),
        process.time_source(),
    );
    let Opened { store, tasks } = store::open(database, NAME, options).await?;
    process.at_end(async move { store.close().await });
    Ok(tasks)
}
