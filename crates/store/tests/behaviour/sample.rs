//! Small rows to store.

use incident::{
    Alert, AlertStatus, EntryKind, Incident, IncidentId, Phase, ResolvedBy, Severity, TimelineEntry,
};
use jiff::Timestamp;
use store::FileStore;
use uuid::Uuid;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Ids of greater numbers are newer.
pub(crate) fn id(number: u128) -> IncidentId {
    IncidentId::new(Uuid::from_u128(number))
}

pub(crate) fn incident(number: u128, key: &str) -> Incident {
    Incident {
        id: id(number),
        key: key.to_owned().into(),
        title: "db-1 refuses connections".into(),
        description: String::new(),
        severity: Severity::Warning,
        affected_systems: vec!["db-1".into()],
        tags: Vec::new(),
        phase: Phase::Diagnosing,
        alerts: Vec::new(),
        opened_at: at(i64::try_from(number).unwrap()),
        round: 1,
        deadline: None,
        diagnosis: None,
        plan: None,
        outcome: None,
        resolution_task: None,
        progress_seen: 0,
        ticket: None,
        follows: None,
    }
}

pub(crate) fn closed(mut incident: Incident) -> Incident {
    incident.phase = Phase::Closed { by: ResolvedBy::Proof, at: at(99) };
    incident
}

pub(crate) fn alert(fingerprint: &str) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: fingerprint.into(),
        status: AlertStatus::Firing,
        name: "A".into(),
        severity: Severity::Warning,
        labels: [].into(),
        annotations: [].into(),
        starts_at: at(0),
        ends_at: None,
        generator_url: String::new(),
    }
}

pub(crate) fn entry(summary: &str) -> TimelineEntry {
    TimelineEntry::new(at(1), "ingress", EntryKind::Note, summary)
}

/// Commits incidents.
pub(crate) async fn put(store: &FileStore, incidents: &[Incident]) {
    let mut transaction = store.begin().await.unwrap();
    for incident in incidents {
        transaction.put_incident(incident, at(2)).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// Commits entries of one incident's timeline.
pub(crate) async fn tell(store: &FileStore, id: IncidentId, summaries: &[&str]) {
    let mut transaction = store.begin().await.unwrap();
    for summary in summaries {
        transaction.append_audit(id, &entry(summary)).await.unwrap();
    }
    transaction.commit().await.unwrap();
}
