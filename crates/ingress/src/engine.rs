//! Takes events into incidents: read, let the pure machine decide, commit the new state with its
//! timeline and its effects, wake whoever performs them. A write that was decided on history is
//! refused by the store, and decided anew. Nothing happens outside a commit.

mod admission;
mod believable;
mod book;
mod decide;
mod draft;
mod held;
mod hints;
mod intake;
mod known;
mod outbox_time;
#[cfg(test)]
pub(crate) mod sample;
mod turns;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{StreamExt, stream};
use incident::{Alert, Event, Incident, IncidentId, IncidentKey, Limits, Phase};
use jiff::Timestamp;
use service::{ConfigError, Process};
use store::{AlertKey, AlertRow, Batch, OutboxEnd, Related, Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Config;
use crate::backoff;
use crate::error::ApiError;
use crate::metrics::{IngressMetrics, PhaseLabel};
use crate::policy::Maintenance;
use crate::rules::Rules;

use admission::Waiting;
use draft::Draft;
use intake::Intake;
use outbox_time::OutboxTime;
use turns::Turns;

pub(crate) use admission::{Admission, Room};
pub(crate) use believable::is_ahead;
pub(crate) use draft::Work;
pub(crate) use wake::{Follower, IDLE, Wake};

/// Decisions on one event, each on what was stored by then, before it is answered that it cannot be
/// taken now.
const DECISIONS: u32 = 16;
/// The wait before the second at most, doubled with each, and before any.
const CONFLICT_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Overdue incidents read at a time, and met at a time.
const OVERDUE: (u32, usize) = (100, 16);
/// Alerts of an incident read at a time.
const ALERTS: u32 = 500;
/// The wait before an overdue incident is looked at again that this version cannot read or write.
const STUCK: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) process: Process,
    pub(crate) config: Config,
    rules: Arc<Rules>,
    maintenance: Maintenance,
    pub(crate) metrics: IngressMetrics,
    pub(crate) wake: Wake,
    admission: Arc<Admission>,
    /// The queue's end until intake starts.
    waiting: Mutex<Option<mpsc::Receiver<Waiting>>>,
    turns: Turns,
    outbox_time: OutboxTime,
    /// Overdue incidents that cannot be read or written, with the time until which they are left alone.
    stuck: Mutex<BTreeMap<IncidentId, Instant>>,
}

/// What one source sent at once.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The name of the source, which its alerts have too.
    pub(crate) source: Arc<str>,
    /// Whether the source proves who it is.
    pub(crate) is_authenticated: bool,
    pub(crate) alerts: Vec<Alert>,
    /// As it came; empty where nothing came, and alerts that are known are to be decided anew.
    pub(crate) body: String,
    /// When the source was asked whose answer this is: of an alert that was reported since, that report
    /// counts. `None`: the source told by itself.
    pub(crate) as_of: Option<Timestamp>,
}

impl Delivery {
    /// What it counts as for each of its alerts.
    fn reports(&self) -> u32 {
        u32::from(!self.body.is_empty())
    }
}

/// Which incident an event is for.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) id: IncidentId,
    pub(crate) key: IncidentKey,
}

impl Subject {
    pub(crate) fn of(incident: &Incident) -> Self {
        Self { id: incident.id, key: incident.key.clone() }
    }
}

