//! Which incident each alert goes into: decided on what was read at once, without a
//! database. One incident may take thousands of alerts, and is written once.

use std::collections::{BTreeMap, HashMap};

use incident::{
    Alert, EntryKind, Event, Incident, IncidentId, IncidentKey, Limits, Opening, Phase,
    TimelineEntry,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use store::{AlertKey, Related, Stored};

use super::draft::Draft;
use super::{Delivery, Engine};

pub(super) struct Decision<'a> {
    engine: &'a Engine,
    now: Timestamp,
    /// As they will be.
    links: BTreeMap<AlertKey, IncidentId>,
    new_links: BTreeMap<AlertKey, IncidentId>,
    /// Incidents that no alert has gone into yet.
    stored: BTreeMap<IncidentId, Stored>,
    drafts: BTreeMap<IncidentId, Draft>,
    of_key: HashMap<IncidentKey, Vec<IncidentId>>,
    /// Keys whose open incident cannot be read.
    shut: BTreeMap<IncidentKey, IncidentId>,
}

/// The key of what would go into an open incident that cannot be read: an incident of its own, as
/// nothing that is reported may be lost and nothing else held up for it.
pub(super) fn beside(key: &IncidentKey, unreadable: IncidentId) -> IncidentKey {
    IncidentKey::from(format!("{} beside {unreadable}", key.as_str()))
}

impl<'a> Decision<'a> {
    pub(super) fn new(engine: &'a Engine, related: Related, now: Timestamp) -> Self {
        let mut of_key: HashMap<IncidentKey, Vec<IncidentId>> = HashMap::new();
        for (id, stored) in &related.incidents {
            of_key.entry(stored.incident.key.clone()).or_default().push(*id);
        }
        let (links, stored) = (related.links, related.incidents);
        let (new_links, drafts) = (BTreeMap::new(), BTreeMap::new());
        let shut =
            related.unreadable.into_iter().filter_map(|(id, key)| Some((key?, id))).collect();
        Self { engine, now, links, new_links, stored, drafts, of_key, shut }
    }

    /// The incident that the alert goes into, if it goes into any.
    pub(super) fn take(&mut self, delivery: &Delivery, alert: &Alert) -> Option<IncidentId> {
        let alert_key = AlertKey::of(alert);
        let known = self.links.get(&alert_key).copied();
        if let Some(known) = known.filter(|known| self.takes(*known, alert)) {
            self.report(known, alert_key, alert);
            return Some(known);
        }
        if !alert.is_firing() {
            // The end of an alert that never fired here: there is nothing to end.
            return None;
        }
        let mut key = self.engine.key_of(delivery, alert);
        let mut shut = None;
        while let Some(unreadable) = self.shut.get(&key).copied() {
            (key, shut) = (beside(&key, unreadable), Some(unreadable));
        }
        let (open, latest) = (self.open_of(&key), self.latest_of(&key).or(shut));
        let taker = open.or(latest).filter(|taker| self.takes(*taker, alert));
        let id = taker.unwrap_or_else(|| self.open(delivery, alert, key, latest));
        self.report(id, alert_key, alert);
        Some(id)
    }

    /// What is to be written.
    pub(super) fn end(self) -> (Vec<Draft>, Vec<(AlertKey, IncidentId)>) {
        (self.drafts.into_values().collect(), self.new_links.into_iter().collect())
    }

    fn incident(&self, id: IncidentId) -> Option<&Incident> {
        let draft = self.drafts.get(&id).map(|draft| &draft.incident);
        draft.or_else(|| self.stored.get(&id).map(|stored| &stored.incident))
    }

    fn incidents_of(&self, key: &IncidentKey) -> impl Iterator<Item = &Incident> {
        let ids = self.of_key.get(key).into_iter().flatten();
        ids.filter_map(|id| self.incident(*id))
    }

    fn open_of(&self, key: &IncidentKey) -> Option<IncidentId> {
        let mut incidents = self.incidents_of(key);
        incidents.find(|incident| !incident.phase.is_final()).map(|incident| incident.id)
    }

    fn latest_of(&self, key: &IncidentKey) -> Option<IncidentId> {
        let newest =
            self.incidents_of(key).max_by_key(|incident| (incident.opened_at, incident.id));
        newest.map(|incident| incident.id)
    }

    fn takes(&self, id: IncidentId, alert: &Alert) -> bool {
        let Some(incident) = self.incident(id) else { return false };
        match fate(incident, alert, self.now, self.engine.limits()) {
            Fate::Takes => true,
            Fate::Refuses => false,
            // Two incidents of one target are never open at a time.
            Fate::Reopens => self.open_of(&incident.key).is_none(),
        }
    }

    fn report(&mut self, id: IncidentId, alert_key: AlertKey, alert: &Alert) {
        if let Some(stored) = self.stored.remove(&id) {
            self.drafts.insert(id, Draft::of(stored));
        }
        if self.links.insert(alert_key.clone(), id) != Some(id) {
            self.new_links.insert(alert_key, id);
        }
        if let Some(draft) = self.drafts.get_mut(&id) {
            draft.take(Event::AlertReported(alert.clone()), self.now, self.engine.limits());
        }
    }

    fn open(
        &mut self,
        delivery: &Delivery,
        alert: &Alert,
        key: IncidentKey,
        follows: Option<IncidentId>,
    ) -> IncidentId {
        let described = self.engine.config.mapping.describe(alert);
        let opening = Opening {
            id: IncidentId::new(self.engine.process.new_id()),
            key: key.clone(),
            title: described.title,
            description: described.description,
            severity: alert.severity,
            affected_systems: described.affected_systems,
            tags: described.tags,
            follows,
            is_authenticated: delivery.is_authenticated,
        };
        let incident = Incident::open(opening, self.now, self.engine.limits());
        let id = incident.id;
        let summary = format!("incident opened: {}", incident.title);
        let entry = TimelineEntry::new(self.now, "ingress", EntryKind::IncidentOpened, summary)
            .with_detail(json!({"incident_id": id, "severity": incident.severity,
                "affected_systems": incident.affected_systems, "follows": incident.follows}));
        self.of_key.entry(key).or_default().push(id);
        self.drafts.insert(id, Draft::new(incident, entry));
        id
    }
}

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
    let window = SignedDuration::from_secs(limits.reopen_seconds.try_into().unwrap_or(i64::MAX));
    if now.duration_since(ended_at) > window { Fate::Refuses } else { Fate::Reopens }
}
