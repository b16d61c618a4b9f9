//! Which alerts this process has told their incidents to be silenced: where one is listed as firing
//! again, its incident hears of that too, although it fires as before.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

/// Fingerprints remembered; of more, an incident hears when all its alerts are silenced or one of
/// them is reported.
const MOST: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Silenced(Mutex<BTreeSet<String>>);

impl Silenced {
    pub(super) fn put(&self, fingerprint: &str) {
        let mut silenced = self.silenced();
        if silenced.len() < MOST {
            silenced.insert(fingerprint.to_owned());
        }
    }

    /// Whether it was silenced, which is over.
    pub(super) fn take(&self, fingerprint: &str) -> bool {
        self.silenced().remove(fingerprint)
    }

    fn silenced(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().expect("no panic while it is held")
    }
}
