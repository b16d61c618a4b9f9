//! One round: ask, compare, take in what differs.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use futures::future::join_all;
use incident::{Event, IncidentId, Phase};
use jiff::{SignedDuration, Timestamp};
use store::{AlertKey, AlertRow, Claim, Related};
use webhooks::Format;

use super::ask::{Answer, Peer};
use super::compare::{Answered, Difference};
use super::listing::{Listed, Listing};
use super::report::{self, Report};
use super::status::{Found, PeerState};
use super::{Outcome, Source};
use crate::engine::{Delivery, Engine, Subject};

/// Alerts read, and taken in, at a time.
const PAGE: u32 = 500;

impl Source {
    /// Asks, and takes in what differs, unless another replica is at it.
    pub(super) async fn round(&self, engine: &Engine) -> Outcome {
        let (store, asked_at) = (&engine.store, engine.process.now());
        let claim = format!("reconcile:{}", self.name);
        let mut found = Found::default();
        let done = match store.claim(claim.clone()).await {
            Ok(Claim::Busy) => Ok(Outcome::Busy),
            Ok(Claim::Held) => {
                let answers = join_all(self.peers.iter().map(Peer::ask)).await;
                let done = Box::pin(self.mend(engine, &answers, asked_at, &mut found)).await;
                if let Err(error) = store.unclaim(claim).await {
                    tracing::debug!(source = self.name, ?error, "a claim was not given back");
                }
                done
            }
            Err(error) => Err(error.into()),
        };
        let (outcome, failure) = match done {
            Ok(outcome) => (outcome, None),
            Err(error) => (Outcome::Failed, Some(format!("{error:#}"))),
        };
        self.counts.round(&self.name, outcome, asked_at);
        if outcome != Outcome::Busy {
            self.status.round(&self.name, asked_at, outcome, found, failure);
        }
        outcome
    }

    /// Takes in what differs between the answers and the store.
    pub(super) async fn mend(
        &self,
        engine: &Engine,
        answers: &[anyhow::Result<Answer>],
        asked_at: Timestamp,
        found: &mut Found,
    ) -> anyhow::Result<Outcome> {
        let Some(answered) = self.read(answers, asked_at) else {
            anyhow::bail!("no Alertmanager has answered");
        };
        let unknown = self.mend_firing(engine, &answered, found).await?;
        self.mend_unknown(engine, &answered, unknown, found).await?;
        Ok(if answered.is_whole { Outcome::Whole } else { Outcome::Partial })
    }

