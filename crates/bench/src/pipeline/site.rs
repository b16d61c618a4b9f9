//! The seven programs as an operator would start them, with a rule, a runbook and a policy for the
//! fleet, each with a database of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fleet::{SCRAPE_SECONDS, name_of};
use bench::alertmanager;
use bench::server::Server;

const RULE: &str = r#"id: bench
cause: bench.flag_off
summary: "the flag of {target} is off"
matches: alert.name == "BenchSymptom"
evidence:
  - name: symptom
    says: The symptom
    weight: 2
    metric: {query: 'max(bench_symptom{server="$target"})', unit: "1"}
  - name: flag
    says: The flag
    metric: {query: 'max(bench_flag{server="$target"})', unit: "1"}
conditions:
  - symptom > 0.5
  - flag < 0.5
confidence: {prior: 0.95, weight: 20}
runbooks: [bench]
"#;

const RUNBOOK: &str = r#"id: bench
description: Sets the flag, which does nothing but end the symptom.
causes: [bench.flag_off]
risk: low
steps:
  - name: Set the flag
    action: update_config
    parameters: {set: {flag: 1}}
    effect: idempotent
    undo: recorded
checks:
  symptom:
    name: the symptom
    query: max(bench_symptom{server="$target"})
    comparison: "<"
    threshold: 0.5
    hold_seconds: 0.2
    within_seconds: 30
"#;

/// Where the databases are: one file a program, or one PostgreSQL server for all.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite,
    Postgres(String),
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) ingress: SocketAddr,
    // In the order in which they are to end.
    _programs: Vec<Server>,
}

/// What the start of every program needs.
struct Ground<'a> {
    binaries: &'a Path,
    directory: &'a Path,
    database: &'a Database,
}

impl Site {
    pub(super) fn start(
        binaries: &Path,
        directory: &Path,
        database: &Database,
        fleet: SocketAddr,
        targets: usize,
    ) -> anyhow::Result<Self> {
        write_files(directory, fleet, targets)?;
        let ground = Ground { binaries, directory, database };
        let prometheus = format!("http://{fleet}");
        let rules = path(directory, "rules");
        let logs = path(directory, "logs");
        let log_analyzer = ground.start("log-analyzer", "", &[("FIREBREAK_LOG_DIR", &logs)])?;
        let signals = path(directory, "signals.yaml");
        let monitor = [("PROMETHEUS_URL", &*prometheus), ("FIREBREAK_SIGNALS", &signals)];
        let system_monitor =
            ground.start("system-monitor", "concurrent_calls: 4096\n", &monitor)?;
        let inventory = path(directory, "inventory.yaml");
        let (ansible, work) = (path(directory, "ansible"), path(directory, "work"));
        let deployment = [
            ("FIREBREAK_INVENTORY", &*inventory),
            ("FIREBREAK_ANSIBLE_DIR", &ansible),
            ("FIREBREAK_WORK_DIR", &work),
        ];
        let deployment =
            ground.start("deployment-system", "concurrent_calls: 4096\n", &deployment)?;
        let (logs_url, monitor_url) = (url(&log_analyzer), url(&system_monitor));
        let diagnostic = [
            ("DIAGNOSTIC_RULES", &*rules),
            ("LOG_ANALYZER_URL", &logs_url),
            ("SYSTEM_MONITOR_URL", &monitor_url),
            ("SCRAPE_INTERVAL_MS", "100"),
        ];
        let diagnostic = ground.start("diagnostic-agent", "", &diagnostic)?;
        let (policy, runbooks) = (path(directory, "policy.yaml"), path(directory, "runbooks"));
        let (deployment_url, scrape) = (url(&deployment), SCRAPE_SECONDS.to_string());
        let resolution = [
            ("RESOLUTION_POLICY", &*policy),
            ("RESOLUTION_RUNBOOKS", &runbooks),
            ("SYSTEM_MONITOR_URL", &monitor_url),
            ("DEPLOYMENT_SYSTEM_URL", &deployment_url),
            ("SCRAPE_INTERVAL_SECONDS", &scrape),
        ];
        // Clocks of one machine do not differ.
        let settings = "clock_skew_millis: 0\npoll_millis: 200\n";
        let resolution = ground.start("resolution-agent", settings, &resolution)?;
        let tickets = path(directory, "tickets");
        let ticketing = ground.start("ticketing-agent", "", &[("TICKETS_DIR", &tickets)])?;
        let roles = [url(&diagnostic), url(&resolution), url(&ticketing)];
        let token = alertmanager::write_token(directory)?.display().to_string();
        let ingress = [
            (alertmanager::TOKEN_FILE, &*token),
            ("FIREBREAK_CONSOLE_LISTEN", "127.0.0.1:0"),
            ("DIAGNOSTIC_AGENT_URL", &*roles[0]),
            ("RESOLUTION_AGENT_URL", &roles[1]),
            ("TICKETING_AGENT_URL", &roles[2]),
        ];
        let ingress = ground.start("ingress", "storm: {incidents: 0}\n", &ingress)?;
        let address = ingress.address;
        let others = [resolution, diagnostic, ticketing, deployment, system_monitor, log_analyzer];
        let programs = std::iter::once(ingress).chain(others).collect();
        Ok(Self { ingress: address, _programs: programs })
    }
}