impl Engine {
    /// # Errors
    /// A maintenance window means nothing.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        process: Process,
        config: Config,
        rules: Arc<Rules>,
    ) -> Result<Self, ConfigError> {
        let maintenance = Maintenance::new(&config.maintenance)?;
        let metrics = IngressMetrics::new(process.metrics());
        let (wake, turns) = (Wake::default(), Turns::default());
        let outbox_time = OutboxTime::default();
        let (admission, waiting) = Admission::new(&process, &config, &metrics);
        let (waiting, stuck) = (Mutex::new(Some(waiting)), Mutex::default());
        Ok(Self {
            store,
            process,
            config,
            rules,
            maintenance,
            metrics,
            wake,
            admission,
            waiting,
            turns,
            outbox_time,
            stuck,
        })
    }

    /// Takes in what is accepted, until shutdown.
    pub(crate) fn start(self: &Arc<Self>) {
        let waiting = self.waiting.lock().expect("no panic while it is held").take();
        if let Some(waiting) = waiting {
            self.process.spawn(Intake::new(self.clone()).run(waiting));
            self.process.spawn_until_shutdown(held::release_when_due(self.clone()));
        }
    }

    /// Where room is reserved for a body before it is read.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Takes the alerts of one delivery, with what the tables know of them, all or none, and returns
    /// the incidents they belong to, each once. What it returns is stored.
    ///
    /// # Errors
    /// Nothing is acknowledged; the sender shall come again.
    pub(crate) async fn accept(
        &self,
        mut delivery: Delivery,
        room: Room,
    ) -> Result<Vec<IncidentId>, ApiError> {
        delivery.alerts.iter_mut().for_each(|alert| self.rules.enrich(alert));
        let (caller, answer) = oneshot::channel();
        let since = self.process.clock().instant();
        self.admission.put(Waiting { delivery, caller, since, _room: room, place: None }).await?;
        answer.await.map_err(|_| ApiError::Draining)?
    }

    /// The key of the incident that an alert opens. Whoever does not prove who it is shares none with
    /// others.
    fn key_of(&self, delivery: &Delivery, alert: &Alert) -> IncidentKey {
        self.rules.key(alert, delivery.is_authenticated)
    }

    /// What the alerts may go into. The known incident of an alert may have another key than the alert
    /// has by today's rules; when it is over, whatever is open under that key matters too. So does what
    /// is open beside an incident that cannot be read.
    async fn related(
        &self,
        alerts: impl Iterator<Item = &Alert>,
        keys: &BTreeSet<IncidentKey>,
    ) -> Result<Related, StoreError> {
        let known: BTreeSet<AlertKey> = alerts.map(AlertKey::of).collect();
        let known: Vec<AlertKey> = known.into_iter().collect();
        let mut all = keys.clone();
        loop {
            let asked = all.iter().cloned().collect();
            let related = self.store.related(known.clone(), asked).await?;
            let count = all.len();
            let incidents = related.incidents.values().map(|stored| &stored.incident);
            let over = incidents.filter(|incident| incident.phase.is_final());
            all.extend(over.map(|incident| incident.key.clone()));
            for (id, shut) in &related.unreadable {
                all.extend(shut.as_ref().map(|key| book::beside(key, *id)));
            }
            if all.len() == count {
                for id in related.unreadable.keys() {
                    tracing::error!(incident.id = %id, "it cannot be read: its alerts go beside it");
                }
                return Ok(related);
            }
        }
    }

    /// Takes events into one incident, together with the end of the outbox row that brought them, and
    /// returns the incident as it is then. Events that belong to a round are dropped when the incident
    /// is in another one by now.
    ///
    /// # Errors
    /// Nothing is stored.
    pub(crate) async fn take_events(
        &self,
        subject: &Subject,
        round: Option<u32>,
        events: Vec<Event>,
        end: Option<OutboxEnd>,
    ) -> Result<Option<Incident>, StoreError> {
        let of_round = |incident: &Incident| match round {
            Some(round) if round != incident.round => Vec::new(),
            _ => events.clone(),
        };
        self.change(subject, end, of_round).await
    }

    /// Lets `decide` say, on the incident as it is stored, which events it takes.
    ///
    /// # Errors
    /// Nothing is stored.
    pub(crate) async fn change(
        &self,
        subject: &Subject,
        end: Option<OutboxEnd>,
        decide: impl Fn(&Incident) -> Vec<Event> + Send + Sync,
    ) -> Result<Option<Incident>, StoreError> {
        let _turn = self.turns.of(&subject.key).await;
        let mut decisions = 0;
        loop {
            match self.try_change(subject.id, end.clone(), &decide).await {
                Err(StoreError::Conflict { what }) => {
                    self.again(&mut decisions, DECISIONS, what).await?;
                }
                answer => return answer,
            }
        }
    }

    async fn try_change(
        &self,
        id: IncidentId,
        end: Option<OutboxEnd>,
        decide: &(impl Fn(&Incident) -> Vec<Event> + Send + Sync),
    ) -> Result<Option<Incident>, StoreError> {
        let stored = self.store.incident(id).await?;
        let now = self.process.now();
        let mut drafts = Vec::new();
        let mut incident = None;
        if let Some(stored) = stored {
            let events = decide(&stored.incident);
            let mut draft = Draft::of(stored);
            for event in events {
                draft.take(event, now, self.limits());
            }
            incident = Some(draft.incident.clone());
            drafts.extend(Some(draft).filter(Draft::is_changed));
        }
        if end.is_some() || !drafts.is_empty() {
            let batch = Batch { outbox: end.into_iter().collect(), ..Batch::default() };
            self.commit(batch, drafts, now).await?;
        }
        Ok(incident)
    }

    /// Ends an outbox row that changes nothing.
    ///
    /// # Errors
    /// It is not ended.
    pub(crate) async fn end_row(&self, end: OutboxEnd) -> Result<(), StoreError> {
        let batch = Batch { outbox: vec![end], ..Batch::default() };
        self.commit(batch, Vec::new(), self.process.now()).await
    }

    async fn commit(
        &self,
        mut batch: Batch,
        drafts: Vec<Draft>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let outbox_now = self.outbox_now();
        let news = wake::News::of(&drafts, outbox_now);
        let entered: Vec<&'static str> = drafts.iter().flat_map(Draft::entered).copied().collect();
        for draft in &drafts {
            for phase in draft.entered() {
                let (id, title) = (draft.incident.id, &draft.incident.title);
                tracing::debug!(incident.id = %id, phase, ?title, "incident");
            }
        }
        batch.incidents = drafts.into_iter().map(|draft| draft.write(now, outbox_now)).collect();
        failpoints::hit(failpoints::BEFORE_COMMIT);
        let begun = self.process.clock().instant();
        self.store.commit(batch).await?;
        let took = self.process.clock().instant() - begun;
        self.metrics.commit_seconds.observe(took.as_secs_f64());
        for phase in entered {
            self.metrics.phases_entered.get_or_create(&PhaseLabel { phase }).inc();
        }
        self.wake.committed(&news, outbox_now);
        Ok(())
    }

    /// Waits a little before the next decision; fails when there were `most` of them.
    async fn again(&self, decisions: &mut u32, most: u32, what: String) -> Result<(), StoreError> {
        *decisions += 1;
        if *decisions >= most {
            return Err(StoreError::Conflict { what });
        }
        let wait = backoff::full_jitter(&self.process, *decisions - 1, CONFLICT_WAIT, LONGEST_WAIT);
        self.process.clock().sleep(wait).await;
        Ok(())
    }

    /// Ends the phases of incidents whose deadline has come. One that cannot be stored is met
    /// again, and keeps no other waiting.
    ///
    /// # Errors
    /// The deadlines cannot be read.
    pub(crate) async fn meet_deadlines(&self) -> Result<(), StoreError> {
        let left_alone = self.left_alone();
        // They stay the longest overdue: others come beside them.
        let limit = u32::try_from(left_alone.len()).unwrap_or(u32::MAX).saturating_add(OVERDUE.0);
        let mut overdue = self.store.overdue(self.process.now(), limit).await?;
        overdue.retain(|id| !left_alone.contains(id));
        let meeting = stream::iter(overdue).map(|id| async move {
            let Err(error) = self.meet_deadline(id).await else { return };
            tracing::error!(incident.id = %id, ?error, "deadline");
            if !error.is_transient() && !matches!(error, StoreError::Conflict { .. }) {
                self.stuck().insert(id, self.process.clock().instant() + STUCK);
            }
        });
        meeting.buffer_unordered(OVERDUE.1).collect::<()>().await;
        Ok(())
    }

    /// Overdue incidents that could not be read or written a while ago.
    fn left_alone(&self) -> BTreeSet<IncidentId> {
        let now = self.process.clock().instant();
        let mut stuck = self.stuck();
        stuck.retain(|_, until| *until > now);
        stuck.keys().copied().collect()
    }

    fn stuck(&self) -> MutexGuard<'_, BTreeMap<IncidentId, Instant>> {
        self.stuck.lock().expect("no panic while it is held")
    }

    async fn meet_deadline(&self, id: IncidentId) -> Result<(), StoreError> {
        let Some(stored) = self.store.incident(id).await? else { return Ok(()) };
        let reported = self.reported_since(id, resolved_at(&stored.incident)).await?;
        let reported = reported.map(|alert| book::again(&stored.incident, &alert));
        let reached = |incident: &Incident| {
            let is_due = incident.deadline.is_some_and(|due| due <= self.process.now());
            let reached = is_due.then_some(Event::DeadlineReached);
            reached.iter().flat_map(|_| reported.clone()).chain(reached.clone()).collect()
        };
        let subject = Subject::of(&stored.incident);
        let after = self.change(&subject, None, reached).await?;
        let Some(closed) = after.filter(|incident| incident.phase.is_final()) else {
            return Ok(());
        };
        // A repeat may have been counted while it closed, and none is from now on.
        let reported = self.reported_since(closed.id, resolved_at(&stored.incident)).await?;
        if let Some(alert) = reported {
            let again = |incident: &Incident| vec![book::again(incident, &alert)];
            self.change(&subject, None, again).await?;
        }
        Ok(())
    }

    /// An alert of an incident that was reported as firing since it counts as resolved: repeats are not
    /// told to incidents when they come.
    async fn reported_since(
        &self,
        id: IncidentId,
        resolved_at: Option<Timestamp>,
    ) -> Result<Option<Alert>, StoreError> {
        let Some(at) = resolved_at else { return Ok(None) };
        let mut after = None;
        loop {
            let rows = self.store.alerts_of(id, after, ALERTS).await?;
            let last = rows.last().map(|row| AlertKey::of(&row.alert));
            let is_since = |row: &AlertRow| row.alert.is_firing() && row.last_at > at;
            if let Some(row) = rows.into_iter().find(is_since) {
                return Ok(Some(row.alert));
            }
            let Some(last) = last else { return Ok(None) };
            after = Some(last);
        }
    }

    /// The time by which effects are put off, and fall due.
    pub(crate) fn outbox_now(&self) -> Timestamp {
        self.outbox_time.now(self.process.clock())
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    fn is_draining(&self) -> bool {
        self.process.shutdown_token().is_cancelled()
    }
}

