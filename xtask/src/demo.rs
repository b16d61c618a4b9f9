//! `cargo xtask demo`: one real fault from trigger to closed incident, shown as it happens.
//!
//! Everything runs on this machine in a scratch directory and is gone afterwards. The demo only
//! watches: it triggers the fault and then reads ingress's API, so what it prints is what happened.
//! It succeeds only where the record says so: closed with proof (or, for a fault whose fix cannot
//! work, undone and handed over).

mod faults;
mod follow;
mod ports;
mod progress;
mod show;
mod table;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::http;
use crate::interrupt;
use crate::monitoring;
use faults::{End, Fault};
use follow::Follow;
use ports::Ports;
use progress::Progress;
use world::World;

/// Long enough that no fault ends by itself while the demo watches.
const FAULT_LASTS: Duration = Duration::from_secs(1800);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Samples every second, alerts after 5 s
    Fast,
    /// Samples every 10 s, alerts after 1 min, as production usually has it
    Real,
}

impl Profile {
    /// Between two samples of one series.
    fn scrape_seconds(self) -> &'static str {
        match self {
            Self::Fast => "1",
            Self::Real => "10",
        }
    }

    /// When the demo gives up, counted from the trigger.
    fn limit(self) -> Duration {
        match self {
            Self::Fast => Duration::from_secs(120),
            Self::Real => Duration::from_secs(360),
        }
    }

    fn monitoring(self) -> monitoring::Profile {
        match self {
            Self::Fast => monitoring::Profile::Fast,
            Self::Real => monitoring::Profile::Real,
        }
    }
}

/// Without the fault-simulator there is no fault, and without ingress nobody to ask how it goes.
const CAN_BE_LEFT_OUT: [&str; 6] = [
    "log-analyzer",
    "system-monitor",
    "deployment-system",
    "diagnostic-agent",
    "resolution-agent",
    "ticketing-agent",
];

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The fault to trigger
    #[arg(long, default_value = "database_timeout", value_parser = faults::parse)]
    fault: &'static Fault,
    /// How often Prometheus looks, and how long an alert waits
    #[arg(long, value_enum, default_value = "fast")]
    profile: Profile,
    /// Leave everything running until Ctrl-C, and keep the data directory
    #[arg(long)]
    keep: bool,
    /// Leave a program out and show that the fault then stays, such as resolution-agent
    #[arg(long, value_name = "PROGRAM", value_parser = CAN_BE_LEFT_OUT)]
    without: Option<String>,
    /// How long the fault is watched with `--without`, in seconds from the first alert
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    watch: u64,
    #[command(flatten)]
    ports: Ports,
}

impl Args {
    /// The run that `cargo xtask test` makes.
    fn for_tests(fault: &'static Fault) -> Self {
        Self {
            fault,
            profile: Profile::Fast,
            keep: false,
            without: None,
            watch: 30,
            ports: Ports::default(),
        }
    }
}

/// Runs the demo of every fault, one after the other.
///
/// # Errors
/// The first fault whose end was not the right one.
pub(crate) fn run_all(root: &Path) -> anyhow::Result<()> {
    for fault in &faults::FAULTS {
        println!("\n-- {}", fault.name);
        run(root, &Args::for_tests(fault)).with_context(|| format!("fault {}", fault.name))?;
    }
    Ok(())
}

