//! Every program in one process. They still meet over A2A and MCP only, on the loopback address.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use mcp_tools::{deployment_system, log_analyzer, system_monitor};
use rpc::a2a::{BearerConfig, PeerConfig, ServerConfig};
use service::{Configuration, Env, LogFormat, Process, Running, init_telemetry, read_yaml};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::arguments::{Program, Up};
use crate::shipped;

/// How long shutdown waits for each program's work in hand.
const DRAIN: Duration = Duration::from_secs(10);

/// What only resolution-agent and deployment-system of this process know: nothing else on the
/// machine that cannot read this file may change a target.
const DEPLOYMENT_TOKEN: &str = "deployment-token";

/// What only ingress and the three agents of this process know: nobody else may call the agents.
const AGENTS_TOKEN: &str = "agents-token";

/// What Alertmanager shows when it posts here. It is made once and stays, since others are told of it.
const WEBHOOK_TOKEN: &str = "webhook-token";

/// The source whose webhooks every installation takes.
const ALERTMANAGER: &str = "alertmanager";

/// What the environment may say here: services outside this process. The rest comes from flags.
const OUTSIDE: &[&str] = &[
    "JIRA_URL",
    "JIRA_PROJECT",
    "JIRA_USER",
    "JIRA_TOKEN_FILE",
    "PROMETHEUS_TOKEN_FILE",
    "ALERTMANAGER_TOKEN_FILE",
    "ALERTMANAGER_WEBHOOK_TOKEN_FILE",
    "DIAGNOSTIC_AGENT_URL",
    "DIAGNOSTIC_AGENT_TOKEN_FILE",
    "RESOLUTION_AGENT_URL",
    "RESOLUTION_AGENT_TOKEN_FILE",
    "TICKETING_AGENT_URL",
    "TICKETING_AGENT_TOKEN_FILE",
];

