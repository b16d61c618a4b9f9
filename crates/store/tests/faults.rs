//! What happens to the database in the field: a full disk, a disk that can only be read, a file that
//! somebody else has locked, a log that was cut in the middle of a record, a server that is stopped.
//! Each is said in plain words, nothing half is written, and all works again once the cause is gone.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use postgres_server::Server;
use sample::{
    at, batch, delivered, effect, entry, firing, first, id, incident, news, repeat, tell,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use store::{Batch, Delivered, OpenOptions, Replica, Store, StoreError};

#[expect(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "shared with the behaviours of every backend"
)]
#[path = "suite/sample.rs"]
mod sample;

/// Where the tests that need a small disk find it.
const DISK: &str = "STORE_TEST_DISK";
const COMMITS: u128 = 30;

fn options() -> OpenOptions {
    OpenOptions {
        replica: Replica { id: "one".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(600),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| at(0)),
    }
}

async fn open(database: &str) -> Result<Arc<dyn Store>, StoreError> {
    Ok(store::open(database, "agent", options()).await?.store)
}

/// A new incident with a row of its timeline and an effect.
fn whole(number: u128) -> Batch {
    let mut write = first(incident(number, &format!("k-{number}")));
    write.entries = vec![entry("one"), entry("two")];
    write.effects = vec![effect("resolve")];
    batch([write])
}

/// A body and a repeat of the alert of `known`, which are written the short way.
fn plain(body: &str) -> Batch {
    let repeats = vec![repeat(&firing("a", "f"), 1)];
    Batch { delivered: vec![delivered(body)], repeats, ..Batch::default() }
}

/// As `whole`, with an alert that fires.
fn known() -> Batch {
    Batch { alerts: vec![news(firing("a", "f"), Some(1))], ..whole(1) }
}

/// How many plain batches were written, after a look that each is whole.
async fn count_plain(store: &Arc<dyn Store>) -> usize {
    let bodies = store.deliveries(0, 10_000).await.unwrap().len();
    let reports = sample::known(store, &firing("a", "f")).await.reports;
    assert_eq!(reports, 1 + i64::try_from(bodies).unwrap(), "a repeat for each body");
    bodies
}

/// How many incidents there are, after a look that each is whole.
async fn count_whole(store: &Arc<dyn Store>) -> usize {
    let incidents = store.incidents(10_000, None).await.unwrap();
    for stored in &incidents {
        assert_eq!(store.verify_audit(stored.incident.id).await.unwrap(), 2);
    }
    let rows = store.claim_outbox("resolve", at(9), 10_000, false).await.unwrap();
    assert_eq!(rows.len(), incidents.len(), "an effect of each");
    store.release_outbox(rows.iter().map(|row| row.id).collect()).await.unwrap();
    incidents.len()
}

/// The error in words, which must be one that passes.
fn words(outcome: Result<(), StoreError>) -> String {
    let error = outcome.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    error.to_string()
}

