//! `cargo xtask bench flood` runs this: see `scenarios::flood`.

use std::process::ExitCode;

use clap::Parser;
use scenarios::flood;

fn main() -> ExitCode {
    flood::run(&flood::Args::parse())
}