pub(crate) async fn up(arguments: Up) -> anyhow::Result<()> {
    let _telemetry = init_telemetry("firebreak", LogFormat::Text)?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let root = Process::new("firebreak");
    let mut fleet = Fleet::new(&arguments, root)?;
    let started = tokio::select! {
        started = fleet.start() => started,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if started.is_ok() && fleet.is_started {
        println!(
            "ready: console http://{}, webhooks to http://{}/webhooks/alertmanager{}",
            fleet.address(5001),
            fleet.address(5000),
            match &fleet.webhook_token {
                Some(token) => format!(" with the token in {}", token.display()),
                None => String::new(),
            }
        );
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    let stopped = tokio::select! {
        stopped = fleet.stop() => stopped,
        _ = interrupt.recv() => Err(anyhow::anyhow!("stopped by a second signal")),
        _ = terminate.recv() => Err(anyhow::anyhow!("stopped by a second signal")),
    };
    started.and(stopped)
}

/// The programs of one process, in the order they start; they stop in the opposite one.
struct Fleet<'a> {
    arguments: &'a Up,
    config_dir: PathBuf,
    ansible_dir: PathBuf,
    env: Env,
    root: Process,
    running: Vec<Process>,
    is_started: bool,
    /// The token that Alertmanager shows, unless the settings say who may post.
    webhook_token: Option<PathBuf>,
    /// Held for as long as this process runs.
    _lock: File,
}

impl<'a> Fleet<'a> {
    fn new(arguments: &'a Up, root: Process) -> anyhow::Result<Self> {
        let data = &arguments.data_dir;
        std::fs::create_dir_all(data).with_context(|| format!("create {}", data.display()))?;
        let lock = lock(data)?;
        let values: Vec<(&str, String)> =
            OUTSIDE.iter().filter_map(|name| Some((*name, Env::process().get(name)?))).collect();
        Ok(Self {
            config_dir: shipped::config_dir(arguments.config_dir.as_deref(), data)?,
            ansible_dir: shipped::ansible_dir(arguments.ansible_dir.as_deref(), data)?,
            env: Env::fixed(values.iter().map(|(name, value)| (*name, value.as_str()))),
            arguments,
            root,
            running: Vec::new(),
            is_started: false,
            webhook_token: None,
            _lock: lock,
        })
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let token = self.data(AGENTS_TOKEN);
        write_token(&token).with_context(|| format!("write {}", token.display()))?;
        let logs = self.data("logs");
        let mut simulator: fault_simulator::Config = self.config("fault-simulator.yaml")?;
        simulator.database_address = self.address(8000);
        simulator.app_address = self.address(8001);
        simulator.gateway_address = self.address(8002);
        simulator.log_directory = logs.clone();
        self.program(Program::FaultSimulator, simulator, fault_simulator::start).await?;

        let mut analyzer: log_analyzer::Config = self.config("log-analyzer.yaml")?;
        analyzer.listen = self.address(5110);
        analyzer.directory = logs;
        self.program(Program::LogAnalyzer, analyzer, log_analyzer::start).await?;

        let mut monitor: system_monitor::Config = self.config("system-monitor.yaml")?;
        monitor.listen = self.address(5120);
        monitor.prometheus_url = self.arguments.prometheus_url.clone();
        monitor.catalogue = self.config_dir.join("signals.yaml");
        self.program(Program::SystemMonitor, monitor, system_monitor::start).await?;

        let deployment = self.deployment_system()?;
        self.program(Program::DeploymentSystem, deployment, deployment_system::start).await?;

        let mut diagnostic: diagnostic_agent::Config = self.config("diagnostic-agent.yaml")?;
        diagnostic.listen = self.address(5010);
        diagnostic.rules = self.config_dir.join("rules");
        diagnostic.log_analyzer.url = self.mcp_url(5110)?;
        diagnostic.system_monitor.url = self.mcp_url(5120)?;
        self.admit_ingress(&mut diagnostic.a2a);
        diagnostic.scrape_interval_ms = (self.arguments.scrape_interval * 1000.0) as u64;
        self.program(Program::DiagnosticAgent, diagnostic, diagnostic_agent::start).await?;

        let mut resolution: resolution_agent::Config = self.config("resolution-agent.yaml")?;
        resolution.listen = self.address(5020);
        resolution.database = self.data("resolution-agent.db").display().to_string();
        resolution.runbooks = self.config_dir.join("runbooks");
        resolution.policy = self.config_dir.join("policy.yaml");
        resolution.system_monitor_url = self.mcp_url(5120)?;
        resolution.deployment_system_url = self.mcp_url(5130)?;
        resolution.scrape_interval_seconds = self.arguments.scrape_interval;
        self.admit_ingress(&mut resolution.a2a);
        resolution.deployment_token_file.get_or_insert_with(|| self.data(DEPLOYMENT_TOKEN));
        self.program(Program::ResolutionAgent, resolution, resolution_agent::start).await?;

        let mut ticketing: ticketing_agent::Config = self.config("ticketing-agent.yaml")?;
        ticketing.listen = self.address(5030);
        ticketing.database = self.data("ticketing-agent.db").display().to_string();
        ticketing.file.directory = self.data("tickets");
        self.admit_ingress(&mut ticketing.a2a);
        self.program(Program::TicketingAgent, ticketing, ticketing_agent::start).await?;

        let mut ingress: ingress::Config = self.config("ingress.yaml")?;
        ingress.listen = self.address(5000);
        ingress.console_listen = self.address(5001);
        ingress.database = self.data("ingress.db").display().to_string();
        ingress.agents = self.agents(ingress.agents)?;
        self.admit_alertmanager(&mut ingress.sources)?;
        let up = self.arguments;
        ingress.prometheus_url = Some(up.prometheus_url.clone());
        ingress.alertmanager_url = up.alertmanager_url.clone().or(ingress.alertmanager_url);
        ingress.grafana_url = up.grafana_url.clone().or(ingress.grafana_url);
        self.program(Program::Ingress, ingress, ingress::start).await?;
        self.is_started = true;
        Ok(())
    }

    /// Who holds the roles: the agents of this process, and for one that was left out whoever the
    /// settings name.
    fn agents(&self, configured: ingress::Agents) -> anyhow::Result<ingress::Agents> {
        let own = |program: Program, port: u16, configured: PeerConfig| {
            let is_left_out = self.arguments.without.contains(&program);
            let token = (!is_left_out).then(|| self.data(AGENTS_TOKEN));
            holder(name_of(program), port, configured, self.url(port)?, token)
        };
        Ok(ingress::Agents {
            diagnostic: own(Program::DiagnosticAgent, 5010, configured.diagnostic)?,
            resolution: own(Program::ResolutionAgent, 5020, configured.resolution)?,
            ticketing: own(Program::TicketingAgent, 5030, configured.ticketing)?,
        })
    }

    /// Lets an agent's tasks be asked for by whoever can read this user's token file, and by the
    /// callers its settings name.
    fn admit_ingress(&self, settings: &mut ServerConfig) {
        let files = vec![self.data(AGENTS_TOKEN)];
        settings.authentication.bearer.push(BearerConfig { name: "ingress".into(), files });
    }

    /// Lets whoever can read this user's token file post as Alertmanager, unless the settings say who
    /// may.
    fn admit_alertmanager(&mut self, sources: &mut ingress::SourceConfigs) -> anyhow::Result<()> {
        if sources.contains_key(ALERTMANAGER) {
            return Ok(());
        }
        let token = self.data(WEBHOOK_TOKEN);
        if !token.is_file() {
            write_token(&token).with_context(|| format!("write {}", token.display()))?;
        }
        let source = ingress::SourceConfig::bearer(ingress::Format::Alertmanager, &token);
        sources.insert(ALERTMANAGER.into(), source);
        self.webhook_token = Some(token);
        Ok(())
    }

    fn deployment_system(&self) -> anyhow::Result<deployment_system::Config> {
        let mut config: deployment_system::Config = self.config("deployment-system.yaml")?;
        config.listen = self.address(5130);
        config.inventory = self.config_dir.join("inventory.yaml");
        config.ansible_directory = self.ansible_dir.clone();
        config.database = self.data("deployment-system.db").display().to_string();
        config.work_directory = self.data("deployment-system");
        if config.access.token_files.is_empty() {
            let token = self.data(DEPLOYMENT_TOKEN);
            write_token(&token).with_context(|| format!("write {}", token.display()))?;
            config.access.token_files.push(token);
        }
        if self.arguments.port_offset != 0 {
            for (target, port) in
                [("db-server-01", 8000), ("app-server-01", 8001), ("api-gateway-01", 8002)]
            {
                config.target_urls.insert(target.into(), self.url(port)?);
            }
        }
        Ok(config)
    }

    /// Checks a program's settings and starts it, unless it was left out.
    async fn program<C, F, S>(
        &mut self,
        program: Program,
        config: C,
        start: S,
    ) -> anyhow::Result<()>
    where
        C: Configuration,
        S: FnOnce(C, Process) -> F,
        F: Future<Output = anyhow::Result<Running>>,
    {
        if self.arguments.without.contains(&program) {
            return Ok(());
        }
        let what = || format!("start {} (--port-offset moves every port)", name_of(program));
        config.validate().with_context(|| format!("configuration of {}", name_of(program)))?;
        let process = self.root.child(name_of(program));
        self.running.push(process.clone());
        Box::pin(start(config, process)).await.with_context(what).map(drop)
    }

    async fn stop(&self) -> anyhow::Result<()> {
        let mut first_failure = Ok(());
        for process in self.running.iter().rev() {
            let stopped = process.shut_down(DRAIN).await;
            first_failure = first_failure.and(stopped.map_err(anyhow::Error::from));
        }
        first_failure
    }

    /// A program's settings, not checked yet: its file where the directory has one, else its
    /// defaults, then the environment.
    fn config<C: Configuration>(&self, file: &str) -> anyhow::Result<C> {
        let path = self.config_dir.join(file);
        let mut config = if path.is_file() { read_yaml(&path)? } else { C::default() };
        config.apply_env(&self.env)?;
        Ok(config)
    }

    fn data(&self, name: &str) -> PathBuf {
        Path::new(&self.arguments.data_dir).join(name)
    }

    fn address(&self, port: u16) -> String {
        format!("{}:{}", self.arguments.host, self.port(port))
    }

    fn url(&self, port: u16) -> anyhow::Result<Url> {
        Ok(Url::parse(&format!("http://{}", self.address(port)))?)
    }

    fn mcp_url(&self, port: u16) -> anyhow::Result<Url> {
        Ok(Url::parse(&format!("http://{}/mcp", self.address(port)))?)
    }

    fn port(&self, port: u16) -> u16 {
        port.saturating_add(self.arguments.port_offset)
    }
}

/// Who holds the role of an agent: the one of this process at `here`, which has a token, or the one
/// that the settings name. Keys that are pinned hold for either.
fn holder(
    agent: &str,
    port: u16,
    configured: PeerConfig,
    here: Url,
    token: Option<PathBuf>,
) -> anyhow::Result<PeerConfig> {
    let is_default = configured.url == Url::parse(&format!("http://127.0.0.1:{port}"))?;
    let Some(token) = token else {
        let url = if is_default { here } else { configured.url };
        return Ok(PeerConfig { url, ..configured });
    };
    anyhow::ensure!(
        is_default,
        "the settings name {} for the {agent} of this process: add --without {agent}",
        configured.url
    );
    let (card_url, allowed_origins) = (None, Vec::new());
    let token_file = Some(token);
    Ok(PeerConfig { url: here, token_file, card_url, allowed_origins, ..configured })
}

/// Keeps the data directory to this process: another one would write its tokens over ours.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("up.lock");
    let lock = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    lock.try_lock().with_context(|| {
        let data = data.display();
        format!("{data} belongs to a `firebreak up` that runs: give this one another --data-dir")
    })?;
    Ok(lock)
}