/// Runs one of the tests below on a disk of its own, which only it sees.
fn on_small_disk(test: &str) {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=2m none \"$1\" && exec \"$2\" --exact \"$3\" --ignored --nocapture";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(DISK, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare failed") || said.contains("permission denied") {
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{said}");
        return println!("skipped: this user may not mount a disk: {said}");
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn disk() -> PathBuf {
    PathBuf::from(std::env::var_os(DISK).expect("this test is run by another one"))
}

#[test]
fn a_full_disk_stores_nothing_and_works_again_when_there_is_room() {
    on_small_disk("on_a_disk_that_fills");
}

#[test]
fn a_disk_that_can_only_be_read_is_refused_until_it_can_be_written() {
    on_small_disk("on_a_disk_that_can_only_be_read");
}

#[tokio::test]
#[ignore = "run on a small disk by the test above"]
async fn on_a_disk_that_fills() {
    let store = open(disk().join("test.db").to_str().unwrap()).await.unwrap();
    store.commit(known()).await.unwrap();
    let (mut count, mut bodies) = (1, 0);
    let filler = disk().join("filler");
    for _ in 0..3 {
        std::fs::write(&filler, vec![0; 4 << 20]).unwrap_err();
        let said = loop {
            match store.commit(whole(count + 1)).await {
                Ok(()) => count += 1,
                failed => break words(failed),
            }
        };
        assert_eq!(said, "the disk of the database is full");
        let many = (1..20).map(|number| store.commit(whole(count + number)));
        for failed in futures::future::join_all(many).await {
            words(failed);
        }
        assert_eq!(count_whole(&store).await, usize::try_from(count).unwrap());
        let said = loop {
            match store.commit(plain(&"x".repeat(9_000))).await {
                Ok(()) => bodies += 1,
                failed => break words(failed),
            }
        };
        assert_eq!(said, "the disk of the database is full");
        assert_eq!(count_plain(&store).await, bodies);
        std::fs::remove_file(&filler).unwrap();
        store.commit(plain("there is room")).await.unwrap();
        bodies += 1;
        assert_eq!(count_plain(&store).await, bodies);
        store.commit(whole(count + 1)).await.unwrap();
        count += 1;
        assert_eq!(count_whole(&store).await, usize::try_from(count).unwrap());
    }
}

fn remount(how: &str) {
    let done = Command::new("mount").args(["-o", how]).arg(disk()).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
#[ignore = "run on a small disk by the test above"]
async fn on_a_disk_that_can_only_be_read() {
    let path = disk().join("test.db").display().to_string();
    let store = open(&path).await.unwrap();
    store.commit(whole(1)).await.unwrap();
    store.close().await;
    drop(store);
    remount("remount,ro");
    let refused = format!("{:?}", open(&path).await.unwrap_err());
    assert!(refused.contains("ReadOnlyFilesystem"), "{refused}");
    remount("remount,rw");
    let store = open(&path).await.unwrap();
    store.commit(whole(2)).await.unwrap();
    assert_eq!(count_whole(&store).await, 2);
}

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

#[tokio::test]
async fn a_file_that_somebody_has_locked_is_waited_for_and_then_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let store = open(path.to_str().unwrap()).await.unwrap();
    store.commit(known()).await.unwrap();
    let mut other = raw(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    for batch in [whole(2), plain("never")] {
        let said = words(store.commit(batch).await);
        assert_eq!(said, "the database is locked by another connection");
    }
    assert_eq!(count_whole(&store).await, 1, "it is read meanwhile");
    other.execute("COMMIT").await.unwrap();
    store.commit(whole(2)).await.unwrap();
    store.commit(plain("{}")).await.unwrap();
    assert_eq!((count_whole(&store).await, count_plain(&store).await), (2, 1));
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db").display().to_string();
    let _store = open(&path).await.unwrap();
    let refused = cause(open(&path).await.unwrap_err());
    assert_eq!(refused, format!("{path} is in use by process {}", std::process::id()));
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    open(path.to_str().unwrap()).await.unwrap().close().await;
    raw(&path).await.execute(NEWER).await.unwrap();
    let refused = cause(open(path.to_str().unwrap()).await.unwrap_err());
    assert!(refused.contains("newer version"), "{refused}");
}

/// A migration of the future.
const NEWER: &str = "INSERT INTO _sqlx_migrations \
     (version, description, success, checksum, execution_time) VALUES (900, 'newer', true, 'x', 1)";

/// What is below the setting.
fn cause(error: StoreError) -> String {
    std::error::Error::source(&error).unwrap().to_string()
}

#[tokio::test]
async fn replicas_of_two_versions_share_a_schema_until_the_newer_one_forbids_it() {
    let Some(server) = Server::start() else { return };
    let newer = open(&server.url()).await.unwrap();
    newer.commit(whole(1)).await.unwrap();
    let upgrade = format!(
        "SET search_path TO agent; {}; ALTER TABLE incident ADD COLUMN later TEXT; \
         ALTER TABLE outbox ADD COLUMN later BIGINT NOT NULL DEFAULT 1;",
        NEWER.replace("'x'", "'\\x00'")
    );
    run(&server, upgrade).await;
    let older = open(&server.url()).await.unwrap();
    older.commit(whole(2)).await.unwrap();
    assert_eq!(count_whole(&newer).await, 2);
    run(&server, "UPDATE agent.compatibility SET oldest = 900".into()).await;
    let refused = cause(open(&server.url()).await.unwrap_err());
    assert!(refused.contains("newer version"), "{refused}");
}

async fn run(server: &Server, sql: String) {
    let mut raw = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut raw).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let error = open("postgres://agent@127.0.0.1:1/firebreak").await.unwrap_err();
    assert!(format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    assert_eq!(cause(error), "no PostgreSQL server answers at 127.0.0.1:1");
    let directory = tempfile::tempdir().unwrap();
    let nowhere = directory.path().display();
    let url = format!("postgres:///firebreak?user=agent&host={nowhere}");
    let refused = cause(open(&url).await.unwrap_err());
    assert_eq!(refused, format!("no PostgreSQL server answers at {nowhere}, port 5432"));
}

#[tokio::test]
async fn a_role_that_is_not_let_in_is_told_where_its_password_belongs() {
    let Some(server) = Server::start() else { return };
    let mut raw = sqlx::PgConnection::connect(&server.url()).await.unwrap();
    let file: String = sqlx::query_scalar("SHOW hba_file").fetch_one(&mut raw).await.unwrap();
    let rules = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("local all locked scram-sha-256\n{rules}")).unwrap();
    run(&server, "CREATE ROLE locked LOGIN PASSWORD 'secret'; SELECT pg_reload_conf()".into())
        .await;
    let url = server.url().replace("user=test", "user=locked");
    // The server reads its rules a moment later; until then the role may come in, and do nothing.
    let refused = loop {
        match open(&url).await.unwrap_err() {
            StoreError::Setting { source, .. }
                if matches!(*source, StoreError::NoSchema { .. }) => {}
            error => break cause(error),
        }
    };
    assert!(refused.contains("does not let the role locked in"), "{refused}");
    assert!(refused.contains("PGPASSFILE"), "{refused}");
}

#[tokio::test]
async fn a_server_that_may_not_be_written_is_said_and_written_again() {
    let Some(server) = Server::start() else { return };
    let store = open(&server.url()).await.unwrap();
    store.commit(whole(1)).await.unwrap();
    let cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'agent';";
    let forbid = "ALTER ROLE test SET default_transaction_read_only = on;";
    run(&server, format!("{forbid} {cut_off}")).await;
    let said = words(store.commit(whole(2)).await);
    assert_eq!(said, "the database can only be read, not written");
    assert_eq!(store.incidents(9, None).await.unwrap().len(), 1, "it is read meanwhile");
    let allow = "SET transaction_read_only = off; SET default_transaction_read_only = off; \
                 ALTER ROLE test RESET default_transaction_read_only;";
    run(&server, format!("{allow} {cut_off}")).await;
    store.commit(whole(2)).await.unwrap();
    assert_eq!(count_whole(&store).await, 2);
}

#[tokio::test]
async fn a_log_that_was_cut_opens_with_what_was_committed_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    let log = directory.path().join("test.db-wal");
    let store = open(path.to_str().unwrap()).await.unwrap();
    // So that the tables are in the file, and the log has the incidents alone.
    raw(&path).await.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let mut ends = vec![0];
    for number in 1..=COMMITS {
        store.commit(whole(number)).await.unwrap();
        ends.push(std::fs::metadata(&log).unwrap().len());
    }
    let (file, log) = (std::fs::read(&path).unwrap(), std::fs::read(&log).unwrap());
    let last = ends[ends.len() - 1];
    let cuts = (0..60).map(|step| last * step / 60 + step * 7);
    // Right at the end of a commit, and one byte before and after it.
    let edges = ends[1..].iter().step_by(5).flat_map(|end| [end - 1, *end, end + 1]);
    for cut in cuts.chain(edges).filter(|cut| *cut <= last) {
        let copy = directory.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        std::fs::write(copy.join("test.db"), &file).unwrap();
        std::fs::write(copy.join("test.db-wal"), &log[..usize::try_from(cut).unwrap()]).unwrap();
        let cut_off = open(copy.join("test.db").to_str().unwrap()).await.unwrap();
        let committed = ends[1..].iter().filter(|end| **end <= cut).count();
        assert_eq!(count_whole(&cut_off).await, committed, "cut at {cut} of {last}");
        cut_off.commit(whole(COMMITS + 1)).await.unwrap();
        cut_off.close().await;
        std::fs::remove_dir_all(&copy).unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_is_said_and_used_again() {
    let Some(mut server) = Server::start() else { return };
    let store = open(&server.url()).await.unwrap();
    store.commit(known()).await.unwrap();
    server.stop();
    let many = (2..40).map(|number| store.commit(whole(number)));
    for failed in futures::future::join_all(many).await {
        words(failed);
    }
    words(store.commit(plain("never")).await);
    words(store.heartbeat(Duration::from_secs(600)).await);
    server.resume();
    store.commit(whole(2)).await.unwrap();
    store.commit(plain("{}")).await.unwrap();
    assert_eq!(count_plain(&store).await, 1);
    tell(&store, 2, &[]).await;
    assert_eq!(count_whole(&store).await, 2);
    assert_eq!(store.incident(id(3)).await.unwrap().map(|stored| stored.base), None);
}

#[tokio::test]
async fn a_role_that_may_make_no_schema_is_told_what_an_administrator_runs() {
    let Some(server) = Server::start() else { return };
    run(&server, "CREATE ROLE agent LOGIN NOSUPERUSER".into()).await;
    let url = server.url().replace("user=test", "user=agent");
    let text = cause(open(&url).await.unwrap_err());
    assert!(text.contains("CREATE SCHEMA agent AUTHORIZATION agent"), "{text}");
    run(&server, "CREATE SCHEMA agent AUTHORIZATION agent".into()).await;
    let store = open(&url).await.unwrap();
    let delivered = Delivered { source: "a".into(), body: "{}".into(), at: at(1) };
    store.commit(Batch { delivered: vec![delivered], ..whole(1) }).await.unwrap();
    assert_eq!(count_whole(&store).await, 1);
}

#[tokio::test]
async fn replicas_that_start_at_once_on_an_empty_database_all_do() {
    let Some(server) = Server::start() else { return };
    let url = server.url();
    let starting = (0..6).map(|_| open(&url));
    for (number, opened) in futures::future::join_all(starting).await.into_iter().enumerate() {
        opened.unwrap().commit(whole(number as u128 + 1)).await.unwrap();
    }
}
