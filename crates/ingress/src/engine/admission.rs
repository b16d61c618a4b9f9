//! Who may come in. The bytes of a body are reserved before it is read, and a delivery that was read
//! takes a place in a bounded queue. When there is no room, senders are told to come again (503):
//! nothing is dropped that was acknowledged, and nothing is refused for good. The last places are
//! kept for critical alerts; a delivery that ends an alert waits for room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use incident::{Alert, IncidentId, Severity};
use service::Process;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::Delivery;
use crate::error::ApiError;
use crate::metrics::IngressMetrics;

/// How long a delivery waits for room.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a delivery takes in memory beside its body.
const OVERHEAD: usize = 1024;
/// Bodies beyond this share one half of the bytes, so that a few large ones do not keep out all the
/// small ones.
const LARGE: usize = 64 << 10;
/// The check of readiness.
const CHECK: &str = "intake_queue";

/// Why a delivery gets its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Ordinary,
    Critical,
    /// It ends an alert.
    Resolved,
}

impl Class {
    fn of(alerts: &[Alert]) -> Self {
        if alerts.iter().any(|alert| !alert.is_firing()) {
            return Self::Resolved;
        }
        let is_critical = alerts.iter().any(|alert| alert.severity == Severity::Critical);
        if is_critical { Self::Critical } else { Self::Ordinary }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Critical => "critical",
            Self::Resolved => "resolved",
        }
    }
}

pub(super) type Answer = Result<Vec<IncidentId>, ApiError>;

/// A delivery that waits for its commit.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) delivery: Delivery,
    pub(super) caller: oneshot::Sender<Answer>,
    pub(super) since: Instant,
    /// Given back with the answer.
    pub(super) _room: Room,
    /// Its place in the queue, until it is taken in hand to be decided on, or is counted.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(crate) struct Admission {
    process: Process,
    metrics: IngressMetrics,
    /// As long as there are places.
    queue: mpsc::Sender<Waiting>,
    places: Arc<Semaphore>,
    all_places: usize,
    bytes: Arc<Semaphore>,
    all_bytes: usize,
    large: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
    /// A body that does not say how long it is may be so long.
    body_bytes: usize,
    is_red: AtomicBool,
    /// Held while readiness changes.
    changing: Mutex<()>,
}

/// Bytes that are reserved for one delivery.
#[derive(Debug)]
pub(crate) struct Room {
    admission: Arc<Admission>,
    permits: [Option<OwnedSemaphorePermit>; 3],
}

impl Admission {
    /// The queue's end is for whoever takes deliveries in.
    pub(super) fn new(
        process: &Process,
        config: &crate::Config,
        metrics: &IngressMetrics,
    ) -> (Arc<Self>, mpsc::Receiver<Waiting>) {
        let all_places = config.queue_capacity;
        let (queue, waiting) = mpsc::channel(all_places);
        let all_bytes = config.queue_bytes.min(Semaphore::MAX_PERMITS);
        let admission = Self {
            process: process.clone(),
            metrics: metrics.clone(),
            queue,
            places: Arc::new(Semaphore::new(all_places)),
            all_places,
            bytes: Arc::new(Semaphore::new(all_bytes)),
            all_bytes,
            large: Arc::new(Semaphore::new(all_bytes / 2)),
            unproven: Arc::new(Semaphore::new(all_bytes / 2)),
            body_bytes: config.body_bytes,
            is_red: AtomicBool::new(false),
            changing: Mutex::default(),
        };
        (Arc::new(admission), waiting)
    }

