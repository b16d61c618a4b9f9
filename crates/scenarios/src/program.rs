//! The programs of a world, and how each is started: by its own configuration and environment, as
//! an operator would start it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::binaries::Tools;
use crate::monitoring;
use crate::ports::Ports;

/// The caller that other agents know.
const INGRESS: &str = "ingress";
/// Where ingress is told of the tokens that other agents take from it.
const AGENT_TOKENS: [&str; 3] =
    ["DIAGNOSTIC_AGENT_TOKEN_FILE", "RESOLUTION_AGENT_TOKEN_FILE", "TICKETING_AGENT_TOKEN_FILE"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    FaultSimulator,
    LogAnalyzer,
    SystemMonitor,
    DeploymentSystem,
    DiagnosticAgent,
    ResolutionAgent,
    TicketingAgent,
    Ingress,
    Prometheus,
    Alertmanager,
}

impl Program {
    /// In the order they are started.
    pub const ALL: [Self; 10] = [
        Self::FaultSimulator,
        Self::LogAnalyzer,
        Self::SystemMonitor,
        Self::DeploymentSystem,
        Self::DiagnosticAgent,
        Self::ResolutionAgent,
        Self::TicketingAgent,
        Self::Ingress,
        Self::Prometheus,
        Self::Alertmanager,
    ];

    /// All that run on our side; the fleet and its monitoring are somebody else's.
    pub const OURS: [Self; 7] = [
        Self::LogAnalyzer,
        Self::SystemMonitor,
        Self::DeploymentSystem,
        Self::DiagnosticAgent,
        Self::ResolutionAgent,
        Self::TicketingAgent,
        Self::Ingress,
    ];

    /// Those that speak A2A.
    pub const AGENTS: [Self; 4] =
        [Self::Ingress, Self::DiagnosticAgent, Self::ResolutionAgent, Self::TicketingAgent];

    pub fn name(self) -> &'static str {
        match self {
            Self::FaultSimulator => "fault-simulator",
            Self::LogAnalyzer => "log-analyzer",
            Self::SystemMonitor => "system-monitor",
            Self::DeploymentSystem => "deployment-system",
            Self::DiagnosticAgent => "diagnostic-agent",
            Self::ResolutionAgent => "resolution-agent",
            Self::TicketingAgent => "ticketing-agent",
            Self::Ingress => "ingress",
            Self::Prometheus => "prometheus",
            Self::Alertmanager => "alertmanager",
        }
    }

    /// The path that answers 200 once the program serves.
    pub(crate) fn readiness(self) -> &'static str {
        match self {
            Self::FaultSimulator => "/faults",
            Self::Prometheus | Self::Alertmanager => "/-/ready",
            _ => "/readyz",
        }
    }
}

/// Everything the start of a program depends on.
#[derive(Debug)]
pub(crate) struct Site {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Holds one directory per program, and the fleet's logs.
    pub(crate) scratch: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) tools: Tools,
    /// Text added to the configuration file of ingress.
    pub(crate) ingress_settings: String,
    /// Runbooks whose mode is `approve`.
    pub(crate) with_approval: Vec<&'static str>,
    pub(crate) for_strangers: bool,
    /// Commands of strangers that take the place of programs.
    pub(crate) stand_ins: BTreeMap<Program, Vec<String>>,
}

impl Site {
    /// The directory a program runs in and keeps its data in.
    pub(crate) fn directory(&self, program: Program) -> PathBuf {
        self.scratch.join(program.name())
    }

    pub(crate) fn database(&self, program: Program) -> PathBuf {
        self.directory(program).join("state.db")
    }

    pub(crate) fn tickets(&self) -> PathBuf {
        self.directory(Program::TicketingAgent).join("tickets")
    }

    /// Where deployment-system keeps the files of what it runs.
    pub(crate) fn work_directory(&self) -> PathBuf {
        self.directory(Program::DeploymentSystem).join("work")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.scratch.join("fleet-logs")
    }