/// Runs the demo. Success means the right end was reached and every claim of it checked.
///
/// # Errors
/// Something is missing, a port is taken, a program ended, or the end was not the right one.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let tools = world::Tools::find()?;
    args.ports.check()?;
    let firebreak = world::build(root)?;
    let scratch = tempfile::Builder::new().prefix("firebreak-demo-").tempdir()?;
    let outcome = play(root, args, &tools, &firebreak, scratch.path());
    let was_stopped = outcome.as_ref().is_err_and(|error| error.is::<interrupt::Interrupted>());
    if args.keep || (outcome.is_err() && !was_stopped) {
        println!("data and logs are kept in {}", scratch.keep().display());
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn play(
    root: &Path,
    args: &Args,
    tools: &world::Tools,
    firebreak: &Path,
    scratch: &Path,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut world = World::new(root, scratch, args);
    let outcome = world.start(tools, firebreak).and_then(|()| {
        println!("everything is up after {:.1} s", started.elapsed().as_secs_f64());
        println!(
            "console: http://{}/  API: http://{}/api/v1/incidents",
            args.ports.console(),
            args.ports.ingress()
        );
        watch(root, args, &mut world)
    });
    if outcome.as_ref().is_err_and(|error| !error.is::<interrupt::Interrupted>()) {
        world.print_log_tail();
    }
    if args.keep && outcome.is_ok() {
        println!("still running; Ctrl-C ends it");
        while interrupt::pause(Duration::from_millis(200)).is_ok() {}
    }
    world.stop();
    outcome
}

fn watch(root: &Path, args: &Args, world: &mut World) -> anyhow::Result<()> {
    let Args { fault, ports, .. } = args;
    let body = format!("{{\"duration\": {}}}", FAULT_LASTS.as_secs());
    let triggered_at = now();
    let path = format!("/trigger/{}", fault.name);
    http::post(ports.simulator(), &path, &body).context("trigger the fault")?;
    println!("\n  0.00 s  fault {} triggered on {}: {}", fault.name, fault.server, fault.what);
    let mut follow = Follow::new(ports.ingress(), fault.alert, triggered_at);
    if let Some(program) = &args.without {
        return stays(args, world, &mut follow, program);
    }
    until_end(args, world, &mut follow)?;
    let incident = follow.subject().context("no incident was opened")?;
    check_fault(ports, fault)?;
    let (timeline, others) = (follow.timeline(), follow.others());
    show::ticket(incident, args.keep);
    if others > 0 {
        println!("          {others} other incident(s) were opened besides");
    }
    println!("\n{}", table::render(fault.name, triggered_at, &timeline));
    println!("{}", show::next(root, incident, fault.name));
    Ok(())
}

/// Follows the incident to the end its fault ought to have.
fn until_end(args: &Args, world: &mut World, follow: &mut Follow) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut progress = Progress::new();
    loop {
        world.check()?;
        follow.poll(&mut progress)?;
        let subject = follow.subject();
        let judged = subject.and_then(|incident| faults::judge(args.fault.end, incident));
        match judged {
            Some(Ok(())) if follow.is_ticket_told() => {
                progress.clear();
                return Ok(());
            }
            Some(Err(why)) => {
                progress.clear();
                bail!("{why}: {}", follow.state());
            }
            _ => {}
        }
        let elapsed = started.elapsed();
        if elapsed > args.profile.limit() {
            progress.clear();
            bail!("not at its end {} s after the trigger: {}", elapsed.as_secs(), follow.state());
        }
        let alert = world.alert_state(args.fault.alert);
        progress.show(elapsed, &follow.waiting_for(&alert));
        interrupt::pause(Duration::from_millis(200))?;
    }
}

/// Shows that nothing heals the fault when a program is missing.
fn stays(args: &Args, world: &mut World, follow: &mut Follow, without: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    let watch = Duration::from_secs(args.watch);
    let mut progress = Progress::new();
    let mut firing_since: Option<Instant> = None;
    loop {
        world.check()?;
        follow.poll(&mut progress)?;
        let alert = world.alert_state(args.fault.alert);
        let elapsed = started.elapsed();
        match firing_since {
            None if alert == "firing" => firing_since = Some(Instant::now()),
            None => ensure!(elapsed < args.profile.limit(), "the alert never fired: {alert}"),
            Some(_) if alert != "firing" => bail!("the alert did not stay: it is {alert} now"),
            Some(since) if since.elapsed() >= watch => break,
            Some(_) => {}
        }
        progress.show(elapsed, &format!("without {without}; the alert is {alert}"));
        interrupt::pause(Duration::from_millis(200))?;
    }
    progress.clear();
    ensure!(is_active(&args.ports, args.fault)?, "the fault ended by itself");
    if let Some(incident) = follow.subject() {
        ensure!(
            !incident.phase.is_final(),
            "{} is {} all the same",
            incident.id,
            incident.phase.name()
        );
    }
    println!(
        "\nwithout {without} the fault and its alert stayed for {} s: {}",
        args.watch,
        follow.state()
    );
    Ok(())
}

/// The simulator's own word: the right repair ended the fault, or nothing did.
fn check_fault(ports: &Ports, fault: &Fault) -> anyhow::Result<()> {
    if fault.end == End::HandedOver {
        ensure!(is_active(ports, fault)?, "{} ended although no repair can end it", fault.name);
        return Ok(());
    }
    let state: Value = http::get_json(ports.simulator(), "/faults")?;
    let mut ended = state["ended"].as_array().into_iter().flatten();
    let how = ended.rfind(|ended| ended["name"] == fault.name).map(|ended| &ended["how"]);
    ensure!(
        how.is_some_and(|how| how == "repaired"),
        "the simulator does not say that {} was repaired: {state}",
        fault.name
    );
    Ok(())
}

fn is_active(ports: &Ports, fault: &Fault) -> anyhow::Result<bool> {
    let state: Value = http::get_json(ports.simulator(), "/faults")?;
    Ok(state["active"].as_array().into_iter().flatten().any(|active| active["name"] == fault.name))
}

#[expect(clippy::disallowed_methods, reason = "the demo compares its own moment with real records")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Where cargo puts what it builds.
fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
