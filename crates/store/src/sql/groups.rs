//! Writes that wait, and which of them are written at the same time. An incident or an alert is in one
//! write at a time, of one group and of all groups at work; who waits for one keeps his turn. Writes
//! that are no batches keep their order among one another.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::LazyLock;

use tokio::sync::{OwnedRwLockReadGuard, oneshot};

use super::write::{Answer, Write};
use crate::{AlertKey, Batch, StoreError};

/// Writes in one transaction.
pub(super) const GROUP: usize = 256;
/// Bytes of request bodies in one transaction; a single write may have more.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) write: Write,
    /// What it writes anew, as hashes: two that are the same by chance wait for one another.
    rows: Vec<u64>,
    /// What it holds its repeats against; what is no batch has one thing in common here.
    shared: Vec<u64>,
    /// Keep rows from being claimed until the answer.
    _turns: Vec<OwnedRwLockReadGuard<()>>,
    caller: oneshot::Sender<Result<Answer, StoreError>>,
}

/// Writes of one transaction.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) writes: Vec<Waiting>,
    /// What no other group may write meanwhile.
    pub(super) held: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Groups {
    waiting: Vec<Waiting>,
    /// What the groups at work write.
    held: HashSet<u64>,
    /// Groups that may be at work at a time.
    most: usize,
    at_work: usize,
}

impl Waiting {
    pub(super) fn new(
        write: Write,
        turns: Vec<OwnedRwLockReadGuard<()>>,
        caller: oneshot::Sender<Result<Answer, StoreError>>,
    ) -> Self {
        let (mut rows, mut shared) = (Vec::new(), Vec::new());
        if let Write::Batch(batch) = &write {
            rows.extend(batch.incidents.iter().map(|write| hash(&write.incident.id)));
            let alerts = batch.alerts.iter().map(|write| &write.alert);
            rows.extend(alerts.map(|alert| hash(&(&alert.source, &alert.fingerprint))));
            let repeats = batch.repeats.iter().map(|repeat| &repeat.alert);
            shared.extend(
                repeats.map(|AlertKey { source, fingerprint }| hash(&(source, fingerprint))),
            );
        } else {
            shared.push(hash(&"no batch"));
        }
        // Two of its own that are the same by chance are not in one another's way.
        rows.sort_unstable();
        rows.dedup();
        Self { write, rows, shared, _turns: turns, caller }
    }

    pub(super) fn answer(self, answer: Result<Answer, StoreError>) {
        // A caller that went away needs no answer.
        let _ = self.caller.send(answer);
    }

    pub(super) fn batch(&self) -> Option<&Batch> {
        match &self.write {
            Write::Batch(batch) => Some(batch),
            _ => None,
        }
    }

    /// The size of the request bodies, the largest part of a write.
    fn bytes(&self) -> usize {
        self.batch().map_or(0, |batch| batch.delivered.iter().map(|one| one.body.len()).sum())
    }

    /// Whether one statement can do it.
    fn is_short(&self) -> bool {
        self.batch().is_some_and(|batch| batch.outbox.is_empty())
    }
}

/// With keys of this process, as senders choose fingerprints.
fn hash(what: &impl Hash) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(what)
}

