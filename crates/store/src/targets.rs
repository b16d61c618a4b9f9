//! Target locks with fencing tokens, quarantine, and approvals.

/// What became of asking for a target's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetLock {
    /// The lock is ours; `token` is greater than any before it.
    Held { token: i64 },
    /// Another holder has it.
    Busy { holder: String },
    /// The target waits for a person.
    Quarantined { reason: String },
}
