//! An incident on its way from one stored state to the next: the events it took, and what they ask
//! for.

use std::time::Duration;

use incident::{Effect, Event, Incident, Limits, Phase, TimelineEntry};
use jiff::Timestamp;
use store::{Base, IncidentWrite, NewEffect, Stored};

/// How long the ticket of an incident waits for more to tell; a person is called at once.
const TICKET_PAUSE: Duration = Duration::from_millis(100);

/// The kinds of outbox rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    CancelResolution,
    Diagnose,
    Resolve,
    SyncTicket,
}

impl Work {
    pub(crate) const ALL: [Self; 4] =
        [Self::CancelResolution, Self::Diagnose, Self::Resolve, Self::SyncTicket];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Diagnose => "diagnose",
            Self::Resolve => "resolve",
            Self::CancelResolution => "cancel_resolution",
            Self::SyncTicket => "sync_ticket",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    fn asked_for_by(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Record(_) => None,
            Effect::Diagnose => Some(Self::Diagnose),
            Effect::Resolve => Some(Self::Resolve),
            Effect::CancelResolution => Some(Self::CancelResolution),
            Effect::SyncTicket => Some(Self::SyncTicket),
        }
    }
}

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) incident: Incident,
    base: Base,
    entries: Vec<TimelineEntry>,
    /// Each kind once a round.
    asked: Vec<(Work, u32)>,
    entered: Vec<&'static str>,
    is_changed: bool,
    was_open: bool,
}

impl Draft {
    pub(super) fn of(stored: Stored) -> Self {
        Self {
            was_open: !stored.incident.phase.is_final(),
            incident: stored.incident,
            base: stored.base,
            entries: Vec::new(),
            asked: Vec::new(),
            entered: Vec::new(),
            is_changed: false,
        }
    }

    /// A new incident, told of by its first entry.
    pub(super) fn new(incident: Incident, opened: TimelineEntry) -> Self {
        Self {
            incident,
            base: Base::default(),
            entries: vec![opened],
            asked: Vec::new(),
            entered: Vec::new(),
            is_changed: true,
            was_open: false,
        }
    }

    /// Lets the machine decide. An event that comes late changes nothing.
    pub(super) fn take(&mut self, event: Event, now: Timestamp, limits: &Limits) {
        let before = self.incident.phase.name();
        let effects = match self.incident.handle(event, now, limits) {
            Ok(effects) => effects,
            Err(late) => {
                tracing::debug!(incident.id = %self.incident.id, %late, "event dropped");
                return;
            }
        };
        self.is_changed = true;
        for effect in effects {
            let asked = Work::asked_for_by(&effect).map(|work| (work, self.incident.round));
            if let Some(asked) = asked.filter(|asked| !self.asked.contains(asked)) {
                self.asked.push(asked);
            }
            if let Effect::Record(entry) = effect {
                self.entries.push(entry);
            }
        }
        let after = self.incident.phase.name();
        if before != after {
            self.entered.push(after);
        }
    }

    /// Whether it is open as it is stored.
    pub(super) fn was_open(&self) -> bool {
        self.was_open
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(super) fn entered(&self) -> &[&'static str] {
        &self.entered
    }

    /// Kinds of work that may begin at once.
    pub(super) fn due(&self) -> impl Iterator<Item = Work> + '_ {
        let works = self.asked.iter().map(|(work, _)| *work);
        works.filter(|work| self.pause(*work).is_zero())
    }

    /// Kinds of work that may not, with the time from which they may.
    pub(super) fn later(&self, now: Timestamp) -> impl Iterator<Item = (Work, Timestamp)> + '_ {
        let works = self.asked.iter().map(|(work, _)| (*work, self.pause(*work)));
        let later = works.filter(|(_, pause)| !pause.is_zero());
        later.map(move |(work, pause)| (work, after(now, pause)))
    }

    fn pause(&self, work: Work) -> Duration {
        match work {
            Work::SyncTicket if !matches!(self.incident.phase, Phase::NeedsHuman { .. }) => {
                TICKET_PAUSE
            }
            _ => Duration::ZERO,
        }
    }

    pub(super) fn write(self, now: Timestamp, outbox_now: Timestamp) -> IncidentWrite {
        let effect = |(work, round): &(Work, u32)| NewEffect {
            kind: work.name(),
            round: *round,
            not_before: match self.pause(*work) {
                // At once, whatever the clock says by then.
                Duration::ZERO => Timestamp::UNIX_EPOCH,
                pause => after(outbox_now, pause),
            },
        };
        let effects = self.asked.iter().map(effect).collect();
        let Self { incident, base, entries, .. } = self;
        IncidentWrite { incident, base, entries, effects, at: now }
    }
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}
