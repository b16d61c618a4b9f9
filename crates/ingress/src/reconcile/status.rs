//! How reconciliation stands, for people to see. A failure is logged when it begins and when it ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;
use serde::Serialize;

use super::Outcome;

#[derive(Debug, Default)]
pub(super) struct Status(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<(Timestamp, Outcome)>,
    last_whole_at: Option<Timestamp>,
    found: Found,
    failure: Option<String>,
    peers: BTreeMap<String, PeerState>,
}

/// What a round found that webhooks had not told.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Found {
    /// Alerts that fire.
    pub(super) missing: usize,
    /// Alerts that fire no more.
    pub(super) gone: usize,
    /// Alerts that are silenced or inhibited.
    pub(super) suppressed: usize,
}

/// What became of the question to one Alertmanager.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PeerState {
    /// Alerts that it lists; `None`: it did not answer.
    pub(super) alerts: Option<usize>,
    /// Why what it lacks is not called gone.
    pub(super) trouble: Option<String>,
}

/// A source as the API and the console show it.
#[derive(Debug, Serialize)]
pub(super) struct RoundView {
    source: String,
    receiver: String,
    /// When the last round of this process began.
    last_round_at: Option<Timestamp>,
    outcome: Option<&'static str>,
    /// When the last round of this process began after which nothing differed.
    last_whole_at: Option<Timestamp>,
    found: Found,
    failure: Option<String>,
    alertmanagers: Vec<PeerView>,
}

#[derive(Debug, Serialize)]
struct PeerView {
    url: String,
    #[serde(flatten)]
    state: Option<PeerState>,
}

impl Status {
    /// Notes the answer of one Alertmanager.
    pub(super) fn peer(&self, source: &str, url: &str, now: PeerState) {
        let mut state = self.state();
        let before = state.peers.insert(url.to_owned(), now.clone());
        let was_away = before.is_some_and(|before| before.alerts.is_none());
        match (now.alerts, &now.trouble) {
            (None, Some(why)) if !was_away => {
                tracing::warn!(source, url, error = ?why, "an Alertmanager does not answer");
            }
            (Some(alerts), _) if was_away => {
                tracing::info!(source, url, alerts, "an Alertmanager answers again");
            }
            _ => {}
        }
    }

    pub(super) fn round(
        &self,
        source: &str,
        asked_at: Timestamp,
        outcome: Outcome,
        found: Found,
        failure: Option<String>,
    ) {
        let mut state = self.state();
        match (&failure, &state.failure) {
            (Some(why), None) => tracing::warn!(source, error = ?why, "reconciliation fails"),
            (None, Some(_)) => tracing::info!(source, "reconciliation works again"),
            _ => {}
        }
        state.last = Some((asked_at, outcome));
        if outcome == Outcome::Whole {
            state.last_whole_at = Some(asked_at);
        }
        (state.found, state.failure) = (found, failure);
    }

    pub(super) fn view(
        &self,
        source: &str,
        receiver: &str,
        urls: impl Iterator<Item = String>,
    ) -> RoundView {
        let state = self.state();
        let peer = |url: String| PeerView { state: state.peers.get(&url).cloned(), url };
        RoundView {
            source: source.to_owned(),
            receiver: receiver.to_owned(),
            last_round_at: state.last.map(|(at, _)| at),
            outcome: state.last.map(|(_, outcome)| outcome.name()),
            last_whole_at: state.last_whole_at,
            found: state.found,
            failure: state.failure.clone(),
            alertmanagers: urls.map(peer).collect(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it is held")
    }
}
