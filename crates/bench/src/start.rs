//! `bench start`: how long ingress takes from its start until it serves, with an empty database and
//! with a full one, and until an incident that a `kill -9` interrupted is taken up again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bench::alertmanager;
use bench::http::{Connection, get, post};
use bench::server::Server;
use bench::stats::{Latencies, millis};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory of the release binaries
    #[arg(long)]
    binaries: PathBuf,
    /// Closed incidents in the full database
    #[arg(long, default_value_t = 1_000_000)]
    incidents: u64,
    /// Starts of each kind
    #[arg(long, default_value_t = 11)]
    starts: usize,
}

/// # Errors
/// Ingress does not start, or takes nothing up.
pub(crate) async fn run(mut args: Args) -> anyhow::Result<()> {
    args.binaries = std::path::absolute(&args.binaries)?;
    let directory = tempfile::Builder::new().prefix("firebreak-bench-").tempdir()?;
    let agent = HangingAgent::start().await?;
    let ground = Ground { args: &args, directory: directory.path(), agent: &agent };
    println!("Ingress on SQLite, from its start:");
    let ready = ground.starts("empty.db").await?.0;
    ground.tell("until it serves, empty database", &ready);

    let one = ground.interrupt("one.db").await?;
    let (_, resumed) = ground.starts("one.db").await?;
    ground.tell("until an interrupted incident is taken up", &resumed);
    ensure!(!one.is_empty(), "no incident was interrupted");

    let filled = Instant::now();
    ground.interrupt("full.db").await?;
    let stored = fill(&directory.path().join("full.db"), &one, args.incidents).await?;
    println!("  ({stored} incidents written in {:.0} s)", filled.elapsed().as_secs_f64());
    let (ready, resumed) = ground.starts("full.db").await?;
    ground.tell("until it serves, full database", &ready);
    ground.tell("until an interrupted incident is taken up, full database", &resumed);
    Ok(())
}

struct Ground<'a> {
    args: &'a Args,
    directory: &'a Path,
    agent: &'a HangingAgent,
}

impl Ground<'_> {
    /// Starts ingress over a database again and again, ended by `kill -9` each time: how long until
    /// it serves, and until it asks the agent, where there is something to ask.
    async fn starts(&self, database: &str) -> anyhow::Result<(Latencies, Latencies)> {
        let (mut ready, mut resumed) = (Vec::new(), Vec::new());
        let is_interrupted = database != "empty.db";
        for _ in 0..self.args.starts {
            let before = self.agent.asked();
            let started = Instant::now();
            let server = self.start(database)?;
            serves(server.address).await?;
            ready.push(started.elapsed());
            if is_interrupted {
                let at = self.agent.asked_again(before).await?;
                resumed.push(at.saturating_duration_since(started));
            }
        }
        Ok((Latencies::new(ready), Latencies::new(resumed)))
    }

    fn start(&self, database: &str) -> anyhow::Result<Server> {
        let mut command = Command::new(self.args.binaries.join("ingress"));
        command.current_dir(self.directory).env("FIREBREAK_LOG", "warn");
        command.env("FIREBREAK_DATABASE", self.directory.join(database));
        command.env("FIREBREAK_CONSOLE_LISTEN", "127.0.0.1:0");
        command.env(alertmanager::TOKEN_FILE, alertmanager::write_token(self.directory)?);
        let agent = format!("http://{}", self.agent.address);
        for role in ["DIAGNOSTIC", "RESOLUTION", "TICKETING"] {
            command.env(format!("{role}_AGENT_URL"), &agent);
        }
        Server::start(command, &self.directory.join("ingress.log"), |command, address| {
            command.env("FIREBREAK_LISTEN", address.to_string());
        })
    }

    /// Opens an incident that a person closes and one whose diagnosis never ends, and kills ingress.
    /// The id of the closed one.
    async fn interrupt(&self, database: &str) -> anyhow::Result<String> {
        let before = self.agent.asked();
        let server = self.start(database)?;
        serves(server.address).await?;
        let mut connection = Connection::open(server.address).await?;
        connection.call(&webhook(server.address, "closed"), "").await?;
        let listed = connection.text(&get(server.address, "/api/v1/incidents")).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        let id = listed[0]["id"].as_str().context("an incident has an id")?.to_owned();
        let path = format!("/api/v1/incidents/{id}/close");
        let body = json!({"by": "bench", "why": "to have a closed one"}).to_string();
        connection.call(&post(server.address, &path, &[], &body), "").await?;
        connection.call(&webhook(server.address, "interrupted"), "").await?;
        self.agent.asked_again(before).await?;
        Ok(id)
    }

    fn tell(&self, what: &str, latencies: &Latencies) {
        let (median, most) = (latencies.quantile(0.5), latencies.quantile(1.0));
        let starts = latencies.count();
        println!(
            "  {what:<58} median {:>10}  worst of {starts} {:>10}",
            millis(median),
            millis(most)
        );
    }
}

