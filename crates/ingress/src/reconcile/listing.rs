//! What the Alertmanagers of a source list, put together. Texts stay where they are in the answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Every alert that any Alertmanager lists, by fingerprint.
#[derive(Debug, Default)]
pub(super) struct Listing<'a> {
    pub(super) alerts: BTreeMap<Cow<'a, str>, Listed<'a>>,
}

/// One alert, whoever lists it.
#[derive(Clone, Debug)]
pub(super) struct Listed<'a> {
    pub(super) standing: Standing,
    /// The earliest that is told: Alertmanagers that missed an end know of an older start.
    pub(super) starts_at: Timestamp,
    /// When any of them last heard of it.
    pub(super) updated_at: Timestamp,
    /// Ids of silences and fingerprints of alerts.
    pub(super) suppressed_by: SuppressedBy<'a>,
    pub(super) labels: &'a RawValue,
    pub(super) annotations: Option<&'a RawValue>,
    pub(super) generator_url: Option<&'a RawValue>,
}

/// What silences or inhibits an alert, as far as anybody tells.
#[derive(Clone, Debug, Default)]
pub(super) struct SuppressedBy<'a> {
    pub(super) silence: Option<Cow<'a, str>>,
    pub(super) alert: Option<Cow<'a, str>>,
}

/// How an alert stands; the greater word counts where Alertmanagers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It is there, but not for our receiver, or not looked at yet.
    Elsewhere,
    /// Silenced or inhibited.
    Suppressed,
    Firing,
}

#[derive(Debug, Deserialize)]
struct RawAlert<'a> {
    #[serde(borrow)]
    fingerprint: Cow<'a, str>,
    #[serde(rename = "startsAt")]
    starts_at: Timestamp,
    #[serde(rename = "updatedAt")]
    updated_at: Timestamp,
    #[serde(borrow)]
    status: RawStatus<'a>,
    #[serde(borrow)]
    receivers: Vec<RawReceiver<'a>>,
    #[serde(borrow)]
    labels: &'a RawValue,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "generatorURL")]
    generator_url: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct RawStatus<'a> {
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow, default, rename = "silencedBy")]
    silenced_by: Vec<Cow<'a, str>>,
    #[serde(borrow, default, rename = "inhibitedBy")]
    inhibited_by: Vec<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct RawReceiver<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

impl<'a> Listing<'a> {
    /// Adds what one Alertmanager lists, and says how many alerts that are.
    ///
    /// # Errors
    /// It is no list of alerts; nothing is added.
    pub(super) fn add(
        &mut self,
        list: &'a [u8],
        receiver: &str,
    ) -> Result<usize, serde_json::Error> {
        let listed: Vec<RawAlert<'_>> = serde_json::from_slice(list)?;
        let count = listed.len();
        for raw in listed {
            let standing = raw.standing(receiver);
            let RawAlert { fingerprint, starts_at, updated_at, .. } = raw;
            let suppressed_by = SuppressedBy {
                silence: raw.status.silenced_by.into_iter().next(),
                alert: raw.status.inhibited_by.into_iter().next(),
            };
            let (labels, annotations) = (raw.labels, raw.annotations);
            let generator_url = raw.generator_url;
            let here = Listed {
                standing,
                starts_at,
                updated_at,
                suppressed_by,
                labels,
                annotations,
                generator_url,
            };
            match self.alerts.entry(fingerprint) {
                Entry::Vacant(entry) => drop(entry.insert(here)),
                Entry::Occupied(mut entry) => entry.get_mut().join(here),
            }
        }
        Ok(count)
    }

    /// Those that fire.
    pub(super) fn firing(&self) -> BTreeMap<&str, &Listed<'a>> {
        let firing = self.alerts.iter().filter(|(_, alert)| alert.standing == Standing::Firing);
        firing.map(|(fingerprint, alert)| (&**fingerprint, alert)).collect()
    }
}

impl Listed<'_> {
    /// What silences or inhibits it, in words.
    pub(super) fn suppressed_by(&self) -> String {
        match (&self.suppressed_by.silence, &self.suppressed_by.alert) {
            (Some(silence), _) => format!("silence {silence}"),
            (None, Some(alert)) => format!("inhibited by alert {alert}"),
            (None, None) => "its Alertmanager".into(),
        }
    }

    fn join(&mut self, other: Self) {
        if self.suppressed_by.silence.is_none() {
            self.suppressed_by.silence = other.suppressed_by.silence;
        }
        if self.suppressed_by.alert.is_none() {
            self.suppressed_by.alert = other.suppressed_by.alert;
        }
        self.standing = self.standing.max(other.standing);
        self.starts_at = self.starts_at.min(other.starts_at);
        self.updated_at = self.updated_at.max(other.updated_at);
    }
}

impl RawAlert<'_> {
    fn standing(&self, receiver: &str) -> Standing {
        let is_ours = self.receivers.iter().any(|other| other.name == receiver);
        match &*self.status.state {
            "active" if is_ours => Standing::Firing,
            "suppressed" if is_ours => Standing::Suppressed,
            _ => Standing::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Alertmanager 0.25 answered.
    const ANSWER: &str = include_str!("../../tests/fixtures/alertmanager-0.25-api-alerts.json");

    #[test]
    fn a_real_answer_says_which_alerts_fire_for_us() {
        let mut listing = Listing::default();
        assert_eq!(listing.add(ANSWER.as_bytes(), "firebreak").unwrap(), 4);
        let standing = |fingerprint: &str| listing.alerts[fingerprint].standing;
        assert_eq!(standing("578738fed8ae960c"), Standing::Firing);
        assert_eq!(standing("6b118c25db850411"), Standing::Elsewhere, "of another receiver");
        assert_eq!(standing("ae7ee83982984bb1"), Standing::Suppressed, "inhibited");
        assert_eq!(standing("ae8ae83982a40636"), Standing::Suppressed, "silenced");
        let starts_at = listing.alerts["ae8ae83982a40636"].starts_at;
        assert_eq!(starts_at.to_string(), "2026-11-23T10:00:00.123Z");
    }

    #[test]
    fn firing_anywhere_is_firing_and_the_oldest_start_and_newest_word_count() {
        let list = |state: &str, starts_at: i64, updated_at: i64| {
            let at = |second| Timestamp::from_second(second).unwrap().to_string();
            let alert = json!({"fingerprint": "a", "startsAt": at(starts_at),
                "updatedAt": at(updated_at), "status": {"state": state}, "labels": {},
                "receivers": [{"name": "r"}]});
            json!([alert]).to_string()
        };
        let (one, other) = (list("active", 5, 7), list("suppressed", 4, 8));
        let mut listing = Listing::default();
        listing.add(one.as_bytes(), "r").unwrap();
        listing.add(other.as_bytes(), "r").unwrap();
        let alert = &listing.alerts["a"];
        assert_eq!(alert.standing, Standing::Firing);
        assert_eq!((alert.starts_at.as_second(), alert.updated_at.as_second()), (4, 8));
        assert!(listing.add(b"{}", "r").is_err());
    }
}
