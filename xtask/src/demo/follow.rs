//! Follows incidents through ingress's API and prints every new entry of their timelines.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use incident::{EntryKind, Incident, IncidentId, TimelineEntry};
use jiff::Timestamp;

use super::progress::Progress;
use super::show;
use crate::http;

#[derive(Debug)]
pub(super) struct Follow {
    ingress: SocketAddr,
    /// The incident with this alert is the one that counts.
    alert: &'static str,
    triggered_at: Timestamp,
    incidents: Vec<Incident>,
    timelines: BTreeMap<IncidentId, Vec<TimelineEntry>>,
}

impl Follow {
    pub(super) fn new(ingress: SocketAddr, alert: &'static str, triggered_at: Timestamp) -> Self {
        Self { ingress, alert, triggered_at, incidents: Vec::new(), timelines: BTreeMap::new() }
    }

    /// Reads what is new and prints it.
    ///
    /// # Errors
    /// Ingress does not answer, or not in its own format.
    pub(super) fn poll(&mut self, progress: &mut Progress) -> anyhow::Result<()> {
        self.incidents = http::get_json(self.ingress, "/api/v1/incidents")?;
        let ids: Vec<IncidentId> = self.incidents.iter().map(|incident| incident.id).collect();
        for id in ids {
            let path = format!("/api/v1/incidents/{id}/timeline");
            let entries: Vec<TimelineEntry> = http::get_json(self.ingress, &path)?;
            let known = self.timelines.entry(id).or_default();
            for entry in entries.iter().skip(known.len()) {
                progress.clear();
                show::entry(self.triggered_at, entry);
            }
            *known = entries;
        }
        Ok(())
    }

    /// The incident of the fault's own alert.
    pub(super) fn subject(&self) -> Option<&Incident> {
        self.incidents
            .iter()
            .find(|incident| incident.alerts.iter().any(|tracked| tracked.alert.name == self.alert))
    }

    pub(super) fn timeline(&self) -> Vec<TimelineEntry> {
        let id = self.subject().map(|incident| incident.id);
        id.and_then(|id| self.timelines.get(&id)).cloned().unwrap_or_default()
    }

    /// Whether the ticket was brought up to date after the incident was handed over. A closed one
    /// may have said Done since the proof: then nothing is left to be told.
    pub(super) fn is_ticket_told(&self) -> bool {
        let timeline = self.timeline();
        let end = timeline.iter().rposition(|entry| entry.kind == EntryKind::HandedOver);
        let told = timeline.iter().rposition(|entry| entry.kind == EntryKind::TicketSynced);
        told > end
    }

    /// Incidents besides the one that counts.
    pub(super) fn others(&self) -> usize {
        self.incidents.len() - usize::from(self.subject().is_some())
    }

    /// Where the incident stands, for a person.
    pub(super) fn state(&self) -> String {
        match self.subject() {
            None => "no incident".into(),
            Some(incident) => {
                let ticket = incident.ticket.as_ref();
                let ticket = ticket
                    .map(|ticket| format!("{} {}", ticket.key, ticket.status))
                    .unwrap_or_else(|| "none".into());
                format!("{} is {}, ticket {ticket}", incident.id, incident.phase.name())
            }
        }
    }

    /// What the demo is waiting for, given the alert's state in Prometheus.
    pub(super) fn waiting_for(&self, alert: &str) -> String {
        match self.subject() {
            None => format!("waiting for the alert {} ({alert})", self.alert),
            Some(incident) => format!("{} (alert {alert})", incident.phase.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn following(kinds: &[EntryKind]) -> Follow {
        let at = Timestamp::from_second(0).unwrap();
        let mut follow = Follow::new("127.0.0.1:1".parse().unwrap(), "HighCPUUsage", at);
        let incident: Incident = serde_json::from_value(json!({
            "id": "inc_01890a5d-ac96-774b-bcce-b302099a8057", "key": "server=a", "title": "t",
            "description": "", "severity": "warning", "affected_systems": [], "tags": [],
            "phase": {"name": "open"}, "opened_at": at, "round": 1, "deadline": null,
            "alerts": [{"reported_at": at, "alert": {"source": "alertmanager", "fingerprint": "f",
                "status": "firing", "name": "HighCPUUsage", "severity": "warning", "labels": {},
                "annotations": {}, "starts_at": at}}],
        }))
        .unwrap();
        let entries = kinds.iter().map(|kind| TimelineEntry::new(at, "a", kind.clone(), "s"));
        follow.timelines.insert(incident.id, entries.collect());
        follow.incidents.push(incident);
        follow
    }

    #[test]
    fn ticket_is_told_only_after_the_end() {
        let early = [EntryKind::TicketSynced, EntryKind::HandedOver];
        assert!(!following(&early).is_ticket_told());
        let late = [EntryKind::TicketSynced, EntryKind::HandedOver, EntryKind::TicketSynced];
        assert!(following(&late).is_ticket_told());
        let closed = [EntryKind::TicketSynced, EntryKind::Closed];
        assert!(following(&closed).is_ticket_told(), "Done already when it was proven");
    }

    #[test]
    fn incident_of_another_alert_is_not_the_subject() {
        let mut follow = following(&[]);
        assert!(follow.subject().is_some());
        follow.alert = "DiskSpaceCritical";
        assert_eq!((follow.subject().is_none(), follow.others()), (true, 1));
    }
}