impl Ground<'_> {
    fn start(
        &self,
        program: &str,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Server> {
        let settings_file = self.directory.join(format!("{program}.yaml"));
        fs::write(&settings_file, settings)?;
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(self.directory).arg("--config").arg(settings_file);
        command.env("FIREBREAK_LOG", "warn").envs(environment.iter().copied());
        let database = match self.database {
            Database::Sqlite => path(self.directory, &format!("{program}.db")),
            Database::Postgres(url) => url.clone(),
        };
        command.env("FIREBREAK_DATABASE", database);
        let log = self.directory.join(format!("{program}.log"));
        Server::start(command, &log, |command, address| {
            command.env("FIREBREAK_LISTEN", address.to_string());
        })
    }
}

fn write_files(directory: &Path, fleet: SocketAddr, targets: usize) -> anyhow::Result<()> {
    for name in ["rules", "runbooks", "logs", "ansible/playbooks", "work", "tickets"] {
        fs::create_dir_all(directory.join(name))?;
    }
    fs::write(directory.join("rules/bench.yaml"), RULE)?;
    fs::write(directory.join("runbooks/bench.yaml"), RUNBOOK)?;
    fs::write(directory.join("signals.yaml"), "targets: []\nsignals: {}\n")?;
    fs::write(directory.join("ansible/ansible.cfg"), "[defaults]\n")?;
    fs::write(directory.join("ansible/playbooks/catalogue.yaml"), "playbooks: {}\n")?;
    let mut inventory = String::from("targets:\n");
    // Every target is alone in its environment: the health of others is nobody's question.
    let mut policy = String::from(
        "mode: auto\nindependent_signals: 2\ncooldown_seconds: 0\n\
         rate: {window_seconds: 1, per_target: 100000, per_runbook: 100000, total: 100000}\n\
         repeat: {window_seconds: 1, attempts: 100000}\n\
         scope: [{actions: [update_config], targets: ['*'], environments: ['*']}]\n\
         environments:\n",
    );
    for target in 0..targets {
        let name = name_of(target);
        let base = format!("http://{fleet}/targets/{name}");
        writeln!(
            inventory,
            "  {name}: {{service: bench, executor: {{kind: http_admin, url: \"{base}\"}}}}"
        )?;
        writeln!(policy, "  e{name}: [{name}]")?;
    }
    fs::write(directory.join("inventory.yaml"), inventory)?;
    fs::write(directory.join("policy.yaml"), policy)?;
    Ok(())
}

fn path(directory: &Path, name: &str) -> String {
    PathBuf::from(directory).join(name).display().to_string()
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}
