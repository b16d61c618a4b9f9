//! Takes events into incidents: load, let the pure machine decide, commit the new state with its
//! timeline and its effects, wake whoever performs them. Nothing happens outside a transaction.

use std::collections::BTreeMap;

use incident::{
    Alert, Effect, EntryKind, Event, Incident, IncidentId, Limits, Opening, Phase, TimelineEntry,
    correlate,
};
use jiff::Timestamp;
use serde_json::json;
use service::Process;
use store::{FileStore, OutboxRow, StoreError, Transaction};
use tokio::sync::{Notify, watch};

use crate::Config;
use crate::metrics::{IngressMetrics, PhaseLabel};

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) store: FileStore,
    pub(crate) process: Process,
    pub(crate) config: Config,
    pub(crate) metrics: IngressMetrics,
    /// Rung when the outbox or a deadline changed.
    pub(crate) work: Notify,
    /// Counts commits, for whoever watches incidents.
    pub(crate) changes: watch::Sender<u64>,
}

impl Engine {
    pub(crate) fn new(store: FileStore, process: Process, config: Config) -> Self {
        let metrics = IngressMetrics::new(process.metrics());
        let (work, changes) = (Notify::new(), watch::Sender::new(0));
        Self { store, process, config, metrics, work, changes }
    }

    /// Takes the alerts of one delivery, all or none, and returns the incidents they belong to,
    /// each once.
    ///
    /// # Errors
    /// Nothing is stored.
    pub(crate) async fn take_alerts(
        &self,
        source: &str,
        body: &str,
        alerts: &[Alert],
    ) -> Result<Vec<IncidentId>, StoreError> {
        let now = self.process.now();
        let mut transaction = self.store.begin().await?;
        transaction.put_delivery(source, body, now).await?;
        let mut touched = Touched::default();
        for alert in alerts {
            self.take_alert(&mut transaction, &mut touched, alert, now).await?;
        }
        for incident in touched.values() {
            transaction.put_incident(incident, now).await?;
        }
        transaction.commit().await?;
        self.committed();
        Ok(touched.into_keys().collect())
    }

    async fn take_alert(
        &self,
        transaction: &mut Transaction<'_>,
        touched: &mut Touched,
        alert: &Alert,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known = transaction.incident_of_alert(alert).await?;
        if let Some(known) = self.taker(transaction, touched, known, alert, now).await? {
            return self.report(transaction, touched, known, alert, now).await;
        }
        if !alert.is_firing() {
            // The end of an alert that never fired here: there is nothing to end.
            return Ok(());
        }
        let key = correlate(alert, &self.config.correlation);
        let latest = transaction.latest_incident(&key).await?;
        let open = transaction.open_incident(&key).await?;
        if let Some(taker) = self.taker(transaction, touched, open.or(latest), alert, now).await? {
            return self.report(transaction, touched, taker, alert, now).await;
        }
        let mut incident = self.open(alert, now);
        incident.follows = latest;
        incident.key = key;
        transaction.put_incident(&incident, now).await?;
        let entry = TimelineEntry::new(
            now,
            "ingress",
            EntryKind::IncidentOpened,
            format!("incident opened: {}", incident.title),
        );
        let detail = json!({"incident_id": incident.id, "severity": incident.severity,
            "affected_systems": incident.affected_systems, "follows": incident.follows});
        transaction.append_audit(incident.id, &entry.with_detail(detail)).await?;
        self.report(transaction, touched, incident, alert, now).await
    }

