//! Alerts as an earlier version stored them, which were links to incidents and no more: what their
//! incidents tell of them is kept, and what nobody tells is news when it is reported.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::sync::Arc;
use std::time::Duration;

use incident::{Alert, Incident, TrackedAlert};
use jiff::{SignedDuration, Timestamp};
use postgres_server::Server;
use sample::{at, firing, id, incident, known, repeat, resolved};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use store::{Batch, OpenOptions, Replica, Store};

#[expect(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared with the behaviours of every backend"
)]
#[path = "suite/sample.rs"]
mod sample;

/// The last migration of the earlier version.
const EARLIER: i64 = 4;

async fn open(database: &str) -> Arc<dyn Store> {
    let options = OpenOptions {
        replica: Replica { id: "one".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(600),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| at(0)),
    };
    store::open(database, "agent", options).await.unwrap().store
}

fn told() -> [Alert; 2] {
    let mut fires = firing("alertmanager", "fires");
    fires.starts_at = "2026-01-02T03:04:05.678912345Z".parse().unwrap();
    [fires, resolved(&firing("alertmanager", "it's \"over\""))]
}

/// Three incidents with links of alerts to them: one that tells of its alerts but for one, one that
/// cannot be read, and one that no alert is linked to.
fn rows() -> String {
    let mut tells = incident(1, "k");
    let tracked = |alert| TrackedAlert::new(alert, at(3));
    tells.alerts = told().map(tracked).into();
    let mut sql = String::new();
    let mut put = |incident: &Incident, body: &str| {
        let (id, key, at) = (incident.id, incident.key.as_str(), at(5).as_microsecond());
        let body = body.replace('\'', "''");
        sql += &format!(
            "INSERT INTO incident (id, key, phase, is_open, opened_at, changed_at, body, version, \
               sequence, hash) VALUES ('{id}', '{key}', 'diagnosing', 1, {at}, {at}, '{body}', 1, 0, '');"
        );
    };
    put(&tells, &serde_json::to_string(&tells).unwrap());
    put(&incident(2, "l"), "{");
    put(&incident(3, "m"), &serde_json::to_string(&incident(3, "m")).unwrap());
    let links =
        [("fires", 1), ("it''s \"over\"", 1), ("untold", 1), ("of one that cannot be read", 2)];
    for (fingerprint, number) in links {
        let id = id(number);
        sql += &format!("INSERT INTO alert VALUES ('alertmanager', '{fingerprint}', '{id}');");
    }
    sql
}

async fn look(store: Arc<dyn Store>) {
    for alert in told() {
        let row = known(&store, &alert).await;
        // The column holds its start less finely than the body does, and counts.
        let moved = row.alert.starts_at.duration_since(alert.starts_at).abs();
        assert!(moved < SignedDuration::from_millis(1), "{moved}");
        let alert = Alert { starts_at: row.alert.starts_at, ..alert };
        assert_eq!((&row.alert, row.incident, row.held), (&alert, Some(id(1)), None));
        assert_eq!((row.reports, row.version, row.last_at), (1, 1, at(5)));
        let repeats = vec![repeat(&alert, 2)];
        store.commit(Batch { repeats, ..Batch::default() }).await.unwrap();
        assert_eq!(known(&store, &alert).await.reports, 3);
    }
    for (fingerprint, number) in [("untold", 1), ("of one that cannot be read", 2)] {
        let alert = firing("alertmanager", fingerprint);
        let row = known(&store, &alert).await;
        assert_eq!((row.incident, row.version), (Some(id(number)), 1));
        assert_eq!(row.alert.starts_at, Timestamp::UNIX_EPOCH);
        assert!(!row.alert.is_firing());
        for said in [resolved(&alert), alert] {
            let repeats = vec![repeat(&said, 1)];
            store.commit(Batch { repeats, ..Batch::default() }).await.unwrap_err();
        }
    }
    let firing = store.firing_alerts("alertmanager".into(), None, 9).await.unwrap();
    assert_eq!(firing.len(), 1);
    store.close().await;
}

#[tokio::test]
async fn alerts_of_an_earlier_file_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    sqlx::migrate!("migrations/sqlite").run_to(EARLIER, &mut old).await.unwrap();
    old.execute(sqlx::raw_sql(AssertSqlSafe(rows()))).await.unwrap();
    old.close().await.unwrap();
    look(open(path.to_str().unwrap()).await).await;
}

#[tokio::test]
async fn alerts_of_an_earlier_schema_are_kept() {
    let Some(server) = Server::start() else { return };
    let mut old = PgConnection::connect(&server.url()).await.unwrap();
    old.execute("CREATE SCHEMA agent; SET search_path TO agent").await.unwrap();
    sqlx::migrate!("migrations/postgres").run_to(EARLIER, &mut old).await.unwrap();
    old.execute(sqlx::raw_sql(AssertSqlSafe(rows()))).await.unwrap();
    look(open(&server.url()).await).await;
}
