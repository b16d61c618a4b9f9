//! What this process remembers of alerts, so that a report that says what is known costs no read. A
//! hint only: the commit holds each repeat against the store, and one that is none is decided anew.
//! Bounded by the count of its entries, and kept under keyed hashes, as senders choose fingerprints.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use incident::{Alert, IncidentId};
use store::AlertState;

/// Alerts in one generation. When it is full, the one before it is forgotten.
const GENERATION: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct Hints {
    hasher: RandomState,
    young: HashMap<u64, Hint>,
    old: HashMap<u64, Hint>,
}

/// How an alert stood when it was last stored, such that the same report again is a repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) state: AlertState,
    pub(super) incident: Option<IncidentId>,
}

impl Hint {
    /// A report that does not know its start says it of the known episode.
    fn is_said_by(&self, alert: &Alert) -> bool {
        let said = AlertState::of(alert);
        let starts_at = if alert.is_start_known { said.starts_at } else { self.state.starts_at };
        self.state == AlertState { starts_at, ..said }
    }
}

impl Hints {
    /// What stands for an alert here.
    pub(super) fn hash(&self, alert: &Alert) -> u64 {
        self.hasher.hash_one((alert.source.as_str(), alert.fingerprint.as_str()))
    }

    /// What is remembered, if the report says the same.
    pub(super) fn repeated(&mut self, hash: u64, alert: &Alert) -> Option<&Hint> {
        if !self.young.contains_key(&hash) {
            let hint = self.old.remove(&hash)?;
            self.remember(hash, hint);
        }
        self.young.get(&hash).filter(|hint| hint.is_said_by(alert))
    }

    pub(super) fn remember(&mut self, hash: u64, hint: Hint) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, hint);
    }

    pub(super) fn forget(&mut self, hash: u64) {
        self.young.remove(&hash);
        self.old.remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use incident::{AlertStatus, Severity};
    use jiff::Timestamp;

    use super::*;

    fn alert(number: usize) -> Alert {
        Alert {
            source: "alertmanager".into(),
            fingerprint: number.to_string(),
            status: AlertStatus::Firing,
            name: "A".into(),
            severity: Severity::Warning,
            labels: [].into(),
            annotations: [].into(),
            starts_at: Timestamp::UNIX_EPOCH,
            is_start_known: true,
            ends_at: None,
            generator_url: String::new(),
        }
    }

    fn remember(hints: &mut Hints, alert: &Alert) {
        let hint = Hint { state: AlertState::of(alert), incident: None };
        hints.remember(hints.hash(alert), hint);
    }

    fn is_repeated(hints: &mut Hints, alert: &Alert) -> bool {
        hints.repeated(hints.hash(alert), alert).is_some()
    }

    #[test]
    fn only_the_same_report_is_a_repeat() {
        let mut hints = Hints::default();
        assert!(!is_repeated(&mut hints, &alert(1)));
        remember(&mut hints, &alert(1));
        assert!(is_repeated(&mut hints, &alert(1)));
        let other_source = Alert { source: "grafana".into(), ..alert(1) };
        let ended = Alert { status: AlertStatus::Resolved, ..alert(1) };
        let raised = Alert { severity: Severity::Critical, ..alert(1) };
        let later = Alert { starts_at: Timestamp::from_second(1).unwrap(), ..alert(1) };
        for other in [alert(2), other_source, ended, raised, later] {
            assert!(!is_repeated(&mut hints, &other), "{other:?}");
        }
        hints.forget(hints.hash(&alert(1)));
        assert!(!is_repeated(&mut hints, &alert(1)));
    }

    #[test]
    fn a_report_that_knows_no_start_repeats_the_known_episode() {
        let mut hints = Hints::default();
        remember(&mut hints, &alert(1));
        let later = Timestamp::from_second(1).unwrap();
        let again = Alert { starts_at: later, is_start_known: false, ..alert(1) };
        let hint = hints.repeated(hints.hash(&again), &again).unwrap();
        assert_eq!(hint.state.starts_at, Timestamp::UNIX_EPOCH);
        let ended = Alert { status: AlertStatus::Resolved, ..again.clone() };
        let raised = Alert { severity: Severity::Critical, ..again };
        for other in [ended, raised] {
            assert!(!is_repeated(&mut hints, &other), "{other:?}");
        }
    }

    #[test]
    fn what_is_not_reported_is_forgotten_and_what_is_stays() {
        let mut hints = Hints::default();
        for number in 0..4 * GENERATION {
            remember(&mut hints, &alert(number));
            assert!(is_repeated(&mut hints, &alert(0)), "{number}");
        }
        assert!(hints.young.len() + hints.old.len() <= 2 * GENERATION);
        assert!(!is_repeated(&mut hints, &alert(1)));
        assert!(is_repeated(&mut hints, &alert(4 * GENERATION - 1)));
    }
}
