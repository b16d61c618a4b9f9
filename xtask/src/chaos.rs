//! `cargo xtask chaos`: builds the programs with their failpoints, beside the usual ones, and lets
//! `scenarios` kill and freeze them under load.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

use crate::programs::{self, ANSIBLE, POSTGRES, PROMETHEUS};

/// The programs that pass failpoints, by package.
const ARMED: [&str; 5] =
    ["ingress", "diagnostic-agent", "resolution-agent", "ticketing-agent", "mcp-tools"];
const BINARIES: [&str; 8] = [
    "chaos",
    "ingress",
    "diagnostic-agent",
    "resolution-agent",
    "ticketing-agent",
    "log-analyzer",
    "system-monitor",
    "deployment-system",
];

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Given to the driver: `--db sqlite|postgres`, `--seconds 60`, `--seed S`, `--help` for more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// # Errors
/// A build fails, or a program of another project is missing and cannot be installed.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    programs::require([PROMETHEUS])?;
    if args.arguments.iter().any(|argument| argument.contains("postgres")) {
        programs::require([POSTGRES])?;
    }
    if args.arguments.iter().any(|argument| argument == "--ansible") {
        programs::require([ANSIBLE])?;
    }
    let binaries = build(root)?;
    let mut driver = Command::new(binaries.join("chaos"));
    driver.arg("--binaries").arg(&binaries).args(&args.arguments);
    let status = driver.status().context("run the driver")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2);
    Ok(ExitCode::from(code))
}

/// Builds, and moves what was built out of the way of the next usual build.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--bins", "--package", "scenarios"]).current_dir(root);
    for package in ARMED {
        cargo.args(["--package", package, "--features", &format!("{package}/failpoints")]);
    }
    let status = cargo.status().context("run cargo build")?;
    ensure!(status.success(), "{cargo:?} failed; cargo has said why");
    let built = root.join("target/debug");
    let own = root.join("target/chaos");
    std::fs::create_dir_all(&own)?;
    for name in BINARIES {
        let (from, to) = (built.join(name), own.join(name));
        let _ = std::fs::remove_file(&to);
        // Cargo replaces its file at the next build, and leaves this one as it is.
        std::fs::hard_link(&from, &to)
            .or_else(|_| std::fs::copy(&from, &to).map(drop))
            .with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(own)
}
