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

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("replica", &self.replica)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
