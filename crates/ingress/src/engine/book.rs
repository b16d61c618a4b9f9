//! The incidents that alerts may go into, as they were read and as they will be. One incident may
//! take thousands of alerts, and is written once; of those it does not keep whole, it is told how
//! many there are.

use std::collections::{BTreeMap, HashMap};

use incident::{
    ALERTS_KEPT, Alert, Event, Incident, IncidentId, IncidentKey, Limits, Phase, STORM_ALERTS_KEPT,
    Severity,
};
use jiff::Timestamp;
use store::Stored;

use super::draft::Draft;
use crate::policy::{StormConfig, Summary};

/// Bytes of texts of the alerts that an incident keeps whole, unless those grow later: it is read and
/// written with all of them whenever anything of it changes.
const KEPT_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Book<'a> {
    now: Timestamp,
    limits: &'a Limits,
    /// Incidents that no alert has gone into yet.
    stored: BTreeMap<IncidentId, Stored>,
    drafts: BTreeMap<IncidentId, Draft>,
    of_key: HashMap<IncidentKey, Vec<IncidentId>>,
    /// Keys whose open incident cannot be read.
    shut: BTreeMap<IncidentKey, IncidentId>,
    others: BTreeMap<IncidentId, Others>,
    /// Incidents of storms, each with the alerts that it had.
    storms: BTreeMap<IncidentId, u64>,
}

/// Reports of alerts that their incident does not keep whole.
#[derive(Clone, Copy, Debug, Default)]
struct Others {
    new: u64,
    fired: u64,
    resolved: u64,
    severity: Option<Severity>,
}

/// What a report changes for its incident.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// The alert was not in this incident before.
    pub(super) is_new: bool,
    /// It fired in this incident.
    pub(super) fired: bool,
}

/// The key of what would go into an open incident that cannot be read: an incident of its own, as
/// nothing that is reported may be lost and nothing else held up for it.
pub(super) fn beside(key: &IncidentKey, unreadable: IncidentId) -> IncidentKey {
    IncidentKey::from(format!("{} beside {unreadable}", key.as_str()))
}

impl<'a> Book<'a> {
    pub(super) fn new(
        stored: BTreeMap<IncidentId, Stored>,
        unreadable: BTreeMap<IncidentId, Option<IncidentKey>>,
        limits: &'a Limits,
        now: Timestamp,
    ) -> Self {
        let mut of_key: HashMap<IncidentKey, Vec<IncidentId>> = HashMap::new();
        for (id, stored) in &stored {
            of_key.entry(stored.incident.key.clone()).or_default().push(*id);
        }
        let shut = unreadable.into_iter().filter_map(|(id, key)| Some((key?, id))).collect();
        let (drafts, others, storms) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { now, limits, stored, drafts, of_key, shut, others, storms }
    }

    pub(super) fn incident(&self, id: IncidentId) -> Option<&Incident> {
        let draft = self.drafts.get(&id).map(|draft| &draft.incident);
        draft.or_else(|| self.stored.get(&id).map(|stored| &stored.incident))
    }

    pub(super) fn is_open(&self, id: IncidentId) -> bool {
        self.incident(id).is_some_and(|incident| !incident.phase.is_final())
    }

    /// Whether it is open as it was read, and will be.
    pub(super) fn stays_open(&self, id: IncidentId) -> bool {
        self.is_open(id) && self.drafts.get(&id).is_none_or(Draft::was_open)
    }

    /// The key under which incidents can be read; with it, the one that keeps the key to itself.
    pub(super) fn readable(&self, mut key: IncidentKey) -> (IncidentKey, Option<IncidentId>) {
        let mut shut = None;
        while let Some(unreadable) = self.shut.get(&key).copied() {
            (key, shut) = (beside(&key, unreadable), Some(unreadable));
        }
        (key, shut)
    }

    fn incidents_of(&self, key: &IncidentKey) -> impl Iterator<Item = &Incident> {
        let ids = self.of_key.get(key).into_iter().flatten();
        ids.filter_map(|id| self.incident(*id))
    }

    pub(super) fn open_of(&self, key: &IncidentKey) -> Option<IncidentId> {
        let mut incidents = self.incidents_of(key);
        incidents.find(|incident| !incident.phase.is_final()).map(|incident| incident.id)
    }

    pub(super) fn latest_of(&self, key: &IncidentKey) -> Option<IncidentId> {
        let newest =
            self.incidents_of(key).max_by_key(|incident| (incident.opened_at, incident.id));
        newest.map(|incident| incident.id)
    }

    pub(super) fn open(&mut self, draft: Draft) -> IncidentId {
        let id = draft.incident.id;
        self.of_key.entry(draft.incident.key.clone()).or_default().push(id);
        self.drafts.insert(id, draft);
        id
    }

    /// Takes a report that is news into an incident.
    pub(super) fn report(&mut self, id: IncidentId, alert: &Alert, change: Change) {
        self.begin(id);
        let Some(draft) = self.drafts.get(&id) else { return };
        let is_final = draft.incident.phase.is_final();
        if keeps(&draft.incident, alert) {
            // Whether it was the last that fired depends on the others.
            if !alert.is_firing() {
                self.tell_of_others(id);
            }
            return self.take(id, Event::AlertReported(alert.clone()));
        }
        self.others.entry(id).or_default().count(alert, change);
        // It is reopened before anything else looks for an open incident of its key.
        if is_final && alert.is_firing() {
            self.tell_of_others(id);
        }
    }

