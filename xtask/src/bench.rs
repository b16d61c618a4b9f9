//! `cargo xtask bench a2a|pipeline|start|ingest|storm|flood`: builds what is measured in release, gets what it is
//! measured against, and runs the measuring program.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::ensure;

use crate::programs::{self, ALERTMANAGER, PYTHON, WRK};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Subject {
    /// The A2A server: durable SendMessage, first event of a stream, memory after many tasks
    A2a {
        /// Given to the measuring program, such as `--seconds 5` or `--tasks 100000`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The whole pipeline: webhook to first action, closed incidents a second
    Pipeline {
        /// Given to the measuring program, such as `--incidents 500 --open 16`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Real Alertmanagers that post as fast as they can, counted at both ends
    Flood {
        /// Given to the program, such as `--alertmanagers 3 --seconds 60`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The start of ingress, with an empty database and with 1,000,000 incidents
    Start {
        /// Given to the measuring program, such as `--incidents 10000`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Webhooks a second beside a bare server, on SQLite and PostgreSQL; latency, memory
    Ingest {
        /// Given to the measuring program, such as `--rounds 3` or `--sqlite-only`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Webhooks that come by the clock, 2,000 a second
    Storm {
        /// Given to the measuring program, such as `--rate 5000`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// The programs whose binaries are measured.
const PROGRAMS: [&str; 5] =
    ["ingress", "diagnostic-agent", "resolution-agent", "ticketing-agent", "mcp-tools"];

/// # Errors
/// A build fails, the SDK cannot be had, or a server does not do what is asked of it.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let binaries = root.join("target/release");
    let mut bench = Command::new(binaries.join("bench"));
    match &args.subject {
        Subject::A2a { arguments } => {
            let python = python_with_sdk(root)?;
            build(root, &["tck-sut"])?;
            bench.arg("a2a").arg("--binaries").arg(&binaries).arg("--python").arg(python);
            bench.arg("--python-server").arg(root.join("crates/bench/python/server.py"));
            bench.args(arguments);
        }
        Subject::Pipeline { arguments } => {
            build(root, &PROGRAMS)?;
            bench.arg("pipeline").arg("--binaries").arg(&binaries).args(arguments);
        }
        Subject::Flood { arguments } => {
            programs::require([ALERTMANAGER])?;
            build(root, &["ingress", "scenarios"])?;
            bench = Command::new(binaries.join("flood"));
            bench.arg("--binaries").arg(&binaries).args(arguments);
        }
        Subject::Start { arguments } => {
            build(root, &PROGRAMS)?;
            bench.arg("start").arg("--binaries").arg(&binaries).args(arguments);
        }
        Subject::Ingest { arguments } => {
            programs::require([WRK])?;
            build(root, &["ingress"])?;
            bench.arg("ingest").arg("--binaries").arg(&binaries).args(arguments);
        }
        Subject::Storm { arguments } => {
            build(root, &["ingress"])?;
            bench.arg("storm").arg("--binaries").arg(&binaries).args(arguments);
        }
    }
    run_to_end(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

fn build(root: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--package", "bench"]);
    build.args(packages.iter().flat_map(|package| ["--package", package]));
    run_to_end(build.current_dir(root))
}

/// An environment of its own: the tests pin theirs without servers.
fn python_with_sdk(root: &Path) -> anyhow::Result<PathBuf> {
    let [python] = programs::require([PYTHON])?;
    let environment = root.join("target/bench-venv");
    let own = environment.join("bin/python");
    if !own.is_file() {
        run_to_end(Command::new(python).args(["-m", "venv"]).arg(&environment))?;
    }
    let pinned = root.join("crates/bench/python/requirements.txt");
    let mut pip = Command::new(&own);
    pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(pinned);
    run_to_end(&mut pip)?;
    Ok(own)
}

fn run_to_end(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
