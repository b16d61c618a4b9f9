//! The limit: what a bare axum server with a SQLite group commit does on this machine. It reads a
//! request, commits one row, and answers; no protocol, no agent. Ratios are taken to it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Requests that wait for a commit, and the largest batch.
const QUEUE: usize = 1024;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    database: PathBuf,
}

struct Row {
    id: String,
    body: String,
    committed: oneshot::Sender<()>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let options = SqliteConnectOptions::new()
        .filename(&args.database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS task (id TEXT PRIMARY KEY, body TEXT) STRICT")
        .execute(&pool)
        .await?;
    let (rows, queue) = mpsc::channel(QUEUE);
    let mut committer = JoinSet::new();
    committer.spawn(commit(pool, queue));
    let routes = Router::new().route("/a2a", post(take)).with_state(rows);
    let listener = TcpListener::bind(args.listen).await?.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY not set: {error}");
        }
    });
    tokio::select! {
        served = axum::serve(listener, routes).into_future() => {
            served.context("the listener ended")
        }
        ended = committer.join_next() => {
            ended.context("there is one")??.context("the committer ended")
        }
    }
}

async fn take(
    State(rows): State<mpsc::Sender<Row>>,
    Json(request): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let (id, context_id) = (new_id(), new_id());
    let task = json!({
        "id": id, "contextId": context_id,
        "status": {"state": "TASK_STATE_COMPLETED"},
        "history": [request["params"]["message"]],
    });
    let (committed, wait) = oneshot::channel();
    let row = Row { id, body: task.to_string(), committed };
    rows.send(row).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    wait.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": {"task": task}})))
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
