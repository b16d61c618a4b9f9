//! The ticketing agent: one ticket per incident, kept true, in Jira or in files of our own.
//! It holds the tracker's credential and nothing else, and decides nothing about incidents.

use std::sync::Arc;

use a2a_types::TaskStore;
use anyhow::Context;
use rpc::Host;
use rpc::a2a::Server;
use service::{Process, ProcessIdentity, Running};
use store::{OpenOptions, Opened, Store};

mod card;
mod config;
mod document;
mod error;
mod file;
mod jira;
mod skills;
mod sync;
mod tracker;

pub use card::SKILL;
pub use config::{Config, FileSettings, TrackerKind};
pub use document::{Block, Document, Span, clean, clean_line};
pub use error::TrackerError;
pub use file::FileTracker;
pub use jira::{Auth, JiraSettings, JiraTracker};
pub use skills::ARTIFACT;
pub use tracker::{NewComment, NewTicket, Ticket, Tracker};

/// The name under which this agent keeps its tables.
pub const NAME: &str = "ticketing-agent";

/// Starts the agent.
///
/// # Errors
/// A setting that cannot be used, a tracker that cannot be opened, or a port that is taken. A
/// tracker that is down is none: its tasks fail as transient until it is back.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
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
/// As `start`.
pub async fn start_with(
    config: Config,
    process: Process,
    store: Arc<dyn Store>,
    tasks: Arc<dyn TaskStore>,
) -> anyhow::Result<Running> {
    let tracker = open_tracker(&config, &process)?;
    tracing::debug!(tracker = tracker.name(), "tracker opened");
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
    let agent = Arc::new(skills::SyncTicket { desk: sync::Desk::new(tracker, store, &process) });
    let host = Host::new(
        process.time_source(),
        process.id_source(),
        process.tracker().clone(),
        process.shutdown_token(),
    );
    let card = card::card(&config.address()?);
    let options = config.a2a.open().context("settings of `a2a`")?;
    let server = Server::new(&card, agent, tasks, &host, options);
    let resumed = server.resume().await.context("resume unfinished tasks")?;
    if resumed > 0 {
        tracing::info!(tasks = resumed, "resumed");
    }
    let address = service::serve(&process, &config.listen, "listen", server.router()).await?;
    Ok(Running { address })
}

fn open_tracker(config: &Config, process: &Process) -> anyhow::Result<Tracker> {
    let clock = process.clock().clone();
    match config.tracker {
        TrackerKind::File => {
            let tracker = FileTracker::open(&config.file.directory, clock)
                .context("open the ticket directory (file.directory)")?;
            Ok(Tracker::File(tracker))
        }
        TrackerKind::Jira => {
            let tracker = JiraTracker::new(config.jira.clone(), clock)?;
            Ok(Tracker::Jira(Box::new(tracker)))
        }
    }
}
