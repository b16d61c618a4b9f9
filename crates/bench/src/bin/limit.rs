//! The limit: what a bare axum server with a SQLite group commit does on this machine. It reads a
//! request, commits one row, and answers; no protocol, no agent. Ratios are taken to it. On
//! PostgreSQL it is the other end: all that ingress does for a webhook, in one transaction for each.

use std::net::SocketAddr;

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use bench::alone::Alone;
use clap::Parser;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Requests that wait for a commit, and the largest batch.
const QUEUE: usize = 1024;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS task (id TEXT PRIMARY KEY, body TEXT)";

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    /// A SQLite file, or a `postgres://` URL
    #[arg(long)]
    database: String,
}

struct Row {
    id: String,
    body: String,
    committed: oneshot::Sender<()>,
}

/// Where a row goes.
#[derive(Clone)]
enum Rows {
    /// To the committer, which takes what waits.
    Grouped(mpsc::Sender<Row>),
    /// Each in a transaction of its own.
    Alone(Alone),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut committer = JoinSet::new();
    let rows = if args.database.starts_with("postgres:") {
        Rows::Alone(Alone::open(&args.database).await?)
    } else {
        let options = SqliteConnectOptions::new()
            .filename(&args.database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePool::connect_with(options).await?;
        sqlx::query(TABLE).execute(&pool).await?;
        let (rows, queue) = mpsc::channel(QUEUE);
        committer.spawn(commit(pool, queue));
        Rows::Grouped(rows)
    };
    let routes = Router::new()
        .route("/a2a", post(take_message))
        .route("/webhooks/alertmanager", post(take_webhook))
        .with_state(rows);
    let listener = TcpListener::bind(args.listen).await?.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY not set: {error}");
        }
    });
    let serving = axum::serve(listener, routes).into_future();
    tokio::select! {
        served = serving => served.context("the listener ended"),
        Some(ended) = committer.join_next() => ended?.context("the committer ended"),
    }
}

async fn take_message(
    State(rows): State<Rows>,
    Json(request): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let (id, context_id) = (new_id(), new_id());
    let task = json!({
        "id": id, "contextId": context_id,
        "status": {"state": "TASK_STATE_COMPLETED"},
        "history": [request["params"]["message"]],
    });
    rows.commit(id, task.to_string()).await?;
    Ok(Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": {"task": task}})))
}

/// As little of a webhook as anybody must read.
#[derive(Deserialize)]
struct Webhook<'a> {
    #[serde(borrow)]
    alerts: Vec<Alert<'a>>,
}

#[derive(Deserialize)]
struct Alert<'a> {
    fingerprint: &'a str,
}

async fn take_webhook(
    State(rows): State<Rows>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, StatusCode> {
    let text = std::str::from_utf8(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if let Rows::Alone(alone) = &rows {
        alone.take(&headers, text).await?;
        return Ok(Json(json!({})));
    }
    let webhook: Webhook<'_> = serde_json::from_str(text).map_err(|_| StatusCode::BAD_REQUEST)?;
    let fingerprint = webhook.alerts.first().ok_or(StatusCode::BAD_REQUEST)?.fingerprint;
    rows.commit(new_id(), text.to_owned()).await?;
    Ok(Json(json!({ "fingerprint": fingerprint })))
}

impl Rows {
    async fn commit(&self, id: String, body: String) -> Result<(), StatusCode> {
        let Self::Grouped(queue) = self else { return Err(StatusCode::NOT_FOUND) };
        let (committed, wait) = oneshot::channel();
        let row = Row { id, body, committed };
        queue.send(row).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        wait.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing of a measurement is replayed")]
fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// Takes what waits, commits it with one statement, answers.
async fn commit(pool: SqlitePool, mut queue: mpsc::Receiver<Row>) -> anyhow::Result<()> {
    let mut batch = Vec::with_capacity(QUEUE);
    while queue.recv_many(&mut batch, QUEUE).await > 0 {
        let rows: Vec<Value> = batch.iter().map(|row| json!([row.id, row.body])).collect();
        sqlx::query(
            "INSERT INTO task (id, body) \
             SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        )
        .bind(Value::Array(rows).to_string())
        .execute(&pool)
        .await?;
        for row in batch.drain(..) {
            // A caller that went away needs no answer.
            let _gone = row.committed.send(());
        }
    }
    Ok(())
}
