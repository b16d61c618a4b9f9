//! Which replica has which task.

use std::sync::Arc;

use a2a_types::TaskRecord;
use jiff::Timestamp;

use super::table::{Kept, Table};

impl Table {
    /// A replica says that it lives until then.
    pub(super) fn live(&mut self, replica: &str, until: Timestamp) {
        self.replicas.insert(replica.into(), until);
    }

    /// The name of one opening by a replica.
    pub(super) fn new_key(&mut self, replica: &str) -> String {
        self.openings += 1;
        format!("{replica}/{}", self.openings)
    }

    pub(super) fn end_lease(&mut self, replica: &str) {
        let is_of = |key: &str| key.rsplit_once('/').is_some_and(|(name, _)| name == replica);
        self.replicas.retain(|key, _| !is_of(key));
    }

    pub(super) fn adopt(
        &mut self,
        replica: &Arc<str>,
        now: Timestamp,
        limit: usize,
    ) -> Vec<TaskRecord> {
        let is_free = |id: &&String| {
            let kept = &self.by_id[*id];
            !kept.record.task.status.state.is_settled() && self.is_free(kept, now)
        };
        let ids: Vec<String> = self.order.iter().filter(is_free).take(limit).cloned().collect();
        ids.iter().filter_map(|id| self.claim(id, replica, now)).collect()
    }

    pub(super) fn claim(
        &mut self,
        id: &str,
        replica: &Arc<str>,
        now: Timestamp,
    ) -> Option<TaskRecord> {
        let kept = self.by_id.get(id)?;
        let has_ended = kept.record.task.status.state.is_terminal();
        if has_ended || !(self.is_free(kept, now) || kept.is_of(replica)) {
            return None;
        }
        let kept = self.by_id.get_mut(id)?;
        kept.replica = Some(replica.clone());
        Some(kept.record.clone())
    }

    pub(super) fn release(&mut self, id: &str, replica: &Arc<str>) {
        if let Some(kept) = self.by_id.get_mut(id).filter(|kept| kept.is_of(replica)) {
            kept.replica = None;
        }
    }

    pub(super) fn held(&self, mut ids: Vec<String>, replica: &Arc<str>) -> Vec<String> {
        ids.retain(|id| self.by_id.get(id).is_some_and(|kept| kept.is_of(replica)));
        ids
    }

    pub(super) fn mine(&self, replica: &Arc<str>) -> Vec<String> {
        self.held(self.order.iter().cloned().collect(), replica)
    }

    pub(super) fn progress(&self, seen: &[(String, u64)]) -> Vec<TaskRecord> {
        let later = |(id, sequence): &(String, u64)| {
            let kept = self.by_id.get(id)?;
            (kept.record.sequence > *sequence).then(|| kept.record.clone())
        };
        seen.iter().filter_map(later).collect()
    }

    pub(super) fn ask_cancel(&mut self, id: &str) {
        if let Some(kept) = self.by_id.get_mut(id) {
            kept.cancel_asked = true;
        }
    }

    pub(super) fn cancel_asked(&self, replica: &Arc<str>) -> Vec<String> {
        let is_asked = |kept: &&Kept| {
            let is_at_work = !kept.record.task.status.state.is_settled();
            kept.cancel_asked && is_at_work && kept.is_of(replica)
        };
        let asked = self.by_id.values().filter(is_asked);
        asked.map(|kept| kept.record.task.id.clone()).collect()
    }

    fn is_free(&self, kept: &Kept, now: Timestamp) -> bool {
        kept.replica.as_ref().is_none_or(|replica| !self.lives(replica, now))
    }

    pub(super) fn lives(&self, replica: &str, now: Timestamp) -> bool {
        self.replicas.get(replica).is_some_and(|until| *until > now)
    }
}

impl Kept {
    fn is_of(&self, replica: &Arc<str>) -> bool {
        self.replica.as_ref() == Some(replica)
    }
}
