//! Every recorded body, as it was sent, and what it says. `COMPOSED-` ones were put together by hand
//! from documentation and were never seen on a wire.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName};
use incident::Alert;
use serde_json::Value;
use webhooks::{BadField, Format, Reading, Severities};

/// What a body says: `status fingerprint severity name {label=value,…}` for each alert, in its order.
enum Says {
    Alerts(&'static [&'static str]),
    Truncated(u64, &'static [&'static str]),
    /// Refused, with a text that begins so.
    Refused(&'static str),
}

use Says::{Alerts, Refused, Truncated};

const HIGH_ERRORS: &[&str] =
    &["firing 983a1a0d4d0db790 critical HighErrorRate {instance=127.0.0.1:29100,service=checkout}"];
const HIGH_ERRORS_END: &[&str] =
    &["resolved 983a1a0d4d0db790 critical HighErrorRate {service=checkout,team=payments}"];
const TIMEOUT: &[&str] =
    &["firing 6e399b9a93438c13 critical DatabaseQueryTimeout {cluster=poc,service=payments}"];

/// Each file with what it says.
const FILES: &[(&str, Says)] = &[
    ("alertmanager-0.25-firing.json", Alerts(HIGH_ERRORS)),
    ("alertmanager-0.25-resolved.json", Alerts(HIGH_ERRORS_END)),
    ("alertmanager-0.28-firing.json", Alerts(HIGH_ERRORS)),
    ("alertmanager-0.28-resolved.json", Alerts(HIGH_ERRORS_END)),
    ("alertmanager-0.33-firing.json", Alerts(HIGH_ERRORS)),
    ("alertmanager-0.33-resolved.json", Alerts(HIGH_ERRORS_END)),
    ("alertmanager/COMPOSED-0.34-firing-with-notification_reason.json", Alerts(TIMEOUT)),
    ("alertmanager/captured-0.25-firing.json", Alerts(TIMEOUT)),
    ("alertmanager/captured-0.25-firing-repeat.json", Alerts(TIMEOUT)),
    (
        "alertmanager/captured-0.25-resolved.json",
        Alerts(&["resolved 6e399b9a93438c13 critical DatabaseQueryTimeout {service=payments}"]),
    ),
    (
        "alertmanager/captured-0.25-firing-grouped-3.json",
        Alerts(&[
            "firing ea375519a70c3a89 warning ConnectionPoolExhausted {instance_name=payments-0}",
            "firing 80fe02a1c73cfd34 warning ConnectionPoolExhausted {instance_name=payments-1}",
            "firing a572cc8a02d22347 warning ConnectionPoolExhausted {instance_name=payments-2}",
        ]),
    ),
    (
        "alertmanager/captured-0.25-mixed-group-firing-and-resolved.json",
        Alerts(&[
            "firing ea375519a70c3a89 warning ConnectionPoolExhausted {instance_name=payments-0}",
            "resolved 80fe02a1c73cfd34 warning ConnectionPoolExhausted {instance_name=payments-1}",
            "firing a572cc8a02d22347 warning ConnectionPoolExhausted {instance_name=payments-2}",
        ]),
    ),
    (
        "alertmanager/captured-0.25-resolved-rest-of-group.json",
        Alerts(&[
            "resolved ea375519a70c3a89 warning ConnectionPoolExhausted {instance_name=payments-0}",
            "resolved a572cc8a02d22347 warning ConnectionPoolExhausted {instance_name=payments-2}",
        ]),
    ),
    (
        "alertmanager/captured-0.25-truncated-firing.json",
        Truncated(
            1,
            &[
                "firing 409c76b95ee8095e critical KafkaConsumerLag {partition=0,service=billing}",
                "firing e256407d8036a14b critical KafkaConsumerLag {partition=1,service=billing}",
            ],
        ),
    ),
    (
        "alertmanager/captured-0.25-truncated-resolved.json",
        Truncated(
            1,
            &[
                "resolved 409c76b95ee8095e critical KafkaConsumerLag {partition=0}",
                "resolved e256407d8036a14b critical KafkaConsumerLag {partition=1}",
            ],
        ),
    ),
    (
        "alertmanager/repo-alerta-v4.json",
        Alerts(&["firing 2f30fca22fdaa8ef critical thing_dead {severity=critical}"]),
    ),
    (
        "alertmanager/repo-am-executor-2016-two-firing-no-version.json",
        Alerts(&[
            "firing 5714ca6177701704 warning InstanceDown {instance=localhost:1234,job=broken}",
            "firing 4a66b51f01c085c4 warning InstanceDown {instance=localhost:5678,job=broken}",
        ]),
    ),
    (
        "alertmanager/repo-opensre-alert.json",
        Alerts(&["firing a1b2c3d4e5f6a7b8 critical HighErrorRate {service=checkout-api}"]),
    ),
    (
        "grafana/docs-grafana-two-firing.json",
        Alerts(&[
            "firing c6eadffa33fcdf37 warning High_memory_usage {team=blue,zone=us-1}",
            "firing bc97ff14869b13e3 warning High_CPU_usage {team=blue,zone=eu-1}",
        ]),
    ),
    (
        "grafana/docs-spike-2026-firing.json",
        Alerts(&[
            "firing 6a2f9c1d8e4b7035 warning High_CPU_-_Any_Instance {instance=production-server-01}",
        ]),
    ),
    (
        "grafana/docs-spike-2026-resolved.json",
        Alerts(&["resolved 6a2f9c1d8e4b7035 warning High_CPU_-_Any_Instance {job=checkout-api}"]),
    ),
    (
        "grafana/repo-captured-2022-grafana8-firing.json",
        Alerts(&["firing 93070e04dcab3ea0 warning systemd_failures {}"]),
    ),
    (
        "grafana/repo-captured-2022-grafana8-resolved.json",
        Alerts(&["resolved 93070e04dcab3ea0 warning systemd_failures {}"]),
    ),
    (
        "grafana/repo-keep-grafana12-test-button-firing.json",
        Alerts(&["firing c4edaaf9f9f839b0 warning TestAlert {instance=Grafana}"]),
    ),
    (
        "grafana/repo-oncall-grafana-managed-3-firing-version4.json",
        Alerts(&[
            "firing f404ecabc8dd5cd7 critical InstanceDown {instance=localhost:8081}",
            "firing f8f08d4e32c61a9d critical InstanceDown {instance=localhost:8082,group=canary}",
            "firing 39f38c0611ee7abd critical InstanceDown {instance=localhost:8083}",
        ]),
    ),
    (
        "grafana/repo-zulip-grafana11-firing-values.json",
        Alerts(&["firing e6349a25f5ef0e9e warning Memory_(copy) {grafana_folder=device}"]),
    ),
    (
        "grafana/repo-alerta-legacy-grafana6-alerting.json",
        Refused(
            "alerts: is missing: this is a body of Grafana's legacy alerting; switch on unified",
        ),
    ),
    (
        "datadog/custom-keep-triggered.json",
        Alerts(&["firing monitor:160077064:database_id:keephq-sandbox:keep critical \
             Somethine_weird_in_DB {database_id=keephq-sandbox:keep,monitor_id=160077064}"]),
    ),
    (
        "datadog/custom-keep-triggered-same-monitor-as-recovered.json",
        Alerts(&["firing monitor:160077341:service:keep-api-feature-grafana-legacy critical \
             OperationalError_DB {service=keep-api-feature-grafana-legacy}"]),
    ),
    (
        "datadog/custom-keep-recovered.json",
        Alerts(&["resolved monitor:160077341:service:keep-api-feature-grafana-legacy critical \
             OperationalError_DB {service=keep-api-feature-grafana-legacy}"]),
    ),
    (
        "datadog/custom-keep-warn.json",
        Alerts(&["firing monitor:134462228:service:keep-api warning \
             Unauthorized_access_to_API_keep-api {service=keep-api,environment=production}"]),
    ),
    (
        "datadog/custom-inres-triggered.json",
        Alerts(&["firing monitor:221164084: critical High_tracking {monitor_id=221164084}"]),
    ),
    (
        "datadog/DERIVED-default-7-fields-triggered.json",
        Alerts(&["firing monitor:221164084: critical High_tracking {alertname=High_tracking}"]),
    ),
    (
        "datadog/DERIVED-default-7-fields-recovered.json",
        Alerts(&["resolved monitor:160077341:service:keep-api-feature-grafana-legacy critical \
             OperationalError_DB {service=keep-api-feature-grafana-legacy}"]),
    ),
    (
        "datadog/default-ovora-db-cpu-triggered.json",
        Alerts(&["firing title:DB_Host_is_near_the_max_CPU_usage_limit:host:db-incident-sandbox \
             critical DB_Host_is_near_the_max_CPU_usage_limit \
             {server=db-incident-sandbox,host=db-incident-sandbox}"]),
    ),
    // As they are pasted into Datadog's tile, before anything is filled in.
    ("datadog/template-keep.json", Refused("title: says no state")),
    ("datadog/template-servicenow-docs.json", Refused("title: says no state")),
    ("datadog/COMPOSED-template-for-our-ingress.json", Refused("title: says no state")),
    (
        "pagerduty/captured-events-v2-trigger.json",
        Alerts(&[
            "firing 633135f647a8e60e42c675c8051f8cedccc87d273fa1be967157a65ba93dffc7 critical \
             KafkaConsumerLag {component=billing,group=poc,class=KafkaConsumerLag,num_firing=3}",
        ]),
    ),
    (
        "pagerduty/captured-events-v2-resolve.json",
        Alerts(&["resolved 633135f647a8e60e42c675c8051f8cedccc87d273fa1be967157a65ba93dffc7 \
             critical KafkaConsumerLag {component=billing,num_firing=0}"]),
    ),
    (
        "pagerduty/COMPOSED-events-v2-trigger-with-links-and-images.json",
        Alerts(&["firing payments/db-timeout critical DatabaseQueryTimeout \
             {instance=payments-0,component=postgres,p99_seconds=5.4}"]),
    ),
    ("pagerduty/COMPOSED-events-v2-acknowledge.json", Alerts(&[])),
    ("pagerduty/COMPOSED-events-v2-response-202.json", Refused("event_action: is missing")),
    (
        "cloudevents/COMPOSED-alert-firing.json",
        Alerts(&["firing /prometheus/poc_6e399b9a93438c13 critical DatabaseQueryTimeout \
             {service=payments,event_source=/prometheus/poc}"]),
    ),
    // Events, and no alerts: none of them says that something fires.
    ("cloudevents/spec-structured.json", Refused("data.status: is missing, and the type")),
    ("cloudevents/spec-binary-mode.json", Refused("data.status: is missing, and the type")),
    ("cloudevents/spec-batch.json", Refused("[0].datacontenttype: must be JSON")),
];

