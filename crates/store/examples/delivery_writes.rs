//! What it costs to take deliveries that say what is known, beside the bare insert of their bodies in
//! a database of its own: 64 at once and one alone. By hand:
//! `cargo run --release -p store --example delivery_writes -- [sqlite|postgres]`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use incident::{Alert, AlertStatus, Incident, IncidentId, Limits, Opening, Severity};
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgConnection};
use store::{
    AlertKey, AlertState, AlertWrite, Base, Batch, Delivered, IncidentWrite, OpenOptions, Repeat,
    Replica, Store, StoreError,
};
use uuid::Uuid;

const ALERTS: usize = 1_000;
const ROUNDS: usize = 9;
const GROUPS: usize = 200;
const GROUP: usize = 64;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if wanted != "postgres" {
        let directory = tempfile::tempdir()?;
        let store = open(&directory.path().join("store.db").display().to_string()).await?;
        measure("sqlite", &store, Bare::file(&directory.path().join("bare.db")).await?).await?;
    }
    if wanted != "sqlite" {
        let Some(server) = postgres_server::Server::start_durable() else { return Ok(()) };
        let store = open(&server.url()).await?;
        measure("postgres", &store, Bare::server(&server.url()).await?).await?;
    }
    Ok(())
}

async fn open(database: &str) -> Result<Arc<dyn Store>, StoreError> {
    let options = OpenOptions {
        replica: Replica { id: "one".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(3_600),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| Timestamp::UNIX_EPOCH),
    };
    Ok(store::open(database, "ingress", options).await?.store)
}

async fn measure(name: &str, store: &Arc<dyn Store>, mut bare: Bare) -> Result<(), Box<dyn Error>> {
    let alerts: Vec<Alert> = (0..ALERTS).map(alert).collect();
    fill(store, &alerts).await?;
    // Of no other replica that lives, as after the first minute of a real one.
    store.heartbeat(Duration::from_secs(3_600)).await?;
    let cases = ["bare 64", "64 callers", "1 batch of 64", "bare 1", "1 batch of 1"];
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for (case, times) in times.iter_mut().enumerate() {
            let (start, before) = (Instant::now(), cpu());
            let of = |group, size| (0..size).map(move |one| group * GROUP + one);
            if case == 1 {
                // Each goes on as soon as it is answered: a group is what waits then.
                let callers = (0..GROUP).map(async |caller| {
                    for group in 0..GROUPS {
                        store.commit(batch(&alerts, [group * GROUP + caller])).await?;
                    }
                    Ok::<_, StoreError>(())
                });
                try_join_all(callers).await?;
            }
            for group in 0..GROUPS {
                match case {
                    0 => bare.insert(of(group, GROUP).map(body).collect()).await?,
                    2 => store.commit(batch(&alerts, of(group, GROUP))).await?,
                    3 => bare.insert(of(group, 1).map(body).collect()).await?,
                    4 => store.commit(batch(&alerts, of(group, 1))).await?,
                    _ => {}
                }
            }
            let groups = GROUPS as f64;
            let micros = |time: Duration| time.as_secs_f64() * 1e6 / groups;
            times.push((micros(start.elapsed()), micros(cpu() - before)));
        }
    }
    for (case, times) in cases.iter().zip(&times) {
        println!(
            "{name:>9} {case:>14}: {:>7.0} us, {:>7.0} us of this process",
            median(times, 0),
            median(times, 1)
        );
    }
    let ratio = |one: usize, other: usize, which: usize| {
        let ratios = times[one].iter().zip(&times[other]);
        let ratios: Vec<(f64, f64)> =
            ratios.map(|(one, other)| (one.0 / other.0, one.1 / other.1)).collect();
        median(&ratios, which)
    };
    for (one, other) in [(1, 0), (2, 0), (4, 3)] {
        println!(
            "{name:>9} {:>14} / {}: {:.2} of time, {:.2} of this process",
            cases[one],
            cases[other],
            ratio(one, other, 0),
            ratio(one, other, 1)
        );
    }
    Ok(())
}

