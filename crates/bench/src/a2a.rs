//! The A2A server against a bare server and the official Python SDK's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use bench::http::{Connection, post};
use bench::load::{Load, Report, Until};
use bench::server::Server;
use bench::stats::{Latencies, millis};
use serde_json::json;

const VERSION: &[(&str, &str)] = &[("A2A-Version", "1.0")];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the release binaries `tck-sut` and `limit`
    #[arg(long)]
    binaries: PathBuf,
    /// Python with the SDK's server; without it only our own servers are measured
    #[arg(long, requires = "python_server")]
    python: Option<PathBuf>,
    /// The Python server's program
    #[arg(long)]
    python_server: Option<PathBuf>,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Seconds of load on each server
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Streams opened one after the other on one connection
    #[arg(long, default_value_t = 500)]
    streams: usize,
    /// Tasks after which memory is read again
    #[arg(long, default_value_t = 1_000_000)]
    tasks: u64,
}

/// One server's figures.
struct Figures {
    name: &'static str,
    send: Report,
    first_event: Option<Latencies>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("firebreak-bench-").tempdir()?;
    let mut figures = Vec::new();
    {
        let limit = start_binary(&args, "limit", directory.path())?;
        let send = send_load(&args, limit.address).run(seconds(&args)).await?;
        figures.push(Figures { name: "limit (bare axum + SQLite)", send, first_event: None });
    }
    {
        let ours = start_binary(&args, "tck-sut", directory.path())?;
        figures.push(measure("ours (SQLite)", &args, &ours).await?);
    }
    for (name, database) in [("Python SDK (SQLite)", true), ("Python SDK (memory)", false)] {
        if let Some(server) = start_python(&args, directory.path(), database)? {
            figures.push(measure(name, &args, &server).await?);
        }
    }
    print(&args, &figures);
    memory(&args, directory.path()).await
}

async fn measure(name: &'static str, args: &Args, server: &Server) -> anyhow::Result<Figures> {
    let load = send_load(args, server.address);
    // The first request makes tables, and the next ones open files and pools.
    Load { connections: 1, ..load.clone() }.run(Until::Requests(1)).await?;
    load.run(Until::Requests(200)).await.with_context(|| name.to_owned())?;
    let send = load.run(seconds(args)).await.with_context(|| name.to_owned())?;
    let mut connection = Connection::open(server.address).await?;
    let request = message(server.address, "SendStreamingMessage");
    let mut latencies = Vec::with_capacity(args.streams);
    for _ in 0..args.streams {
        latencies.push(connection.first_event(&request).await.with_context(|| name.to_owned())?);
    }
    Ok(Figures { name, send, first_event: Some(Latencies::new(latencies)) })
}

/// Memory of our server before and after many tasks, with the database on disk.
async fn memory(args: &Args, directory: &Path) -> anyhow::Result<()> {
    let server = start_binary(args, "tck-sut", directory)?;
    let load = send_load(args, server.address);
    load.run(Until::Requests(1_000.min(args.tasks))).await?;
    println!("\nMemory of our server (resident), {} tasks in all:", args.tasks);
    println!("  after {:>9} tasks  {:>7.1} MiB", 1_000.min(args.tasks), mebibytes(&server)?);
    let step = (args.tasks / 4).max(1);
    for count in 1..=4 {
        load.run(Until::Requests(step)).await?;
        println!("  after {:>9} tasks  {:>7.1} MiB", step * count, mebibytes(&server)?);
    }
    Ok(())
}

fn print(args: &Args, figures: &[Figures]) {
    println!(
        "SendMessage, durable, answered with the completed task, {} connections:",
        args.connections
    );
    let limit = figures.first().map_or(f64::NAN, |first| first.send.rate());
    for it in figures {
        let rate = it.send.rate();
        let (p50, p99) = (it.send.latencies.quantile(0.5), it.send.latencies.quantile(0.99));
        println!(
            "  {:<28} {rate:>9.0}/s  {:>6.2} of the limit  p50 {:>9}  p99 {:>9}",
            it.name,
            rate / limit,
            millis(p50),
            millis(p99)
        );
    }
    println!("\nFirst event of a stream, one kept-alive connection, {} streams:", args.streams);
    for it in figures {
        if let Some(first) = &it.first_event {
            let (p50, p99) = (first.quantile(0.5), first.quantile(0.99));
            println!("  {:<28} p50 {:>9}  p99 {:>9}", it.name, millis(p50), millis(p99));
        }
    }
}

fn send_load(args: &Args, address: SocketAddr) -> Load {
    let request = message(address, "SendMessage");
    Load { address, connections: args.connections, request, expected: "\"result\"" }
}

/// A message whose prefix tells our server's agent to complete at once.
fn message(address: SocketAddr, method: &str) -> Vec<u8> {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": method,
        "params": {"message": {
            "messageId": "tck-complete-task-bench", "role": "ROLE_USER",
            "parts": [{"text": "the database answers slowly since noon"}],
        }},
    });
    post(address, "/a2a", VERSION, &body.to_string())
}

fn seconds(args: &Args) -> Until {
    Until::Elapsed(Duration::from_secs(args.seconds))
}

fn start_binary(args: &Args, name: &str, directory: &Path) -> anyhow::Result<Server> {
    let command = Command::new(args.binaries.join(name));
    let database = directory.join(format!("{name}.db"));
    for leftover in ["", "-wal", "-shm"] {
        let path = directory.join(format!("{name}.db{leftover}"));
        if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    Server::start(command, &directory.join(format!("{name}.log")), |command, address| {
        command.arg("--listen").arg(address.to_string()).arg("--database").arg(database);
    })
}

fn start_python(args: &Args, directory: &Path, database: bool) -> anyhow::Result<Option<Server>> {
    let (Some(python), Some(program)) = (&args.python, &args.python_server) else {
        return Ok(None);
    };
    let mut command = Command::new(python);
    command.arg(program);
    let server = Server::start(command, &directory.join("python.log"), |command, address| {
        command.arg("--listen").arg(address.to_string());
        if database {
            command.arg("--database").arg(directory.join("python.db"));
        }
    });
    server.map(Some)
}

#[expect(clippy::cast_precision_loss, reason = "far less memory than 2^52 bytes")]
fn mebibytes(server: &Server) -> anyhow::Result<f64> {
    Ok(server.resident_bytes()? as f64 / f64::from(1 << 20))
}
