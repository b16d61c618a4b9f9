//! Everything the demo runs: Firebreak in one process with the simulated fleet, Prometheus and
//! Alertmanager, each with its files in the scratch directory.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{Args, target_directory};
use crate::children::Children;
use crate::programs::{self, ALERTMANAGER, ANSIBLE, PROMETHEUS};
use crate::{http, interrupt, monitoring};

/// How long each part may take to become ready.
const READY: Duration = Duration::from_secs(60);

/// Settings of the person who runs the demo: it must not write into their tracker.
const OUTSIDE: [&str; 6] = [
    "JIRA_URL",
    "JIRA_PROJECT",
    "JIRA_USER",
    "JIRA_TOKEN_FILE",
    "PROMETHEUS_TOKEN_FILE",
    "ALERTMANAGER_WEBHOOK_TOKEN_FILE",
];

/// Programs of other projects that the demo runs.
#[derive(Debug)]
pub(super) struct Tools {
    prometheus: PathBuf,
    alertmanager: PathBuf,
}

impl Tools {
    /// # Errors
    /// One is missing and cannot be installed from here.
    pub(super) fn find() -> anyhow::Result<Self> {
        let [prometheus, alertmanager, _ansible] =
            programs::require([PROMETHEUS, ALERTMANAGER, ANSIBLE])?;
        Ok(Self { prometheus, alertmanager })
    }
}

/// Builds `firebreak` and returns where it is.
///
/// # Errors
/// It does not build; cargo has said why.
pub(super) fn build(root: &Path) -> anyhow::Result<PathBuf> {
    println!("building: cargo build -p cli");
    let started = Instant::now();
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--package", "cli", "--bin", "firebreak"])
        .current_dir(root)
        .status()
        .context("run cargo")?;
    interrupt::check()?;
    ensure!(status.success(), "cargo build -p cli failed");
    println!("built in {:.1} s", started.elapsed().as_secs_f64());
    Ok(target_directory(root).join("debug/firebreak"))
}

#[derive(Debug)]
pub(super) struct World<'a> {
    root: &'a Path,
    scratch: &'a Path,
    args: &'a Args,
    children: Children,
}

impl<'a> World<'a> {
    pub(super) fn new(root: &'a Path, scratch: &'a Path, args: &'a Args) -> Self {
        Self { root, scratch, args, children: Children::new(scratch) }
    }

    /// Starts everything and waits until samples of the whole fleet arrive.
    ///
    /// # Errors
    /// A program ends, or is not ready in time.
    pub(super) fn start(&mut self, tools: &Tools, firebreak: &Path) -> anyhow::Result<()> {
        self.start_firebreak(firebreak)?;
        self.start_monitoring(tools)?;
        let (prometheus, alertmanager) =
            (self.args.ports.prometheus(), self.args.ports.alertmanager());
        self.wait("firebreak", "ready", |world| world.has_said_ready())?;
        self.wait("alertmanager", "ready", |_| http::is_ok(alertmanager, "/-/ready"))?;
        self.wait("prometheus", "scraping the fleet", |_| are_targets_up(prometheus))
    }

    fn start_firebreak(&mut self, firebreak: &Path) -> anyhow::Result<()> {
        let ports = &self.args.ports;
        let mut command = Command::new(firebreak);
        command
            .arg("up")
            .arg("--data-dir")
            .arg(self.scratch.join("data"))
            .arg("--config-dir")
            .arg(self.root.join("deploy/config"))
            .arg("--ansible-dir")
            .arg(self.root.join("deploy/ansible"))
            .args(["--host", "127.0.0.1"])
            .args(["--scrape-interval", self.args.profile.scrape_seconds()])
            .args(["--port-offset", &ports.offset().to_string()])
            .args(["--prometheus-url", &format!("http://{}", ports.prometheus())])
            .args(["--alertmanager-url", &format!("http://{}", ports.alertmanager())]);
        command.env("NO_COLOR", "1");
        for name in OUTSIDE {
            command.env_remove(name);
        }
        if let Some(program) = &self.args.without {
            command.args(["--without", program]);
        }
        self.children.start("firebreak", &command, self.scratch).map(drop)
    }

