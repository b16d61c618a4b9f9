//! The wait before something is tried again: "full jitter", any time up to a bound that doubles with
//! every failure, so that those who failed together do not come back together. Chance is the
//! process's, so that a simulation repeats it.
//!
//! Source: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

use std::time::Duration;

use service::Process;

/// Any time up to `base` doubled with each failure so far, and no more than `cap`.
pub(crate) fn full_jitter(
    process: &Process,
    failures: u32,
    base: Duration,
    cap: Duration,
) -> Duration {
    jitter(process, base.saturating_mul(2u32.saturating_pow(failures.min(31))).min(cap))
}

/// Any time up to `most`.
pub(crate) fn jitter(process: &Process, most: Duration) -> Duration {
    // The last 62 bits of a UUIDv7 are random.
    let random = process.new_id().as_u64_pair().1 & (u64::MAX >> 2);
    most.mul_f64(random as f64 / (u64::MAX >> 2) as f64)
}

#[cfg(test)]
mod tests {
    use service::{Clock, Ids};

    use super::*;

    #[test]
    fn waits_are_spread_over_all_of_a_growing_span_and_the_same_for_a_seed() {
        let (base, cap) = (Duration::from_millis(200), Duration::from_secs(30));
        let waits = |seed: u64, failures: u32| -> Vec<Duration> {
            let process = Process::with("ingress", Clock::System, Ids::seeded(seed));
            (0..1_000).map(|_| full_jitter(&process, failures, base, cap)).collect()
        };
        for (failures, bound) in [(0, base), (3, base * 8), (8, cap), (u32::MAX, cap)] {
            let waits = waits(1, failures);
            let least = waits.iter().min().unwrap();
            let most = waits.iter().max().unwrap();
            assert!(*most <= bound && *most > bound.mul_f64(0.95), "{failures}: {most:?}");
            assert!(*least < bound.mul_f64(0.05), "{failures}: {least:?}");
        }
        assert_eq!(waits(7, 4), waits(7, 4));
        assert_ne!(waits(7, 4), waits(8, 4));
    }
}