impl Groups {
    /// With `most` groups at work at a time.
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: Vec::new(), held: HashSet::new(), most, at_work: 0 }
    }

    /// Where writes come to wait, and for how many there is room.
    pub(super) fn room(&mut self) -> (&mut Vec<Waiting>, usize) {
        let room = GROUP.saturating_sub(self.waiting.len());
        (&mut self.waiting, room)
    }

    pub(super) fn has_room(&self) -> bool {
        self.at_work < self.most && self.waiting.len() < GROUP
    }

    /// Takes the first write of each incident and each alert that nobody is at work on; the others
    /// stay, in order. Whoever does not wait any more was told that nothing is stored: so nothing is.
    pub(super) fn take(&mut self) -> Option<Group> {
        self.waiting.retain(|one| !one.caller.is_closed());
        if self.at_work == self.most || self.waiting.is_empty() {
            return None;
        }
        let (mut seen, mut bytes, mut is_short) = (HashSet::new(), 0, None);
        let (writes, later) = self.waiting.drain(..).partition(|one: &Waiting| {
            let mut rows = one.rows.iter().chain(&one.shared);
            let is_free = rows.all(|row| !self.held.contains(row));
            // Each of them is noted, taken or not.
            let known = one.rows.iter().filter(|row| !seen.insert(**row)).count();
            let is_first = known == 0;
            let has_room = bytes == 0 || bytes + one.bytes() <= GROUP_BYTES;
            // Where several groups are at work, none takes the long way for the sake of another's.
            let is_alike = self.most == 1 || is_short.is_none_or(|is| is == one.is_short());
            let is_taken = is_free && is_first && has_room && is_alike;
            if is_taken {
                bytes += one.bytes();
                is_short = Some(one.is_short());
            }
            is_taken
        });
        self.waiting = later;
        self.begin(writes)
    }

    fn begin(&mut self, writes: Vec<Waiting>) -> Option<Group> {
        if writes.is_empty() {
            return None;
        }
        let held = writes.iter().flat_map(|one| one.rows.iter().chain(&one.shared)).copied();
        let held: Vec<u64> = if self.most == 1 { Vec::new() } else { held.collect() };
        self.held.extend(&held);
        self.at_work += 1;
        Some(Group { writes, held })
    }

    /// A group is no longer at work.
    pub(super) fn end(&mut self, held: &[u64]) {
        for row in held {
            self.held.remove(row);
        }
        self.at_work -= 1;
    }
}

#[cfg(test)]
mod tests {
    use incident::{Alert, AlertStatus, Incident, IncidentId, Limits, Opening, Severity};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{AlertState, AlertWrite, Base, Delivered, IncidentWrite, OutboxEnd, Repeat};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn of_incident(number: u128) -> Batch {
        let opening = Opening {
            id: IncidentId::new(Uuid::from_u128(number)),
            key: "k".to_owned().into(),
            title: String::new(),
            description: String::new(),
            severity: Severity::Info,
            affected_systems: Vec::new(),
            tags: Vec::new(),
            follows: None,
            is_authenticated: true,
        };
        let incident = Incident::open(opening, AT, &Limits::default());
        let (base, entries, effects) = (Base::default(), Vec::new(), Vec::new());
        let write = IncidentWrite { incident, base, entries, effects, at: AT };
        Batch { incidents: vec![write], ..Batch::default() }
    }

    fn alert(fingerprint: &str) -> Alert {
        Alert {
            source: "a".into(),
            fingerprint: fingerprint.into(),
            status: AlertStatus::Firing,
            name: String::new(),
            severity: Severity::Info,
            labels: [].into(),
            annotations: [].into(),
            starts_at: AT,
            is_start_known: true,
            ends_at: None,
            generator_url: String::new(),
        }
    }

    fn news(fingerprint: &str) -> Batch {
        let alert = alert(fingerprint);
        let write =
            AlertWrite { alert, incident: None, held: None, version: 1, reports: 1, at: AT };
        Batch { alerts: vec![write], ..Batch::default() }
    }

    fn repeat(fingerprint: &str) -> Batch {
        let alert = alert(fingerprint);
        let (key, state) = (AlertKey::of(&alert), AlertState::of(&alert));
        let repeat = Repeat { alert: key, state, reports: 1, at: AT };
        Batch { repeats: vec![repeat], ..Batch::default() }
    }

    fn prune(excess: i64) -> Write {
        Write::Prune { before: AT, excess }
    }

    /// Groups under test, with numbers for the writes in them.
    struct Under {
        groups: Groups,
        /// The callers, by the number of their write.
        callers: Vec<oneshot::Receiver<Result<Answer, StoreError>>>,
    }

    impl Under {
        fn new(most: usize) -> Self {
            Self { groups: Groups::new(most), callers: Vec::new() }
        }

        fn add(&mut self, write: Write) {
            let (caller, answer) = oneshot::channel();
            self.callers.push(answer);
            self.groups.room().0.push(Waiting::new(write, Vec::new(), caller));
        }

        fn add_all<const N: usize>(&mut self, batches: [Batch; N]) {
            batches.into_iter().for_each(|batch| self.add(Write::Batch(batch)));
        }