fn resolved_at(incident: &Incident) -> Option<Timestamp> {
    match incident.phase {
        Phase::Resolved { at, .. } => Some(at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use incident::ResolvedBy;
    use service::{Clock, Ids, ManualClock};
    use store::{AlertState, IncidentWrite, MemoryDatabase, OpenOptions, Repeat};

    use super::sample::{at, firing};
    use super::*;

    fn engine(clock: &ManualClock) -> Engine {
        let process = Process::with("ingress", Clock::Manual(clock.clone()), Ids::default());
        let this = ("host".to_owned(), 1, 1);
        let (lease, time) = (Duration::from_secs(3600), process.time_source());
        let options = OpenOptions::of_process("one".into(), this, |_, _, _| false, lease, time);
        let store = MemoryDatabase::new().open("ingress", options);
        let config = Config::default();
        let rules = Arc::new(Rules::open(&config).unwrap());
        Engine::new(store, process, config, rules).unwrap()
    }

    async fn only(engine: &Engine) -> store::Stored {
        engine.store.incidents(1, None).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_report_that_is_counted_while_its_incident_closes_opens_it_anew() {
        let clock = ManualClock::starting_at(at(100));
        let engine = Arc::new(engine(&clock));
        engine.start();
        let alert = firing(90);
        let delivery = Delivery {
            source: "alertmanager".into(),
            is_authenticated: true,
            alerts: vec![alert.clone()],
            body: "{}".to_owned(),
            as_of: None,
        };
        let room = engine.admission().reserve(Some(2), true).await.unwrap();
        engine.accept(delivery, room).await.unwrap();
        let store::Stored { mut incident, base, .. } = only(&engine).await;
        incident.phase = Phase::Resolved { by: ResolvedBy::Proof, at: at(110) };
        incident.deadline = Some(at(120));
        let key = incident.key.clone();
        let (entries, effects) = (Vec::new(), Vec::new());
        let proven = IncidentWrite { incident, base, entries, effects, at: at(110) };
        let incidents = vec![proven];
        engine.store.commit(Batch { incidents, ..Batch::default() }).await.unwrap();

        clock.advance(Duration::from_secs(30));
        let turn = engine.turns.of(&key).await;
        let mut meeting = std::pin::pin!(engine.meet_deadlines());
        // It reads, giving way a few times, and then waits for its turn.
        for _ in 0..64 {
            assert!(poll!(&mut meeting).is_pending());
            tokio::task::yield_now().await;
        }
        let (key, state) = (AlertKey::of(&alert), AlertState::of(&alert));
        let repeats = vec![Repeat { alert: key, state, reports: 1, at: at(130) }];
        engine.store.commit(Batch { repeats, ..Batch::default() }).await.unwrap();
        drop(turn);
        meeting.await.unwrap();
        let incident = only(&engine).await.incident;
        assert!(!incident.phase.is_final(), "{incident:?}");
        assert_eq!(incident.round, 2);
        engine.process.shut_down(Duration::from_secs(10)).await.unwrap();
    }
}
