//! A running system of separate processes, and what can be done to it from outside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use incident::{Incident, TimelineEntry};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::binaries::Tools;
use crate::ports::Ports;
use crate::processes::Processes;
use crate::program::Site;
use crate::{Case, Condition, Program, Snapshot, Ticket};

/// A world keeps two cores busy: one at a time.
static TURN: Mutex<()> = Mutex::const_new(());
/// How long a program may take to serve.
const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const ANSWER: Duration = Duration::from_secs(5);

/// How a world differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Programs that are not started.
    pub without: Vec<Program>,
    /// The configuration file of ingress.
    pub ingress_settings: String,
    /// Runbooks that wait for a person, whatever the shipped policy says.
    pub with_approval: Vec<&'static str>,
    /// The agents ask for a token, speak version 0.3 of A2A too and push to this machine.
    pub for_strangers: bool,
    /// Commands of strangers that take the place of programs. They find their address in
    /// `FIREBREAK_LISTEN`, Prometheus in `PROMETHEUS_URL`, and answer `/readyz`.
    pub stand_ins: BTreeMap<Program, Vec<String>>,
}

/// Dropping it ends every process.
#[derive(Debug)]
pub struct World {
    site: Site,
    processes: Processes,
    http: reqwest::Client,
    // Goes last, after the processes that write there.
    scratch: Option<tempfile::TempDir>,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Starts everything and waits until Prometheus has samples of the whole fleet. `None`, with
    /// the reason printed, where programs of other projects are not installed.
    ///
    /// # Errors
    /// A program does not build, start or serve.
    pub async fn start(setup: &Setup) -> anyhow::Result<Option<Self>> {
        let root = repository()?;
        let tools = match Tools::find(&root)? {
            Ok(tools) => tools,
            Err(why) => {
                println!("skipped: {why}");
                return Ok(None);
            }
        };
        let turn = TURN.lock().await;
        let scratch = tempfile::Builder::new().prefix("firebreak-scenario-").tempdir()?;
        let site = Site {
            root,
            scratch: scratch.path().to_owned(),
            ports: Ports::find()?,
            tools,
            ingress_settings: setup.ingress_settings.clone(),
            with_approval: setup.with_approval.clone(),
            for_strangers: setup.for_strangers,
            stand_ins: setup.stand_ins.clone(),
        };
        let mut world = Self {
            processes: Processes::new(&site.scratch),
            site,
            http: reqwest::Client::builder().timeout(ANSWER).build()?,
            scratch: Some(scratch),
            _turn: turn,
        };
        match world.start_all(&setup.without).await {
            Ok(()) => Ok(Some(world)),
            Err(error) => Err(error.context(world.account())),
        }
    }

