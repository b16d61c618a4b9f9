//! `cargo xtask`: what a person or a CI machine runs on this repository.

mod bench;
mod chaos;
mod children;
mod demo;
mod fuzz;
mod http;
mod interrupt;
mod monitoring;
mod programs;
mod simulate;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository")]
enum Task {
    /// Check the rules of the workspace that the compiler does not know
    Tidy,
    /// Trigger a fault and show how it becomes a closed incident
    Demo(demo::Args),
    /// Run every check, as .ci/run does
    Test(test::Args),
    /// Measure against something run in the same minute
    Bench(bench::Args),
    /// Kill and freeze every program under load, and check that nothing is lost or done twice
    Chaos(chaos::Args),
    /// Play seeds of the deterministic simulation: every fault, then every invariant
    Simulate(simulate::Args),
    /// Read mutated bytes as what strangers send, looking for a panic and for what must not be
    Fuzz(fuzz::Args),
    /// Render the files under monitoring/ from their templates
    Monitoring {
        /// Change nothing; fail where a file is not as its template makes it, or a tool refuses it
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let root = workspace_root();
    let task = Task::parse();
    let done = interrupt::listen().and_then(|()| match task {
        Task::Tidy => tidy::run(&root),
        Task::Demo(args) => demo::run(&root, &args),
        Task::Test(args) => test::run(&root, &args),
        Task::Bench(args) => bench::run(&root, &args),
        Task::Chaos(args) => chaos::run(&root, &args),
        Task::Simulate(args) => simulate::run(&root, &args),
        Task::Fuzz(args) => fuzz::run(&root, &args),
        Task::Monitoring { check: false } => {
            monitoring::write_committed(&root).map(|()| ExitCode::SUCCESS)
        }
        Task::Monitoring { check: true } => check_monitoring(&root).map(|()| ExitCode::SUCCESS),
    });
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        if error.is::<interrupt::Interrupted>() {
            return interrupt::Interrupted::exit_code();
        }
        ExitCode::FAILURE
    })
}

fn check_monitoring(root: &Path) -> anyhow::Result<()> {
    monitoring::check_committed(root)?;
    let missing = monitoring::check_with_tools(root)?;
    match missing.is_empty() {
        true => println!("monitoring: rendered files are current; promtool and amtool accept them"),
        false => {
            println!("monitoring: current; not judged by {} (not installed)", missing.join(", "))
        }
    }
    Ok(())
}

fn workspace_root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask stands below the workspace root").to_path_buf()
}
