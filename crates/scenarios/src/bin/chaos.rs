//! `cargo xtask chaos` runs this: see `scenarios::chaos`.

use std::process::ExitCode;

use clap::Parser;
use scenarios::chaos;

fn main() -> ExitCode {
    chaos::run(&chaos::Args::parse())
}
