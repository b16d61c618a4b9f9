//! Signatures that were taken, so that a copy of a request is refused. One that was not taken in the
//! end, since ingress had no room or the database was away, may come again. What is kept is bounded
//! twice: by the window, and by a count; where the count is reached, the oldest second is forgotten
//! and whatever was signed until then is refused, so that no copy slips in.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Signatures kept at most, of one source: 110 a second for the usual window on both sides of now.
const KEPT: usize = 1 << 16;

type Signature = [u8; 32];

pub(super) struct Replays {
    window: SignedDuration,
    kept: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the second they were signed in.
    seconds: BTreeMap<i64, HashMap<Signature, Standing>>,
    count: usize,
    /// Nothing that was signed before this second is taken any more.
    floor: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    InHand,
    Taken,
}

/// What becomes of a good signature.
#[derive(Debug)]
pub(crate) enum Taking {
    /// It is this request's; it counts as taken once that is said.
    Own(Hold),
    /// The same request is being worked on: nobody knows yet whether it will be taken.
    InHand,
    Taken,
    /// Whether it was taken is not known any more.
    TooOld,
}

/// A signature that is this request's. Dropped without a word, it may come again.
pub(crate) struct Hold {
    signature: Signature,
    second: i64,
    replays: Arc<Replays>,
}

impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replays").field("window", &self.window).finish_non_exhaustive()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("second", &self.second).finish_non_exhaustive()
    }
}

impl Replays {
    pub(super) fn new(window: SignedDuration) -> Self {
        Self { window, kept: KEPT, state: Mutex::default() }
    }

    pub(super) fn take(
        self: &Arc<Self>,
        signature: Signature,
        at: Timestamp,
        now: Timestamp,
    ) -> Taking {
        let second = at.as_second();
        let mut state = self.state();
        state.forget_before((now - self.window).as_second());
        state.make_room(self.kept);
        if second < state.floor {
            return Taking::TooOld;
        }
        let known = state.seconds.entry(second).or_default();
        match known.get(&signature) {
            Some(Standing::Taken) => return Taking::Taken,
            Some(Standing::InHand) => return Taking::InHand,
            None => known.insert(signature, Standing::InHand),
        };
        state.count += 1;
        Taking::Own(Hold { signature, second, replays: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The window refuses what is older anyway.
    fn forget_before(&mut self, second: i64) {
        while let Some(oldest) = self.seconds.first_entry().filter(|entry| *entry.key() < second) {
            self.count -= oldest.remove().len();
        }
    }

    /// The newest second stays, whatever it holds.
    fn make_room(&mut self, kept: usize) {
        while self.count >= kept && self.seconds.len() > 1 {
            let Some((second, oldest)) = self.seconds.pop_first() else { return };
            self.count -= oldest.len();
            self.floor = second + 1;
        }
    }
}

impl Hold {
    /// Says that the request was taken: a copy of it never will be.
    pub(crate) fn taken(self) {
        if let Some(known) = self.replays.state().seconds.get_mut(&self.second)
            && let Some(standing) = known.get_mut(&self.signature)
        {
            *standing = Standing::Taken;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.replays.state();
        let Some(known) = state.seconds.get_mut(&self.second) else { return };
        if known.get(&self.signature) == Some(&Standing::InHand) {
            known.remove(&self.signature);
            state.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replays(kept: usize) -> Arc<Replays> {
        let window = SignedDuration::from_secs(300);
        Arc::new(Replays { window, kept, state: Mutex::default() })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn taken(replays: &Arc<Replays>, signature: u8, second: i64) {
        match replays.take([signature; 32], at(second), at(second)) {
            Taking::Own(hold) => hold.taken(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_copy_of_what_was_taken_is_refused_and_what_was_not_taken_may_come_again() {
        let replays = replays(100);
        let take = || replays.take([1; 32], at(1000), at(1001));
        let Taking::Own(first) = take() else { panic!() };
        assert!(matches!(take(), Taking::InHand));
        drop(first);
        let Taking::Own(again) = take() else { panic!() };
        again.taken();
        assert!(matches!(take(), Taking::Taken));
        assert!(matches!(replays.take([2; 32], at(1000), at(1001)), Taking::Own(_)));
    }

    #[test]
    fn memory_is_bounded_by_the_window_and_by_a_count_and_no_copy_slips_in() {
        let replays = replays(4);
        for second in 0..100 {
            taken(&replays, 1, 1000 + second);
            assert!(replays.state().count <= 4);
        }
        assert!(matches!(replays.take([1; 32], at(1000), at(1099)), Taking::TooOld));
        assert!(matches!(replays.take([1; 32], at(1099), at(1099)), Taking::Taken));
        taken(&replays, 1, 9000);
        assert_eq!(replays.state().count, 1, "what the window refuses is forgotten");
    }
}
