//! `bench pipeline`: from a webhook to a closed incident through all seven programs, with a repair
//! that is one small write. How long until the repair begins, and how many incidents close a second.

mod fleet;
mod site;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bench::alertmanager;
use bench::http::{Connection, get};
use bench::stats::{Latencies, millis};
use serde_json::json;

use fleet::{Fleet, name_of};
use site::{Database, Site};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// Begun and ended before anything is measured.
const WARM_UP: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the release binaries
    #[arg(long)]
    binaries: PathBuf,
    /// Incidents, one after the other, whose latency is told
    #[arg(long, default_value_t = 200)]
    alone: usize,
    /// Incidents under load
    #[arg(long, default_value_t = 2_000)]
    incidents: usize,
    /// Incidents that are open at once under load
    #[arg(long, default_value_t = 64)]
    open: usize,
    /// Without PostgreSQL, which is measured on a server of its own where it is installed
    #[arg(long)]
    sqlite_only: bool,
}

/// # Errors
/// A program does not start, or an incident does not close in time.
pub(crate) async fn run(mut args: Args) -> anyhow::Result<()> {
    args.binaries = std::path::absolute(&args.binaries)?;
    println!("Webhook to closed incident, seven processes, every step durable, a no-op repair:");
    measure(&args, "SQLite", Database::Sqlite).await?;
    let server = if args.sqlite_only { None } else { postgres_server::Server::start_durable() };
    if let Some(server) = server {
        measure(&args, "PostgreSQL", Database::Postgres(server.url())).await?;
    }
    Ok(())
}

async fn measure(args: &Args, name: &str, database: Database) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("firebreak-bench-").tempdir()?;
    let targets = WARM_UP + args.alone + args.incidents;
    let fleet = Arc::new(Fleet::start(targets).await?);
    let site = Site::start(&args.binaries, directory.path(), &database, fleet.address, targets)?;
    let source = Arc::new(Source { fleet, ingress: site.ingress });
    let outcome = measured(args, name, &source).await;
    if outcome.is_err() {
        eprintln!("logs are kept in {}", directory.keep().display());
    }
    outcome
}

async fn measured(args: &Args, name: &str, source: &Arc<Source>) -> anyhow::Result<()> {
    for target in 0..WARM_UP {
        source.alert_and_repair(target).await?;
    }
    source.wait_for_closed(WARM_UP).await?;
    let mut alone = Vec::new();
    for target in WARM_UP..WARM_UP + args.alone {
        alone.push(source.alert_and_repair(target).await?);
        // The next one finds the programs idle.
        source.wait_for_closed(target + 1).await?;
    }
    let alone = Latencies::new(alone);
    println!(
        "  {name:<10} webhook to first action, one at a time   p50 {:>10}  p99 {:>10}",
        millis(alone.quantile(0.5)),
        millis(alone.quantile(0.99)),
    );
    let started = Instant::now();
    let latencies = Latencies::new(under_load(args, source).await?);
    source.wait_for_closed(WARM_UP + args.alone + args.incidents).await?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer incidents than 2^52")]
    let rate = args.incidents as f64 / started.elapsed().as_secs_f64();
    println!(
        "  {name:<10} {rate:>6.1} closed incidents/s, {} open at once   p50 {:>10}  p99 {:>10}",
        args.open,
        millis(latencies.quantile(0.5)),
        millis(latencies.quantile(0.99)),
    );
    Ok(())
}

/// Begins incidents so that so many are open at once; the time of each until its repair begins.
async fn under_load(args: &Args, source: &Arc<Source>) -> anyhow::Result<Vec<Duration>> {
    let first = WARM_UP + args.alone;
    let closed = Arc::new(AtomicUsize::new(first));
    let mut running = tokio::task::JoinSet::new();
    let mut latencies = Vec::new();
    let mut next = first;
    let mut admin = Connection::open(source.ingress).await?;
    while latencies.len() < args.incidents {
        let most = first + args.incidents;
        while next < most && next - closed.load(Ordering::Relaxed) < args.open {
            let (source, target) = (source.clone(), next);
            running.spawn(async move { source.alert_and_repair(target).await });
            next += 1;
        }
        tokio::select! {
            Some(done) = running.join_next() => latencies.push(done??),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        closed.store(source.closed(&mut admin).await?, Ordering::Relaxed);
    }
    Ok(latencies)
}

/// Alertmanager, as far as ingress can tell.
#[derive(Debug)]
struct Source {
    fleet: Arc<Fleet>,
    ingress: std::net::SocketAddr,
}

impl Source {
    /// Tells of an alert, waits for the repair, and tells that the alert is over. The time from the
    /// webhook until the repair began.
    async fn alert_and_repair(&self, target: usize) -> anyhow::Result<Duration> {
        let mut connection = Connection::open(self.ingress).await?;
        let started = Instant::now();
        connection.call(&self.webhook(target, "firing"), "").await?;
        let acted = tokio::time::timeout(PATIENCE, self.fleet.acted(target)).await;
        let acted = acted.with_context(|| format!("no repair of {}", name_of(target)))??;
        connection.call(&self.webhook(target, "resolved"), "").await?;
        Ok(acted - started)
    }

    fn webhook(&self, target: usize, status: &str) -> Vec<u8> {
        let ends_at = match status {
            "resolved" => "2026-11-01T00:05:00Z",
            _ => "0001-01-01T00:00:00Z",
        };
        let labels = json!({"alertname": "BenchSymptom", "server": name_of(target),
            "severity": "critical"});
        let body = json!({
            "version": "4", "groupKey": name_of(target), "truncatedAlerts": 0, "status": status,
            "receiver": "firebreak", "groupLabels": {}, "commonLabels": labels,
            "commonAnnotations": {}, "externalURL": "http://alertmanager",
            "alerts": [{
                "status": status, "labels": labels,
                "annotations": {"summary": "the flag is off"},
                "startsAt": "2026-11-01T00:00:00Z", "endsAt": ends_at,
                "generatorURL": "", "fingerprint": format!("{target:016x}"),
            }],
        });
        alertmanager::webhook(self.ingress, &body.to_string())
    }

    async fn wait_for_closed(&self, count: usize) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.ingress).await?;
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            let closed = self.closed(&mut connection).await?;
            if closed >= count {
                return Ok(());
            }
            if closed > seen {
                (seen, since) = (closed, Instant::now());
            }
            ensure!(since.elapsed() < PATIENCE, "{closed} of {count} incidents are closed");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many incidents ingress has closed.
    async fn closed(&self, connection: &mut Connection) -> anyhow::Result<usize> {
        let text = connection.text(&get(self.ingress, "/metrics")).await?;
        let is_count = |line: &&str| {
            line.contains("incident_phases_entered") && line.contains("phase=\"closed\"")
        };
        let line = text.lines().find(is_count);
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        #[expect(clippy::cast_sign_loss, reason = "a count")]
        Ok(count.unwrap_or_default() as usize)
    }
}
