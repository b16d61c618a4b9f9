//! Plays seeds of the simulation: `simulate --seed 7` one of them, `simulate --seeds 200` the seeds
//! from 0 on, each in a process of its own, with progress. `cargo xtask simulate` builds and runs it.
//!
//! A run is repeated exactly only if nothing in its process has drawn a random number before: hash
//! maps and the scheduler take theirs from the kernel. So that call is answered from the seed here.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};
use clap::Parser;
use rand_10::SeedableRng;

/// What the command that repeats a seed says of the bug that is built in.
const PLANTED: &str = if cfg!(feature = "planted-early-finish") {
    " --planted early-finish"
} else if cfg!(feature = "planted-no-fence") {
    " --planted no-fence"
} else {
    ""
};

#[derive(Debug, Parser)]
struct Args {
    /// Plays this seed only and tells what happens
    #[arg(long)]
    seed: Option<u64>,
    /// Plays so many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Seeds played at a time
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Ends after the first seed that fails
    #[arg(long)]
    first: bool,
    /// Says nothing but the result
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let played = match args.seed {
        Some(seed) => play(seed, args.quiet),
        None => play_all(&args),
    };
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Plays one seed in this process; false: a promise was broken.
fn play(seed: u64, is_quiet: bool) -> anyhow::Result<bool> {
    mad_turmoil::rand::set_rng(rand_10::rngs::StdRng::seed_from_u64(seed));
    // A thread of its own: the keys of hash maps are drawn once a thread.
    let run = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || scenarios::simulation::run(seed, !is_quiet))?;
    let report = run.join().map_err(|_| anyhow::anyhow!("seed {seed} panicked"))??;
    for violation in &report.violations {
        println!("  {violation}");
    }
    println!(
        "seed {seed}: {} violations; {} incidents, {} of them handed over; {} effects, {} faults, \
         {} simulated seconds, journal {}",
        report.violations.len(),
        report.incidents,
        report.handed_over,
        report.effects,
        report.faults,
        report.seconds,
        &report.hash[..16],
    );
    Ok(report.violations.is_empty())
}

/// Plays many seeds, each in a process of its own.
fn play_all(args: &Args) -> anyhow::Result<bool> {
    ensure!(args.workers > 0, "--workers: must not be 0");
    let seeds: Vec<u64> = (args.from..args.from + args.seeds).collect();
    let mut failed = Vec::new();
    for (played, batch) in seeds.chunks(args.workers).enumerate() {
        let children = batch.iter().map(|seed| child(*seed).map(|child| (*seed, child)));
        for (seed, child) in children.collect::<anyhow::Result<Vec<_>>>()? {
            let ended = child.wait_with_output()?;
            if !ended.status.success() {
                print!("{}", String::from_utf8_lossy(&ended.stdout));
                println!("seed {seed} failed; again: cargo xtask simulate --seed {seed}{PLANTED}");
                failed.push(seed);
            }
        }
        if args.first && !failed.is_empty() {
            return Ok(false);
        }
        let done = (played + 1) * args.workers;
        if !args.quiet && done % 20 < args.workers {
            println!("{} of {} seeds, {} failed", done.min(seeds.len()), seeds.len(), failed.len());
        }
    }
    println!("{} seeds played, {} failed", seeds.len(), failed.len());
    Ok(failed.is_empty())
}

fn child(seed: u64) -> anyhow::Result<std::process::Child> {
    let itself = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(itself);
    command.args(["--quiet", "--seed", &seed.to_string()]).stdout(Stdio::piped());
    command.spawn().context("start a seed")
}
