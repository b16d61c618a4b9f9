//! One run: start everything, let faults come, heal, wait until it is quiet, stop, check, tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use incident::Incident;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::balancer;
use super::check::{Seen, Violation, ticket_at_the_end};
use super::effects::EffectLog;
use super::faults::Faults;
use super::fleet::Fleet;
use super::load::Load;
use super::plan::{self, Target};
use super::processes::{Blow, Ended, Processes};
use super::records::{self, Records};
use super::single::Single;
use super::site::{Instance, Site, own_directory};
use super::table::{self, Account};
use super::{Args, Database, Options};
use crate::Program;
use crate::binaries::on_path;

const POLL: Duration = Duration::from_millis(20);
const READY: Duration = Duration::from_secs(40);
/// How long everything may take to end once nothing is done to it any more.
const HEALING: Duration = Duration::from_secs(75);
/// How long PostgreSQL is away.
const OUTAGE: Duration = Duration::from_secs(2);
/// For so long nothing may change before it counts as quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Everything of one run. Dropping it ends every process.
pub(super) struct Run {
    pub(super) site: Arc<Site>,
    processes: Processes,
    // After the processes that use it.
    pub(super) postgres: Option<postgres_server::Server>,
    /// When PostgreSQL is stopped, and is started again.
    outage: Outage,
    pub(super) faults: Faults,
    /// While it is set, no answer of a program comes through.
    pub(super) lost: Arc<AtomicBool>,
    targets: Vec<Target>,
    fleet: Arc<Fleet>,
    load: Arc<Load>,
    http: reqwest::Client,
    tasks: TaskTracker,
    stop: CancellationToken,
    wrong: Vec<Violation>,
}

/// The one time that PostgreSQL is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    ToCome(Instant),
    Until(Instant),
    /// Over since then.
    Over(Instant),
}

/// Plays a run and prints its account. False: an invariant did not hold.
///
/// # Errors
/// The run itself could not be carried out.
pub(super) async fn play(args: &Args) -> anyhow::Result<bool> {
    let options = &args.options;
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("chaos on {:?} for {} s, seed {seed}", options.db, options.seconds);
    let scratch = tempfile::Builder::new().prefix("firebreak-chaos-").tempdir()?;
    let scratch_path = scratch.path().to_owned();
    let started = Instant::now();
    let mut run = match Run::start(args, &scratch_path, seed).await {
        Ok(run) => run,
        Err(error) => {
            let kept = scratch.keep();
            return Err(error.context(format!("logs are kept in {}", kept.display())));
        }
    };
    println!("{:>6.1} s  everything is up", started.elapsed().as_secs_f64());
    let outcome = run.carry_out(options, seed, started).await;
    let is_clean = matches!(outcome, Ok(true));
    drop(run);
    if options.keep || !is_clean {
        println!("databases, logs and tickets are kept in {}", scratch.keep().display());
    }
    if !is_clean {
        println!("again: {}", again(options, seed));
    }
    outcome
}

/// The command that makes the same choices again.
fn again(options: &Options, seed: u64) -> String {
    let Options { db, seconds, targets, only, .. } = options;
    let mut command = format!(
        "cargo xtask chaos --db {} --seed {seed} --seconds {seconds} --targets {targets}",
        db.name()
    );
    if let Some(only) = only.and_then(|only| only.to_possible_value()) {
        command += &format!(" --only {}", only.get_name());
    }
    command
}