/// Bodies of one alert's firing and of its end.
const PAIRS: &[(&str, &str)] = &[
    ("alertmanager-0.25-firing.json", "alertmanager-0.25-resolved.json"),
    ("alertmanager-0.28-firing.json", "alertmanager-0.28-resolved.json"),
    ("alertmanager-0.33-firing.json", "alertmanager-0.33-resolved.json"),
    ("alertmanager/captured-0.25-firing.json", "alertmanager/captured-0.25-resolved.json"),
    (
        "alertmanager/captured-0.25-truncated-firing.json",
        "alertmanager/captured-0.25-truncated-resolved.json",
    ),
    ("grafana/docs-spike-2026-firing.json", "grafana/docs-spike-2026-resolved.json"),
    (
        "grafana/repo-captured-2022-grafana8-firing.json",
        "grafana/repo-captured-2022-grafana8-resolved.json",
    ),
    (
        "datadog/custom-keep-triggered-same-monitor-as-recovered.json",
        "datadog/custom-keep-recovered.json",
    ),
    (
        "datadog/custom-keep-triggered-same-monitor-as-recovered.json",
        "datadog/DERIVED-default-7-fields-recovered.json",
    ),
    ("pagerduty/captured-events-v2-trigger.json", "pagerduty/captured-events-v2-resolve.json"),
];

