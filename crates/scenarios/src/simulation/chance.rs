//! The one source of chance of a simulation. What it gives depends on the seed and on nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[derive(Clone, Debug)]
pub(super) struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Another source, whose numbers do not depend on how often this one is asked later.
    pub(super) fn fork(&self) -> Self {
        Self::seeded(self.number())
    }

    pub(super) fn number(&self) -> u64 {
        self.with(|random| random.random())
    }

    pub(super) fn is(&self, probability: f64) -> bool {
        self.with(|random| random.random_bool(probability))
    }

    /// At least `least`, and less than `most`.
    pub(super) fn within(&self, least: u64, most: u64) -> u64 {
        self.with(|random| random.random_range(least..most))
    }

    pub(super) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.within(least, most))
    }

    pub(super) fn of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        let most = choices.len() as u64;
        &choices[self.within(0, most) as usize]
    }

    fn with<T>(&self, ask: impl FnOnce(&mut StdRng) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
