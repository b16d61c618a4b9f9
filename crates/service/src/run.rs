//! The shape of every `main.rs`: arguments, configuration, telemetry, start, wait for a signal,
//! drain. A second signal ends the process at once.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::heap::keep_what_is_freed;
use crate::{Configuration, Env, LogFormat, Process, init_telemetry, load_config};

/// How long shutdown waits for work in hand.
const DRAIN: Duration = Duration::from_secs(10);

/// What a started program tells its starter.
#[derive(Clone, Debug)]
pub struct Running {
    /// The address of the main listener.
    pub address: SocketAddr,
}

#[derive(clap::Parser, Debug)]
#[command(version)]
struct Args {
    /// Configuration file (YAML); without one the defaults are used
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: Option<PathBuf>,
    /// Read and check the configuration and the files it names, then exit
    #[arg(long)]
    check_config: bool,
    /// Ask the running program at this address whether it is ready, then exit (for container health checks)
    #[arg(long, value_name = "HOST:PORT")]
    healthcheck: Option<String>,
    #[arg(long, value_enum, default_value_t, env = "FIREBREAK_LOG_FORMAT")]
    log_format: LogFormat,
}

/// Runs one program until SIGINT or SIGTERM.
pub fn run<C, S, F>(name: &'static str, start: S) -> ExitCode
where
    C: Configuration,
    S: FnOnce(C, Process) -> F,
    F: Future<Output = anyhow::Result<Running>>,
{
    let matches = Args::command().name(name).get_matches();
    let args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match try_run(name, args, start) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_run<C, S, F>(name: &'static str, args: Args, start: S) -> anyhow::Result<ExitCode>
where
    C: Configuration,
    S: FnOnce(C, Process) -> F,
    F: Future<Output = anyhow::Result<Running>>,
{
    if let Some(address) = args.healthcheck {
        return runtime()?.block_on(check_health(&address));
    }
    let config: C = load_config(args.config.as_deref(), &Env::process())?;
    if args.check_config {
        let runtime = runtime()?;
        runtime.block_on(async { config.check_files(&Process::new(name)) })?;
        runtime.shutdown_background();
        println!("{name}: configuration is valid");
        return Ok(ExitCode::SUCCESS);
    }
    run_with(name, config, args.log_format, start)?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// The same for a program that has its settings from elsewhere, such as its own command line.
///
/// # Errors
/// The program does not start, or does not end in time.
pub fn run_with<C, S, F>(
    name: &'static str,
    config: C,
    log_format: LogFormat,
    start: S,
) -> anyhow::Result<()>
where
    S: FnOnce(C, Process) -> F,
    F: Future<Output = anyhow::Result<Running>>,
{
    keep_what_is_freed();
    let runtime = runtime()?;
    let outcome = run_until_signal(name, &runtime, config, log_format, start);
    runtime.shutdown_background();
    outcome
}

fn run_until_signal<C, S, F>(
    name: &'static str,
    runtime: &Runtime,
    config: C,
    log_format: LogFormat,
    start: S,
) -> anyhow::Result<()>
where
    S: FnOnce(C, Process) -> F,
    F: Future<Output = anyhow::Result<Running>>,
{
    let telemetry = runtime.block_on(async { init_telemetry(name, log_format) })?;
    let process = Process::new(name);
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let starting = start(config, process.clone());
        // A start that is stopped half-way has taken nothing in; what it opened is dropped.
        let running = tokio::select! {
            running = starting => running.context("start")?,
            () = signals.next() => return drain(&process, &mut signals).await,
        };
        tracing::info!(program = name, address = %running.address, "started");
        signals.next().await;
        drain(&process, &mut signals).await
    });
    drop(telemetry);
    outcome
}

/// Waits for what is in hand. A second signal ends the process here and now, as `kill -9` would: all
/// that counts is on disk.
#[expect(clippy::disallowed_methods, reason = "it skips the shutdown, which is what was asked for")]
async fn drain(process: &Process, signals: &mut Signals) -> anyhow::Result<()> {
    tracing::info!(program = process.name(), "draining");
    tokio::select! {
        drained = process.shut_down(DRAIN) => drained.map_err(anyhow::Error::from),
        () = signals.next() => {
            eprintln!("{}: stopped by a second signal", process.name());
            std::process::exit(1)
        }
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn check_health(address: &str) -> anyhow::Result<ExitCode> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request =
            format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(3), exchange)
        .await
        .with_context(|| format!("{address} did not answer within 3 s"))?
        .with_context(|| format!("ask {address}"))?;
    let is_ready = answer.starts_with("HTTP/1.1 200");
    if !is_ready {
        eprintln!("{}", answer.lines().last().unwrap_or_default());
    }
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
