//! The real programs on simulated hosts: each is started as its `main` would start it, on the memory
//! database, and started again when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use a2a_types::TaskStore;
use anyhow::Context;
use incident::Limits;
use ingress::{Format, SourceConfig};
use jiff::Timestamp;
use rpc::a2a::PeerConfig;
use service::{Clock, Ids, Network, Process, WallClock};
use store::{MemoryDatabase, OpenOptions, Replica, Store};
use tokio::time::sleep;
use url::Url;

use super::network::Place;
use super::time::Time;
use super::tools;
use super::world::World;

/// What Alertmanager shows to ingress.
pub(super) const WEBHOOK_TOKEN: &str = "only-alertmanager-knows-this";
const WEBHOOK_TOKEN_FILE: &str = "webhook-token";
/// The replica that looks and takes no part.
pub(super) const OBSERVER: &str = "observer";
/// How long a silent replica is believed to live.
const LEASE: Duration = Duration::from_secs(5);
/// What a supervisor waits before it starts a program again.
const RESTART: Duration = Duration::from_millis(300);
/// What a supervisor lets a program take to end.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    Ingress,
    Diagnostic,
    Resolution,
    Ticketing,
}

impl Program {
    pub(super) const ALL: [Self; 4] =
        [Self::Ingress, Self::Diagnostic, Self::Resolution, Self::Ticketing];

    /// Its host, which has its name.
    pub(super) fn host(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Diagnostic => "diagnostic-agent",
            Self::Resolution => "resolution-agent",
            Self::Ticketing => "ticketing-agent",
        }
    }

    pub(super) fn of(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.host() == host)
    }

    fn port(self) -> u16 {
        match self {
            Self::Ingress => 5000,
            Self::Diagnostic => 5010,
            Self::Resolution => 5020,
            Self::Ticketing => 5030,
        }
    }

    fn url(self) -> Url {
        url(self.host(), self.port())
    }

    /// The tables of this program, seen by nobody of its own.
    pub(super) fn observe(self, database: &MemoryDatabase, time: &Time) -> Arc<dyn Store> {
        let time = time.clone();
        let options = OpenOptions {
            replica: replica(OBSERVER.into()),
            lease: Duration::from_secs(365 * 24 * 3600),
            is_dead: Arc::new(|_| false),
            time: Arc::new(move || time.now()),
        };
        database.open(self.host(), options)
    }
}

fn url(host: &str, port: u16) -> Url {
    Url::parse(&format!("http://{host}:{port}")).expect("a literal URL parses")
}

fn listen(port: u16) -> String {
    format!("0.0.0.0:{port}")
}

fn replica(id: String) -> Replica {
    Replica { id, host: String::new(), pid: 0, start_time: 0 }
}

pub(super) fn webhook_url() -> String {
    format!("{}webhooks/alertmanager", Program::Ingress.url())
}

