//! Small rows to store, and short ways to store them.

use std::sync::Arc;

use incident::{
    Alert, AlertStatus, EntryKind, Incident, IncidentId, Phase, ResolvedBy, Severity, TimelineEntry,
};
use jiff::Timestamp;
use store::{
    AlertKey, AlertRow, AlertState, AlertWrite, Base, Batch, Delivered, IncidentWrite, NewEffect,
    OutboxEnd, OutboxRow, Repeat, Store, StoreError, Stored,
};
use uuid::Uuid;

/// A time after everything that is due in these behaviours.
pub(crate) const LATE: i64 = 100_000;

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

pub(crate) fn closed(mut incident: Incident) -> Incident {
    incident.phase = Phase::Closed { by: ResolvedBy::Proof, at: at(99) };
    incident
}

pub(crate) fn alert(source: &str, fingerprint: &str) -> AlertKey {
    AlertKey::of(&firing(source, fingerprint))
}

pub(crate) fn firing(source: &str, fingerprint: &str) -> Alert {
    Alert {
        source: source.into(),
        fingerprint: fingerprint.into(),
        status: AlertStatus::Firing,
        name: "A".into(),
        severity: Severity::Warning,
        labels: [].into(),
        annotations: [].into(),
        starts_at: at(0),
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}

pub(crate) fn resolved(alert: &Alert) -> Alert {
    Alert { status: AlertStatus::Resolved, ends_at: Some(at(9)), ..alert.clone() }
}

/// The first report of an alert.
pub(crate) fn news(alert: Alert, incident: Option<u128>) -> AlertWrite {
    AlertWrite { alert, incident: incident.map(id), held: None, version: 0, reports: 1, at: at(1) }
}

/// Reports of an alert that say the same again.
pub(crate) fn repeat(alert: &Alert, reports: u32) -> Repeat {
    let (key, state) = (AlertKey::of(alert), AlertState::of(alert));
    Repeat { alert: key, state, reports, at: at(5) }
}

pub(crate) fn delivered(body: &str) -> Delivered {
    Delivered { source: "alertmanager".into(), body: body.into(), at: at(1) }
}

/// Commits new alerts.
pub(crate) async fn report(store: &Arc<dyn Store>, alerts: impl IntoIterator<Item = AlertWrite>) {
    let alerts = alerts.into_iter().collect();
    store.commit(Batch { alerts, ..Batch::default() }).await.unwrap();
}

pub(crate) async fn known(store: &Arc<dyn Store>, alert: &Alert) -> AlertRow {
    let key = AlertKey::of(alert);
    let mut related = store.related(vec![key.clone()], Vec::new()).await.unwrap();
    related.alerts.remove(&key).expect("it is stored")
}

pub(crate) fn entry(summary: &str) -> TimelineEntry {
    TimelineEntry::new(at(1), "ingress", EntryKind::Note, summary)
}

pub(crate) fn effect(kind: &'static str) -> NewEffect {
    NewEffect { kind, round: 1, not_before: at(0) }
}

/// The first write of an incident.
pub(crate) fn first(incident: Incident) -> IncidentWrite {
    write(incident, Base::default())
}

pub(crate) fn write(incident: Incident, base: Base) -> IncidentWrite {
    IncidentWrite { incident, base, entries: Vec::new(), effects: Vec::new(), at: at(2) }
}

/// The next write of a stored incident, which changes nothing of it.
pub(crate) fn again(stored: &Stored) -> IncidentWrite {
    write(stored.incident.clone(), stored.base.clone())
}

pub(crate) fn batch(incidents: impl Into<Vec<IncidentWrite>>) -> Batch {
    Batch { incidents: incidents.into(), ..Batch::default() }
}

pub(crate) async fn stored(store: &Arc<dyn Store>, number: u128) -> Stored {
    store.incident(id(number)).await.unwrap().expect("it is stored")
}

/// Commits incidents over what is stored of them.
pub(crate) async fn put(store: &Arc<dyn Store>, incidents: impl IntoIterator<Item = Incident>) {
    let mut writes = Vec::new();
    for incident in incidents {
        let present = store.incident(incident.id).await.unwrap();
        writes.push(write(incident, present.map(|stored| stored.base).unwrap_or_default()));
    }
    store.commit(batch(writes)).await.unwrap();
}

/// Commits rows of the timeline of a stored incident.
pub(crate) async fn tell(store: &Arc<dyn Store>, number: u128, summaries: &[&str]) {
    let mut write = again(&stored(store, number).await);
    write.entries = summaries.iter().map(|summary| entry(summary)).collect();
    store.commit(batch([write])).await.unwrap();
}

/// Commits effects of stored incidents, in this order.
pub(crate) async fn push(store: &Arc<dyn Store>, effects: &[(u128, &'static str)]) {
    for (number, kind) in effects {
        let mut write = again(&stored(store, *number).await);
        write.effects.push(effect(kind));
        store.commit(batch([write])).await.unwrap();
    }
}

pub(crate) async fn claim(store: &Arc<dyn Store>, kind: &'static str) -> Vec<OutboxRow> {
    store.claim_outbox(kind, at(LATE), 999, false).await.unwrap()
}

pub(crate) fn finished(row: &OutboxRow) -> Batch {
    ends(OutboxEnd::Finished { id: row.id, last: row.id })
}

pub(crate) fn buried(row: &OutboxRow, error: &str) -> Batch {
    ends(OutboxEnd::Buried { id: row.id, error: error.into(), at: at(3) })
}

pub(crate) fn ends(end: OutboxEnd) -> Batch {
    Batch { outbox: vec![end], ..Batch::default() }
}

pub(crate) fn row_ids(rows: &[OutboxRow]) -> Vec<i64> {
    rows.iter().map(|row| row.id).collect()
}

pub(crate) fn incident_ids(rows: &[OutboxRow]) -> Vec<IncidentId> {
    rows.iter().map(|row| row.incident_id).collect()
}

/// Asserts that an outcome is the named error.
macro_rules! refused {
    ($outcome:expr, $error:ident) => {
        let outcome = $outcome;
        assert!(matches!(outcome, Err(store::StoreError::$error { .. })), "{outcome:?}");
    };
}
pub(crate) use refused;

pub(crate) fn is_conflict<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { .. }))
}