fn median(times: &[(f64, f64)], which: usize) -> f64 {
    let mut times: Vec<f64> =
        times.iter().map(|time| if which == 0 { time.0 } else { time.1 }).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Processor time of the threads of this process.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn alert(number: usize) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: format!("{:016x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        status: AlertStatus::Firing,
        name: "HighErrorRate".into(),
        severity: Severity::Warning,
        labels: (0..8).map(|one| (format!("label_{one}"), "x".repeat(20))).collect(),
        annotations: [("summary".into(), "y".repeat(200))].into(),
        starts_at: Timestamp::UNIX_EPOCH,
        is_start_known: true,
        ends_at: None,
        generator_url: "z".repeat(80),
    }
}

/// About 2 KB, with as many quotes as such bodies have.
fn body(number: usize) -> String {
    let alert = serde_json::to_string(&alert(number)).unwrap_or_default();
    format!("{{\"receiver\":\"firebreak\",\"alerts\":[{alert},{alert},{alert}]}}")
}

fn delivered(number: usize) -> Delivered {
    Delivered { source: "alertmanager".into(), body: body(number), at: Timestamp::UNIX_EPOCH }
}

fn batch(alerts: &[Alert], numbers: impl IntoIterator<Item = usize>) -> Batch {
    let mut batch = Batch::default();
    for number in numbers {
        // Neighbours in a group are no neighbours in the table.
        let alert = &alerts[number * 7_919 % ALERTS];
        batch.delivered.push(delivered(number));
        let (alert, state) = (AlertKey::of(alert), AlertState::of(alert));
        batch.repeats.push(Repeat { alert, state, reports: 1, at: Timestamp::UNIX_EPOCH });
    }
    batch
}

/// An open incident with all the alerts.
async fn fill(store: &Arc<dyn Store>, alerts: &[Alert]) -> Result<(), StoreError> {
    let opening = Opening {
        id: IncidentId::new(Uuid::from_u128(1)),
        key: "k".to_owned().into(),
        title: String::new(),
        description: String::new(),
        severity: Severity::Warning,
        affected_systems: Vec::new(),
        tags: Vec::new(),
        follows: None,
        is_authenticated: true,
    };
    let at = Timestamp::UNIX_EPOCH;
    let incident = Incident::open(opening, at, &Limits::default());
    let write = |alert: &Alert| AlertWrite {
        alert: alert.clone(),
        incident: Some(incident.id),
        held: None,
        version: 0,
        reports: 1,
        at,
    };
    let alerts = alerts.iter().map(write).collect();
    let (base, entries, effects) = (Base::default(), Vec::new(), Vec::new());
    let incidents = vec![IncidentWrite { incident: incident.clone(), base, entries, effects, at }];
    store.commit(Batch { incidents, alerts, ..Batch::default() }).await
}

/// A database that knows nothing but bodies.
enum Bare {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

#[derive(serde::Serialize)]
struct BareRow {
    source: &'static str,
    received_at: i64,
    body: String,
}

impl Bare {
    async fn file(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-1024")
            .pragma("wal_autocheckpoint", "4000");
        let mut connection = options.connect().await?;
        let table = "CREATE TABLE delivery (id INTEGER PRIMARY KEY, source TEXT NOT NULL, \
                     received_at INTEGER NOT NULL, body TEXT NOT NULL) STRICT";
        sqlx::query(table).execute(&mut connection).await?;
        Ok(Self::Sqlite(connection))
    }

    async fn server(url: &str) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect(url).await?;
        let table = "CREATE TABLE delivery (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                     source TEXT NOT NULL, received_at BIGINT NOT NULL, body TEXT NOT NULL)";
        sqlx::query(table).execute(&mut connection).await?;
        Ok(Self::Postgres(connection))
    }

    async fn insert(&mut self, bodies: Vec<String>) -> Result<(), Box<dyn Error>> {
        let row = |body| BareRow { source: "alertmanager", received_at: 0, body };
        let rows = serde_json::to_string(&bodies.into_iter().map(row).collect::<Vec<_>>())?;
        match self {
            Self::Sqlite(connection) => {
                let sql = "INSERT INTO delivery (source, received_at, body) \
                           SELECT value ->> 'source', value ->> 'received_at', value ->> 'body' \
                           FROM json_each($1)";
                sqlx::query(sql).bind(rows).execute(connection).await?;
            }
            Self::Postgres(connection) => {
                let sql = "INSERT INTO delivery (source, received_at, body) \
                           SELECT source, received_at, body FROM json_to_recordset($1::json) \
                           AS new (source text, received_at bigint, body text)";
                sqlx::query(sql).bind(rows).execute(connection).await?;
            }
        }
        Ok(())
    }
}