    /// The incident as this delivery has left it so far, if the alert goes into it. It is the caller's
    /// to put back.
    async fn taker(
        &self,
        transaction: &mut Transaction<'_>,
        touched: &mut Touched,
        id: Option<IncidentId>,
        alert: &Alert,
        now: Timestamp,
    ) -> Result<Option<Incident>, StoreError> {
        let Some(id) = id else { return Ok(None) };
        let (incident, was_touched) = match touched.remove(&id) {
            Some(incident) => (incident, true),
            None => match transaction.incident(id).await? {
                Some(incident) => (incident, false),
                None => return Ok(None),
            },
        };
        let is_taker = match fate(&incident, alert, now, self.limits()) {
            Fate::Takes => true,
            Fate::Refuses => false,
            // Two incidents of one target are never open at a time.
            Fate::Reopens => {
                let stored = transaction.open_incident(&incident.key).await?;
                let is_open_here =
                    |other: &Incident| other.key == incident.key && !other.phase.is_final();
                stored.is_none_or(|open| open == id) && !touched.values().any(is_open_here)
            }
        };
        if is_taker {
            return Ok(Some(incident));
        }
        if was_touched {
            touched.insert(id, incident);
        }
        Ok(None)
    }

    /// Takes the alert into the incident, which is stored once, when all of its alerts are in it.
    async fn report(
        &self,
        transaction: &mut Transaction<'_>,
        touched: &mut Touched,
        mut incident: Incident,
        alert: &Alert,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        transaction.link_alert(alert, incident.id).await?;
        let event = Event::AlertReported(alert.clone());
        self.handle(transaction, &mut incident, event, now).await?;
        touched.insert(incident.id, incident);
        Ok(())
    }

    fn open(&self, alert: &Alert, now: Timestamp) -> Incident {
        let described = self.config.mapping.describe(alert);
        let opening = Opening {
            id: IncidentId::new(self.process.new_id()),
            key: correlate(alert, &self.config.correlation),
            title: described.title,
            description: described.description,
            severity: alert.severity,
            affected_systems: described.affected_systems,
            tags: described.tags,
            follows: None,
        };
        Incident::open(opening, now, self.limits())
    }

    /// Whether an incident holds this episode of the alert already.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(crate) async fn is_known_firing(&self, alert: &Alert) -> Result<bool, StoreError> {
        let known = self.store.incident_of_alert(alert).await?;
        Ok(known.is_some_and(|stored| {
            stored.incident.alerts.iter().any(|tracked| {
                tracked.alert.source == alert.source
                    && tracked.alert.fingerprint == alert.fingerprint
                    && tracked.alert.starts_at >= alert.starts_at
            })
        }))
    }

    /// Takes events into one incident, together with the end of the outbox row that brought them.
    /// Events that belong to a round are dropped when the incident is in another one by now.
    ///
    /// # Errors
    /// Nothing is stored.
    pub(crate) async fn take_events(
        &self,
        id: IncidentId,
        round: Option<u32>,
        events: Vec<Event>,
        end: RowEnd<'_>,
    ) -> Result<(), StoreError> {
        let now = self.process.now();
        let mut transaction = self.store.begin().await?;
        for event in events {
            let incident = transaction.incident(id).await?;
            if let Some(incident) = incident.filter(|i| round.is_none_or(|round| i.round == round))
            {
                self.apply(&mut transaction, incident, event, now).await?;
            }
        }
        match end {
            RowEnd::Kept => {}
            RowEnd::Finished(row) => transaction.finish_outbox(row).await?,
            RowEnd::Buried { row, why } => transaction.bury_outbox(row, why, now).await?,
        }
        transaction.commit().await?;
        self.committed();
        Ok(())
    }

    /// Ends the phases of incidents whose deadline has come. One that cannot be stored is met
    /// again, and keeps no other waiting.
    ///
    /// # Errors
    /// The deadlines cannot be read.
    pub(crate) async fn meet_deadlines(&self) -> Result<(), StoreError> {
        for id in self.store.overdue(self.process.now()).await? {
            if let Err(error) = self.meet_deadline(id).await {
                tracing::error!(incident.id = %id, ?error, "deadline");
            }
        }
        Ok(())
    }

    async fn meet_deadline(&self, id: IncidentId) -> Result<(), StoreError> {
        let now = self.process.now();
        let mut transaction = self.store.begin().await?;
        let incident = transaction.incident(id).await?;
        let due = incident.filter(|i| i.deadline.is_some_and(|deadline| deadline <= now));
        if let Some(incident) = due {
            self.apply(&mut transaction, incident, Event::DeadlineReached, now).await?;
            transaction.commit().await?;
            self.committed();
        }
        Ok(())
    }

    async fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        mut incident: Incident,
        event: Event,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.handle(transaction, &mut incident, event, now).await? {
            transaction.put_incident(&incident, now).await?;
        }
        Ok(())
    }

    /// Lets the machine decide, and commits the effects; the incident itself is the caller's to
    /// store. False: the event came late, and changed nothing.
    async fn handle(
        &self,
        transaction: &mut Transaction<'_>,
        incident: &mut Incident,
        event: Event,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let before = incident.phase.name();
        let effects = match incident.handle(event, now, self.limits()) {
            Ok(effects) => effects,
            Err(late) => {
                tracing::debug!(incident.id = %incident.id, %late, "event dropped");
                return Ok(false);
            }
        };
        for effect in effects {
            let kind = match effect {
                Effect::Record(entry) => {
                    transaction.append_audit(incident.id, &entry).await?;
                    continue;
                }
                Effect::Diagnose => Work::Diagnose,
                Effect::Resolve => Work::Resolve,
                Effect::CancelResolution => Work::CancelResolution,
                Effect::SyncTicket => Work::SyncTicket,
            };
            transaction.push_outbox(incident.id, kind.name(), incident.round, now).await?;
        }
        if before != incident.phase.name() {
            let phase = incident.phase.name();
            self.metrics.phases_entered.get_or_create(&PhaseLabel { phase }).inc();
            tracing::info!(incident.id = %incident.id, phase, title = ?incident.title, "incident");
        }
        Ok(true)
    }

    pub(crate) fn committed(&self) {
        self.work.notify_one();
        self.changes.send_modify(|count| *count += 1);
    }

    fn limits(&self) -> &Limits {
        &self.config.limits
    }
}

