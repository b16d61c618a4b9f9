//! `cargo xtask simulate`: builds the deterministic simulation and plays seeds of it. With a bug
//! planted it must find that, and says by which seed.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, ensure};

/// What can be planted: features of `scenarios`.
pub(crate) const BUGS: [&str; 2] = ["early-finish", "no-fence"];
/// How the player says that a promise was broken; other failures have another code.
const BROKEN: i32 = 1;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Play so many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play this seed only, and tell what happens in it
    #[arg(long)]
    seed: Option<u64>,
    /// Plant this bug first; then a seed must find it
    #[arg(long, value_name = "BUG", value_parser = BUGS)]
    planted: Option<String>,
}

/// # Errors
/// The build fails, or the player cannot be run.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    build(root, args.planted.as_deref())?;
    let started = Instant::now();
    let mut player = Command::new(root.join("target/debug/simulate"));
    match args.seed {
        Some(seed) => player.args(["--seed", &seed.to_string()]),
        None => player
            .args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()])
            .args(args.planted.iter().map(|_| "--first")),
    };
    let status = player.status().context("run the player")?;
    println!("took {:.1} s", started.elapsed().as_secs_f64());
    let is_broken = status.code() == Some(BROKEN);
    ensure!(status.success() || is_broken, "the player ended with {status}");
    match &args.planted {
        Some(bug) if is_broken => println!("the planted bug {bug} was found"),
        Some(bug) => println!("the planted bug {bug} was NOT found"),
        None => {}
    }
    let is_good = is_broken == args.planted.is_some();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(root: &Path, planted: Option<&str>) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "scenarios", "--bin", "simulate"]).current_dir(root);
    if let Some(bug) = planted {
        cargo.args(["--features", &format!("planted-{bug}")]);
    }
    let status = cargo.status().context("run cargo build")?;
    ensure!(status.success(), "{cargo:?} failed; cargo has said why");
    Ok(())
}
