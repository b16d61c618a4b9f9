//! wrk, run as a program: closed-loop load that costs little beside what it measures.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use bench::alertmanager::TOKEN;
use tokio::process::Command;

const SCRIPT: &str = include_str!("webhook.lua");
/// Alerts that are known before anything is measured.
const POOL: &str = "1000";
/// Only known alerts, each in its turn.
const POOL_ALONE: &str = "-1";

#[derive(Debug)]
pub(super) struct Wrk {
    script: PathBuf,
    authorization: String,
    /// Of a hundred webhooks, those that bring an alert that is known.
    repeats: String,
}

/// What one run did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Run {
    /// Requests a second.
    #[expect(clippy::cast_precision_loss, reason = "far fewer requests than 2^52")]
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

impl Wrk {
    pub(super) fn new(directory: &Path, repeats: u32) -> anyhow::Result<Self> {
        let script = directory.join("webhook.lua");
        std::fs::write(&script, SCRIPT)?;
        let (authorization, repeats) = (format!("Bearer {TOKEN}"), repeats.to_string());
        Ok(Self { script, authorization, repeats })
    }

    /// Makes the known alerts known.
    pub(super) async fn warm_up(&self, server: SocketAddr) -> anyhow::Result<()> {
        self.call(server, 8, 2, 0, POOL_ALONE).await.map(drop)
    }

    /// Loads a server for some seconds; `number` sets the new alerts of this run apart from others'.
    ///
    /// # Errors
    /// wrk is not there, or not every answer was a 2xx.
    pub(super) async fn load(
        &self,
        server: SocketAddr,
        connections: u32,
        seconds: u64,
        number: u32,
    ) -> anyhow::Result<Run> {
        self.call(server, connections, seconds, number, &self.repeats).await
    }

    async fn call(
        &self,
        server: SocketAddr,
        connections: u32,
        seconds: u64,
        number: u32,
        repeats: &str,
    ) -> anyhow::Result<Run> {
        let threads = connections.min(2).to_string();
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", &threads, "--connections", &connections.to_string()]);
        wrk.arg(format!("--duration={seconds}s")).arg("--script").arg(&self.script);
        wrk.arg(format!("http://{server}/webhooks/alertmanager"));
        wrk.args(["--", &number.to_string(), POOL, repeats]);
        wrk.env("BENCH_AUTHORIZATION", &self.authorization).kill_on_drop(true);
        let output = wrk.output().await.context("start wrk: sudo apt-get install wrk")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
        read(&text).with_context(|| text.into_owned())
    }
}

/// Reads the line that the script prints at the end.
fn read(text: &str) -> anyhow::Result<Run> {
    let line = text.lines().find_map(|line| line.strip_prefix("result ")).context("no result")?;
    let numbers: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
    let [requests, micros, refused, broken, p50, p99] = numbers?[..] else {
        anyhow::bail!("another result than the script prints");
    };
    ensure!(refused == 0 && broken == 0, "{refused} answers were no 2xx, {broken} did not come");
    let elapsed = Duration::from_micros(micros);
    let (p50, p99) = (Duration::from_micros(p50), Duration::from_micros(p99));
    Ok(Run { requests, elapsed, p50, p99 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_with_a_refused_webhook_is_no_measurement() {
        let run = read("Running\n\nresult 1000 2000000 0 0 150 900\n").unwrap();
        assert!((run.rate() - 500.0).abs() < 0.001);
        assert_eq!(run.p99, Duration::from_micros(900));
        assert!(read("result 1000 2000000 1 0 150 900\n").is_err());
        assert!(read("result 1000 2000000 0 1 150 900\n").is_err());
        assert!(read("nothing").is_err());
    }
}