/// Incidents that a delivery has changed, as they are now. One may hold thousands of its alerts: read
/// and stored for each of them, it would keep the database busy for minutes.
type Touched = BTreeMap<IncidentId, Incident>;

/// What an alert means to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It belongs to it.
    Takes,
    /// It is over, and begins anew.
    Reopens,
    /// It is over, and this is another story.
    Refuses,
}

fn fate(incident: &Incident, alert: &Alert, now: Timestamp, limits: &Limits) -> Fate {
    let ended_at = match &incident.phase {
        Phase::Closed { at, .. } | Phase::Suppressed { at, .. } => *at,
        _ => return Fate::Takes,
    };
    if !alert.is_firing() {
        return Fate::Takes;
    }
    let own = incident
        .alerts
        .iter()
        .map(|tracked| &tracked.alert)
        .find(|known| known.source == alert.source && known.fingerprint == alert.fingerprint);
    let Some(own) = own else { return Fate::Refuses };
    // A late report of an episode this incident has seen belongs to it, however old it is.
    if own.starts_at >= alert.starts_at && !own.is_firing() {
        return Fate::Takes;
    }
    let window =
        jiff::SignedDuration::from_secs(limits.reopen_seconds.try_into().unwrap_or(i64::MAX));
    if now.duration_since(ended_at) > window { Fate::Refuses } else { Fate::Reopens }
}

/// What becomes of the outbox row that brought events.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RowEnd<'a> {
    Kept,
    /// Its effect is confirmed.
    Finished(i64),
    /// It is given up.
    Buried {
        row: &'a OutboxRow,
        why: &'a str,
    },
}

/// The kinds of outbox rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Diagnose,
    Resolve,
    CancelResolution,
    SyncTicket,
}

impl Work {
    pub(crate) const ALL: [Self; 4] =
        [Self::CancelResolution, Self::Diagnose, Self::Resolve, Self::SyncTicket];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Diagnose => "diagnose",
            Self::Resolve => "resolve",
            Self::CancelResolution => "cancel_resolution",
            Self::SyncTicket => "sync_ticket",
        }
    }
}
