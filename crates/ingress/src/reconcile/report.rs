//! What is found, as the webhook that should have told of it: it goes the way of every webhook, and
//! into the journal.

use std::borrow::Cow;
use std::collections::BTreeMap;

use incident::Alert;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::listing::Listed;

/// The annotation of an end that no webhook told of, and what it says.
const LEARNT_BY: (&str, &str) =
    ("firebreak_learnt_by", "reconciliation: no Alertmanager lists the alert any more");

/// One alert of a webhook body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    status: &'static str,
    labels: Pairs<'a>,
    annotations: Pairs<'a>,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    #[serde(rename = "generatorURL")]
    generator_url: Text<'a>,
    fingerprint: Cow<'a, str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Pairs<'a> {
    Listed(&'a RawValue),
    Stored(BTreeMap<String, String>),
    None,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Listed(Option<&'a RawValue>),
    Stored(String),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, 'b> {
    version: &'static str,
    receiver: &'a str,
    reconciliation: Reconciliation,
    alerts: &'a [Report<'b>],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reconciliation {
    asked_at: Timestamp,
}

impl<'a> Report<'a> {
    /// A listed alert that fires since then.
    pub(super) fn firing(fingerprint: &'a str, listed: &Listed<'a>, starts_at: Timestamp) -> Self {
        Self {
            status: "firing",
            labels: Pairs::Listed(listed.labels),
            annotations: listed.annotations.map_or(Pairs::None, Pairs::Listed),
            starts_at,
            // What the API calls the end is when the alert would expire without news.
            ends_at: None,
            generator_url: Text::Listed(listed.generator_url),
            fingerprint: fingerprint.into(),
        }
    }

    /// A stored alert that has ended by then.
    pub(super) fn gone(alert: Alert, ends_at: Timestamp) -> Self {
        let mut annotations = alert.annotations;
        annotations.insert(LEARNT_BY.0.into(), LEARNT_BY.1.into());
        Self {
            status: "resolved",
            labels: Pairs::Stored(alert.labels),
            annotations: Pairs::Stored(annotations),
            starts_at: alert.starts_at,
            ends_at: Some(ends_at),
            generator_url: Text::Stored(alert.generator_url),
            fingerprint: alert.fingerprint.into(),
        }
    }
}

/// The body of a webhook with these alerts.
pub(super) fn body(reports: &[Report<'_>], receiver: &str, asked_at: Timestamp) -> String {
    let reconciliation = Reconciliation { asked_at };
    let body = Body { version: "4", receiver, reconciliation, alerts: reports };
    serde_json::to_string(&body).expect("its keys are texts")
}