fn payloads() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let payloads =
        std::env::var_os("FIREBREAK_SHARED").map_or(beside, PathBuf::from).join("payloads");
    if !payloads.is_dir() {
        eprintln!("skipped: {} is absent", payloads.display());
        return None;
    }
    Some(payloads)
}

/// Reads a file as its folder's kind of source would have sent it.
fn read(payloads: &Path, file: &str) -> Result<Reading, BadField> {
    let mut body = std::fs::read(payloads.join(file)).unwrap();
    let folder = file.split(['/', '-']).next().unwrap();
    let format: Format = serde_json::from_value(folder.into()).unwrap();
    let mut headers = HeaderMap::new();
    if file.ends_with("binary-mode.json") {
        let parts: Value = serde_json::from_slice(&body).unwrap();
        for (name, value) in parts["headers"].as_object().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            headers.insert(name, value.as_str().unwrap().parse().unwrap());
        }
        body = parts["body"].to_string().into_bytes();
    }
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    format.read("the-source", &headers, &body, &Severities::default(), now)
}

/// An alert in the words of the table, with the labels that the table names.
fn in_words(alert: &Alert, expected: &str) -> String {
    let named = expected.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
    let label = |pair: &str| {
        let name = pair.split('=').next().unwrap();
        format!("{name}={}", alert.label(name).unwrap_or("(absent)").replace(' ', "_"))
    };
    let labels: Vec<String> = named.split(',').filter(|pair| !pair.is_empty()).map(label).collect();
    format!(
        "{} {} {} {} {{{}}}",
        word(alert.status),
        alert.fingerprint.replace(' ', "_"),
        word(alert.severity),
        alert.name.replace(' ', "_"),
        labels.join(",")
    )
}