    /// What the answers say together; `None` where there is none.
    fn read<'a>(
        &self,
        answers: &'a [anyhow::Result<Answer>],
        asked_at: Timestamp,
    ) -> Option<Answered<'a>> {
        let mut listing = Listing::default();
        let (mut count, mut is_whole) = (0, true);
        for (peer, answer) in self.peers.iter().zip(answers) {
            let read = answer.as_ref().map_err(|error| format!("{error:#}")).and_then(|answer| {
                let listed = listing.add(&answer.list, &self.settings.receiver);
                listed.map(|alerts| (alerts, self.unsettled(answer))).map_err(|e| e.to_string())
            });
            let state = match read {
                Ok((alerts, trouble)) => PeerState { alerts: Some(alerts), trouble },
                Err(error) => PeerState { alerts: None, trouble: Some(error) },
            };
            count += usize::from(state.alerts.is_some());
            is_whole &= state.trouble.is_none();
            self.status.peer(&self.name, peer.url().as_str(), state);
        }
        (count > 0).then_some(Answered { listing, asked_at, is_whole })
    }

    /// Why what an Alertmanager lacks does not count as gone.
    fn unsettled(&self, answer: &Answer) -> Option<String> {
        let settled = i64::try_from(self.settings.settled_seconds).unwrap_or(i64::MAX);
        match &answer.up {
            Ok(up) if *up >= SignedDuration::from_secs(settled) => None,
            Ok(up) => Some(format!("up for {} s only", up.as_secs())),
            Err(why) => Some(why.clone()),
        }
    }

    /// Compares what the store says fires with what is listed, and returns what is listed as firing
    /// beside that.
    async fn mend_firing<'a>(
        &self,
        engine: &Engine,
        answered: &'a Answered<'a>,
        found: &mut Found,
    ) -> anyhow::Result<BTreeMap<&'a str, &'a Listed<'a>>> {
        let mut unknown = answered.listing.firing();
        let mut after = None;
        loop {
            let rows = engine.store.firing_alerts(self.name.clone(), after, PAGE).await?;
            let is_last = rows.len() < PAGE as usize;
            after = rows.last().map(|row| row.alert.fingerprint.clone());
            let (mut gone, mut suppressed, mut heard) = (Vec::new(), Vec::new(), Vec::new());
            for row in rows {
                let difference = answered.of_firing(&row);
                if difference != Difference::FiresAnew {
                    unknown.remove(row.alert.fingerprint.as_str());
                }
                match difference {
                    Difference::None => {}
                    Difference::Fires => heard.push(row),
                    // Taken in with those that are unknown.
                    Difference::FiresAnew => {}
                    Difference::Suppressed(by) => suppressed.push((row, by)),
                    Difference::Gone => gone.push(Report::gone(row.alert, answered.asked_at)),
                }
            }
            found.gone += gone.len();
            self.counts.found(&self.name, "gone", gone.len());
            self.deliver(engine, gone, answered.asked_at).await?;
            found.suppressed += suppressed.len();
            self.tell_of_silences(engine, suppressed, heard).await?;
            if is_last {
                return Ok(unknown);
            }
        }
    }

    /// Takes in what is listed as firing and that the store does not know, or knows as over.
    async fn mend_unknown(
        &self,
        engine: &Engine,
        answered: &Answered<'_>,
        unknown: BTreeMap<&str, &Listed<'_>>,
        found: &mut Found,
    ) -> anyhow::Result<()> {
        let unknown = Vec::from_iter(unknown);
        for page in unknown.chunks(PAGE as usize) {
            let key = |(fingerprint, _): &(&str, _)| AlertKey {
                source: self.name.clone(),
                fingerprint: (*fingerprint).to_owned(),
            };
            let keys = Vec::from_iter(page.iter().map(key));
            let related = engine.store.related(keys.clone(), Vec::new()).await?;
            let missing = page.iter().zip(&keys).filter_map(|((fingerprint, listed), key)| {
                let row = related.alerts.get(key);
                let is_suppressed = row.is_some_and(|row| is_suppressed(row, &related));
                let since = answered.fires_since(listed, row, is_suppressed)?;
                Some(Report::firing(fingerprint, listed, since))
            });
            let missing = Vec::from_iter(missing);
            found.missing += missing.len();
            self.counts.found(&self.name, "missing", missing.len());
            self.deliver(engine, missing, answered.asked_at).await?;
        }
        Ok(())
    }

    /// Lets what was found go the way of a webhook.
    async fn deliver(
        &self,
        engine: &Engine,
        mut reports: Vec<Report<'_>>,
        asked_at: Timestamp,
    ) -> anyhow::Result<()> {
        let severities = &engine.config.mapping.severities;
        let read = |reports: &[Report<'_>]| {
            let body = report::body(reports, &self.settings.receiver, asked_at);
            let headers = HeaderMap::new();
            let reading = Format::Alertmanager.read(
                &self.name,
                &headers,
                body.as_bytes(),
                severities,
                asked_at,
            );
            reading.map(|reading| (body, reading.alerts))
        };
        let (body, alerts) = match read(&reports) {
            Ok(read) => read,
            Err(_) => {
                // What no webhook could tell either holds up nothing else.
                reports.retain(|report| {
                    let read = read(std::slice::from_ref(report));
                    let error = read.err().map(|error| error.to_string());
                    if let Some(error) = &error {
                        tracing::warn!(source = self.name, ?error, "a listed alert is passed over");
                    }
                    error.is_none()
                });
                read(&reports)?
            }
        };
        if !alerts.is_empty() {
            let room = engine.admission().reserve(Some(body.len()), true).await?;
            let (source, as_of) = (self.name.as_str().into(), Some(asked_at));
            let is_authenticated = self.is_authenticated;
            let delivery = Delivery { source, is_authenticated, alerts, body, as_of };
            engine.accept(delivery, room).await?;
        }
        Ok(())
    }

    /// Tells incidents which of their alerts are silenced, and which are not any more.
    async fn tell_of_silences(
        &self,
        engine: &Engine,
        suppressed: Vec<(AlertRow, String)>,
        heard: Vec<AlertRow>,
    ) -> anyhow::Result<()> {
        let mut events: BTreeMap<IncidentId, Vec<Event>> = BTreeMap::new();
        let mut of_silence: BTreeMap<(IncidentId, String), Vec<String>> = BTreeMap::new();
        for (row, by) in suppressed {
            self.silenced.put(&row.alert.fingerprint);
            if let Some(incident) = row.incident {
                of_silence.entry((incident, by)).or_default().push(row.alert.fingerprint);
            }
        }
        for ((incident, by), fingerprints) in of_silence {
            let source = self.name.clone();
            let event = Event::AlertsSuppressed { source, fingerprints, by };
            events.entry(incident).or_default().push(event);
        }
        for row in heard.into_iter().filter(|row| self.silenced.take(&row.alert.fingerprint)) {
            if let Some(incident) = row.incident {
                events.entry(incident).or_default().push(Event::AlertReported(row.alert));
            }
        }
        for (id, events) in events {
            if let Some(stored) = engine.store.incident(id).await? {
                let subject = Subject::of(&stored.incident);
                engine.take_events(&subject, None, events, None).await?;
            }
        }
        Ok(())
    }
}

/// Whether an alert's incident ended as it was silenced.
fn is_suppressed(row: &AlertRow, related: &Related) -> bool {
    let incident = row.incident.and_then(|id| related.incidents.get(&id));
    incident.is_some_and(|stored| matches!(stored.incident.phase, Phase::Suppressed { .. }))
}