/// Writes a fresh token that only this user may read.
fn write_token(path: &Path) -> std::io::Result<()> {
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    let mut random = [0u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    // A file that is there already would keep its mode.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")
}

fn name_of(program: Program) -> &'static str {
    match program {
        Program::FaultSimulator => "fault-simulator",
        Program::LogAnalyzer => "log-analyzer",
        Program::SystemMonitor => "system-monitor",
        Program::DeploymentSystem => "deployment-system",
        Program::DiagnosticAgent => "diagnostic-agent",
        Program::ResolutionAgent => "resolution-agent",
        Program::TicketingAgent => "ticketing-agent",
        Program::Ingress => "ingress",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_keys_hold_and_no_agent_takes_a_role_unasked() {
        let url = |text: &str| Url::parse(text).unwrap();
        let here = url("http://127.0.0.1:6010");
        let pinned = |at: &str| {
            let signature_keys = Some("keys.json".into());
            PeerConfig { signature_keys, ..url(at).into() }
        };
        let holder = |at: &str, token: Option<&str>| {
            holder("diagnostic-agent", 5010, pinned(at), here.clone(), token.map(Into::into))
        };

        let own = holder("http://127.0.0.1:5010", Some("token")).unwrap();
        assert_eq!((&own.url, own.token_file), (&here, Some("token".into())));
        assert_eq!(own.signature_keys, Some("keys.json".into()));
        let elsewhere = holder("http://127.0.0.1:5010", None).unwrap();
        assert_eq!((&elsewhere.url, elsewhere.token_file), (&here, None));
        assert_eq!(elsewhere.signature_keys, Some("keys.json".into()));
        assert_eq!(holder("https://other", None).unwrap(), pinned("https://other"));
        let error = holder("https://other", Some("token")).unwrap_err().to_string();
        assert!(error.contains("--without diagnostic-agent"), "{error}");
    }
}