    fn start_monitoring(&mut self, tools: &Tools) -> anyhow::Result<()> {
        let ports = &self.args.ports;
        let files = self.scratch.join("monitoring");
        let [database, app, gateway] = ports.fleet().map(|address| address.to_string());
        let targets = monitoring::Targets {
            database,
            app,
            gateway,
            alertmanager: ports.alertmanager().to_string(),
            ingress: ports.ingress().to_string(),
            // Made by `firebreak up`, for this run alone.
            webhook_token_file: self.scratch.join("data/webhook-token").display().to_string(),
        };
        monitoring::write(&files, self.args.profile.monitoring(), &targets)?;
        let flag = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let mut prometheus = Command::new(&tools.prometheus);
        prometheus
            .arg(flag("config.file", &files.join("prometheus.yml").display()))
            .arg(flag("storage.tsdb.path", &self.scratch.join("prometheus").display()))
            .arg(flag("web.listen-address", &ports.prometheus()));
        self.children.start("prometheus", &prometheus, self.scratch)?;
        let mut alertmanager = Command::new(&tools.alertmanager);
        alertmanager
            .arg(flag("config.file", &files.join("alertmanager.yml").display()))
            .arg(flag("storage.path", &self.scratch.join("alertmanager").display()))
            .arg(flag("web.listen-address", &ports.alertmanager()))
            // One of a kind: no gossip, no further port.
            .arg("--cluster.listen-address=");
        self.children.start("alertmanager", &alertmanager, self.scratch).map(drop)
    }

    fn wait(
        &mut self,
        name: &str,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !is_so(self) {
            self.check()?;
            ensure!(started.elapsed() < READY, "{name} is not {what} after {} s", READY.as_secs());
            interrupt::pause(Duration::from_millis(50))?;
        }
        println!("{name} is {what}");
        Ok(())
    }

    /// # Errors
    /// A program has ended although the demo needs it.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.children.ended() {
            None => Ok(()),
            Some(ended) => bail!("{} ended by itself ({})", ended.name, ended.status),
        }
    }

    fn has_said_ready(&self) -> bool {
        let said = fs::read_to_string(self.scratch.join("firebreak.out")).unwrap_or_default();
        said.lines()
            .any(|line| line.split_whitespace().any(|word| word.trim_matches(':') == "ready"))
    }

    /// `inactive`, `pending` or `firing`, as Prometheus says.
    pub(super) fn alert_state(&self, name: &str) -> String {
        let prometheus = self.args.ports.prometheus();
        let Ok(answer) = http::get_json::<Value>(prometheus, "/api/v1/alerts") else {
            return "unknown".into();
        };
        let alerts = answer["data"]["alerts"].as_array().into_iter().flatten();
        let mut states = alerts
            .filter(|alert| alert["labels"]["alertname"] == name)
            .filter_map(|alert| alert["state"].as_str());
        states.next().unwrap_or("inactive").to_owned()
    }

    /// Shows the last words of every program, for a run that went wrong.
    pub(super) fn print_log_tail(&self) {
        for name in ["firebreak", "prometheus", "alertmanager"] {
            let errors = self.scratch.join(format!("{name}.err"));
            let text = fs::read_to_string(errors).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!("\nlast lines of {name}:");
            for line in &lines[lines.len().saturating_sub(12)..] {
                println!("  {line}");
            }
        }
    }

    pub(super) fn stop(&mut self) {
        self.children.stop();
    }
}

/// Whether every target of the fleet was scraped well.
fn are_targets_up(prometheus: SocketAddr) -> bool {
    let path = "/api/v1/targets?state=active";
    let Ok(answer) = http::get_json::<Value>(prometheus, path) else { return false };
    let targets = answer["data"]["activeTargets"].as_array();
    targets.is_some_and(|targets| {
        targets.len() >= 3 && targets.iter().all(|target| target["health"] == "up")
    })
}