    pub(crate) fn url(&self, program: Program) -> String {
        format!("http://{}", self.ports.of(program))
    }

    /// The command that starts `program`.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub(crate) fn command(&self, program: Program) -> anyhow::Result<Command> {
        let directory = self.directory(program);
        fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
        let mut command = match program {
            Program::Prometheus => monitoring::prometheus(self)?,
            Program::Alertmanager => monitoring::alertmanager(self)?,
            ours => match self.stand_ins.get(&ours).map(Vec::as_slice) {
                Some([program, arguments @ ..]) => {
                    let mut command = Command::new(program);
                    command.args(arguments);
                    command
                }
                _ => self.our_command(ours)?,
            },
        };
        command.current_dir(directory).env_clear().envs(inherited());
        for (name, value) in self.environment(program) {
            command.env(name, value);
        }
        if self.stand_ins.contains_key(&program) {
            command.env("PROMETHEUS_URL", self.url(Program::Prometheus));
        }
        Ok(command)
    }

    fn our_command(&self, program: Program) -> anyhow::Result<Command> {
        let mut command = Command::new(self.tools.ours(program));
        if program == Program::ResolutionAgent {
            fs::write(self.policy(), self.policy_text()?)?;
        }
        if program == Program::Ingress {
            self.webhook_token()?;
        }
        let text = match program {
            Program::FaultSimulator => self.simulator_config(),
            Program::Ingress => self.ingress_settings.clone(),
            _ => {
                let shipped = self.deployed(&format!("{}.yaml", program.name()));
                // The tools have none.
                fs::read_to_string(shipped).unwrap_or_default()
            }
        };
        let written = self.directory(program).join("config.yaml");
        fs::write(&written, text + &self.offer(program)?)?;
        command.arg("--config").arg(written);
        Ok(command)
    }

    /// How an agent is offered to others.
    fn offer(&self, program: Program) -> anyhow::Result<String> {
        if !self.for_strangers || !Program::AGENTS.contains(&program) {
            return Ok(String::new());
        }
        let mut callers = Vec::new();
        for name in [INGRESS, "stranger"] {
            let file = self.token(name);
            self.make_token(name)?;
            callers.push(json!({"name": name, "files": [file]}));
        }
        let offer = json!({
            "authentication": {"bearer": callers},
            "push": {"allow_http": true, "allow_addresses": ["127.0.0.0/8"]},
            "v0_3": true,
        });
        Ok(format!("\na2a: {offer}\n"))
    }

    /// Makes the token of a caller, once: a program that runs already reads it again when it changes.
    fn make_token(&self, caller: &str) -> anyhow::Result<PathBuf> {
        let file = self.token(caller);
        if !file.is_file() {
            fs::write(&file, format!("only-{caller}-knows-0123456789abcdef"))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }

    /// What Alertmanager shows to ingress.
    pub(crate) fn webhook_token(&self) -> anyhow::Result<PathBuf> {
        self.make_token("alertmanager")
    }

    /// The file of a caller's token.
    pub(crate) fn token(&self, caller: &str) -> PathBuf {
        self.scratch.join(format!("{caller}.token"))
    }

    fn simulator_config(&self) -> String {
        let [database, app, gateway] = self.ports.fleet();
        format!(
            "database_address: {database}\napp_address: {app}\ngateway_address: {gateway}\n\
             log_directory: {}\n",
            self.logs().display()
        )
    }

    fn policy(&self) -> PathBuf {
        self.directory(Program::ResolutionAgent).join("policy.yaml")
    }

    /// The shipped policy, but for the runbooks that wait for a person.
    fn policy_text(&self) -> anyhow::Result<String> {
        let mut text = fs::read_to_string(self.deployed("policy.yaml"))?;
        for runbook in &self.with_approval {
            let shipped = format!("{runbook}: auto");
            ensure!(text.contains(&shipped), "the policy has no {shipped:?}");
            text = text.replace(&shipped, &format!("{runbook}: approve"));
        }
        Ok(text)
    }

    /// A file under `deploy/config`.
    pub(crate) fn deployed(&self, name: &str) -> PathBuf {
        self.root.join("deploy/config").join(name)
    }

    fn environment(&self, program: Program) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        let mcp = |server: Program| format!("{}/mcp", self.url(server));
        let mut pairs = match program {
            Program::FaultSimulator | Program::Prometheus | Program::Alertmanager => {
                return Vec::new();
            }
            Program::LogAnalyzer => vec![("FIREBREAK_LOG_DIR", text(&self.logs()))],
            Program::SystemMonitor => vec![
                ("PROMETHEUS_URL", self.url(Program::Prometheus)),
                ("FIREBREAK_SIGNALS", text(&self.deployed("signals.yaml"))),
            ],
            Program::DeploymentSystem => vec![
                ("FIREBREAK_INVENTORY", text(&self.deployed("inventory.yaml"))),
                ("FIREBREAK_TARGET_URLS", self.target_urls()),
                ("FIREBREAK_ANSIBLE_DIR", text(&self.root.join("deploy/ansible"))),
                ("FIREBREAK_WORK_DIR", text(&self.work_directory())),
            ],
            Program::DiagnosticAgent => vec![
                ("DIAGNOSTIC_RULES", text(&self.deployed("rules"))),
                ("LOG_ANALYZER_URL", mcp(Program::LogAnalyzer)),
                ("SYSTEM_MONITOR_URL", mcp(Program::SystemMonitor)),
                ("SCRAPE_INTERVAL_MS", "1000".to_owned()),
            ],
            Program::ResolutionAgent => vec![
                ("RESOLUTION_POLICY", text(&self.policy())),
                ("RESOLUTION_RUNBOOKS", text(&self.deployed("runbooks"))),
                ("SYSTEM_MONITOR_URL", mcp(Program::SystemMonitor)),
                ("DEPLOYMENT_SYSTEM_URL", mcp(Program::DeploymentSystem)),
                ("SCRAPE_INTERVAL_SECONDS", "1".to_owned()),
            ],
            Program::TicketingAgent => vec![("TICKETS_DIR", text(&self.tickets()))],
            Program::Ingress => vec![
                ("FIREBREAK_CONSOLE_LISTEN", self.ports.console()),
                ("DIAGNOSTIC_AGENT_URL", self.url(Program::DiagnosticAgent)),
                ("RESOLUTION_AGENT_URL", self.url(Program::ResolutionAgent)),
                ("TICKETING_AGENT_URL", self.url(Program::TicketingAgent)),
                ("ALERTMANAGER_URL", self.url(Program::Alertmanager)),
                ("ALERTMANAGER_WEBHOOK_TOKEN_FILE", text(&self.token("alertmanager"))),
            ],
        };
        if program == Program::Ingress && self.for_strangers {
            let token = text(&self.token(INGRESS));
            pairs.extend(AGENT_TOKENS.map(|name| (name, token.clone())));
        }
        pairs.push(("FIREBREAK_LISTEN", self.ports.of(program)));
        pairs.push(("FIREBREAK_DATABASE", text(&self.database(program))));
        pairs
    }

    fn target_urls(&self) -> String {
        let [database, app, gateway] = self.ports.fleet();
        format!(
            "db-server-01=http://{database},app-server-01=http://{app},\
             api-gateway-01=http://{gateway}"
        )
    }
}

/// What a program needs of this process's environment. Nothing else passes: a `JIRA_URL` of the
/// person who runs the tests must not become theirs.
pub(crate) fn inherited() -> Vec<(&'static str, String)> {
    let names = ["PATH", "HOME", "LANG", "FIREBREAK_LOG", "RUST_BACKTRACE"];
    names.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))).collect()
}
