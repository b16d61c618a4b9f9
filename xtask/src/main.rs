//! `cargo xtask`: what a person or a CI machine runs on this repository.

mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository")]
enum Task {
    /// Check the rules of the workspace that the compiler does not know
    Tidy,
}

fn main() -> ExitCode {
    let root = workspace_root();
    let done = match Task::parse() {
        Task::Tidy => tidy::run(&root),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn workspace_root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask stands below the workspace root").to_path_buf()
}
