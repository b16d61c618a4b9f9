//! How long a database with many incidents takes to open and to give what is due first:
//! `cargo run -p store --example open_full -- <directory or postgres:// URL> <incidents>`.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::{AlertKey, OpenOptions, Opened, Replica, StoreError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().ok_or("a directory or a URL is missing")?;
    let count: u64 = arguments.next().ok_or("the number of incidents is missing")?.parse()?;
    let is_server = place.starts_with("postgres");
    let database = if is_server { place.clone() } else { format!("{place}/full.db") };
    open(&database).await?.store.close().await;
    fill(&database, is_server, count).await?;

    for _ in 0..5 {
        let start = Instant::now();
        let opened = open(&database).await?;
        let is_open = start.elapsed();
        let now: Timestamp = "2027-01-01T00:00:00Z".parse()?;
        let deadline = opened.store.next_deadline().await?;
        let overdue = opened.store.overdue(now, 100).await?.len();
        let claimed = opened.store.claim_outbox("resolve", now, 32, false).await?.len();
        let tickets = opened.store.claim_outbox("ticket", now, 32, true).await?.len();
        let due = opened.store.next_outbox(now).await?;
        let is_ready = start.elapsed();
        let alerts = (0..10).map(|n| AlertKey { source: "a".into(), fingerprint: n.to_string() });
        let related = opened.store.related(alerts.collect(), vec!["k-7".to_owned().into()]).await?;
        println!(
            "open {is_open:?}, with what is due {is_ready:?}, with related incidents {:?}: deadline \
             {deadline:?}, {overdue} overdue, {claimed} and {tickets} claimed, next {due:?}, {} related",
            start.elapsed(),
            related.incidents.len(),
        );
        opened.store.close().await;
    }
    Ok(())
}

async fn open(database: &str) -> Result<Opened, StoreError> {
    let options = OpenOptions {
        replica: Replica { id: "one".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(30),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| Timestamp::UNIX_EPOCH),
    };
    store::open(database, "open_full", options).await
}

/// Closed incidents, and of every thousandth an open one with a deadline and effects.
async fn fill(database: &str, is_server: bool, count: u64) -> Result<(), Box<dyn Error>> {
    let (numbers, id) = if is_server {
        (format!("generate_series(1, {count}) AS s (n)"), "'inc_' || lpad(to_hex(n), 32, '0')")
    } else {
        let series = format!(
            "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) \
             SELECT n FROM s)"
        );
        (series, "printf('inc_%032x', n)")
    };
    let body = r#"{"id":"inc_00000000000000000000000000000001","key":"k","title":"t","description":"","severity":"warning","affected_systems":[],"tags":[],"phase":{"name":"diagnosing"},"alerts":[],"opened_at":"2026-01-01T00:00:00Z","round":1,"deadline":null}"#;
    let rare = "n % 1000 = 0";
    let statements = [
        format!(
            "INSERT INTO incident (id, key, phase, is_open, opened_at, changed_at, deadline, body, \
               version, sequence, hash) SELECT {id}, 'k-' || n, 'closed', \
               CASE WHEN {rare} THEN 1 ELSE 0 END, n, n, CASE WHEN {rare} THEN n END, \
               '{body}', 1, 1, 'x' FROM {numbers}"
        ),
        format!(
            "INSERT INTO audit (incident_id, sequence, body, hash) SELECT {id}, 1, '{{}}', 'x' \
             FROM {numbers}"
        ),
        format!(
            "INSERT INTO alert (source, fingerprint, incident_id, status, severity, starts_at, \
               reports, first_at, changed_at, version, body) \
             SELECT 'a', CAST(n AS TEXT), {id}, 'resolved', 'info', 0, 1, n, n, 1, '{{}}' \
             FROM {numbers}"
        ),
        format!(
            "INSERT INTO outbox (incident_id, kind, round, not_before) SELECT {id}, \
               CASE WHEN n % 2000 = 0 THEN 'resolve' ELSE 'ticket' END, 1, n FROM {numbers} WHERE {rare}"
        ),
    ];
    if is_server {
        let mut raw = PgConnection::connect(database).await?;
        sqlx::raw_sql("SET search_path TO open_full").execute(&mut raw).await?;
        for sql in statements {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut raw).await?;
        }
    } else {
        let mut raw = SqliteConnection::connect(database).await?;
        for sql in statements {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut raw).await?;
        }
        raw.close().await?;
    }
    Ok(())
}
