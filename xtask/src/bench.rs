//! `cargo xtask bench a2a`: builds what is measured in release, gets the official Python SDK's
//! server to measure against, and runs them one after the other.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::ensure;

use crate::programs::{self, PYTHON};

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
}

/// # Errors
/// A build fails, the SDK cannot be had, or a server does not do what is asked of it.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let Subject::A2a { arguments } = &args.subject;
    let python = python_with_sdk(root)?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--package", "tck-sut", "--package", "bench"]);
    run_to_end(build.current_dir(root))?;
    let binaries = root.join("target/release");
    let mut bench = Command::new(binaries.join("bench"));
    bench.arg("a2a").arg("--binaries").arg(&binaries).arg("--python").arg(python);
    bench.arg("--python-server").arg(root.join("crates/bench/python/server.py")).args(arguments);
    run_to_end(&mut bench)?;
    Ok(ExitCode::SUCCESS)
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
