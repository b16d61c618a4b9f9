//! The faults of a run, chosen by its seed: who is met next, by what, and which failpoint the
//! process that is started in its place carries.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::LEASE;
use super::processes::Blow;
use super::site::Instance;
use crate::Program;

#[derive(Debug)]
pub(crate) struct Faults {
    chance: StdRng,
    kills: u32,
    freezes: u32,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chance: StdRng::seed_from_u64(seed), kills: 0, freezes: 0 }
    }

    /// One of so many.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.chance.random_range(0..count)
    }

    /// Until the next blow, when there are to be some 26 kills and 26 freezes at random a minute.
    pub(crate) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.chance.random_range(900..1_350))
    }

    /// How long a process stays frozen: always longer than a lease.
    pub(crate) fn freeze(&mut self) -> Duration {
        LEASE.mul_f64(self.chance.random_range(1.25..2.0))
    }

    /// Who is met by what; `None` where nobody is awake.
    pub(crate) fn next(
        &mut self,
        all: &[Instance],
        awake: &[Instance],
    ) -> Option<(Instance, Blow)> {
        let first = self.chance.random_range(0..all.len());
        let is_behind = self.kills > self.freezes;
        let blow = match self.chance.random_ratio(3, 4) == is_behind {
            true => Blow::Freeze,
            false => Blow::Kill,
        };
        let mut order = all.iter().cycle().skip(first).take(all.len());
        let instance = *order.find(|instance| awake.contains(instance))?;
        *if blow == Blow::Kill { &mut self.kills } else { &mut self.freezes } += 1;
        Some((instance, blow))
    }

    /// What `FIREBREAK_FAILPOINTS` says to a process that is started: most have one.
    pub(crate) fn arm(&mut self, instance: Instance) -> String {
        let is_armed = self.chance.random_ratio(5, 6);
        let action = *["kill", "stop"].choose(&mut self.chance).unwrap_or(&"kill");
        let at = self.chance.random_range(1..=3);
        match places(instance.program).choose(&mut self.chance) {
            Some(place) if is_armed => format!("{place}={action}@{at}"),
            _ => String::new(),
        }
    }
}

/// The places that a program passes.
fn places(program: Program) -> &'static [&'static str] {
    use failpoints::{AFTER_CLAIM, AFTER_EFFECT, BEFORE_COMMIT, BEFORE_EFFECT};
    match program {
        Program::Ingress => &[AFTER_CLAIM, BEFORE_EFFECT, AFTER_EFFECT, BEFORE_COMMIT],
        Program::ResolutionAgent | Program::TicketingAgent | Program::DeploymentSystem => {
            &[BEFORE_EFFECT, AFTER_EFFECT, BEFORE_COMMIT]
        }
        Program::DiagnosticAgent => &[BEFORE_COMMIT],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Instance> {
        Program::OURS.map(|program| Instance { program, replica: 0 }).to_vec()
    }

    #[test]
    fn seed_repeats_the_faults() {
        let all = all();
        let play = |seed| {
            let mut faults = Faults::new(seed);
            let next = (0..100).map(|_| {
                let next = faults.next(&all, &all);
                let instance = next.map(|(instance, _)| instance)?;
                Some((next, faults.pause(), faults.arm(instance), faults.freeze()))
            });
            next.collect::<Vec<_>>()
        };
        assert_eq!(play(7), play(7));
        assert_ne!(play(7), play(8));
    }

    #[test]
    fn kills_and_freezes_keep_pace_and_every_freeze_outlives_a_lease() {
        let all = all();
        let mut faults = Faults::new(1);
        for _ in 0..50 {
            assert!(faults.next(&all, &all).is_some());
            assert!(faults.freeze() > LEASE);
        }
        assert!(faults.kills >= 20 && faults.freezes >= 20, "{faults:?}");
        assert_eq!(faults.next(&all, &[]), None);
    }
}