    /// Reserves room for a body before it is read; `length` is what its sender says, `None` where it
    /// does not. Whoever has not proven who he is by then shares one half of the bytes with his like,
    /// so that a stranger who sends slowly keeps out nobody who has.
    ///
    /// # Errors
    /// There is none for a while, or this process is about to end.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        length: Option<usize>,
        is_proven: bool,
    ) -> Result<Room, ApiError> {
        let length = length.map_or(self.body_bytes, |length| length.min(self.body_bytes));
        let (count, half) = (length.saturating_add(OVERHEAD), self.all_bytes / 2);
        let unproven = match is_proven {
            true => None,
            false => Some(self.take(&self.unproven, count, half).await?),
        };
        let large = match length > LARGE {
            true => Some(self.take(&self.large, length, half).await?),
            false => None,
        };
        let bytes = self.take(&self.bytes, count, self.all_bytes).await?;
        Ok(Room { admission: self.clone(), permits: [Some(bytes), large, unproven] })
    }

    async fn take(
        &self,
        from: &Arc<Semaphore>,
        count: usize,
        all: usize,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        if self.process.shutdown_token().is_cancelled() {
            return Err(ApiError::Draining);
        }
        let count = u32::try_from(count.min(all)).unwrap_or(u32::MAX);
        if let Ok(permit) = from.clone().try_acquire_many_owned(count) {
            return Ok(permit);
        }
        self.look();
        let taken = self.patiently(from.clone().acquire_many_owned(count)).await;
        taken.inspect_err(|_| self.shed("unread"))?.map_err(|_| ApiError::Draining)
    }

    /// Waits a while, and no longer than this process lives.
    async fn patiently<T>(&self, room: impl Future<Output = T>) -> Result<T, ApiError> {
        let shutdown = self.process.shutdown_token();
        tokio::select! {
            biased;
            found = room => Ok(found),
            () = shutdown.cancelled() => Err(ApiError::Draining),
            () = self.process.clock().sleep(PATIENCE) => Err(ApiError::Overloaded(self.depth())),
        }
    }

    /// Puts a delivery into the queue.
    ///
    /// # Errors
    /// There is no place for it.
    pub(super) async fn put(&self, mut waiting: Waiting) -> Result<(), ApiError> {
        let class = Class::of(&waiting.delivery.alerts);
        let kept = match class {
            Class::Ordinary => self.all_places / 10,
            Class::Critical | Class::Resolved => 0,
        };
        let place = match self.places.available_permits() > kept {
            true => self.places.clone().try_acquire_owned().ok(),
            false => None,
        };
        if self.queue.is_closed() {
            return Err(ApiError::Draining);
        }
        let place = match place {
            Some(place) => place,
            None if class == Class::Resolved => {
                self.look();
                let place = self.patiently(self.places.clone().acquire_owned()).await;
                let place = place.inspect_err(|_| self.shed(class.name()))?;
                place.map_err(|_| ApiError::Draining)?
            }
            None => {
                self.shed(class.name());
                self.look();
                return Err(ApiError::Overloaded(self.depth()));
            }
        };
        waiting.place = Some(place);
        // There is room for as many as there are places.
        self.queue.try_send(waiting).map_err(|_| ApiError::Draining)?;
        self.look();
        Ok(())
    }

    /// Deliveries that wait.
    fn depth(&self) -> usize {
        self.all_places - self.places.available_permits()
    }

    fn shed(&self, class: &'static str) {
        self.metrics.shed_of(class).inc();
    }

    /// Tells metrics and readiness how full it is. Readiness goes before anything is shed.
    pub(super) fn look(&self) {
        self.metrics.queue_depth.set(i64::try_from(self.depth()).unwrap_or(i64::MAX));
        if self.is_nearly_full() != self.is_red.load(Ordering::Acquire) {
            self.change_readiness();
        }
    }

    fn change_readiness(&self) {
        let _changing = self.changing.lock().expect("no panic while readiness changes");
        let is_red = self.is_nearly_full();
        match is_red {
            true => self.process.health().fail(CHECK, "nearly full: the database falls behind"),
            false => self.process.health().pass(CHECK),
        }
        self.is_red.store(is_red, Ordering::Release);
    }

    /// Four fifths of the places or of the bytes are taken.
    fn is_nearly_full(&self) -> bool {
        let is_full = |left: usize, all: usize| all.saturating_sub(left) >= all - all / 5;
        is_full(self.places.available_permits(), self.all_places)
            || is_full(self.bytes.available_permits(), self.all_bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.permits = [None, None, None];
        if self.admission.is_red.load(Ordering::Acquire) {
            self.admission.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_has_proven_nothing_takes_no_more_than_half_of_the_bytes() {
        let process = Process::new("ingress");
        let config = crate::Config { queue_bytes: 100 << 10, ..crate::Config::default() };
        let metrics = IngressMetrics::new(process.metrics());
        let (admission, _waiting) = Admission::new(&process, &config, &metrics);
        let stranger = admission.reserve(Some(49 << 10), false).await.unwrap();
        let another = admission.reserve(Some(1), false).now_or_never();
        assert!(another.is_none(), "it waits for the other strangers");
        let known = admission.reserve(Some(49 << 10), true).now_or_never();
        assert!(known.unwrap().is_ok());
        drop(stranger);
        assert!(admission.reserve(Some(1), false).now_or_never().unwrap().is_ok());
    }
}
