//! A system under test for conformance kits: the server that all agents share, behind an agent
//! whose behaviour the caller chooses by the first letters of its message's id. It does nothing
//! outside itself, and ships with nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use a2a_types::TaskStore;
use anyhow::Context;
use rpc::Host;
use rpc::a2a::{Authentication, MemoryTaskStore, PushConfig, Server, ServerOptions};
use service::{Process, ProcessIdentity, Running};
use store::{OpenOptions, Opened};
use url::Url;

mod behaviour;
mod card;
mod steered;

/// How long a process that says nothing keeps its tasks, where others share the database.
const LEASE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9999")]
    pub listen: String,
    /// Address under which callers reach it, if that is not the one it listens on
    #[arg(long, value_name = "URL")]
    pub public_url: Option<Url>,
    /// SQLite file or postgres:// URL that keeps the tasks; without one they are kept in memory
    #[arg(long)]
    pub database: Option<String>,
    /// Who may call (YAML, as `authentication` of the agents); without it everybody
    #[arg(long, value_name = "FILE")]
    pub authentication: Option<PathBuf>,
    /// Send push notifications to receivers on this machine too, without encryption
    #[arg(long)]
    pub push_to_loopback: bool,
    #[command(flatten)]
    pub offer: Offer,
}

/// What the card says, where a kit wants it otherwise.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Offer {
    /// A capability it does not have
    #[arg(long, value_enum, value_name = "CAPABILITY")]
    pub without: Vec<Capability>,
    /// Refuse callers that do not know the extension urn:a2a:tck:required-extension
    #[arg(long)]
    pub require_extension: bool,
    /// Take parts of every media type
    #[arg(long)]
    pub any_media_type: bool,
    /// Serve version 0.3 of the protocol too
    #[arg(long = "v0.3")]
    pub v0_3: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Capability {
    Streaming,
    PushNotifications,
}

/// Starts the agent.
///
/// # Errors
/// A setting that cannot be used, a database that cannot be opened, or a port that is taken.
pub async fn start(settings: Settings, process: Process) -> anyhow::Result<Running> {
    let store = open(&settings, &process).await?;
    let host = Host::new(
        process.time_source(),
        process.id_source(),
        process.tracker().clone(),
        process.shutdown_token(),
    );
    let address = service::advertised_url(&settings.listen, settings.public_url.as_ref(), None)?;
    let options = ServerOptions {
        authentication: authentication(&settings)?,
        push: push(&settings),
        v0_3: settings.offer.v0_3,
        ..ServerOptions::default()
    };
    let card = card::card(&address, &settings.offer);
    let agent = Arc::new(steered::Steered);
    let server = Server::new(&card, agent, store, &host, options);
    server.resume().await.context("resume unfinished tasks")?;
    let address = service::serve(&process, &settings.listen, "--listen", server.router()).await?;
    Ok(Running { address })
}

async fn open(settings: &Settings, process: &Process) -> anyhow::Result<Arc<dyn TaskStore>> {
    let Some(database) = &settings.database else {
        return Ok(Arc::new(MemoryTaskStore::default()));
    };
    let this = ProcessIdentity::current();
    let options = OpenOptions::of_process(
        process.new_id().to_string(),
        (this.host, this.pid, this.start_time),
        |host, pid, start_time| ProcessIdentity { host, pid, start_time }.is_dead(),
        LEASE,
        process.time_source(),
    );
    let opened = store::open(database, "tck-sut", options).await;
    let Opened { store, tasks } = opened.context("open the database (--database)")?;
    process.at_end(async move { store.close().await });
    Ok(tasks)
}

fn authentication(settings: &Settings) -> anyhow::Result<Authentication> {
    let Some(file) = &settings.authentication else { return Ok(Authentication::none()) };
    let config = service::read_yaml(file).context("--authentication")?;
    Ok(Authentication::open(&config)?)
}

fn push(settings: &Settings) -> PushConfig {
    if !settings.push_to_loopback {
        return PushConfig::default();
    }
    let parsed = "is what its type takes";
    PushConfig {
        allow_http: true,
        allow_hosts: vec!["localhost".parse().expect(parsed)],
        allow_addresses: vec![
            "127.0.0.0/8".parse().expect(parsed),
            "::1/128".parse().expect(parsed),
        ],
        ..PushConfig::default()
    }
}