    async fn start_all(&mut self, without: &[Program]) -> anyhow::Result<()> {
        let wanted = Program::ALL.into_iter().filter(|program| !without.contains(program));
        for program in wanted.clone() {
            self.spawn(program)?;
        }
        for program in wanted {
            self.wait_until_ready(program).await?;
        }
        let started = Instant::now();
        while !self.is_fleet_scraped().await {
            self.processes.check()?;
            ensure!(started.elapsed() < READY, "prometheus does not scrape the fleet");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts a program that was left out, stopped or killed, and waits until it serves.
    ///
    /// # Errors
    /// It runs, or does not serve in time.
    pub(crate) async fn start_program(&mut self, program: Program) -> anyhow::Result<()> {
        self.spawn(program)?;
        self.wait_until_ready(program).await
    }

    fn spawn(&mut self, program: Program) -> anyhow::Result<()> {
        let mut command = self.site.command(program)?;
        self.processes.start(program, &mut command)
    }

    async fn wait_until_ready(&mut self, program: Program) -> anyhow::Result<()> {
        let url = format!("{}{}", self.site.url(program), program.readiness());
        let started = Instant::now();
        loop {
            let answer = self.http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            self.processes.check()?;
            ensure!(started.elapsed() < READY, "{} does not serve {url}", program.name());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn is_fleet_scraped(&self) -> bool {
        let path = "/api/v1/targets?state=active";
        let Some(answer) = self.get::<Value>(Program::Prometheus, path).await else { return false };
        let targets = answer["data"]["activeTargets"].as_array();
        // Right after its start Prometheus has no targets at all.
        targets.is_some_and(|targets| {
            targets.len() == 3 && targets.iter().all(|target| target["health"] == "up")
        })
    }

    /// `kill -9` of the process alone.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, program: Program) -> anyhow::Result<()> {
        self.processes.kill(program)
    }

    /// Asks the program to end and waits for it.
    ///
    /// # Errors
    /// It does not run, or does not end well in time.
    pub(crate) async fn stop_program(&mut self, program: Program) -> anyhow::Result<()> {
        self.processes.stop(program).await
    }

    /// Freezes the process: it answers nobody until it is resumed.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&mut self, program: Program) -> anyhow::Result<()> {
        self.processes.signal(program, Signal::STOP)
    }

    /// # Errors
    /// It does not run.
    pub fn resume(&mut self, program: Program) -> anyhow::Result<()> {
        self.processes.signal(program, Signal::CONT)
    }

    /// Begins a fault.
    ///
    /// # Errors
    /// The simulator refuses.
    pub async fn trigger(&self, fault: &str, duration: Duration) -> anyhow::Result<()> {
        let url = format!("{}/trigger/{fault}", self.url(Program::FaultSimulator));
        let body = json!({"duration": duration.as_secs()}).to_string();
        let answer = self.http.post(url).body(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "trigger {fault}: {status} {text}");
        Ok(())
    }

    /// Waits until a claim is met.
    ///
    /// # Errors
    /// It is not met by its deadline, or a program ended although nobody asked it to.
    pub async fn wait_for(&mut self, condition: &Condition) -> anyhow::Result<()> {
        let started = Instant::now();
        while !condition.is_met(&self.look().await) {
            self.processes.check()?;
            if started.elapsed() > condition.deadline {
                bail!("not so after {} s: {condition}", condition.deadline.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Sees that a claim is met now and for so long.
    ///
    /// # Errors
    /// It is not, or a program ended although nobody asked it to.
    pub async fn stays(&mut self, condition: &Condition, duration: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < duration {
            self.processes.check()?;
            if !condition.is_met(&self.look().await) {
                bail!("no longer so after {:.1} s: {condition}", started.elapsed().as_secs_f64());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// What the programs tell at this moment.
    pub async fn look(&self) -> Snapshot {
        let (cases, config, faults, alerts) = tokio::join!(
            self.cases(),
            self.get::<Value>(Program::FaultSimulator, "/admin/config"),
            self.get::<Value>(Program::FaultSimulator, "/faults"),
            self.get::<Value>(Program::Prometheus, "/api/v1/alerts"),
        );
        let faults = faults.unwrap_or_default();
        let alerts = alerts.unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let firing = list(&alerts["data"]["alerts"]).filter(|alert| alert["state"] == "firing");
        Snapshot {
            cases,
            active_faults: list(&faults["active"]).map(|fault| text(&fault["name"])).collect(),
            ended_faults: list(&faults["ended"])
                .map(|fault| (text(&fault["name"]), text(&fault["how"])))
                .collect(),
            firing_alerts: firing.map(|alert| text(&alert["labels"]["alertname"])).collect(),
            tickets: self.tickets(),
            playbooks_running: self.playbooks_running(),
            pool_size: config.and_then(|told| told["config"]["connection_pool_size"].as_u64()),
        }
    }

    async fn cases(&self) -> Option<Vec<Case>> {
        let incidents: Vec<Incident> = self.get(Program::Ingress, "/api/v1/incidents").await?;
        let mut cases = Vec::new();
        for incident in incidents {
            let path = format!("/api/v1/incidents/{}/timeline", incident.id);
            let timeline: Vec<TimelineEntry> = self.get(Program::Ingress, &path).await?;
            cases.push(Case { incident, timeline });
        }
        Some(cases)
    }

    /// deployment-system writes the values for a playbook right before it starts it.
    fn playbooks_running(&self) -> usize {
        let runs = self.site.work_directory().join("runs");
        let Ok(runs) = std::fs::read_dir(runs) else { return 0 };
        runs.filter_map(Result::ok).filter(|run| run.path().join("vars.yml").is_file()).count()
    }

    /// The files of the built-in tracker.
    pub(crate) fn tickets(&self) -> Vec<Ticket> {
        let Ok(files) = std::fs::read_dir(self.site.tickets()) else { return Vec::new() };
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        let paths = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        let texts = paths.filter_map(|path| std::fs::read(path).ok());
        texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
    }

    /// The simulator counts the starts of the database.
    pub(crate) async fn database_restarts(&self) -> anyhow::Result<u64> {
        let status: Option<Value> = self.get(Program::FaultSimulator, "/admin/status").await;
        let generation = status.and_then(|status| status["generation"].as_u64());
        let generation = generation.context("the simulator tells no generation")?;
        Ok(generation.saturating_sub(1))
    }

    /// `None` while the program does not answer.
    async fn get<T: DeserializeOwned>(&self, program: Program, path: &str) -> Option<T> {
        if !self.processes.is_running(program) {
            return None;
        }
        let url = format!("{}{path}", self.url(program));
        let answer = self.http.get(url).send().await.ok()?.error_for_status().ok()?;
        answer.json().await.ok()
    }

    /// Where a program answers.
    pub fn url(&self, program: Program) -> String {
        self.site.url(program)
    }

    /// The file of the token that agents take from a stranger, where they ask for one.
    pub fn stranger_token(&self) -> PathBuf {
        self.site.token("stranger")
    }

    /// The database of a program; it must be stopped before anyone else opens it.
    pub(crate) fn database(&self, program: Program) -> PathBuf {
        self.site.database(program)
    }

    pub(crate) fn is_running(&self, program: Program) -> bool {
        self.processes.is_running(program)
    }

    /// What a failed scenario shows: the logs' ends, and where the rest is kept.
    pub fn account(&mut self) -> String {
        let kept = self.scratch.take().map(tempfile::TempDir::keep).unwrap_or_default();
        format!("{}data and logs are kept in {}", self.processes.tails(), kept.display())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The repository this test was built from.
fn repository() -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(root) = own.ancestors().nth(2) else { bail!("{} has no root", own.display()) };
    root.canonicalize().with_context(|| format!("find {}", root.display()))
}
