//! One attempt at a step, as a machine: what is known of its effect decides what is done next. Pure;
//! `act` does what a state stands for and says what came of it.
//!
//! What nobody answered for is asked about under a new fencing token, which shuts out whatever an
//! older owner still sends; then its executor is known to have ended, or it is left to a person. Only
//! after that the class of the effect says whether it is attempted again. The same call under the
//! same idempotency key is repeated only where it was never begun.

use a2a_types::mcp::deployment::{Change, ChangeState};
use incident::EffectClass;
use serde::{Deserialize, Serialize};

/// Calls repeated because deployment-system did nothing, and said so.
const RETRIES: u32 = 3;

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// The intent is committed: deployment-system is to be asked to act.
    Intended,
    /// It did nothing: it is asked again after a pause.
    TurnedAway,
    /// It may have acted: it is asked what became of the call.
    Unanswered,
    /// It began, was interrupted, and has ended for certain: what it left is looked at.
    Interrupted(Box<Change>),
    Ended(End),
}

/// How an attempt ended, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(crate) enum End {
    Done {
        change: Box<Change>,
    },
    /// The executor failed; what was changed is recorded.
    Failed {
        change: Box<Change>,
        error: String,
    },
    /// It was cut off on the way and goes no further: its step may be attempted anew.
    Interrupted {
        change: Box<Change>,
        error: String,
    },
    /// Nothing was done.
    Untouched {
        error: String,
    },
    /// Nobody can say whether it was done, or whether it is being done still.
    Unknown {
        error: String,
    },
}

/// What came of what a state stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A change is on record under the key of this attempt.
    Answered(Box<Change>),
    /// Nothing was done; the same call may succeed later.
    Busy(String),
    /// Nothing was done, and nothing will be.
    Refused(String),
    /// The call may have been carried out.
    Lost(String),
    /// The pause is over.
    Rested,
    /// The kill switch is on.
    Killed,
    /// There is no record of the call, and none can come any more.
    NoRecord,
    /// Nobody could say what became of the call in all the time there was.
    Untold(String),
    Probed(Probe),
}

/// What an interrupted change has left, as far as can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Its effect is there.
    Present,
    /// All is as it was before.
    Absent,
    Unclear,
}

#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    class: EffectClass,
    state: State,
    retries: u32,
    /// Whether the call may be sent once more where it never arrived.
    may_repeat: bool,
}

impl Attempted {
    /// An attempt whose intent was committed just now.
    pub(crate) fn new(class: EffectClass) -> Self {
        Self { class, state: State::Intended, retries: RETRIES, may_repeat: true }
    }

    /// An attempt that a former run began and whose end nobody recorded.
    pub(crate) fn found(class: EffectClass) -> Self {
        Self { state: State::Unanswered, ..Self::new(class) }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Whether the call is being sent for the second time or later.
    pub(crate) fn is_repeated(&self) -> bool {
        !self.may_repeat
    }

    pub(crate) fn take(&mut self, event: Event) {
        let state = std::mem::replace(&mut self.state, State::Intended);
        self.state = match (state, event) {
            (State::Intended, Event::Answered(change)) if may_still_act(&change) => {
                State::Unanswered
            }
            (State::Unanswered, Event::Answered(change)) if may_still_act(&change) => {
                unknown("deployment-system has no end of it")
            }
            (State::Intended | State::Unanswered, Event::Answered(change)) => self.recorded(change),
            (State::Intended, Event::Busy(error)) => self.busy(error),
            (State::Intended, Event::Refused(error)) => untouched(error),
            (State::Intended, Event::Lost(_)) => State::Unanswered,
            (State::TurnedAway, Event::Rested) => State::Intended,
            (State::Intended | State::TurnedAway, Event::Killed) => {
                untouched("the kill switch is on")
            }
            (State::Unanswered, Event::NoRecord) => self.never_begun(),
            (State::Unanswered, Event::Untold(error)) => unknown(error),
            (State::Interrupted(change), Event::Probed(Probe::Present)) => {
                State::Ended(End::Done { change })
            }
            (State::Interrupted(change), Event::Probed(Probe::Absent)) => interrupted(change),
            // It may be anything in between: like a failure, it is undone.
            (State::Interrupted(change), Event::Probed(Probe::Unclear)) => failed(change),
            // Nothing else can come of a state, and an end stays.
            (state, _) => state,
        };
    }

    fn busy(&mut self, error: String) -> State {
        match self.retries.checked_sub(1) {
            Some(left) => {
                self.retries = left;
                State::TurnedAway
            }
            None => untouched(error),
        }
    }

    /// The fence is up, so a call that was not begun is not begun any more: it is repeated under its
    /// own key, which takes effect once.
    fn never_begun(&mut self) -> State {
        if self.class == EffectClass::AtMostOnce {
            return unknown("deployment-system has no record of it, and it is not repeatable");
        }
        if !std::mem::take(&mut self.may_repeat) {
            return unknown("deployment-system gave no answer again, and has no record of it");
        }
        State::Intended
    }

    fn recorded(&self, change: Box<Change>) -> State {
        match change.state {
            ChangeState::Done | ChangeState::AlreadyDone => State::Ended(End::Done { change }),
            ChangeState::Failed => failed(change),
            ChangeState::DryRun => untouched("answered as a dry run"),
            ChangeState::Unknown => self.cut_off(change),
        }
    }

    /// What carried it out has ended for certain, and did not say how far it came.
    fn cut_off(&self, change: Box<Change>) -> State {
        match self.class {
            EffectClass::Pure | EffectClass::Idempotent | EffectClass::Fenced => {
                interrupted(change)
            }
            EffectClass::Probeable => State::Interrupted(change),
            EffectClass::AtMostOnce => {
                let why = change.error.as_deref().unwrap_or("it was interrupted");
                unknown(format!("{why}, and it is not repeatable"))
            }
        }
    }
}

/// Whatever carries the change out may be at work still.
pub(crate) fn may_still_act(change: &Change) -> bool {
    change.state == ChangeState::Unknown && change.finished_at.is_none()
}

fn untouched(error: impl Into<String>) -> State {
    State::Ended(End::Untouched { error: error.into() })
}

fn unknown(error: impl Into<String>) -> State {
    State::Ended(End::Unknown { error: error.into() })
}

fn failed(change: Box<Change>) -> State {
    let error = change.error.clone().unwrap_or_else(|| "the executor failed".into());
    State::Ended(End::Failed { change, error })
}

fn interrupted(change: Box<Change>) -> State {
    let error = change.error.clone().unwrap_or_else(|| "it was interrupted".into());
    State::Ended(End::Interrupted { change, error })
}

impl State {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::TurnedAway => "turned_away",
            Self::Unanswered => "unanswered",
            Self::Interrupted(_) => "interrupted",
            Self::Ended(end) => end.name(),
        }
    }
}

impl End {
    /// What is recorded of the change, if it was begun.
    pub(crate) fn change(&self) -> Option<&Change> {
        match self {
            Self::Done { change }
            | Self::Failed { change, .. }
            | Self::Interrupted { change, .. } => Some(change),
            Self::Untouched { .. } | Self::Unknown { .. } => None,
        }
    }

    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Done { .. } => None,
            Self::Failed { error, .. }
            | Self::Interrupted { error, .. }
            | Self::Untouched { error }
            | Self::Unknown { error } => Some(error),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Interrupted { .. } => "cut_off",
            Self::Untouched { .. } => "untouched",
            Self::Unknown { .. } => "unknown",
        }
    }
}

#[cfg(test)]
mod tests;
