//! Writes that wait, and which of them are written at the same time. An incident or an alert is in one
//! write at a time, of one group and of all groups at work; who waits for one keeps his turn. Writes
//! that are no batches keep their order among one another.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

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

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
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
            let is_first =
                one.rows.iter().fold(true, |is_first, row| seen.insert(*row) && is_first);
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