async fn serves(address: SocketAddr) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        if let Ok(mut connection) = Connection::open(address).await
            && connection.call(&get(address, "/readyz"), "").await.is_ok()
        {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "ingress is not ready");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn webhook(address: SocketAddr, server: &str) -> Vec<u8> {
    let labels = json!({"alertname": "BenchSymptom", "server": server, "severity": "critical"});
    let body = json!({
        "version": "4", "groupKey": server, "truncatedAlerts": 0, "status": "firing",
        "receiver": "firebreak", "groupLabels": {}, "commonLabels": labels,
        "commonAnnotations": {}, "externalURL": "http://alertmanager",
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": {"summary": "it does not answer"},
            "startsAt": "2026-11-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "", "fingerprint": format!("{:0>16}", server.len()),
        }],
    });
    alertmanager::webhook(address, &body.to_string())
}

/// Multiplies the closed incident of a database, with its alert and its timeline.
async fn fill(path: &Path, closed: &str, incidents: u64) -> anyhow::Result<u64> {
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", path.display()))?;
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let closed: String = sqlx::query_scalar("SELECT id FROM incident WHERE is_open = 0")
        .fetch_one(&mut connection)
        .await
        .with_context(|| format!("a closed incident such as {closed}"))?;
    let mut transaction = connection.begin().await?;
    for table in ["incident", "alert", "audit"] {
        let columns = columns(&mut transaction, table).await?;
        let values: Vec<String> = columns.iter().map(|column| value_of(table, column)).collect();
        let statement = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {incidents}) \
             INSERT INTO {table} ({}) SELECT {} FROM n CROSS JOIN {table} AS old WHERE old.{} = ?",
            columns.join(", "),
            values.join(", "),
            if table == "incident" { "id" } else { "incident_id" },
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&closed)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    let row = sqlx::query("SELECT COUNT(*) AS count FROM incident").fetch_one(&mut connection);
    let count: i64 = row.await?.get("count");
    connection.close().await?;
    Ok(count.cast_unsigned())
}

async fn columns(connection: &mut SqliteConnection, table: &str) -> anyhow::Result<Vec<String>> {
    let statement = sqlx::AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')"));
    Ok(sqlx::query_scalar(statement).fetch_all(connection).await?)
}

/// What a copy has in a column: an id, a key and a fingerprint of its own, all else as it is.
fn value_of(table: &str, column: &str) -> String {
    // Older than every real one: ids are ordered by time.
    let id = "printf('inc_%08x%04x7000800000000000%04x', i >> 16, i & 65535, i & 65535)";
    match (table, column) {
        ("incident", "id") | (_, "incident_id") => id.to_owned(),
        ("incident", "key") => "'copy ' || i".to_owned(),
        ("incident", "body") => format!("replace(old.body, old.id, {id})"),
        ("alert", "fingerprint") => "printf('%016x', i + 1000000000)".to_owned(),
        (_, column) => format!("old.{column}"),
    }
}

/// An agent that takes every request and answers none.
struct HangingAgent {
    address: SocketAddr,
    asked: Arc<watch::Sender<(u64, Instant)>>,
    /// Ends with the agent.
    _serving: JoinSet<std::io::Result<()>>,
}

impl HangingAgent {
    async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(watch::Sender::new((0, Instant::now())));
        let counted = asked.clone();
        let hang = move || {
            counted.send_modify(|(count, at)| (*count, *at) = (*count + 1, Instant::now()));
            std::future::pending::<()>()
        };
        let routes = axum::Router::new().fallback(hang);
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, asked, _serving: serving })
    }

    fn asked(&self) -> u64 {
        self.asked.borrow().0
    }

    /// When it was asked for the first time after so many.
    async fn asked_again(&self, before: u64) -> anyhow::Result<Instant> {
        let mut asked = self.asked.subscribe();
        let again = asked.wait_for(|(count, _)| *count > before);
        let again = tokio::time::timeout(PATIENCE, again).await;
        Ok(again.context("ingress asks no agent")??.1)
    }
}
