//! `bench storm`: webhooks that come by the clock (open loop), whether or not the ones before are
//! answered. A latency counts from the moment at which its webhook was due, so a server that stalls
//! cannot hide how many waited meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bench::hanging::HangingAgent;
use bench::stats::{Latencies, millis};

use crate::ground::{Ground, serves, webhook};

/// Alerts that are known before the storm.
const POOL: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the release binary `ingress`
    #[arg(long)]
    binaries: PathBuf,
    /// Webhooks a second
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Every so many webhooks bring an alert that is new
    #[arg(long, default_value_t = 10)]
    new_each: u32,
}

/// # Errors
/// Ingress does not start, or closes a connection.
pub(crate) async fn run(mut args: Args) -> anyhow::Result<()> {
    args.binaries = std::path::absolute(&args.binaries)?;
    let directory = tempfile::Builder::new().prefix("firebreak-bench-").tempdir()?;
    let agent = HangingAgent::start().await?;
    let ground = Ground::new(&args.binaries, directory.path(), agent.address)?;
    let server = ground.ingress("ingress.db", None)?;
    serves(server.address).await?;
    let warm_up =
        Storm { server: server.address, count: POOL, per_second: POOL, new_each: u32::MAX };
    let storm = Storm {
        count: args.rate * args.seconds,
        per_second: args.rate,
        new_each: args.new_each,
        ..warm_up
    };
    let connections = args.connections;
    // Threads that sleep by themselves: a timer of the runtime is a millisecond off.
    let answers = tokio::task::spawn_blocking(move || {
        warm_up.blow(connections)?;
        storm.blow(connections)
    });
    let (latencies, refused) = answers.await??;
    println!(
        "storm: {}/s for {} s on {connections} connections: {} answers, {refused} no 2xx, \
         from the due time p50 {} p99 {} worst {}",
        args.rate,
        args.seconds,
        latencies.count(),
        millis(latencies.quantile(0.5)),
        millis(latencies.quantile(0.99)),
        millis(latencies.quantile(1.0)),
    );
    ensure!(refused == 0, "{refused} webhooks were refused");
    Ok(())
}

/// Webhooks that are due one after the other.
#[derive(Clone, Copy)]
struct Storm {
    server: SocketAddr,
    count: u32,
    per_second: u32,
    new_each: u32,
}

impl Storm {
    /// Latencies from the due times, and how many answers were no 2xx.
    fn blow(self, connections: u32) -> anyhow::Result<(Latencies, usize)> {
        let next = AtomicU32::new(0);
        let started = Instant::now();
        let answers: anyhow::Result<Vec<_>> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..connections).map(|_| scope.spawn(|| self.one(started, &next))).collect();
            threads.into_iter().map(|one| one.join().expect("a thread does not panic")).collect()
        });
        let all: Vec<(Duration, bool)> = answers?.into_iter().flatten().collect();
        let refused = all.iter().filter(|(_, is_taken)| !is_taken).count();
        Ok((Latencies::new(all.into_iter().map(|(latency, _)| latency).collect()), refused))
    }

    /// One connection: takes the next webhook that is due.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, which sleeps by the clock")]
    fn one(self, started: Instant, next: &AtomicU32) -> anyhow::Result<Vec<(Duration, bool)>> {
        let mut connection = TcpStream::connect(self.server)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut answers = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(answers);
            }
            let request = self.request(number);
            let due = started + Duration::from_secs(1) * number / self.per_second;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.write_all(&request)?;
            let is_taken = read_answer(&mut connection)?;
            answers.push((due.elapsed(), is_taken));
        }
    }

    fn request(self, number: u32) -> Vec<u8> {
        let (name, fingerprint) = match number % self.new_each {
            0 if self.new_each < u32::MAX => (format!("new-{number}"), u64::from(number) << 32 | 1),
            _ => (format!("known-{}", number % POOL), u64::from(number % POOL)),
        };
        webhook(self.server, "instance", &name, fingerprint)
    }
}

/// Reads one answer whole; whether it is a 2xx.
fn read_answer(connection: &mut TcpStream) -> anyhow::Result<bool> {
    let mut answer = Vec::with_capacity(1024);
    let mut piece = [0; 4096];
    loop {
        let count = connection.read(&mut piece)?;
        ensure!(count > 0, "ingress closed the connection");
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer without a length")?.trim().parse()?;
        if body.len() >= length {
            return Ok(head.starts_with("http/1.1 2"));
        }
    }
}
