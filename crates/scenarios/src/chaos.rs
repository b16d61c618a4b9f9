//! Chaos: every program as a process of its own, under load, killed and frozen at failpoints and at
//! random for as long as is asked; then everything heals, and every invariant is held against what
//! the targets, the databases, the tickets and the logs show.
//!
//! The driver itself, the targets in it and Prometheus are left alone: they are the measure.

mod balancer;
mod check;
mod effects;
mod faults;
mod fleet;
mod load;
mod plan;
mod processes;
mod records;
mod run;
mod single;
mod site;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

pub use single::Single;

/// The lease of a replica. Freezes are longer.
pub(crate) const LEASE: Duration = Duration::from_secs(2);
/// Between two scrapes of the targets.
pub(crate) const SCRAPE: Duration = Duration::from_millis(500);

/// What keeps the state of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Database {
    /// A file and one process for each program.
    Sqlite,
    /// One server, two processes of each program.
    Postgres,
}

impl Database {
    /// As the command line says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What keeps the state
    #[arg(long, value_enum, default_value = "sqlite")]
    pub db: Database,
    /// How long faults come
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Chooses the faults; a random one is printed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Things that fall ill, one incident each at a time
    #[arg(long, default_value_t = 16)]
    pub targets: usize,
    /// One fault alone instead of kills and freezes
    #[arg(long, value_enum)]
    pub only: Option<Single>,
    /// Keep databases, logs and tickets, and say where
    #[arg(long)]
    pub keep: bool,
    /// Run playbooks with Ansible itself instead of a quick stand-in
    #[arg(long)]
    pub ansible: bool,
}

#[derive(Clone, Debug, clap::Parser)]
pub struct Args {
    #[command(flatten)]
    pub options: Options,
    /// Directory of the programs, built with their feature `failpoints`
    #[arg(long)]
    pub binaries: PathBuf,
}

/// Runs it, prints the account and says whether every invariant held.
pub fn run(args: &Args) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(run::play(args));
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real processes live by the machine's own clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
