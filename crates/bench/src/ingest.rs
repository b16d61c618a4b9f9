//! `bench ingest`: webhooks a second through ingress beside a bare server with a group commit, in
//! rounds that take turns, so that both meet the same machine. Nine of ten webhooks repeat an alert
//! that is known, the tenth brings a new one; each is committed before it is answered.

mod wrk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use bench::hanging::HangingAgent;
use bench::server::Server;
use bench::stats::{median, millis};

use crate::fill::fill;
use crate::ground::Ground;
use wrk::{Run, Wrk};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the release binaries `ingress` and `limit`
    #[arg(long)]
    binaries: PathBuf,
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of load on each server in a round
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Of a hundred webhooks, those that bring an alert that is known
    #[arg(long, default_value_t = 90)]
    repeats: u32,
    /// Webhooks after which memory is read
    #[arg(long, default_value_t = 1_000_000)]
    webhooks: u64,
    /// Incidents stored where throughput is compared with that of an empty database; 0 leaves it out
    #[arg(long, default_value_t = 1_000_000)]
    incidents: u64,
    /// Without PostgreSQL, which is measured on a server of its own where it is installed
    #[arg(long)]
    sqlite_only: bool,
    /// Without SQLite
    #[arg(long, conflicts_with = "sqlite_only")]
    postgres_only: bool,
}

/// One server in one round.
struct Measured {
    load: Run,
    alone: Run,
    /// For one webhook, under load.
    processor_time: Duration,
}

/// # Errors
/// A server does not start, or does not answer every webhook with 2xx.
pub(crate) async fn run(mut args: Args) -> anyhow::Result<()> {
    args.binaries = std::path::absolute(&args.binaries)?;
    let directory = tempfile::Builder::new().prefix("firebreak-bench-").tempdir()?;
    let agent = HangingAgent::start().await?;
    let ground = Ground::new(&args.binaries, directory.path(), agent.address)?;
    let wrk = Wrk::new(directory.path(), args.repeats)?;
    println!(
        "Webhooks, {} connections, {} % repeats, committed before they are answered; medians of {} rounds",
        args.connections, args.repeats, args.rounds
    );
    if !args.postgres_only {
        sqlite(&args, &ground, &wrk).await?;
        if args.incidents > 0 {
            ground.interrupt(&agent, "full.db").await?;
            full(&args, &ground, &wrk).await?;
        }
        memory(&args, &ground, &wrk).await?;
    }
    let server = if args.sqlite_only { None } else { postgres_server::Server::start_durable() };
    if let Some(server) = server {
        postgres(&args, &ground, &wrk, &server.url()).await?;
    }
    Ok(())
}

async fn sqlite(args: &Args, ground: &Ground<'_>, wrk: &Wrk) -> anyhow::Result<()> {
    let (mut limits, mut ours) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        limits.push(measure(args, wrk, &ground.limit(None)?, round).await?);
        ours.push(measure(args, wrk, &ground.ingress("ingress.db", None)?, round).await?);
    }
    tell("sqlite limit", &limits);
    tell("sqlite ingress", &ours);
    let ratio = |of: fn(&Measured) -> f64| median_ratio(&ours, &limits, of);
    println!("sqlite ratio {:.2}", ratio(|it| it.load.rate()));
    println!(
        "sqlite one connection: p50 {:.2} times the limit's, p99 {:.2} times",
        ratio(|it| it.alone.p50.as_secs_f64()),
        ratio(|it| it.alone.p99.as_secs_f64())
    );
    Ok(())
}

async fn postgres(args: &Args, ground: &Ground<'_>, wrk: &Wrk, url: &str) -> anyhow::Result<()> {
    let (mut alone, mut ours) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        alone.push(measure(args, wrk, &ground.limit(Some(url))?, round).await?);
        ours.push(measure(args, wrk, &ground.ingress("", Some(url))?, round).await?);
    }
    tell("postgres one transaction a request", &alone);
    tell("postgres ingress", &ours);
    let ratio = median_ratio(&ours, &alone, |it| it.load.rate());
    println!("postgres ratio {ratio:.2} times one transaction a request");
    Ok(())
}

/// Throughput with many incidents stored beside that of an empty database.
async fn full(args: &Args, ground: &Ground<'_>, wrk: &Wrk) -> anyhow::Result<()> {
    let stored = fill(&ground.path("full.db"), args.incidents).await?;
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        empty.push(measure(args, wrk, &ground.ingress("ingress.db", None)?, round).await?);
        full.push(measure(args, wrk, &ground.ingress_over("full.db")?, round).await?);
    }
    let ratio = median_ratio(&full, &empty, |it| it.load.rate());
    println!(
        "sqlite with {stored} incidents stored: {ratio:.2} of the empty database's throughput"
    );
    ground.remove("full.db")
}

async fn memory(args: &Args, ground: &Ground<'_>, wrk: &Wrk) -> anyhow::Result<()> {
    let server = ground.ingress("ingress.db", None)?;
    let idle = megabytes(&server)?;
    wrk.warm_up(server.address).await?;
    let (mut sent, mut number) = (0, 0);
    while sent < args.webhooks {
        sent += wrk.load(server.address, args.connections, args.seconds, number).await?.requests;
        number += 1;
    }
    println!("memory: idle {idle:.1} MB, after {sent} webhooks {:.1} MB", megabytes(&server)?);
    Ok(())
}

async fn measure(args: &Args, wrk: &Wrk, server: &Server, round: u32) -> anyhow::Result<Measured> {
    wrk.warm_up(server.address).await?;
    let before = server.processor_time()?;
    let load = wrk.load(server.address, args.connections, args.seconds, 2 * round).await?;
    let used = server.processor_time()?.saturating_sub(before);
    let alone = wrk.load(server.address, 1, args.seconds.div_ceil(2), 2 * round + 1).await?;
    ensure!(load.requests > 0 && alone.requests > 0, "nothing was measured");
    let requests = u32::try_from(load.requests).unwrap_or(u32::MAX);
    Ok(Measured { load, alone, processor_time: used / requests })
}

fn tell(name: &str, rounds: &[Measured]) {
    let of = |value: fn(&Measured) -> f64| median(rounds.iter().map(value));
    let time = |value: fn(&Measured) -> f64| millis(Duration::from_secs_f64(of(value)));
    println!(
        "  {name:<36} {:>7.0}/s  p50 {:>9}  p99 {:>9}  processor {:>4.0} us each  alone p50 {:>9}  p99 {:>9}",
        of(|it| it.load.rate()),
        time(|it| it.load.p50.as_secs_f64()),
        time(|it| it.load.p99.as_secs_f64()),
        of(|it| it.processor_time.as_secs_f64() * 1e6),
        time(|it| it.alone.p50.as_secs_f64()),
        time(|it| it.alone.p99.as_secs_f64())
    );
}

/// The median of the rounds' ratios.
fn median_ratio(ours: &[Measured], theirs: &[Measured], of: fn(&Measured) -> f64) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)))
}

#[expect(clippy::cast_precision_loss, reason = "far less memory than 2^52 bytes")]
fn megabytes(server: &Server) -> anyhow::Result<f64> {
    Ok(server.resident_bytes()? as f64 / 1e6)
}
