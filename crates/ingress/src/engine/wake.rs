//! Who is woken by a commit: the performer of each kind of work, the timer, the follower of an
//! incident, the consoles. A ring that finds nobody waiting is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use incident::IncidentId;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use super::draft::{Draft, Work};

/// The longest sleep of the timer, the net under every wake-up that is lost.
pub(crate) const IDLE: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Wake {
    bells: [Notify; Work::ALL.len()],
    timer: Notify,
    /// Until when the timer sleeps; `None` while it looks at what is next.
    sleeps_until: Mutex<Option<Timestamp>>,
    /// Kinds of work of which some falls due soon.
    soon: Mutex<BTreeSet<Work>>,
    followers: Mutex<HashMap<IncidentId, Vec<Arc<Notify>>>>,
    /// Counts commits, for whoever watches incidents.
    changes: watch::Sender<u64>,
}

/// What a commit means to those who wait.
#[derive(Debug, Default)]
pub(super) struct News {
    incidents: Vec<IncidentId>,
    due: BTreeSet<Work>,
    later: BTreeMap<Work, Timestamp>,
    deadline: Option<Timestamp>,
}

impl News {
    pub(super) fn of(drafts: &[Draft], now: Timestamp) -> Self {
        Self {
            incidents: drafts.iter().map(|draft| draft.incident.id).collect(),
            due: drafts.iter().flat_map(Draft::due).collect(),
            later: drafts.iter().flat_map(|draft| draft.later(now)).collect(),
            deadline: drafts.iter().filter_map(|draft| draft.incident.deadline).min(),
        }
    }
}

impl Wake {
    pub(super) fn committed(&self, news: &News, now: Timestamp) {
        for work in &news.due {
            self.ring(*work);
        }
        for (work, due) in &news.later {
            self.remind(*work, *due, now);
        }
        if let Some(deadline) = news.deadline {
            self.look_by(deadline, now);
        }
        let followers = self.followers();
        for follower in news.incidents.iter().filter_map(|id| followers.get(id)).flatten() {
            follower.notify_one();
        }
        drop(followers);
        if !news.incidents.is_empty() {
            self.tell_consoles();
        }
    }

    pub(crate) fn ring(&self, work: Work) {
        self.bells[work as usize].notify_one();
    }

    pub(crate) fn ring_all(&self) {
        Work::ALL.into_iter().for_each(|work| self.ring(work));
    }

    pub(crate) async fn rung(&self, work: Work) {
        self.bells[work as usize].notified().await;
    }

    /// Some work of a kind falls due later.
    pub(crate) fn remind(&self, work: Work, due: Timestamp, now: Timestamp) {
        self.soon.lock().expect("no panic while it is held").insert(work);
        self.look_by(due, now);
    }

    /// Rings for the work that was to fall due soon. False: there was none.
    pub(crate) fn ring_soon(&self) -> bool {
        let soon = std::mem::take(&mut *self.soon.lock().expect("no panic while it is held"));
        soon.iter().for_each(|work| self.ring(*work));
        !soon.is_empty()
    }

    /// Has the timer look again when something falls due before it wakes by itself.
    fn look_by(&self, due: Timestamp, now: Timestamp) {
        // Later than that, it looks anyway.
        if due.duration_since(now) > SignedDuration::try_from(IDLE).unwrap_or(SignedDuration::MAX) {
            return;
        }
        let sleeps_until = *self.sleeps_until.lock().expect("no panic while it is held");
        if sleeps_until.is_none_or(|until| due < until) {
            self.timer.notify_one();
        }
    }

    /// Sleep of the timer, for at most `pause`.
    pub(crate) async fn timer_rests(
        &self,
        now: Timestamp,
        pause: Duration,
        sleep: impl Future<Output = ()>,
    ) {
        let set = |until| *self.sleeps_until.lock().expect("no panic while it is held") = until;
        set(Some(now.checked_add(pause).unwrap_or(Timestamp::MAX)));
        tokio::select! {
            () = self.timer.notified() => {}
            () = sleep => {}
        }
        set(None);
    }

    pub(crate) fn tell_consoles(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Is told of every commit of one incident by this process.
    pub(crate) fn follow(&self, id: IncidentId) -> Follower<'_> {
        let bell = Arc::new(Notify::new());
        self.followers().entry(id).or_default().push(bell.clone());
        Follower { wake: self, id, bell }
    }

    fn followers(&self) -> MutexGuard<'_, HashMap<IncidentId, Vec<Arc<Notify>>>> {
        self.followers.lock().expect("no panic while followers are held")
    }
}

#[derive(Debug)]
pub(crate) struct Follower<'a> {
    wake: &'a Wake,
    id: IncidentId,
    bell: Arc<Notify>,
}

impl Follower<'_> {
    pub(crate) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// The incident was just read: what rang before is known.
    pub(crate) fn is_up_to_date(&self) {
        let _ = self.bell.notified().now_or_never();
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let mut followers = self.wake.followers();
        let Some(bells) = followers.get_mut(&self.id) else { return };
        bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
        if bells.is_empty() {
            followers.remove(&self.id);
        }
    }
}
