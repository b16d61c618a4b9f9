//! How a program opens its database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::Replica;

#[derive(Clone)]
pub struct OpenOptions {
    /// Who opens it.
    pub replica: Replica,
    /// How long this replica is believed to live after each sign of life.
    pub lease: Duration,
    /// Whether a process is proven dead. `false` where nothing is known: then its lease decides.
    pub is_dead: Arc<dyn Fn(&Replica) -> bool + Send + Sync>,
    /// The time, for backends without a clock of their own.
    pub time: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl OpenOptions {
    /// For a run of the process `this`: host, pid and start time, as `is_dead` is told of others.
    pub fn of_process(
        id: String,
        this: (String, i32, u64),
        is_dead: impl Fn(String, i32, u64) -> bool + Send + Sync + 'static,
        lease: Duration,
        time: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Self {
        let (host, pid, start_time) = this;
        Self {
            replica: Replica { id, host, pid, start_time },
            lease,
            is_dead: Arc::new(move |other| {
                is_dead(other.host.clone(), other.pid, other.start_time)
            }),
            time,
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("replica", &self.replica)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
