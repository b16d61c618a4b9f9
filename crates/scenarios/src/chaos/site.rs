//! Where everything of one run is, and how each program is started there: by its own configuration
//! and environment, as an operator would start it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{LEASE, SCRAPE, plan};
use crate::Program;
use crate::program::inherited;

/// One process of a program: replicas share a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance {
    pub(crate) program: Program,
    pub(crate) replica: u16,
}

impl std::fmt::Display for Instance {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}-{}", self.program.name(), self.replica)
    }
}

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) scratch: PathBuf,
    /// The directory of our programs, built with failpoints.
    pub(crate) binaries: PathBuf,
    /// Where PostgreSQL answers, if it is what keeps the state.
    postgres: Option<String>,
    /// Whether callers reach a program through the driver even where it is one process.
    is_proxied: bool,
    /// What runs playbooks.
    pub(crate) playbooks: PathBuf,
    first_port: u16,
}

const PORTS: u16 = 40;
const REPLICAS: u16 = 2;

impl Site {
    /// # Errors
    /// There are no free ports, or the files cannot be written.
    pub(crate) fn new(
        scratch: &Path,
        binaries: &Path,
        (postgres, is_proxied): (Option<String>, bool),
        playbooks: PathBuf,
        targets: &[plan::Target],
    ) -> anyhow::Result<Self> {
        let is_free = |first: &u16| {
            (0..PORTS).all(|offset| TcpListener::bind(("127.0.0.1", first + offset)).is_ok())
        };
        // Below the range of outgoing connections, and elsewhere than the scenarios look.
        let start = (std::process::id() % 150) as u16;
        let blocks = (0..150).map(|index| 12_000 + (start + index) % 150 * PORTS);
        let first_port = blocks.into_iter().find(is_free).context("no free block of ports")?;
        let site = Self {
            scratch: scratch.to_owned(),
            binaries: binaries.to_owned(),
            postgres,
            is_proxied,
            playbooks,
            first_port,
        };
        fs::create_dir_all(site.fleet_logs())?;
        for target in targets {
            fs::write(site.fleet_logs().join(format!("{}.log", target.name)), "")?;
        }
        plan::write(&site.plan(), targets, &site.fleet())?;
        for name in SECRETS {
            let file = site.secret(name);
            fs::write(&file, site.secret_text(name))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        }
        fs::write(site.scratch.join("prometheus.yml"), site.prometheus_config().to_string())?;
        Ok(site)
    }

