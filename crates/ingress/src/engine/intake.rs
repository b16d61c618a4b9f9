//! The one task that takes deliveries in: it takes what waits, decides all of it at once on what is
//! stored, commits one batch and answers each. It waits for no more to come. A delivery that cannot
//! be stored fails alone. At shutdown it answers what is in the queue, and ends.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use incident::{Alert, AlertStatus, IncidentId, IncidentKey};
use jiff::Timestamp;
use store::{AlertKey, Batch, Delivered, Repeat, StoreError};
use tokio::sync::mpsc;

use super::admission::Waiting;
use super::decide::{Decided, Decision, Report};
use super::hints::{Hint, Hints};
use super::{Delivery, Engine};
use crate::error::ApiError;
use crate::metrics::AlertLabel;
use crate::policy::{Group, Storms};

/// Deliveries in one batch.
const MOST: usize = 256;
/// Bytes of bodies in one batch; a single delivery may have more.
const MOST_BYTES: usize = 8 << 20;

/// The incidents of each delivery.
type Answers = Vec<Vec<IncidentId>>;

#[derive(Debug)]
pub(super) struct Intake {
    engine: Arc<Engine>,
    hints: Hints,
    storms: Storms,
}

/// One report on its way through a decision.
#[derive(Debug)]
struct Line<'a> {
    /// The place of its delivery.
    place: usize,
    delivery: &'a Delivery,
    alert: &'a Alert,
    /// What stands for its alert among the hints.
    hash: u64,
    /// As far as is remembered, it says what is known.
    hint: Option<Hint>,
    key: Option<IncidentKey>,
}

