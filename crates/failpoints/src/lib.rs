//! Named places at which a test ends or freezes a process from within, so that a fault meets the
//! one moment it is meant for. Without the feature `enabled` a call compiles to nothing. With it,
//! `FIREBREAK_FAILPOINTS` says what happens at which hit, and the process is killed (SIGKILL) or
//! frozen (SIGSTOP) there; a wrong entry stops the process with a message instead of testing
//! nothing. `FIREBREAK_FAILPOINT_LOG` names a file that gets a line before either.

#[cfg(feature = "enabled")]
mod armed;
#[cfg(feature = "enabled")]
mod entry;

#[cfg(feature = "enabled")]
pub use armed::hit;

/// Work was claimed; nothing of it is done.
pub const AFTER_CLAIM: &str = "after_claim";
/// The intent is committed; the effect has not begun.
pub const BEFORE_EFFECT: &str = "before_effect";
/// The effect is done; nobody has recorded it.
pub const AFTER_EFFECT: &str = "after_effect";
/// A transaction is about to be committed.
pub const BEFORE_COMMIT: &str = "before_commit";

/// Every place.
pub const NAMES: [&str; 4] = [AFTER_CLAIM, BEFORE_EFFECT, AFTER_EFFECT, BEFORE_COMMIT];

/// Passes the place called `name`.
#[cfg(not(feature = "enabled"))]
#[inline(always)]
pub fn hit(_name: &'static str) {}