/// A status or severity as it is written everywhere.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn every_recorded_body_says_what_its_sender_meant() {
    let Some(payloads) = payloads() else { return };
    for (file, says) in FILES {
        let reading = read(&payloads, file);
        let (truncated, expected) = match says {
            Refused(start) => {
                let error = reading.unwrap_err().to_string();
                assert!(error.starts_with(start), "{file}: {error}");
                continue;
            }
            Alerts(expected) => (0, expected),
            Truncated(truncated, expected) => (*truncated, expected),
        };
        let reading = reading.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(
            (reading.truncated, reading.alerts.len()),
            (truncated, expected.len()),
            "{file}"
        );
        for (alert, expected) in reading.alerts.iter().zip(expected.iter()) {
            assert_eq!(in_words(alert, expected), **expected, "{file}");
            assert_eq!(alert.source, "the-source", "{file}");
            assert_eq!(alert.is_firing(), alert.ends_at.is_none(), "{file}");
        }
    }
}

#[test]
fn an_end_is_of_the_alert_that_fired() {
    let Some(payloads) = payloads() else { return };
    for (firing, resolved) in PAIRS {
        let by_fingerprint = |file: &str| -> BTreeMap<String, Alert> {
            let alerts = read(&payloads, file).unwrap().alerts;
            alerts.into_iter().map(|alert| (alert.fingerprint.clone(), alert)).collect()
        };
        let (fired, ended) = (by_fingerprint(firing), by_fingerprint(resolved));
        assert!(fired.keys().eq(ended.keys()), "{firing}, {resolved}");
        for (fired, ended) in fired.values().zip(ended.values()) {
            assert!(fired.is_firing() && !ended.is_firing(), "{firing}, {resolved}");
            assert!(ended.starts_at >= fired.starts_at, "{firing}, {resolved}");
            assert!(ended.ends_at.is_some_and(|end| end >= fired.starts_at), "{resolved}");
        }
    }
}

#[test]
fn a_repeat_says_the_same() {
    let Some(payloads) = payloads() else { return };
    let once = read(&payloads, "alertmanager/captured-0.25-firing.json");
    assert_eq!(once, read(&payloads, "alertmanager/captured-0.25-firing-repeat.json"));
}

#[test]
fn no_recorded_body_is_left_out() {
    let Some(payloads) = payloads() else { return };
    let mut found = Vec::new();
    for folder in ["", "alertmanager", "grafana", "datadog", "pagerduty", "cloudevents"] {
        for entry in std::fs::read_dir(payloads.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if name.ends_with(".json") {
                let separator = if folder.is_empty() { "" } else { "/" };
                found.push(format!("{folder}{separator}{name}"));
            }
        }
    }
    let mut known: Vec<&str> = FILES.iter().map(|(file, _)| *file).collect();
    found.sort();
    known.sort();
    assert_eq!(found, known);
}
