//! A system under test for conformance kits: the server that all agents share, behind an agent
//! whose behaviour the caller chooses by the first letters of its message's id. It does nothing
//! outside itself, and ships with nothing.

use std::path::PathBuf;
use std::sync::Arc;

use a2a_types::TaskStore;
use anyhow::Context;
use rpc::Host;
use rpc::a2a::{MemoryTaskStore, Server, ServerOptions};
use service::{Process, Running};
use store::Store;
use url::Url;

mod behaviour;
mod card;
mod steered;

#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9999")]
    pub listen: String,
    /// Address under which callers reach it, if that is not the one it listens on
    #[arg(long, value_name = "URL")]
    pub public_url: Option<Url>,
    /// SQLite file that keeps the tasks; without one they are kept in memory
    #[arg(long, value_name = "FILE")]
    pub database: Option<PathBuf>,
}

/// Starts the agent.
///
/// # Errors
/// A setting that cannot be used, a database that cannot be opened, or a port that is taken.
pub async fn start(settings: Settings, process: Process) -> anyhow::Result<Running> {
    let store = open(&settings).await?;
    let host = Host::new(
        process.time_source(),
        process.id_source(),
        process.tracker().clone(),
        process.shutdown_token(),
    );
    let address = service::advertised_url(&settings.listen, settings.public_url.as_ref())?;
    let card = card::card(&address);
    let agent = Arc::new(steered::Steered);
    let server = Server::new(&card, agent, store, &host, ServerOptions::default());
    server.resume().await.context("resume unfinished tasks")?;
    let address = service::serve(&process, &settings.listen, "--listen", server.router()).await?;
    Ok(Running { address })
}

async fn open(settings: &Settings) -> anyhow::Result<Arc<dyn TaskStore>> {
    Ok(match &settings.database {
        Some(path) => {
            Store::open(path).await.context("open the database (--database)")?.task_store()
        }
        None => Arc::new(MemoryTaskStore::default()),
    })
}