    fn begin(&mut self, id: IncidentId) {
        let Some(stored) = self.stored.remove(&id) else { return };
        if stored.incident.is_storm {
            self.storms.insert(id, Summary::alerts(&stored.incident));
        }
        self.drafts.insert(id, Draft::of(stored));
    }

    /// Another severity of an alert that is in the incident.
    pub(super) fn change(&mut self, id: IncidentId, alert: &Alert) {
        let Some(incident) = self.incident(id) else { return };
        if has(incident, alert) {
            self.report(id, alert, Change { is_new: false, fired: true });
        } else if alert.is_firing() {
            // Written even where it is no graver: the alert fires only where its incident is open.
            self.begin(id);
            let others = self.others.entry(id).or_default();
            others.severity = others.severity.max(Some(alert.severity));
        }
    }

    fn tell_of_others(&mut self, id: IncidentId) {
        let Some(others) = self.others.remove(&id) else { return };
        for event in others.events() {
            self.take(id, event);
        }
    }

    fn take(&mut self, id: IncidentId, event: Event) {
        if let Some(draft) = self.drafts.get_mut(&id) {
            draft.take(event, self.now, self.limits);
        }
    }

    /// Tells each incident of the alerts that it only counts.
    pub(super) fn tell_all_of_others(&mut self) {
        while let Some(id) = self.others.keys().next().copied() {
            self.tell_of_others(id);
        }
    }

    /// Opens the incident that takes a storm.
    pub(super) fn open_storm(&mut self, draft: Draft, why: String) -> IncidentId {
        let id = self.open(draft);
        self.storms.insert(id, 0);
        self.take(id, Event::StormBegan { why });
        id
    }

    /// Tells each storm what it has grown to, where that is worth telling.
    pub(super) fn tell_of_storms(&mut self, config: &StormConfig) {
        for (id, before) in std::mem::take(&mut self.storms) {
            let summary = self.incident(id).and_then(|storm| {
                let is_due =
                    Summary::is_due(before, storm) || matches!(storm.phase, Phase::Resolved { .. });
                is_due.then(|| Summary::of(storm, config))
            });
            if let Some(summary) = summary {
                self.take(id, summary.into_event());
            }
        }
    }

    pub(super) fn drafts(self) -> Vec<Draft> {
        self.drafts.into_values().filter(Draft::is_changed).collect()
    }
}

impl Others {
    fn count(&mut self, alert: &Alert, change: Change) {
        self.new += u64::from(change.is_new);
        self.fired += u64::from(alert.is_firing());
        self.resolved += u64::from(change.fired);
        if alert.is_firing() {
            self.severity = self.severity.max(Some(alert.severity));
        }
    }

    fn events(self) -> impl Iterator<Item = Event> {
        let severity = self.severity.unwrap_or(Severity::Info);
        let told = |new, fired, resolved| Event::OthersReported { new, fired, resolved, severity };
        // What fired first and then ended is told in this order, so that an end is seen.
        let is_told = self.fired > 0 || self.new > 0 || self.severity.is_some();
        let fired = is_told.then(|| told(self.new, self.fired, 0));
        let ended = (self.resolved > 0).then(|| told(0, 0, self.resolved));
        fired.into_iter().chain(ended)
    }
}

/// What tells an incident that an alert of it is reported as it is known.
pub(super) fn again(incident: &Incident, alert: &Alert) -> Event {
    match has(incident, alert) {
        true => Event::AlertReported(alert.clone()),
        false => Event::OthersReported { new: 0, fired: 0, resolved: 0, severity: alert.severity },
    }
}

fn has(incident: &Incident, alert: &Alert) -> bool {
    incident.alerts.iter().any(|tracked| {
        tracked.alert.fingerprint == alert.fingerprint && tracked.alert.source == alert.source
    })
}

/// Whether the incident keeps the alert whole: the first, and as many more as there is room for.
fn keeps(incident: &Incident, alert: &Alert) -> bool {
    if incident.alerts.is_empty() || has(incident, alert) {
        return true;
    }
    let kept: usize = incident.alerts.iter().map(|tracked| tracked.alert.text_bytes()).sum();
    let most = if incident.is_storm { STORM_ALERTS_KEPT } else { ALERTS_KEPT };
    incident.alerts.len() < most && kept + alert.text_bytes() <= KEPT_BYTES
}

#[cfg(test)]
mod tests {
    use incident::Opening;
    use store::Base;
    use uuid::Uuid;

    use super::super::sample::{at, firing};
    use super::*;

    #[test]
    fn another_severity_of_an_alert_that_is_only_counted_is_held_against_its_incident() {
        let opening = Opening {
            id: IncidentId::new(Uuid::from_u128(1)),
            key: "k".to_owned().into(),
            title: String::new(),
            description: String::new(),
            severity: Severity::Critical,
            affected_systems: Vec::new(),
            tags: Vec::new(),
            follows: None,
            is_authenticated: true,
        };
        let limits = Limits::default();
        let incident = Incident::open(opening, at(1), &limits);
        let id = incident.id;
        let base = Base { version: 3, ..Base::default() };
        let stored = [(id, Stored { incident, base, changed_at: at(1) })].into();
        let mut book = Book::new(stored, BTreeMap::new(), &limits, at(2));
        book.change(id, &firing(1));
        book.tell_all_of_others();
        assert_eq!(book.incident(id).unwrap().severity, Severity::Critical);
        assert_eq!(book.drafts().len(), 1, "it is written as it was read, or not at all");
    }
}
