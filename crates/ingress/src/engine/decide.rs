//! Where each alert goes: decided on what was read at once, without a database. The row of an alert
//! is the truth about it; its incident is told what is news.

use std::collections::BTreeMap;

use incident::{
    Alert, EntryKind, Incident, IncidentId, IncidentKey, Limits, Opening, Phase, TimelineEntry,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use store::{AlertKey, AlertWrite, Related, Repeat};

use super::book::{Book, Change};
use super::draft::Draft;
use super::hints::Hint;
use super::known::{Known, Told, Writes};
use super::{Delivery, Engine};

pub(super) struct Decision<'a> {
    engine: &'a Engine,
    now: Timestamp,
    alerts: BTreeMap<AlertKey, Known>,
    book: Book<'a>,
}

/// One report of a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) alert: &'a Alert,
    /// The key of the incident that the alert opens, where it fires.
    pub(super) key: Option<&'a IncidentKey>,
}

/// Where an alert goes that is news.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Into(IncidentId),
    Opens {
        key: IncidentKey,
        follows: Option<IncidentId>,
    },
    /// It ends, and never fired here: there is nothing to end.
    Nowhere,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) drafts: Vec<Draft>,
    pub(super) alerts: Vec<AlertWrite>,
    pub(super) repeats: Vec<Repeat>,
    /// How alerts stand afterwards; `None` where the same report again is no repeat.
    pub(super) hints: Vec<(AlertKey, Option<Hint>)>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(engine: &'a Engine, related: Related, now: Timestamp) -> Self {
        let Related { alerts, incidents, unreadable, .. } = related;
        let alerts = alerts.into_iter().map(|(key, row)| (key, Known::of(row))).collect();
        let book = Book::new(incidents, unreadable, engine.limits(), now);
        Self { engine, now, alerts, book }
    }

    /// Takes a report, and returns the incident that its alert is in.
    pub(super) fn take(&mut self, report: Report<'_>) -> Option<IncidentId> {
        let alert = report.alert;
        let alert_key = AlertKey::of(alert);
        let (mut known, told) = match self.alerts.remove(&alert_key) {
            Some(known) => {
                let told = known.told_by(alert);
                (known, told)
            }
            None => (Known::new(alert), Told::First),
        };
        let is_outdated =
            report.delivery.as_of.is_some_and(|asked_at| known.is_reported_since(asked_at));
        if is_outdated {
            let incident = known.incident;
            self.alerts.insert(alert_key, known);
            return incident;
        }
        known.count(report.delivery.reports(), self.now);
        match told {
            Told::Late => {}
            Told::Same | Told::Changed if self.is_settled(&known) => {
                if told == Told::Changed {
                    let incident = known.incident;
                    known.put(alert, incident, None);
                    incident.into_iter().for_each(|id| self.book.change(id, alert));
                }
            }
            Told::First => self.place(report, &mut known, None),
            Told::Same | Told::Changed | Told::News => {
                let incident = known.incident;
                self.place(report, &mut known, incident);
            }
        }
        let incident = known.incident;
        self.alerts.insert(alert_key, known);
        incident
    }

    /// Whether the same report again changes nothing: the alert has ended, or fires in an open
    /// incident.
    fn is_settled(&self, known: &Known) -> bool {
        !known.alert.is_firing() || known.incident.is_some_and(|id| self.book.is_open(id))
    }

    fn place(&mut self, report: Report<'_>, known: &mut Known, was_in: Option<IncidentId>) {
        let alert = report.alert;
        let id = match self.place_of(report, was_in) {
            Place::Into(id) => id,
            Place::Opens { key, follows } => self.open(report, key, follows),
            Place::Nowhere => return known.put(alert, was_in, None),
        };
        let fired = was_in == Some(id) && known.fires_in(id);
        let change = Change { is_new: was_in != Some(id), fired };
        known.put(alert, Some(id), None);
        self.book.report(id, alert, change);
    }

    /// Where a report goes that is news, or whose incident is over.
    fn place_of(&self, report: Report<'_>, was_in: Option<IncidentId>) -> Place {
        // Its own incident, while that is open.
        let own = was_in.filter(|id| self.book.incident(*id).is_some());
        if let Some(own) = own.filter(|id| self.book.is_open(*id) || !report.alert.is_firing()) {
            return Place::Into(own);
        }
        let Some(key) = report.key.filter(|_| report.alert.is_firing()) else {
            return Place::Nowhere;
        };
        // Its own incident, when it is over and this is the same story.
        let reopens = |id: &IncidentId| {
            let incident = self.book.incident(*id);
            incident.is_some_and(|incident| {
                is_same_story(incident, self.now, self.engine.limits())
                    // Two incidents of one target are never open at a time.
                    && self.book.open_of(&incident.key).is_none()
            })
        };
        if let Some(own) = own.filter(reopens) {
            return Place::Into(own);
        }
        // The open incident of its key.
        let (key, shut) = self.book.readable(key.clone());
        if let Some(open) = self.book.open_of(&key) {
            return Place::Into(open);
        }
        let follows = self.book.latest_of(&key).or(shut);
        Place::Opens { key, follows }
    }

    fn open(
        &mut self,
        report: Report<'_>,
        key: IncidentKey,
        follows: Option<IncidentId>,
    ) -> IncidentId {
        let described = self.engine.config.mapping.describe(report.alert);
        let opening = Opening {
            id: IncidentId::new(self.engine.process.new_id()),
            key,
            title: described.title,
            description: described.description,
            severity: report.alert.severity,
            affected_systems: described.affected_systems,
            tags: described.tags,
            follows,
            is_authenticated: report.delivery.is_authenticated,
        };
        let incident = Incident::open(opening, self.now, self.engine.limits());
        let summary = format!("incident opened: {}", incident.title);
        let entry = TimelineEntry::new(self.now, "ingress", EntryKind::IncidentOpened, summary)
            .with_detail(json!({"incident_id": incident.id, "severity": incident.severity,
                "affected_systems": incident.affected_systems, "follows": incident.follows}));
        self.book.open(Draft::new(incident, entry))
    }

    pub(super) fn end(mut self) -> Decided {
        self.book.tell_all_of_others();
        let mut decided = Decided::default();
        for (key, known) in std::mem::take(&mut self.alerts) {
            let is_repeatable = match known.alert.is_firing() {
                true => known.incident.is_some_and(|id| self.book.stays_open(id)),
                false => true,
            };
            let hint = Hint { state: known.state(), incident: known.incident };
            decided.hints.push((key.clone(), self.is_settled(&known).then_some(hint)));
            match known.write(key, is_repeatable, self.now) {
                Writes::Nothing => {}
                Writes::Repeat(repeat) => decided.repeats.push(repeat),
                Writes::Alert(write) => decided.alerts.push(write),
            }
        }
        decided.drafts = self.book.drafts();
        decided
    }
}

/// Whether an incident that is over begins anew when its alert fires again.
fn is_same_story(incident: &Incident, now: Timestamp, limits: &Limits) -> bool {
    let (Phase::Closed { at, .. } | Phase::Suppressed { at, .. }) = &incident.phase else {
        return true;
    };
    let window = SignedDuration::from_secs(limits.reopen_seconds.try_into().unwrap_or(i64::MAX));
    now.duration_since(*at) <= window
}
