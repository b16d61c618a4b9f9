//! Random identifiers from a source that a test can seed.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// The source of UUIDv7 identifiers: ordered by time, random within a millisecond.
#[derive(Clone, Debug)]
pub struct Ids {
    random: Arc<Mutex<StdRng>>,
}

impl Default for Ids {
    fn default() -> Self {
        Self { random: Arc::new(Mutex::new(StdRng::from_os_rng())) }
    }
}

impl Ids {
    /// The same seed gives the same ids for the same times.
    pub fn seeded(seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    pub fn next(&self, now: Timestamp) -> Uuid {
        let mut bytes = [0u8; 10];
        self.random.lock().expect("no panic while the generator is held").fill(&mut bytes);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_repeats_its_ids_and_they_sort_by_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (a, b) = (Ids::seeded(7), Ids::seeded(7));
        let first = a.next(at("2026-01-01T00:00:00Z"));
        assert_eq!(first, b.next(at("2026-01-01T00:00:00Z")));
        assert!(first < a.next(at("2026-01-01T00:00:01Z")));
        assert_eq!(first.get_version_num(), 7);
    }
}
