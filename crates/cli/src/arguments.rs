//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

/// From a firing alert to a closed incident.
#[derive(Debug, Parser)]
#[command(name = "firebreak", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run every program in this one process, on SQLite and the loopback address
    Up(Box<Up>),
    /// List the newest incidents
    Incidents(Incidents),
    /// Print the timeline of an incident
    Timeline(Timeline),
    /// List effects that were given up, or have one performed again
    DeadLetters(DeadLetters),
    /// Look after the record of what was done
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Hold every timeline to its hash chain, and name the first bad row of each that was edited
    Verify(Verify),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Program {
    FaultSimulator,
    LogAnalyzer,
    SystemMonitor,
    DeploymentSystem,
    DiagnosticAgent,
    ResolutionAgent,
    TicketingAgent,
    Ingress,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Up {
    /// Databases, tickets and logs
    #[arg(long, default_value = "data")]
    pub(crate) data_dir: PathBuf,
    /// Configuration, rules and runbooks; without it ./deploy/config, else the shipped ones
    #[arg(long)]
    pub(crate) config_dir: Option<PathBuf>,
    /// Playbooks; without it ./deploy/ansible, else the shipped ones
    #[arg(long)]
    pub(crate) ansible_dir: Option<PathBuf>,
    /// Address every program listens on
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// Added to every default port
    #[arg(long, default_value_t = 0)]
    pub(crate) port_offset: u16,
    #[arg(long, env = "PROMETHEUS_URL", default_value = "http://127.0.0.1:9090")]
    pub(crate) prometheus_url: Url,
    /// Asked for alerts that fired while ingress was away
    #[arg(long, env = "ALERTMANAGER_URL")]
    pub(crate) alertmanager_url: Option<Url>,
    /// Linked in the console
    #[arg(long, env = "GRAFANA_URL")]
    pub(crate) grafana_url: Option<Url>,
    /// Seconds between two scrapes of Prometheus; checks need samples newer than the act
    #[arg(long, default_value_t = 10.0)]
    pub(crate) scrape_interval: f64,
    /// Leave a program out, to run it elsewhere or to see what happens without it
    #[arg(long, value_enum)]
    pub(crate) without: Vec<Program>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Incidents {
    /// Where ingress answers
    #[arg(long, default_value = "http://127.0.0.1:5000")]
    pub(crate) url: Url,
    /// How many to list
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: u32,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Timeline {
    /// Where ingress answers
    #[arg(long, default_value = "http://127.0.0.1:5000")]
    pub(crate) url: Url,
    /// The incident's id; without one the newest
    pub(crate) id: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Verify {
    /// What ingress keeps its incidents in: a SQLite file, also one in use, or a postgres:// URL
    #[arg(long, env = "FIREBREAK_DATABASE", default_value = "data/ingress.db")]
    pub(crate) database: String,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DeadLetters {
    /// Where ingress answers
    #[arg(long, global = true, default_value = "http://127.0.0.1:5000")]
    pub(crate) url: Url,
    #[command(subcommand)]
    pub(crate) act: Option<LetterAct>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LetterAct {
    /// Print them, newest first
    List,
    /// Have one performed again; that stands on the timeline of its incident
    Replay {
        id: i64,
        /// Who wants it
        #[arg(long, env = "USER")]
        by: String,
    },
}
