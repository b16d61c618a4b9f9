//! Where each alert goes: decided on what was read at once, without a database. The row of an alert
//! is the truth about it; its incident is told what is news.

use std::borrow::Cow;
use std::collections::BTreeMap;

use incident::{
    Alert, EntryKind, Incident, IncidentId, IncidentKey, Limits, Opening, Phase, TimelineEntry,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use store::{AlertKey, AlertWrite, Related, Repeat};

use super::believable::believable;
use super::book::{Book, Change};
use super::draft::Draft;
use super::held;
use super::hints::Hint;
use super::known::{Known, Told, Writes};
use super::{Delivery, Engine};
use crate::policy::{Group, Storms};

pub(super) struct Decision<'a> {
    engine: &'a Engine,
    now: Timestamp,
    alerts: BTreeMap<AlertKey, Known>,
    book: Book<'a>,
    /// As they will be.
    storms: Storms,
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
    /// It is held back, for this reason.
    Held(String),
    Opens {
        key: IncidentKey,
        follows: Option<IncidentId>,
    },
    /// The same, for all that a storm brings.
    OpensStorm {
        key: IncidentKey,
        follows: Option<IncidentId>,
    },
    /// It ends, and never fired here: there is nothing to end.
    Nowhere,
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) drafts: Vec<Draft>,
    pub(super) alerts: Vec<AlertWrite>,
    pub(super) repeats: Vec<Repeat>,
    /// How alerts stand afterwards; `None` where the same report again is no repeat.
    pub(super) hints: Vec<(AlertKey, Option<Hint>)>,
    /// What opened with it, once it is stored.
    pub(super) storms: Storms,
}

impl<'a> Decision<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        related: Related,
        storms: Storms,
        now: Timestamp,
    ) -> Self {
        let Related { alerts, incidents, unreadable, .. } = related;
        let alerts = alerts.into_iter().map(|(key, row)| (key, Known::of(row))).collect();
        let book = Book::new(incidents, unreadable, engine.limits(), now);
        Self { engine, now, alerts, book, storms }
    }

    /// Takes a report, and returns the incident that its alert is in.
    pub(super) fn take(&mut self, report: Report<'_>) -> Option<IncidentId> {
        let alert_key = AlertKey::of(report.alert);
        let believed = believable(report.alert, self.now);
        let report = Report { alert: &believed, ..report };
        let (mut known, (told, alert)) = match self.alerts.remove(&alert_key) {
            Some(known) => {
                let told = known.told_by(report.alert);
                (known, told)
            }
            None => (Known::new(report.alert), (Told::First, Cow::Borrowed(report.alert))),
        };
        let report = Report { alert: &alert, ..report };
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
                    known.put(&alert, incident, None);
                    incident.into_iter().for_each(|id| self.book.change(id, &alert));
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
        let id = match self.place_of(report, known, was_in) {
            Place::Into(id) => id,
            Place::Opens { key, follows } => {
                let draft = self.opened(report, key, follows);
                self.book.open(draft)
            }
            Place::OpensStorm { key, follows } => {
                let draft = self.opened(report, key, follows);
                self.book.open_storm(draft, self.storms.config().why())
            }
            Place::Held(why) => return known.put(alert, None, Some(why)),
            Place::Nowhere => return known.put(alert, was_in, None),
        };
        let fired = was_in == Some(id) && known.fires_in(id);
        let change = Change { is_new: was_in != Some(id), fired };
        known.put(alert, Some(id), None);
        self.book.report(id, alert, change);
    }

    /// Where a report goes that is news, or whose incident is over.
    fn place_of(&mut self, report: Report<'_>, known: &Known, was_in: Option<IncidentId>) -> Place {
        // Its own incident, while that is open.
        let own = was_in.filter(|id| self.is_own(*id, report, known));
        if let Some(own) = own.filter(|id| self.book.is_open(*id) || !report.alert.is_firing()) {
            return Place::Into(own);
        }
        let Some(key) = report.key.filter(|_| report.alert.is_firing()) else {
            return Place::Nowhere;
        };
        if let Some(window) = self.engine.maintenance.window(report.alert, self.now) {
            return Place::Held(held::reason(window, report.delivery.is_authenticated));
        }
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
        let group = Group::of(report.delivery.is_authenticated, &report.delivery.source);
        if self.storms.admits(&group, self.now) {
            let follows = self.book.latest_of(&key).or(shut);
            return Place::Opens { key, follows };
        }
        // The incident of the storm.
        let (key, shut) = self.book.readable(group.key());
        let follows = self.book.latest_of(&key).or(shut);
        match self.book.open_of(&key) {
            Some(open) => Place::Into(open),
            None => Place::OpensStorm { key, follows },
        }
    }

    /// Whether what an alert says now belongs to the incident it was last in.
    fn is_own(&self, id: IncidentId, report: Report<'_>, known: &Known) -> bool {
        let Some(incident) = self.book.incident(id) else { return false };
        if !report.alert.is_firing() {
            return true;
        }
        // What may come from anybody reopens nothing on which something acts.
        let is_as_safe = report.delivery.is_authenticated || !incident.is_authenticated;
        // An alert that fires anew is a story of its own, and not the rest of a storm.
        let is_of_storm = incident.is_storm && !known.fires_in(id);
        is_as_safe && !is_of_storm
    }

    /// A new incident, without an alert yet.
    fn opened(&self, report: Report<'_>, key: IncidentKey, follows: Option<IncidentId>) -> Draft {
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
        Draft::new(incident, entry)
    }

    pub(super) fn end(mut self) -> Decided {
        self.book.tell_all_of_others();
        self.book.tell_of_storms(self.storms.config());
        let (mut alerts, mut repeats, mut hints) = (Vec::new(), Vec::new(), Vec::new());
        for (key, known) in std::mem::take(&mut self.alerts) {
            let is_repeatable = match known.alert.is_firing() {
                true => known.incident.is_some_and(|id| self.book.stays_open(id)),
                false => true,
            };
            let hint = Hint { state: known.state(), incident: known.incident };
            hints.push((key.clone(), self.is_settled(&known).then_some(hint)));
            match known.write(key, is_repeatable, self.now) {
                Writes::Nothing => {}
                Writes::Repeat(repeat) => repeats.push(repeat),
                Writes::Alert(write) => alerts.push(write),
            }
        }
        Decided { drafts: self.book.drafts(), alerts, repeats, hints, storms: self.storms }
    }
}

/// Whether an incident that is over begins anew when its alert fires again.
fn is_same_story(incident: &Incident, now: Timestamp, limits: &Limits) -> bool {
    if incident.is_storm {
        return false;
    }
    let (Phase::Closed { at, .. } | Phase::Suppressed { at, .. }) = &incident.phase else {
        return true;
    };
    let window = SignedDuration::from_secs(limits.reopen_seconds.try_into().unwrap_or(i64::MAX));
    now.duration_since(*at) <= window
}