impl Intake {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let storms = Storms::new(engine.config.storm);
        Self { engine, hints: Hints::default(), storms }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Waiting>) {
        self.seed().await;
        let shutdown = self.engine.process.shutdown_token();
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                tokio::select! {
                    biased;
                    count = queue.recv_many(&mut waiting, MOST) => if count == 0 { return },
                    () = shutdown.cancelled(), if !queue.is_closed() => queue.close(),
                }
            }
            let batch = take_batch(&mut waiting);
            if !batch.is_empty() {
                self.take_in(batch).await;
            }
            self.engine.admission.look();
        }
    }

    /// Takes up the storm in which this process ended. Without it, a storm is seen a little later.
    async fn seed(&mut self) {
        let newest = match self.storms.seeds() {
            0 => Ok(Vec::new()),
            limit => self.engine.store.incidents(limit, None).await,
        };
        match newest {
            Ok(newest) => {
                let newest = newest.iter().map(|stored| &stored.incident);
                self.storms.seed(newest, self.engine.process.now());
            }
            Err(error) => tracing::warn!(?error, "whether it storms is not known yet"),
        }
    }

    /// The incidents of storms that some reports may go into.
    fn storm_keys(&self, lines: &[Line<'_>]) -> BTreeSet<IncidentKey> {
        let mut counts: BTreeMap<(bool, &str), usize> = BTreeMap::new();
        for line in lines.iter().filter(|line| line.key.is_some()) {
            let Delivery { source, is_authenticated, .. } = line.delivery;
            let source = if *is_authenticated { "" } else { &**source };
            *counts.entry((*is_authenticated, source)).or_default() += 1;
        }
        let groups = counts.into_iter().map(|((is_authenticated, source), count)| {
            (Group::of(is_authenticated, source), count)
        });
        let diverting = groups.filter(|(group, count)| self.storms.may_divert(group, *count));
        diverting.map(|(group, _)| group.key()).collect()
    }

    async fn take_in(&mut self, batch: Vec<Waiting>) {
        let engine = self.engine.clone();
        let (clock, metrics) = (engine.process.clock(), &engine.metrics);
        let begun = clock.instant();
        let oldest = batch.iter().map(|one| one.since).min().unwrap_or(begun);
        metrics.oldest_age.set((begun - oldest).as_secs_f64());
        metrics.batch_deliveries.observe(batch.len() as f64);
        self.answer(batch).await;
        metrics.batch_seconds.observe((clock.instant() - begun).as_secs_f64());
        metrics.oldest_age.set(0.0);
    }

    /// Stores all of a batch, or else each delivery that can be.
    async fn answer(&mut self, batch: Vec<Waiting>) {
        let deliveries: Vec<&Delivery> = batch.iter().map(|one| &one.delivery).collect();
        match self.store(&deliveries).await {
            Ok(answers) => {
                for (one, incidents) in batch.into_iter().zip(answers) {
                    // A caller that went away needs no answer.
                    let _ = one.caller.send(Ok(incidents));
                }
            }
            Err(error) if batch.len() > 1 && !is_of_all(&error) => {
                for one in batch {
                    Box::pin(self.answer(vec![one])).await;
                }
            }
            Err(error) => {
                tracing::error!(?error, deliveries = batch.len(), "deliveries were not stored");
                let error = Arc::new(error);
                for one in batch {
                    let _ = one.caller.send(Err(ApiError::NotStored(error.clone())));
                }
            }
        }
    }

    /// Decides on deliveries until what was decided is stored.
    async fn store(&mut self, deliveries: &[&Delivery]) -> Result<Answers, StoreError> {
        let engine = self.engine.clone();
        let mut lines = self.lines(deliveries);
        let mut turns = BTreeSet::new();
        let mut decisions = 0;
        loop {
            engine.find_keys(&mut lines);
            match self.try_store(deliveries, &lines, &mut turns).await {
                Err(StoreError::Conflict { what }) => {
                    // What is remembered may be why.
                    for line in &mut lines {
                        if line.hint.take().is_some() {
                            self.hints.forget(line.hash);
                        }
                    }
                    engine.again(&mut decisions, what).await?;
                }
                answer => {
                    if answer.is_ok() {
                        engine.count(&lines);
                    }
                    return answer;
                }
            }
        }
    }

    /// The reports of some deliveries. Those of one alert are repeats together, or none is.
    fn lines<'a>(&mut self, deliveries: &[&'a Delivery]) -> Vec<Line<'a>> {
        let mut lines = Vec::new();
        for (place, delivery) in deliveries.iter().copied().enumerate() {
            for alert in &delivery.alerts {
                let hash = self.hints.hash(alert);
                let is_told = delivery.reports() > 0 && delivery.as_of.is_none();
                let hint = is_told.then(|| self.hints.repeated(hash, alert).cloned()).flatten();
                lines.push(Line { place, delivery, alert, hash, hint, key: None });
            }
        }
        let read: HashSet<u64> =
            lines.iter().filter(|line| line.hint.is_none()).map(|line| line.hash).collect();
        if !read.is_empty() {
            for line in lines.iter_mut().filter(|line| read.contains(&line.hash)) {
                line.hint = None;
            }
        }
        lines
    }

    async fn try_store(
        &mut self,
        deliveries: &[&Delivery],
        lines: &[Line<'_>],
        turns: &mut BTreeSet<IncidentKey>,
    ) -> Result<Answers, StoreError> {
        let engine = self.engine.clone();
        let mut keys: BTreeSet<IncidentKey> =
            lines.iter().filter_map(|line| line.key.clone()).collect();
        keys.extend(self.storm_keys(lines));
        turns.extend(keys.iter().cloned());
        let _turn = engine.turns.of_all(turns).await;
        let unknown = || lines.iter().filter(|line| line.hint.is_none());
        let (mut answers, mut decided) = (vec![BTreeSet::new(); deliveries.len()], None);
        let now = if unknown().next().is_some() {
            let related = engine.related(unknown().map(|line| line.alert), &keys).await?;
            // Should this be decided again, it is in the turns of all that matters.
            turns.extend(related.incidents.values().map(|stored| stored.incident.key.clone()));
            let now = engine.process.now();
            let mut decision = Decision::new(&engine, related, self.storms.clone(), now);
            for line in unknown() {
                let key = line.key.as_ref();
                let report = Report { delivery: line.delivery, alert: line.alert, key };
                answers[line.place].extend(decision.take(report));
            }
            decided = Some(decision.end());
            now
        } else {
            engine.process.now()
        };
        let Decided { drafts, alerts, mut repeats, hints, storms } = decided.unwrap_or_default();
        repeats.extend(repeats_of(lines, now, &mut answers));
        let delivered = delivered(deliveries, now);
        let repeated = repeats.iter().map(|one| u64::from(one.reports)).sum();
        let batch = Batch { delivered, alerts, repeats, ..Batch::default() };
        engine.commit(batch, drafts, now).await?;
        engine.metrics.repeats.inc_by(repeated);
        if let Some(storms) = storms {
            self.storms = storms;
        }
        self.remember(lines, hints);
        Ok(answers.into_iter().map(Vec::from_iter).collect())
    }

    /// Remembers what was read and decided.
    fn remember(&mut self, lines: &[Line<'_>], hints: Vec<(AlertKey, Option<Hint>)>) {
        if hints.is_empty() {
            return;
        }
        let mut hints: BTreeMap<AlertKey, Option<Hint>> = hints.into_iter().collect();
        for line in lines.iter().filter(|line| line.hint.is_none()) {
            match hints.remove(&AlertKey::of(line.alert)) {
                Some(Some(hint)) => self.hints.remember(line.hash, hint),
                Some(None) => self.hints.forget(line.hash),
                // It was reported more than once.
                None => {}
            }
        }
    }
}

impl Engine {
    /// Finds the keys of alerts that may open an incident.
    fn find_keys(&self, lines: &mut [Line<'_>]) {
        let unknown = lines.iter_mut().filter(|line| line.hint.is_none() && line.key.is_none());
        for line in unknown.filter(|line| line.alert.is_firing()) {
            line.key = Some(self.key_of(line.delivery, line.alert));
        }
    }

    /// Counts the reports that were stored.
    fn count(&self, lines: &[Line<'_>]) {
        let mut counts: BTreeMap<(&str, bool), u64> = BTreeMap::new();
        for line in lines.iter().filter(|line| line.delivery.reports() > 0) {
            *counts.entry((&line.delivery.source, line.alert.is_firing())).or_default() += 1;
        }
        for ((source, is_firing), count) in counts {
            let status = match is_firing {
                true => AlertStatus::Firing,
                false => AlertStatus::Resolved,
            };
            self.metrics.alerts.get_or_create(&AlertLabel::new(source, status)).inc_by(count);
        }
    }
}

/// What is reported as it is remembered, each alert once.
fn repeats_of(
    lines: &[Line<'_>],
    now: Timestamp,
    answers: &mut [BTreeSet<IncidentId>],
) -> Vec<Repeat> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut repeats: Vec<Repeat> = Vec::new();
    for line in lines {
        let Some(hint) = &line.hint else { continue };
        answers[line.place].extend(hint.incident);
        let place = *places.entry(line.hash).or_insert(repeats.len());
        match repeats.get_mut(place) {
            Some(repeat) => repeat.reports += line.delivery.reports(),
            None => repeats.push(Repeat {
                alert: AlertKey::of(line.alert),
                state: hint.state.clone(),
                reports: line.delivery.reports(),
                at: now,
            }),
        }
    }
    repeats
}

fn delivered(deliveries: &[&Delivery], now: Timestamp) -> Vec<Delivered> {
    let came = deliveries.iter().filter(|delivery| delivery.reports() > 0);
    came.map(|delivery| Delivered {
        source: delivery.source.to_string(),
        body: delivery.body.clone(),
        at: now,
    })
    .collect()
}

/// Takes what fits into one batch; the rest stays, in order. Whoever does not wait any more is not
/// acknowledged, and need not be stored.
fn take_batch(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    waiting.retain(|one| !one.caller.is_closed());
    let mut bytes = 0;
    let fits = |one: &&Waiting| {
        let is_first = bytes == 0;
        bytes += one.delivery.body.len();
        is_first || bytes <= MOST_BYTES
    };
    let count = waiting.iter().take_while(fits).count();
    waiting.drain(..count).collect()
}

/// Whether every delivery would fail with it.
fn is_of_all(error: &StoreError) -> bool {
    error.is_transient() || matches!(error, StoreError::Closed)
}
