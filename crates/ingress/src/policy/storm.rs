//! The storm brake. Where more incidents open within a time than anybody could look at, what would
//! open more goes into one, which a person gets at once and on which nothing acts by itself. It is over
//! when less than half as many would have opened within that time.

use std::collections::{BTreeMap, VecDeque};

use incident::{Incident, IncidentKey, Phase};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use service::ConfigError;

use summary::count;

mod summary;

pub(crate) use summary::Summary;

/// Openings that are remembered at most.
const MOST: u32 = 100_000;

/// A day: what opens more slowly than that is no storm.
const SECONDS_MOST: u64 = 24 * 3_600;

/// Incidents that are read after a restart, at most.
const SEEDS: u32 = 1_000;

/// When it storms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StormConfig {
    /// Incidents that may open within `seconds`. 0: there are no storms.
    pub incidents: u32,
    pub seconds: u64,
}

impl Default for StormConfig {
    fn default() -> Self {
        Self { incidents: 100, seconds: 60 }
    }
}

impl StormConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("storm.incidents", self.incidents.into(), 0..=MOST.into())?;
        ConfigError::check_range("storm.seconds", self.seconds, 0..=SECONDS_MOST)?;
        if self.incidents > 0 && self.seconds == 0 {
            let why = "must not be 0; `incidents: 0` switches it off";
            return Err(ConfigError::setting("storm.seconds", why));
        }
        Ok(())
    }

    /// Why a person has what a storm brings.
    pub(crate) fn why(&self) -> String {
        format!("more than {} opened within {} s", count(self.incidents, "incident"), self.seconds)
    }
}

/// Whose openings are counted together. A source that may be anybody brings a storm upon itself only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Authenticated,
    Source(String),
}

impl Group {
    pub(crate) fn of(is_authenticated: bool, source: &str) -> Self {
        if is_authenticated { Self::Authenticated } else { Self::Source(source.to_owned()) }
    }

    fn of_incident(incident: &Incident) -> Self {
        let source = incident.alerts.first().map_or("", |tracked| &tracked.alert.source);
        Self::of(incident.is_authenticated, source)
    }

    /// The key of the one incident that takes its storms.
    pub(crate) fn key(&self) -> IncidentKey {
        IncidentKey::from(match self {
            Self::Authenticated => "storm brake".to_owned(),
            Self::Source(source) => format!("unauthenticated {source}: storm brake"),
        })
    }
}

/// The brakes of all groups. What is not committed yet is asked of a copy.
#[derive(Clone, Debug)]
pub(crate) struct Storms {
    config: StormConfig,
    brakes: BTreeMap<Group, Brake>,
}

#[derive(Clone, Debug, Default)]
struct Brake {
    /// When incidents opened or would have: the last of them.
    openings: VecDeque<Timestamp>,
    is_on: bool,
}

impl Storms {
    pub(crate) fn new(config: StormConfig) -> Self {
        Self { config, brakes: BTreeMap::new() }
    }

    /// Whether an alert may open an incident; else it goes into the storm's.
    pub(crate) fn admits(&mut self, group: &Group, now: Timestamp) -> bool {
        if self.config.incidents == 0 {
            return true;
        }
        let brake = self.brakes.entry(group.clone()).or_default();
        brake.openings.push_back(now);
        brake.look(self.config, now);
        !brake.is_on
    }

    /// Whether one of so many more might go into the storm's incident.
    pub(crate) fn may_divert(&self, group: &Group, more: usize) -> bool {
        let limit = usize::try_from(self.config.incidents).unwrap_or(usize::MAX);
        let brake = self.brakes.get(group);
        let known = brake.map_or(0, |brake| brake.openings.len());
        limit > 0 && (brake.is_some_and(|brake| brake.is_on) || known.saturating_add(more) > limit)
    }

    pub(crate) fn config(&self) -> &StormConfig {
        &self.config
    }

    /// How many of the newest incidents say what was before a restart.
    pub(crate) fn seeds(&self) -> u32 {
        self.config.incidents.min(SEEDS)
    }

    /// Takes up what was before a restart. A storm that still waits for a person goes on until it is
    /// seen to be over.
    pub(crate) fn seed<'a>(
        &mut self,
        newest: impl IntoIterator<Item = &'a Incident>,
        now: Timestamp,
    ) {
        if self.config.incidents == 0 {
            return;
        }
        for incident in newest {
            let brake = self.brakes.entry(Group::of_incident(incident)).or_default();
            brake.openings.push_front(incident.opened_at);
            if incident.is_storm && matches!(incident.phase, Phase::NeedsHuman { .. }) {
                brake.is_on = true;
                brake.openings.extend((0..self.config.incidents.div_ceil(2)).map(|_| now));
            }
        }
        self.brakes.values_mut().for_each(|brake| brake.look(self.config, now));
    }
}

impl Brake {
    fn look(&mut self, config: StormConfig, now: Timestamp) {
        let window = SignedDuration::from_secs(config.seconds.try_into().unwrap_or(i64::MAX));
        // A clock that was set back leaves openings of times to come.
        self.openings.retain(|at| now.duration_since(*at).abs() < window);
        let limit = usize::try_from(config.incidents).unwrap_or(usize::MAX);
        let excess = self.openings.len().saturating_sub(limit.saturating_add(1));
        self.openings.drain(..excess);
        self.is_on = match self.is_on {
            true => self.openings.len().saturating_mul(2) >= limit,
            false => self.openings.len() > limit,
        };
    }
}

#[cfg(test)]
mod tests;