impl Run {
    async fn start(args: &Args, scratch: &std::path::Path, seed: u64) -> anyhow::Result<Self> {
        let options = &args.options;
        let targets = plan::targets(options.targets);
        let playbooks = match options.ansible {
            true => on_path("ansible-playbook").context("ansible-playbook is not on PATH")?,
            false => own_directory().join("chaos/repair"),
        };
        let postgres = match options.db {
            Database::Sqlite => None,
            Database::Postgres => {
                let server = postgres_server::Server::start();
                Some(server.context("PostgreSQL is not installed")?)
            }
        };
        let url = postgres.as_ref().map(postgres_server::Server::url);
        let is_proxied = options.only == Some(Single::ReplyLost);
        let site = Site::new(scratch, &args.binaries, (url, is_proxied), playbooks, &targets)?;
        let site = Arc::new(site);
        let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
        let log = EffectLog::new(&scratch.join("effects.log"))?;
        let fleet = Fleet::new(&names, log, site.fleet_logs());
        let load = Load::new(fleet.clone(), &site.url(Program::Ingress), site.webhook_token())?;
        let mut run = Self {
            processes: Processes::new(site.clone()),
            outage: Outage::Over(Instant::now()),
            postgres,
            site,
            faults: Faults::new(seed),
            lost: Arc::default(),
            targets,
            fleet,
            load,
            http: reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            wrong: Vec::new(),
        };
        run.start_fleet().await?;
        run.start_programs().await?;
        Ok(run)
    }

