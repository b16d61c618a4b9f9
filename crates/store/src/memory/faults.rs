//! Calls that fail, as a simulation decides.

use std::fmt;
use std::sync::Arc;

use crate::StoreError;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not reach the database.
    Away,
    /// The database does what it is asked for, and the answer is lost.
    AnswerLost,
}

/// A call that may fail.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub agent: &'static str,
    pub replica: &'a str,
    /// The method of the store.
    pub name: &'static str,
}

type Decide = dyn Fn(Call<'_>) -> Option<Fault> + Send + Sync;

/// Which calls fail. It is asked once for every call, in their order.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Decide>>);

impl Faults {
    pub fn new(decide: impl Fn(Call<'_>) -> Option<Fault> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(decide)))
    }

    pub(super) fn of(&self, call: Call<'_>) -> Option<Fault> {
        self.0.as_ref().and_then(|decide| decide(call))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Faults(..)" } else { "Faults(none)" })
    }
}

pub(super) fn unavailable() -> StoreError {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    StoreError::Unavailable(sqlx::Error::Io(reset))
}
