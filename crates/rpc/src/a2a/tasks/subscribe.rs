//! Subscriptions: a task as it stands, then its events, to each subscriber the same in the same
//! order. A subscriber is only a position in the task's log: it reads the newest events from
//! memory and what it missed from the store, so a slow one costs nobody anything. The stream ends
//! with the event that finishes or interrupts the task; a stream that ends in any other way can be
//! taken up again after the last event that arrived.

use std::collections::VecDeque;
use std::sync::Arc;

use a2a_types::{
    A2aError, StreamResponse, Task, TaskEvent, TaskOwner, TaskRecord, TaskState, TaskStatus,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::live::Live;
use super::take::{Accepted, Repeated};
use super::{TakeMessage, Taken, Tasks, internal};

/// Events a subscriber holds in memory.
const BATCH: usize = 32;

/// A task as it stands, and its events from then on, in the order they were committed.
pub(crate) struct Subscription {
    pub(crate) task: Task,
    /// The number of the last event before `events`, and before `task` unless `is_continued`.
    pub(crate) sequence: u64,
    /// The events are those after the one the subscriber named. Some may be older than `task`, so
    /// it is not sent before them: the subscriber goes on from what it has.
    pub(crate) is_continued: bool,
    pub(crate) events: BoxStream<'static, TaskEvent>,
}

/// A subscriber's place in the log of a task.
struct Follower {
    tasks: Tasks,
    /// Holds the task in memory while somebody listens. `None`: it has ended.
    live: Option<Arc<Live>>,
    seen: watch::Receiver<Arc<TaskRecord>>,
    /// The last event that was read.
    position: u64,
    read: VecDeque<TaskEvent>,
    is_ended: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl Tasks {
    /// The task and its events from now on; with `after`, those after that event instead, as far
    /// as the log has them all. A task that waits for its caller is listened to until it goes on.
    pub(crate) async fn subscribe(
        &self,
        owner: &TaskOwner,
        id: &str,
        after: Option<u64>,
    ) -> Result<Subscription, A2aError> {
        self.record(owner, id).await?;
        let live = self.revive(id).await.map_err(internal)?;
        let record = match &live {
            Some(live) => live.record(),
            None => self.record(owner, id).await?,
        };
        let mut position = record.sequence;
        let mut is_continued = false;
        if let Some(after) = after
            && self.has_events_after(&record, after).await?
        {
            (position, is_continued) = (after, true);
        }
        if record.task.status.state.is_terminal() && position == record.sequence {
            let state = record.task.status.state.as_str();
            let why = format!("task {id} is {state} and has no further events");
            return Err(A2aError::UnsupportedOperation(why));
        }
        let events = self.follow(live, &record, position)?;
        Ok(Subscription { task: record.task.clone(), sequence: position, is_continued, events })
    }

    /// Takes a message, and subscribes before anything else happens to the task. A repeated request
    /// joins the task it made, from its first event.
    pub(crate) async fn take_and_subscribe(
        &self,
        request: TakeMessage,
    ) -> Result<Taken<Subscription>, A2aError> {
        let Accepted { live, record, repeated } = match self.accept(request).await? {
            Taken::Task(accepted) => accepted,
            Taken::Message(message) => return Ok(Taken::Message(message)),
        };
        let is_settled = record.task.status.state.is_settled();
        let (task, sequence) = match repeated {
            Some(Repeated::Task) if self.has_events_after(&record, 0).await? => (first(&record), 0),
            _ => (record.task.clone(), record.sequence),
        };
        let has_ended = repeated.is_some() && is_settled && sequence == record.sequence;
        let events = match has_ended {
            true => stream::empty().boxed(),
            false => self.follow(live, &record, sequence)?,
        };
        Ok(Taken::Task(Subscription { task, sequence, is_continued: false, events }))
    }

    fn follow(
        &self,
        live: Option<Arc<Live>>,
        record: &Arc<TaskRecord>,
        position: u64,
    ) -> Result<BoxStream<'static, TaskEvent>, A2aError> {
        let place = live.as_ref().map(|live| live.places.clone().try_acquire_owned()).transpose();
        let place = place.map_err(|_| {
            let most = self.0.options.subscribers;
            A2aError::Unavailable(format!("{most} subscribers listen to this task: try again"))
        })?;
        let follower = Follower {
            tasks: self.clone(),
            seen: match &live {
                Some(live) => live.seen.subscribe(),
                None => watch::channel(record.clone()).1,
            },
            live,
            position,
            read: VecDeque::new(),
            is_ended: false,
            _place: place,
        };
        let events = stream::unfold(follower, |mut follower| async move {
            follower.next().await.map(|event| (event, follower))
        });
        Ok(events.boxed())
    }

    /// Whether the log goes on from `sequence` without a gap.
    async fn has_events_after(&self, record: &TaskRecord, sequence: u64) -> Result<bool, A2aError> {
        if sequence >= record.sequence {
            return Ok(sequence == record.sequence);
        }
        let id = record.task.id.clone();
        let next = self.0.store.events(id, sequence, 1).await.map_err(internal)?;
        Ok(next.first().is_some_and(|event| event.sequence == sequence + 1))
    }
}

impl Follower {
    async fn next(&mut self) -> Option<TaskEvent> {
        loop {
            if self.is_ended {
                return None;
            }
            if let Some(event) = self.read.pop_front() {
                self.position = event.sequence;
                self.is_ended = settles(&event);
                return Some(event);
            }
            let newest = self.seen.borrow_and_update().sequence;
            match newest > self.position {
                true => self.read().await?,
                false => self.changed().await?,
            }
        }
    }

    /// `None`: the task has ended, or the server does.
    async fn changed(&mut self) -> Option<()> {
        tokio::select! {
            changed = self.seen.changed() => changed.ok(),
            () = self.tasks.0.host.shutdown().cancelled() => None,
        }
    }

    /// Reads what follows. `None`: the log has it no longer, or cannot be read.
    async fn read(&mut self) -> Option<()> {
        let live = self.live.as_ref();
        if let Some(events) = live.and_then(|live| live.events_after(self.position, BATCH)) {
            self.read.extend(events);
            return Some(());
        }
        let id = self.seen.borrow().task.id.clone();
        let limit = u32::try_from(BATCH).expect("a small number");
        match self.tasks.0.store.events(id.clone(), self.position, limit).await {
            Ok(events) => self.read.extend(events),
            Err(error) => tracing::error!(task.id = %id, %error, "a stream of events ends early"),
        }
        (self.read.front()?.sequence == self.position + 1).then_some(())
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// The task as its first subscriber saw it.
fn first(record: &TaskRecord) -> Task {
    let mut task = record.task.clone();
    task.status = TaskStatus { state: TaskState::Submitted, ..TaskStatus::default() };
    task.history.truncate(1);
    task.artifacts.clear();
    task.metadata.clear();
    task
}

fn settles(event: &TaskEvent) -> bool {
    matches!(&event.event, StreamResponse::StatusUpdate(update) if update.status.state.is_settled())
}
