//! Whether a peer is asked at all. After some failures in a row to reach it, only one request every
//! few seconds is made, until one of them reaches it: what waits stays in the outbox at no cost.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a peer counts as away.
const FAILURES: u32 = 5;
/// The time between two probes; recovery is seen no later.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the peer may be probed next, once it counts as away.
    probe_at: Option<Instant>,
}

/// What may be asked of a peer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Any,
    /// One request, to see whether it is back.
    Probe,
    /// Nothing for so long.
    Shut(Duration),
}

impl Circuit {
    pub(crate) fn pass(&self, now: Instant) -> Pass {
        match self.state().probe_at {
            None => Pass::Any,
            Some(at) if at <= now => Pass::Probe,
            Some(at) => Pass::Shut(at - now),
        }
    }

    /// A request was begun as a probe.
    pub(crate) fn probed(&self, now: Instant) {
        let mut state = self.state();
        state.probe_at = state.probe_at.map(|_| now + PAUSE);
    }

    /// The peer answered, whatever it was. True: it was away.
    pub(crate) fn reached(&self) -> bool {
        std::mem::take(&mut *self.state()).probe_at.is_some()
    }

    /// The peer was not reached. True: from now on it counts as away.
    pub(crate) fn missed(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let opens = state.failures >= FAILURES && state.probe_at.is_none();
        if opens {
            state.probe_at = Some(now + PAUSE);
        }
        opens
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_away_is_probed_now_and_then_and_free_at_its_first_answer() {
        let circuit = Circuit::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        for _ in 1..FAILURES {
            assert!(!circuit.missed(start));
        }
        assert_eq!(circuit.pass(start), Pass::Any);
        assert!(circuit.missed(start), "it counts as away");
        assert!(!circuit.missed(start), "and did so already");
        assert_eq!(circuit.pass(after(1)), Pass::Shut(PAUSE - Duration::from_secs(1)));
        assert_eq!(circuit.pass(after(2)), Pass::Probe);
        circuit.probed(after(2));
        assert_eq!(circuit.pass(after(3)), Pass::Shut(PAUSE - Duration::from_secs(1)));
        // A probe that hangs holds up no other.
        assert_eq!(circuit.pass(after(4)), Pass::Probe);
        assert!(circuit.reached());
        assert_eq!(circuit.pass(after(4)), Pass::Any);
        assert!(!circuit.reached());
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let circuit = Circuit::default();
        let now = Instant::now();
        for _ in 0..3 {
            (1..FAILURES).for_each(|_| assert!(!circuit.missed(now)));
            circuit.reached();
        }
        assert_eq!(circuit.pass(now), Pass::Any);
    }
}