    async fn start_fleet(&mut self) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(self.site.fleet()).await?;
        let serve = axum::serve(listener, self.fleet.routes());
        let serve = serve.with_graceful_shutdown(self.stop.clone().cancelled_owned());
        self.tasks.spawn(async move {
            let _ = serve.await;
        });
        let prometheus = on_path("prometheus").context("prometheus is not on PATH")?;
        let command = self.site.prometheus_command(&prometheus);
        self.processes.start_other("prometheus", &command)
    }

    async fn start_programs(&mut self) -> anyhow::Result<()> {
        let instances = self.site.instances();
        for program in Program::OURS {
            let replicas = instances.iter().filter(|instance| instance.program == program);
            let backends: Vec<String> =
                replicas.map(|&instance| self.site.address(instance)).collect();
            let front = self.site.front(program);
            if backends != [front.clone()] {
                let lost = self.lost.clone();
                balancer::serve(&front, backends, lost, &self.tasks, &self.stop).await?;
            }
        }
        for instance in &instances {
            self.processes.start(*instance, String::new())?;
        }
        let urls = instances.iter().map(|&instance| self.site.address(instance));
        let urls = urls.map(|address| format!("http://{address}/readyz"));
        let prometheus = format!("{}/-/ready", self.site.prometheus_url());
        let started = Instant::now();
        for url in urls.chain([prometheus]) {
            while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
            {
                let (_, ended) = self.processes.reap()?;
                ensure!(ended.is_empty(), "does not start: {ended:?}");
                ensure!(started.elapsed() < READY, "{url} does not answer");
                tokio::time::sleep(POLL).await;
            }
        }
        while !self.is_fleet_scraped().await {
            ensure!(started.elapsed() < READY, "Prometheus has no samples of the targets");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn is_fleet_scraped(&self) -> bool {
        let url = format!("{}/api/v1/query?query=count(chaos_ill)", self.site.prometheus_url());
        let Ok(answer) = self.http.get(url).send().await else { return false };
        let answer: serde_json::Value = answer.json().await.unwrap_or_default();
        let count =
            answer["data"]["result"][0]["value"][1].as_str().and_then(|one| one.parse().ok());
        count == Some(self.targets.len())
    }

    async fn carry_out(
        &mut self,
        options: &Options,
        seed: u64,
        started: Instant,
    ) -> anyhow::Result<bool> {
        let say = |what: &str| println!("{:>6.1} s  {what}", started.elapsed().as_secs_f64());
        let players = TaskTracker::new();
        for (number, target) in self.targets.iter().enumerate() {
            let own = seed.wrapping_add(1 + number as u64);
            players.spawn(self.load.clone().play(target.clone(), own));
        }
        let time = Duration::from_secs(options.seconds);
        match options.only {
            Some(fault) => self.single(fault, time).await?,
            None => self.trouble(time).await?,
        }
        say("no more faults: everything heals");
        self.heal().await?;
        self.load.end();
        players.close();
        while tokio::time::timeout(POLL, players.wait()).await.is_err() {
            self.keep_up(false)?;
        }
        say("no more alerts");
        let is_quiet = self.wait_until_quiet().await?;
        say(if is_quiet { "quiet" } else { "not quiet, and out of time" });
        let bad = self.processes.stop_all().await?;
        self.wrong.extend(bad.iter().map(ended_badly));
        let records = Records::read(&self.site).await?;
        self.stop.cancel();
        Ok(self.tell(&records))
    }

    /// Nothing is done for so long but to keep everything up.
    pub(super) async fn calm(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.keep_up(false)?;
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGTERM to a process that is so old, and the next in its place.
    pub(super) async fn stop_and_start(
        &mut self,
        instance: Instance,
        age: Duration,
    ) -> anyhow::Result<()> {
        tokio::time::sleep(age).await;
        if let Some(ended) = self.processes.stop(instance).await? {
            self.wrong.push(ended_badly(&ended));
        }
        self.processes.start(instance, String::new())
    }

    /// Lets faults come for so long. In the middle PostgreSQL stops for a while.
    async fn trouble(&mut self, time: Duration) -> anyhow::Result<()> {
        let all = self.site.instances();
        if self.postgres.is_some() {
            self.outage = Outage::ToCome(Instant::now() + time / 2);
        }
        let until = Instant::now() + time;
        let mut next = Instant::now() + self.faults.pause();
        let mut weighed = Instant::now();
        while Instant::now() < until {
            self.keep_up(true)?;
            self.keep_database();
            if Instant::now() >= next {
                next = Instant::now() + self.faults.pause();
                if let Some((instance, blow)) = self.faults.next(&all, &self.processes.awake()) {
                    self.strike(instance, blow)?;
                }
            }
            if weighed.elapsed() > Duration::from_secs(1) {
                self.processes.weigh();
                weighed = Instant::now();
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Stops PostgreSQL when its time has come, and starts it again.
    fn keep_database(&mut self) {
        let Some(postgres) = &mut self.postgres else { return };
        let now = Instant::now();
        match self.outage {
            Outage::ToCome(at) if at <= now => {
                postgres.stop();
                self.outage = Outage::Until(Instant::now() + OUTAGE);
            }
            Outage::Until(at) if at <= now => {
                postgres.resume();
                self.outage = Outage::Over(Instant::now());
            }
            _ => {}
        }
    }

    /// A program that is started while its database is away may end, to be started again.
    fn is_excused(&self, ended: &Ended) -> bool {
        let is_away = match self.outage {
            Outage::ToCome(_) => false,
            Outage::Until(_) => true,
            Outage::Over(at) => at.elapsed() < ended.age + Duration::from_secs(1),
        };
        self.postgres.is_some() && is_away && !ended.status.contains("signal")
    }

    fn strike(&mut self, instance: Instance, blow: Blow) -> anyhow::Result<()> {
        if blow == Blow::Freeze {
            return self.processes.freeze(instance, self.faults.freeze());
        }
        self.processes.kill(instance)?;
        self.processes.start(instance, self.faults.arm(instance))
    }

    /// Restarts who is gone and thaws whose time has come.
    fn keep_up(&mut self, is_armed: bool) -> anyhow::Result<()> {
        self.processes.take_hits(self.faults.freeze());
        self.processes.thaw(false)?;
        let (gone, ended) = self.processes.reap()?;
        for instance in gone {
            let armed = if is_armed { self.faults.arm(instance) } else { String::new() };
            self.processes.start(instance, armed)?;
        }
        let ended: Vec<Ended> = ended.into_iter().filter(|one| !self.is_excused(one)).collect();
        self.wrong.extend(ended.into_iter().map(|ended| Violation {
            invariant: "no program ends by itself",
            seen: format!(
                "{} after {:.1} s: {}",
                ended.instance,
                ended.age.as_secs_f64(),
                ended.status
            ),
        }));
        self.processes.check_others()
    }

    /// Everything is up, and nothing has a failpoint any more.
    async fn heal(&mut self) -> anyhow::Result<()> {
        if let Some(postgres) = &mut self.postgres {
            postgres.resume();
        }
        self.lost.store(false, Ordering::SeqCst);
        self.processes.thaw(true)?;
        for instance in self.processes.armed() {
            self.keep_up(false)?;
            if self.processes.is_running(instance) {
                self.processes.kill(instance)?;
                self.processes.start(instance, String::new())?;
            }
        }
        self.keep_up(false)
    }

    async fn wait_until_quiet(&mut self) -> anyhow::Result<bool> {
        let started = Instant::now();
        let mut quiet_since = None;
        while started.elapsed() < HEALING {
            self.keep_up(false)?;
            match self.is_quiet().await {
                true if quiet_since.is_some_and(|since: Instant| since.elapsed() > QUIET) => {
                    return Ok(true);
                }
                true => quiet_since = quiet_since.or_else(|| Some(Instant::now())),
                false => quiet_since = None,
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(false)
    }

    /// Whether every incident has ended or waits for a person, as its ticket says too.
    async fn is_quiet(&self) -> bool {
        let Some(incidents) = self.incidents().await else { return false };
        let tickets = records::tickets(&self.site.tickets());
        incidents.iter().all(|incident| {
            let Some(wanted) = ticket_at_the_end(incident) else { return false };
            let mut own = tickets.iter().filter(|ticket| ticket.incident == incident.id);
            own.any(|ticket| ticket.status == wanted)
        })
    }

    async fn incidents(&self) -> Option<Vec<Incident>> {
        let base = format!("{}/api/v1/incidents?limit=100", self.site.url(Program::Ingress));
        let mut all: Vec<Incident> = Vec::new();
        loop {
            let before = all.last().map(|last| format!("&before={}", last.id)).unwrap_or_default();
            let answer = self.http.get(format!("{base}{before}")).send().await.ok()?;
            let page: Vec<Incident> = answer.error_for_status().ok()?.json().await.ok()?;
            if page.is_empty() {
                return Some(all);
            }
            all.extend(page);
        }
    }

    fn tell(&mut self, records: &Records) -> bool {
        let effects = self.fleet.log.effects();
        let (acknowledged, webhooks, refused) = self.load.told();
        let kilobytes = &self.processes.most_kilobytes;
        let seen = Seen {
            records,
            effects: &effects,
            acknowledged: &acknowledged,
            targets: &self.targets,
            kilobytes: kilobytes.iter().map(|(one, most)| (one.to_string(), *most)).collect(),
            secrets: self.site.secrets(),
            scratch: &self.site.scratch,
        };
        let mut violations = std::mem::take(&mut self.wrong);
        violations.extend(seen.violations());
        let account = Account {
            blows: &self.processes.blows,
            records,
            effects: &effects,
            webhooks,
            refused,
            alerts: acknowledged.len(),
            takeovers: takeovers(&self.site),
            violations: &violations,
        };
        table::print(&account);
        violations.is_empty()
    }
}

fn ended_badly(ended: &Ended) -> Violation {
    Violation {
        invariant: "SIGTERM ends a program well",
        seen: format!("{}: {}", ended.instance, ended.status),
    }
}

/// What the programs say of work that they took up from a process that is gone: a change, or the
/// tasks of a start.
fn takeovers(site: &Site) -> usize {
    let logs = site.instances().into_iter().map(|instance| site.output(instance));
    let texts = logs.filter_map(|path| std::fs::read_to_string(path).ok());
    let of_line = |line: &str| match line.split_once("resumed tasks=") {
        Some((_, count)) => count.trim().parse().unwrap_or(0),
        None => usize::from(line.contains("taken over")),
    };
    texts.map(|text| text.lines().map(of_line).sum::<usize>()).sum()
}
