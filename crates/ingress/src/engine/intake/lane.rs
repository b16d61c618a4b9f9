//! What waits for a lane, and the alerts that it has: those of deliveries that wait, and of those in
//! hand.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use super::Sorted;

/// Deliveries in one batch.
pub(super) const MOST: usize = 256;
/// Bytes of bodies in one batch; a single delivery may have more.
const MOST_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: VecDeque<Sorted>,
    /// How many deliveries have each alert.
    alerts: HashMap<u64, usize>,
    /// The alerts of what is in hand.
    in_hand: Vec<u64>,
    is_at_work: bool,
}

impl Lane {
    pub(super) fn push(&mut self, one: Sorted) {
        self.note(&one);
        self.waiting.push_back(one);
    }

    pub(super) fn push_front(&mut self, one: Sorted) {
        self.note(&one);
        self.waiting.push_front(one);
    }

    pub(super) fn has(&self, alert: u64) -> bool {
        self.alerts.contains_key(&alert)
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.is_at_work
    }

    /// Since when the first of them waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|one| one.waiting.since)
    }

    /// Takes what fits into one batch in hand; the rest stays, in order. What has an alert that is
    /// elsewhere waits, and so does whatever came after it for one of its alerts. Whoever does not wait
    /// any more is not acknowledged, and need not be stored.
    pub(super) fn take(&mut self, is_elsewhere: impl Fn(u64) -> bool) -> Vec<Sorted> {
        let (mut batch, mut later, mut bytes) = (Vec::new(), VecDeque::new(), 0);
        let mut stays = HashSet::new();
        while let Some(one) = self.waiting.pop_front() {
            if one.waiting.caller.is_closed() {
                self.forget(one.marks.iter().map(|mark| mark.hash));
                continue;
            }
            let size = one.delivery().body.len();
            if batch.len() == MOST || (!batch.is_empty() && bytes + size > MOST_BYTES) {
                self.waiting.push_front(one);
                break;
            }
            let must_wait =
                one.marks.iter().any(|mark| is_elsewhere(mark.hash) || stays.contains(&mark.hash));
            if must_wait {
                stays.extend(one.marks.iter().map(|mark| mark.hash));
                later.push_back(one);
                continue;
            }
            bytes += size;
            self.in_hand.extend(one.marks.iter().map(|mark| mark.hash));
            batch.push(one);
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        self.is_at_work = !batch.is_empty();
        batch
    }

    /// What was in hand is answered, or somewhere else.
    pub(super) fn end(&mut self) {
        let in_hand = std::mem::take(&mut self.in_hand);
        self.forget(in_hand);
        self.is_at_work = false;
    }

    fn note(&mut self, one: &Sorted) {
        for mark in &one.marks {
            *self.alerts.entry(mark.hash).or_default() += 1;
        }
    }

    fn forget(&mut self, alerts: impl IntoIterator<Item = u64>) {
        for alert in alerts {
            if let Some(count) = self.alerts.get_mut(&alert) {
                *count -= 1;
                if *count == 0 {
                    self.alerts.remove(&alert);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use service::Process;
    use tokio::sync::oneshot;

    use super::super::Mark;
    use super::*;
    use crate::engine::Delivery;
    use crate::engine::admission::{Admission, Answer, Waiting};
    use crate::metrics::IngressMetrics;

    /// Deliveries under test, with the receivers of their answers.
    struct Under {
        process: Process,
        admission: Arc<Admission>,
        lane: Lane,
        callers: Vec<oneshot::Receiver<Answer>>,
    }

    impl Under {
        fn new() -> Self {
            let process = Process::new("ingress");
            let metrics = IngressMetrics::new(process.metrics());
            let (admission, _) = Admission::new(&process, &crate::Config::default(), &metrics);
            Self { process, admission, lane: Lane::default(), callers: Vec::new() }
        }

        /// A delivery of some alerts, which its body names.
        fn sorted(&mut self, alerts: &[u64]) -> Sorted {
            let (caller, answer) = oneshot::channel();
            self.callers.push(answer);
            let delivery = Delivery {
                source: "a".into(),
                is_authenticated: true,
                alerts: Vec::new(),
                body: format!("{alerts:?}"),
                as_of: None,
            };
            let room = self.admission.reserve(Some(1), true).now_or_never().unwrap().unwrap();
            let since = self.process.clock().instant();
            let waiting = Waiting { delivery, caller, since, _room: room, place: None };
            let marks = alerts.iter().map(|hash| Mark { hash: *hash, hint: None }).collect();
            Sorted { waiting, marks }
        }

        fn push(&mut self, alerts: &[u64]) {
            let one = self.sorted(alerts);
            self.lane.push(one);
        }

        fn take(&mut self, elsewhere: &[u64]) -> Vec<String> {
            let batch = self.lane.take(|alert| elsewhere.contains(&alert));
            batch.iter().map(|one| one.delivery().body.clone()).collect()
        }
    }

    #[tokio::test]
    async fn what_has_an_alert_elsewhere_waits_and_so_does_what_came_after_it() {
        let mut under = Under::new();
        for alerts in [&[1, 2][..], &[3], &[2], &[4]] {
            under.push(alerts);
        }
        assert_eq!(under.take(&[1]), ["[3]", "[4]"]);
        assert!([1, 2, 3, 4].into_iter().all(|alert| under.lane.has(alert)));
        under.lane.end();
        assert!(!under.lane.has(3) && under.lane.has(2));
        assert_eq!(under.take(&[]), ["[1, 2]", "[2]"], "in their order");
        under.lane.end();
        assert!(!under.lane.has(2));
        assert!(!under.lane.is_at_work());
    }

    #[tokio::test]
    async fn what_comes_back_is_before_what_waits() {
        let mut under = Under::new();
        under.push(&[1]);
        let back = under.sorted(&[2]);
        under.lane.push_front(back);
        assert_eq!(under.take(&[]), ["[2]", "[1]"]);
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_is_left_out_and_holds_nobody_up() {
        let mut under = Under::new();
        under.push(&[1]);
        under.push(&[2]);
        under.callers[0].close();
        assert_eq!(under.take(&[]), ["[2]"]);
        assert!(!under.lane.has(1));
    }

    #[tokio::test]
    async fn a_batch_is_bounded() {
        let mut under = Under::new();
        (0..MOST as u64 + 1).for_each(|alert| under.push(&[alert]));
        assert_eq!(under.take(&[]).len(), MOST);
        under.lane.end();
        assert_eq!(under.take(&[]).len(), 1);
    }
}