        /// Takes a group, and says which writes are in it.
        fn take(&mut self) -> Option<(Vec<usize>, Vec<u64>)> {
            let group = self.groups.take()?;
            group.writes.into_iter().for_each(|one| one.answer(Ok(Answer::Done)));
            let answered = |caller: &mut oneshot::Receiver<_>| caller.try_recv().is_ok();
            let callers = self.callers.iter_mut().enumerate();
            let taken = callers.filter_map(|(number, caller)| answered(caller).then_some(number));
            Some((taken.collect(), group.held))
        }

        fn take_writes(&mut self) -> Vec<usize> {
            self.take().map(|(writes, _)| writes).unwrap_or_default()
        }
    }

    #[test]
    fn an_incident_is_in_one_group_at_a_time() {
        let mut under = Under::new(3);
        under.add_all([1, 1, 2, 1].map(of_incident));
        let (writes, held) = under.take().unwrap();
        assert_eq!(writes, [0, 2]);
        under.add_all([of_incident(1), of_incident(3)]);
        assert_eq!(under.take_writes(), [5], "the others wait, whatever is behind them");
        assert!(under.take_writes().is_empty());
        under.groups.end(&held);
        assert_eq!(under.take_writes(), [1], "in their order");
    }

    #[test]
    fn an_alert_and_its_repeats_are_in_one_group_at_a_time() {
        let mut under = Under::new(3);
        under.add_all([repeat("a"), repeat("a"), news("b")]);
        let (writes, held) = under.take().unwrap();
        assert_eq!(writes, [0, 1, 2], "repeats are added up");
        under.add_all([news("a"), repeat("a"), repeat("b"), news("c")]);
        assert_eq!(under.take_writes(), [6]);
        under.groups.end(&held);
        assert_eq!(under.take_writes(), [3, 4, 5]);
    }

    #[test]
    fn what_is_no_batch_keeps_its_order() {
        let mut under = Under::new(3);
        under.add(prune(1));
        let (writes, held) = under.take().unwrap();
        assert_eq!(writes, [0]);
        under.add(prune(2));
        under.add_all([repeat("a")]);
        under.add(prune(3));
        assert_eq!(under.take_writes(), [2]);
        assert!(under.take_writes().is_empty());
        under.groups.end(&held);
        assert_eq!(under.take_writes(), [1, 3]);
    }

    #[test]
    fn on_a_server_nothing_goes_the_long_way_for_the_sake_of_others() {
        let ends = || Batch { outbox: vec![OutboxEnd::Finished { id: 1, last: 1 }], ..news("b") };
        for (most, groups) in [(2, [vec![0, 2], vec![1, 3]]), (1, [vec![0, 1, 2, 3], vec![]])] {
            let mut under = Under::new(most);
            under.add_all([repeat("a"), ends(), repeat("c")]);
            under.add(prune(1));
            assert_eq!([under.take_writes(), under.take_writes()], groups);
        }
    }

    #[test]
    fn no_more_groups_are_at_work_than_may_be() {
        let mut under = Under::new(2);
        under.add_all([of_incident(1)]);
        let (_, held) = under.take().unwrap();
        under.add_all([of_incident(2)]);
        assert_eq!(under.take_writes(), [1]);
        under.add_all([of_incident(3)]);
        assert!(!under.groups.has_room());
        assert!(under.take_writes().is_empty());
        under.groups.end(&held);
        assert!(under.groups.has_room());
        assert_eq!(under.take_writes(), [2]);
    }

    #[test]
    fn large_bodies_are_written_in_groups_of_their_own() {
        let large = |bytes| {
            let body = "x".repeat(bytes);
            let delivered = vec![Delivered { source: "a".into(), body, at: AT }];
            Batch { delivered, ..Batch::default() }
        };
        let mut under = Under::new(3);
        under.add_all([GROUP_BYTES + 1, GROUP_BYTES - 1, 1].map(large));
        assert_eq!(under.take_writes(), [0]);
        assert_eq!(under.take_writes(), [1, 2]);
    }

    #[test]
    fn who_does_not_wait_any_more_is_not_written() {
        let mut under = Under::new(1);
        under.add_all([repeat("a"), repeat("b")]);
        under.callers[0].close();
        assert_eq!(under.take_writes(), [1]);
    }
}
