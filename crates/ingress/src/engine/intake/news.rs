//! The lane of news: read, decided and stored at once, until what was decided is no history.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use incident::{Alert, IncidentId, IncidentKey};
use store::{AlertKey, Batch, StoreError};

use super::repeats::Repeats;
use super::{Mark, Sorted, caught, delivered, fail, is_of_all};
use crate::engine::decide::{Decided, Decision, Report};
use crate::engine::hints::Hint;
use crate::engine::{DECISIONS, Delivery, Engine};
use crate::policy::{Group, Storms};

/// Decisions on several deliveries before they are taken in halves.
const DECISIONS_OF_MANY: u32 = 3;

/// The incidents of each delivery.
type Answers = Vec<BTreeSet<IncidentId>>;

/// What decides on news: one batch after the other.
#[derive(Debug)]
pub(super) struct News {
    engine: Arc<Engine>,
    storms: Storms,
    /// How alerts stand that were read or decided on.
    learnt: Vec<(u64, Option<Hint>)>,
}

/// One report on its way through a decision.
#[derive(Debug)]
struct Line<'a> {
    /// The place of its delivery.
    place: usize,
    delivery: &'a Delivery,
    alert: &'a Alert,
    mark: Mark,
    key: Option<IncidentKey>,
}

impl Line<'_> {
    fn is_known(&self) -> bool {
        self.mark.hint.is_some()
    }
}

impl News {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let storms = Storms::new(engine.config.storm);
        Self { engine, storms, learnt: Vec::new() }
    }

    /// Takes up the storm in which this process ended. Without it, a storm is seen a little later.
    pub(super) async fn seed(&mut self) {
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

    /// What was learnt since this was asked last.
    pub(super) fn learnt(&mut self) -> Vec<(u64, Option<Hint>)> {
        std::mem::take(&mut self.learnt)
    }

    /// Stores and answers them all, or else each that can be: in halves, so that what cannot be stored
    /// is found, and what another replica writes all the time is decided on in less time.
    pub(super) async fn take_in(mut self, mut batch: Vec<Sorted>) -> Self {
        batch.retain(|one| !one.waiting.caller.is_closed());
        let engine = self.engine.clone();
        match engine.observe(&batch, caught(self.store(&batch))).await {
            Ok(answers) => {
                for (one, incidents) in batch.into_iter().zip(answers) {
                    one.answer(Ok(incidents.into_iter().collect()));
                }
            }
            Err(error) if batch.len() > 1 && !is_of_all(&error) && !engine.is_draining() => {
                let later = batch.split_off(batch.len().div_ceil(2));
                for half in [batch, later] {
                    self = Box::pin(self.take_in(half)).await;
                }
            }
            Err(error) => fail(batch, error),
        }
        self
    }

    /// Decides on deliveries until what was decided is stored.
    async fn store(&mut self, batch: &[Sorted]) -> Result<Answers, StoreError> {
        let engine = self.engine.clone();
        let mut lines = lines(batch);
        let mut turns = BTreeSet::new();
        let most = if batch.len() > 1 { DECISIONS_OF_MANY } else { DECISIONS };
        let mut decisions = 0;
        loop {
            engine.find_keys(&mut lines);
            match self.try_store(batch, &lines, &mut turns).await {
                Err(StoreError::Conflict { what }) => {
                    // What is remembered may be why.
                    for mark in lines.iter_mut().map(|line| &mut line.mark) {
                        if mark.hint.take().is_some() {
                            self.learnt.push((mark.hash, None));
                        }
                    }
                    engine.again(&mut decisions, most, what).await?;
                }
                answer => {
                    if answer.is_ok() {
                        engine.count(batch);
                    }
                    return answer;
                }
            }
        }
    }

    async fn try_store(
        &mut self,
        batch: &[Sorted],
        lines: &[Line<'_>],
        turns: &mut BTreeSet<IncidentKey>,
    ) -> Result<Answers, StoreError> {
        let engine = self.engine.clone();
        let mut keys: BTreeSet<IncidentKey> =
            lines.iter().filter_map(|line| line.key.clone()).collect();
        keys.extend(self.storm_keys(lines));
        turns.extend(keys.iter().cloned());
        let _turn = engine.turns.of_all(turns).await;
        let unknown = || lines.iter().filter(|line| !line.is_known());
        let related = engine.related(unknown().map(|line| line.alert), &keys).await?;
        // Should this be decided again, it is in the turns of all that matters.
        turns.extend(related.incidents.values().map(|stored| stored.incident.key.clone()));
        let now = engine.process.now();
        let mut decision = Decision::new(&engine, related, self.storms.clone(), now);
        let mut answers = vec![BTreeSet::new(); batch.len()];
        let mut known = Repeats::default();
        for line in lines {
            let Line { place, delivery, alert, mark, key } = line;
            answers[*place].extend(match &mark.hint {
                Some(hint) => hint.incident,
                None => decision.take(Report { delivery, alert, key: key.as_ref() }),
            });
            known.add(alert, mark, delivery.reports(), now);
        }
        let Decided { drafts, alerts, mut repeats, hints, storms } = decision.end();
        repeats.extend(known.into_rows());
        let repeated = repeats.iter().map(|one| u64::from(one.reports)).sum();
        let delivered = delivered(batch, now);
        engine
            .commit(Batch { delivered, alerts, repeats, ..Batch::default() }, drafts, now)
            .await?;
        engine.metrics.repeats.inc_by(repeated);
        self.storms = storms;
        self.learn(lines, hints);
        Ok(answers)
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

    /// Keeps what was read and decided.
    fn learn(&mut self, lines: &[Line<'_>], hints: Vec<(AlertKey, Option<Hint>)>) {
        let mut hints: BTreeMap<AlertKey, Option<Hint>> = hints.into_iter().collect();
        for line in lines.iter().filter(|line| !line.is_known()) {
            // None for one that was reported more than once, and is kept already.
            let hint = hints.remove(&AlertKey::of(line.alert));
            self.learnt.extend(hint.map(|hint| (line.mark.hash, hint)));
        }
    }
}

impl Engine {
    /// Finds the keys of alerts that may open an incident.
    fn find_keys(&self, lines: &mut [Line<'_>]) {
        let unknown = lines.iter_mut().filter(|line| !line.is_known() && line.key.is_none());
        for line in unknown.filter(|line| line.alert.is_firing()) {
            line.key = Some(self.key_of(line.delivery, line.alert));
        }
    }
}

/// The reports of some deliveries. Those of one alert are repeats together, or none is.
fn lines(batch: &[Sorted]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for (place, one) in batch.iter().enumerate() {
        let delivery = one.delivery();
        let reports = delivery.alerts.iter().zip(&one.marks);
        lines.extend(reports.map(|(alert, mark)| {
            let (mark, key) = (mark.clone(), None);
            Line { place, delivery, alert, mark, key }
        }));
    }
    let read: HashSet<u64> =
        lines.iter().filter(|line| !line.is_known()).map(|line| line.mark.hash).collect();
    for line in lines.iter_mut().filter(|line| read.contains(&line.mark.hash)) {
        line.mark.hint = None;
    }
    lines
}