/// Writes what the programs read at their start.
///
/// # Errors
/// The directory cannot be written.
pub(super) fn write_files(world: &World) -> anyhow::Result<()> {
    let switch = world.directory().join("kill-switch").display().to_string();
    let policy = include_str!("../../simulation/policy.yaml").replace("KILL_SWITCH", &switch);
    std::fs::write(world.directory().join("policy.yaml"), policy).context("write the policy")?;
    std::fs::write(world.directory().join(WEBHOOK_TOKEN_FILE), WEBHOOK_TOKEN)
        .context("write the token")?;
    let (rules, runbooks) = (world.directory().join("rules"), world.directory().join("runbooks"));
    for (path, text) in [
        (rules.join("stuck.yaml"), include_str!("../../simulation/rules/stuck.yaml")),
        (rules.join("crowded.yaml"), include_str!("../../simulation/rules/crowded.yaml")),
        (runbooks.join("restart.yaml"), include_str!("../../simulation/runbooks/restart.yaml")),
        (runbooks.join("scale-out.yaml"), include_str!("../../simulation/runbooks/scale-out.yaml")),
    ] {
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Runs the program of a host, again and again. `ids` is the seed of its ids.
pub(super) async fn run(place: Place, ids: u64, starts: Arc<AtomicU64>) -> turmoil::Result {
    let (world, host) = (place.world.clone(), place.host);
    loop {
        let start = starts.fetch_add(1, Ordering::Relaxed);
        let process = process(&place, ids.wrapping_add(start));
        match start_once(&place, &process, start).await {
            Ok(()) => {
                world.tell(&format!("{host} has started"));
                world.asked_to_drain(host).await;
                world.tell(&format!("{host} drains"));
            }
            Err(error) => world.tell(&format!("{host} does not start: {error:#}")),
        }
        if let Err(error) = process.shut_down(DRAIN).await {
            world.tell(&format!("{error}"));
        }
        sleep(RESTART).await;
    }
}

fn process(place: &Place, ids: u64) -> Process {
    let (host, world) = (place.host, place.world.clone());
    let now = move || match Program::of(host) {
        Some(program) => world.wall(program).now(),
        None => world.now(),
    };
    let clock = Clock::Wall(WallClock::new(now));
    let network: Arc<dyn Network> = Arc::new(place.clone());
    Process::with(host, clock, Ids::seeded(ids)).on_network(network)
}

async fn start_once(place: &Place, process: &Process, start: u64) -> anyhow::Result<()> {
    let Some(program) = Program::of(place.host) else { return start_tool(place, process).await };
    let (store, tasks) = open(&place.world, program, start);
    match program {
        Program::Ingress => {
            let config = ingress_config(&place.world);
            ingress::start_with(config, process.clone(), store, tasks).await?;
        }
        Program::Diagnostic => {
            let config = diagnostic_config(&place.world);
            diagnostic_agent::start_with(config, process.clone(), tasks).await?;
        }
        Program::Resolution => {
            let config = resolution_config(&place.world);
            resolution_agent::start_with(config, process.clone(), store, tasks).await?;
        }
        Program::Ticketing => {
            let config = ticketing_config(&place.world);
            ticketing_agent::start_with(config, process.clone(), store, tasks).await?;
        }
    }
    Ok(())
}

async fn start_tool(place: &Place, process: &Process) -> anyhow::Result<()> {
    let (routes, port) = match place.host {
        "system-monitor" => (tools::monitor(&place.world, place.host)?, 5120),
        _ => (tools::deployment(&place.world, place.host)?, 5130),
    };
    service::serve(process, &listen(port), "listen", routes).await?;
    Ok(())
}

/// A replica's view of its program's database. Whoever was there before is known to be dead, or only
/// by its lease, as the run has it.
fn open(world: &World, program: Program, start: u64) -> (Arc<dyn Store>, Arc<dyn TaskStore>) {
    let own = format!("{}-{start}", program.host());
    let time = world.time().clone();
    let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(move || time.now());
    let proves_death = world.proves_death();
    let options = OpenOptions {
        replica: replica(own.clone()),
        lease: LEASE,
        is_dead: Arc::new(move |other| proves_death && other.id != OBSERVER),
        time: now.clone(),
    };
    let tasks = world.tasks(program);
    if let Some(before) = start.checked_sub(1).filter(|_| proves_death) {
        tasks.forget(&format!("{}-{before}", program.host()));
    }
    let store = world.database().open(program.host(), options);
    (store, Arc::new(tasks.open(&own, LEASE, now)))
}

fn ingress_config(world: &World) -> ingress::Config {
    let peer = |program: Program| PeerConfig::from(program.url());
    let token = world.directory().join(WEBHOOK_TOKEN_FILE);
    let alertmanager = SourceConfig::bearer(Format::Alertmanager, &token);
    ingress::Config {
        sources: [("alertmanager".to_owned(), alertmanager)].into(),
        listen: listen(Program::Ingress.port()),
        console_listen: listen(5001),
        public_url: Some(Program::Ingress.url()),
        agents: ingress::Agents {
            diagnostic: peer(Program::Diagnostic),
            resolution: peer(Program::Resolution),
            ticketing: peer(Program::Ticketing),
        },
        limits: Limits {
            diagnosis_seconds: 20,
            resolution_seconds: 90,
            approval_seconds: 60,
            quiet_seconds: 20,
            reopen_seconds: 30,
            reminder_seconds: 7_200,
            rounds: 2,
            ..Limits::default()
        },
        ..ingress::Config::default()
    }
}

fn diagnostic_config(world: &World) -> diagnostic_agent::Config {
    let mut config = diagnostic_agent::Config {
        listen: listen(Program::Diagnostic.port()),
        public_url: Some(Program::Diagnostic.url()),
        rules: world.directory().join("rules"),
        scrape_interval_ms: 1_000,
        ..diagnostic_agent::Config::default()
    };
    config.system_monitor.url = url("system-monitor", 5120);
    // Nothing listens there, and no rule asks for logs.
    config.log_analyzer.url = url("system-monitor", 5110);
    config
}

fn resolution_config(world: &World) -> resolution_agent::Config {
    resolution_agent::Config {
        listen: listen(Program::Resolution.port()),
        public_url: Some(Program::Resolution.url()),
        runbooks: world.directory().join("runbooks"),
        policy: world.directory().join("policy.yaml"),
        system_monitor_url: url("system-monitor", 5120),
        deployment_system_url: url("deployment-system", 5130),
        scrape_interval_seconds: 1.0,
        poll_millis: 500,
        step_seconds: 15,
        ..resolution_agent::Config::default()
    }
}

fn ticketing_config(world: &World) -> ticketing_agent::Config {
    ticketing_agent::Config {
        listen: listen(Program::Ticketing.port()),
        public_url: Some(Program::Ticketing.url()),
        file: ticketing_agent::FileSettings { directory: world.directory().join("tickets") },
        ..ticketing_agent::Config::default()
    }
}
