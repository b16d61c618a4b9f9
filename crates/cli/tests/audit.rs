//! `firebreak audit verify` over a database that ingress has open, and one that somebody edited.

#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use incident::{EntryKind, Incident, IncidentId, Phase, Severity, TimelineEntry};
use jiff::Timestamp;
use store::{Base, Batch, IncidentWrite, OpenOptions, Opened, Replica};
use uuid::Uuid;

/// A database as ingress keeps it, with three rows in each of `incidents` timelines.
async fn written(path: &Path, incidents: u128) -> Opened {
    let options = OpenOptions {
        replica: Replica { id: "one".into(), host: String::new(), pid: 1, start_time: 1 },
        lease: Duration::from_secs(60),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| Timestamp::UNIX_EPOCH),
    };
    let opened = store::open(path.to_str().unwrap(), "ingress", options).await.unwrap();
    let incidents = (1..=incidents).map(write).collect();
    opened.store.commit(Batch { incidents, ..Batch::default() }).await.unwrap();
    opened
}

fn write(number: u128) -> IncidentWrite {
    let told = |text: &str| {
        let text = format!("{text} of {number}");
        TimelineEntry::new(Timestamp::UNIX_EPOCH, "ingress", EntryKind::Note, text)
    };
    IncidentWrite {
        incident: incident(number),
        base: Base::default(),
        entries: ["the first", "the second", "the third"].map(told).into(),
        effects: Vec::new(),
        at: Timestamp::UNIX_EPOCH,
    }
}

fn incident(number: u128) -> Incident {
    Incident {
        id: IncidentId::new(Uuid::from_u128(number)),
        key: number.to_string().into(),
        title: "db-1 refuses connections".into(),
        description: String::new(),
        severity: Severity::Warning,
        affected_systems: Vec::new(),
        tags: Vec::new(),
        phase: Phase::Diagnosing,
        alerts: Vec::new(),
        opened_at: Timestamp::UNIX_EPOCH,
        round: 1,
        spared: 0,
        silenced: 0,
        deadline: None,
        diagnosis: None,
        plan: None,
        outcome: None,
        resolution_task: None,
        progress_seen: 0,
        ticket: None,
        follows: None,
        others: incident::OtherAlerts::default(),
        is_authenticated: true,
        is_storm: false,
    }
}

fn verify(database: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
    command.args(["audit", "verify", "--database"]).arg(database).output().unwrap()
}

/// Replaces bytes in the file by as many others.
fn edit(database: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let mut bytes = std::fs::read(database).unwrap();
    let place = bytes.windows(old.len()).position(|window| window == old.as_bytes());
    let place = place.expect("the text is in the file");
    bytes[place..place + new.len()].copy_from_slice(new.as_bytes());
    std::fs::write(database, bytes).unwrap();
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_database_in_use_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ingress.db");
    let opened = written(&path, 1_200).await;
    let output = verify(&path);
    assert_eq!(text(&output.stderr), "");
    let expected = "1200 incidents, 3600 rows that are as they were written\n";
    assert_eq!(text(&output.stdout), expected);
    assert!(output.status.success());
    opened.store.close().await;
}

#[tokio::test]
async fn an_edited_row_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ingress.db");
    written(&path, 3).await.store.close().await;
    assert!(verify(&path).status.success());
    edit(&path, "the second of 2", "the secret of 2");
    let output = verify(&path);
    assert_eq!(output.status.code(), Some(1));
    let expected = "inc_00000000000000000000000000000002: row 2 was changed, added or is gone\n\
                    3 incidents, 6 rows that are as they were written\n";
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(text(&output.stderr), "firebreak: timelines that were edited: 1\n");
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.db");
    let output = verify(&path);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("none.db"), "{}", text(&output.stderr));
    assert!(!path.exists(), "looking makes no file");
}