    /// Every process of ours.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        let all = Program::OURS.into_iter().flat_map(|program| {
            let replicas = if self.has_replicas() { REPLICAS } else { 1 };
            (0..replicas).map(move |replica| Instance { program, replica })
        });
        all.collect()
    }

    /// A file of SQLite belongs to one process.
    fn has_replicas(&self) -> bool {
        self.postgres.is_some()
    }

    fn at(&self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.first_port + offset)
    }

    /// Where callers find a program, whichever replica answers.
    pub(crate) fn front(&self, program: Program) -> String {
        self.at(number(program))
    }

    pub(crate) fn url(&self, program: Program) -> String {
        format!("http://{}", self.front(program))
    }

    /// Where one process of a program listens: the front itself where there is only one.
    pub(crate) fn address(&self, instance: Instance) -> String {
        match self.has_replicas() || self.is_proxied {
            true => self.at(10 + number(instance.program) * REPLICAS + instance.replica),
            false => self.front(instance.program),
        }
    }

    pub(crate) fn fleet(&self) -> String {
        self.at(30)
    }

    fn prometheus(&self) -> String {
        self.at(31)
    }

    pub(crate) fn prometheus_url(&self) -> String {
        format!("http://{}", self.prometheus())
    }

    fn plan(&self) -> PathBuf {
        self.scratch.join("plan")
    }

    pub(crate) fn fleet_logs(&self) -> PathBuf {
        self.scratch.join("fleet-logs")
    }

    pub(crate) fn tickets(&self) -> PathBuf {
        self.scratch.join("tickets")
    }

    /// Where the failpoints say what they did.
    pub(crate) fn hits(&self) -> PathBuf {
        self.scratch.join("failpoints.log")
    }

    pub(crate) fn output(&self, name: impl std::fmt::Display) -> PathBuf {
        self.scratch.join(format!("{name}.log"))
    }

    /// What `FIREBREAK_DATABASE` says to a program.
    pub(crate) fn database_of(&self, program: Program) -> String {
        match &self.postgres {
            Some(url) => url.clone(),
            None => self.scratch.join(format!("{}.db", program.name())).display().to_string(),
        }
    }

    fn secret(&self, name: &str) -> PathBuf {
        self.scratch.join(format!("{name}.token"))
    }

    fn secret_text(&self, name: &str) -> String {
        format!("only-{name}-knows-{:05}-0123456789abcdef", self.first_port)
    }

    pub(crate) fn webhook_token(&self) -> String {
        self.secret_text(WEBHOOK)
    }

    /// Texts that may stand nowhere but in their own files.
    pub(crate) fn secrets(&self) -> Vec<String> {
        SECRETS.iter().map(|name| self.secret_text(name)).collect()
    }

    /// # Errors
    /// Prometheus is not installed.
    pub(crate) fn prometheus_command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", self.scratch.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.scratch.join("prometheus").display()))
            .arg(format!("--web.listen-address={}", self.prometheus()))
            .arg("--log.level=warn")
            .env_clear()
            .envs(inherited());
        command
    }

    fn prometheus_config(&self) -> Value {
        let millis = format!("{}ms", SCRAPE.as_millis());
        json!({
            "global": {"scrape_interval": millis, "scrape_timeout": millis},
            "scrape_configs": [{
                "job_name": "fleet", "static_configs": [{"targets": [self.fleet()]}],
            }],
        })
    }

    /// The command that starts one process.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub(crate) fn command(&self, instance: Instance) -> anyhow::Result<Command> {
        let program = instance.program;
        let binary = self.binaries.join(program.name());
        ensure!(binary.is_file(), "{} is not there", binary.display());
        let directory = self.scratch.join(instance.to_string());
        fs::create_dir_all(&directory)?;
        let config = directory.join("config.yaml");
        fs::write(&config, self.config(instance).to_string())?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(config).current_dir(directory).env_clear();
        command.envs(inherited()).env("FIREBREAK_LISTEN", self.address(instance));
        command.env("FIREBREAK_FAILPOINT_LOG", self.hits());
        for (name, value) in self.environment(instance) {
            command.env(name, value);
        }
        Ok(command)
    }

    fn config(&self, instance: Instance) -> Value {
        let bearer = json!([{"name": "ingress", "files": [self.secret("agents")]}]);
        let mut a2a = json!({"authentication": {"bearer": bearer}});
        if instance.program == Program::Ingress {
            a2a = json!({});
        }
        match instance.program {
            Program::LogAnalyzer | Program::SystemMonitor => json!({}),
            Program::DeploymentSystem => json!({
                "lease_seconds": LEASE.as_secs(), "ansible_playbook": self.playbooks, "longest_change_seconds": 10,
            }),
            Program::Ingress => json!({
                "a2a": a2a,
                "console_listen": self.at(32 + instance.replica),
                "lease_seconds": LEASE.as_secs(), "beat_seconds": LEASE.as_secs() / 2,
                "limits": {
                    "diagnosis_seconds": 20, "resolution_seconds": 40, "approval_seconds": 20,
                    "quiet_seconds": 5, "reopen_seconds": 60, "rounds": 2,
                },
            }),
            Program::ResolutionAgent => json!({
                "a2a": a2a, "lease_seconds": LEASE.as_secs(), "poll_millis": 100, "query_seconds": 2, "step_seconds": 10,
            }),
            _ => json!({"a2a": a2a, "lease_seconds": LEASE.as_secs()}),
        }
    }

    fn environment(&self, instance: Instance) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.display().to_string();
        let mcp = |server: Program| format!("{}/mcp", self.url(server));
        let mut pairs = match instance.program {
            Program::LogAnalyzer => vec![("FIREBREAK_LOG_DIR", text(self.fleet_logs()))],
            Program::SystemMonitor => vec![
                ("PROMETHEUS_URL", self.prometheus_url()),
                ("FIREBREAK_SIGNALS", text(self.plan().join("signals.yaml"))),
            ],
            Program::DeploymentSystem => vec![
                ("FIREBREAK_INVENTORY", text(self.plan().join("inventory.yaml"))),
                ("FIREBREAK_ANSIBLE_DIR", text(own_directory().join("chaos/ansible"))),
                ("FIREBREAK_WORK_DIR", text(self.scratch.join("work"))),
                ("FIREBREAK_MCP_TOKEN_FILE", text(self.secret("deployment"))),
            ],
            Program::DiagnosticAgent => vec![
                ("DIAGNOSTIC_RULES", text(self.plan().join("rules"))),
                ("LOG_ANALYZER_URL", mcp(Program::LogAnalyzer)),
                ("SYSTEM_MONITOR_URL", mcp(Program::SystemMonitor)),
                ("SCRAPE_INTERVAL_MS", SCRAPE.as_millis().to_string()),
            ],
            Program::ResolutionAgent => vec![
                ("RESOLUTION_POLICY", text(self.plan().join("policy.yaml"))),
                ("RESOLUTION_RUNBOOKS", text(self.plan().join("runbooks"))),
                ("SYSTEM_MONITOR_URL", mcp(Program::SystemMonitor)),
                ("DEPLOYMENT_SYSTEM_URL", mcp(Program::DeploymentSystem)),
                ("DEPLOYMENT_TOKEN_FILE", text(self.secret("deployment"))),
                ("SCRAPE_INTERVAL_SECONDS", SCRAPE.as_secs_f64().to_string()),
            ],
            Program::TicketingAgent => vec![("TICKETS_DIR", text(self.tickets()))],
            Program::Ingress => vec![
                ("DIAGNOSTIC_AGENT_URL", self.url(Program::DiagnosticAgent)),
                ("RESOLUTION_AGENT_URL", self.url(Program::ResolutionAgent)),
                ("TICKETING_AGENT_URL", self.url(Program::TicketingAgent)),
                ("DIAGNOSTIC_AGENT_TOKEN_FILE", text(self.secret("agents"))),
                ("RESOLUTION_AGENT_TOKEN_FILE", text(self.secret("agents"))),
                ("TICKETING_AGENT_TOKEN_FILE", text(self.secret("agents"))),
                ("ALERTMANAGER_WEBHOOK_TOKEN_FILE", text(self.secret(WEBHOOK))),
            ],
            Program::FaultSimulator | Program::Prometheus | Program::Alertmanager => Vec::new(),
        };
        pairs.push(("FIREBREAK_PUBLIC_URL", self.url(instance.program)));
        pairs.push(("FIREBREAK_DATABASE", self.database_of(instance.program)));
        pairs
    }
}

const SECRETS: [&str; 3] = ["agents", "deployment", WEBHOOK];
/// What Alertmanager shows to ingress.
const WEBHOOK: &str = "webhook";

fn number(program: Program) -> u16 {
    let place = Program::OURS.into_iter().position(|one| one == program);
    place.and_then(|place| u16::try_from(place).ok()).unwrap_or(9)
}

/// The directory of this crate.
pub(crate) fn own_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
