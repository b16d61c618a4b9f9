//! How long one Alertmanager body of 2 KB takes to read, the best of many rounds: run it in release.

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde_json::json;
use webhooks::{Format, Severities};

const ROUNDS: u32 = 200;
const READS: u32 = 2_000;

fn main() {
    let alert = |instance: &str| {
        json!({"status": "firing", "fingerprint": "983a1a0d4d0db790",
            "labels": {"alertname": "HighErrorRate", "cluster": "eu", "instance": instance,
                "job": "checkout", "service": "checkout", "severity": "critical", "team": "shop"},
            "annotations": {"runbook_url": "https://runbooks.example.com/HighErrorRate",
                "summary": "error ratio of checkout is 37%"},
            "startsAt": "2026-01-01T00:00:00.123Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph?g0.expr=error_ratio+%3E+0.05&g0.tab=1"})
    };
    let alerts = ["10.0.0.1:9100", "10.0.0.2:9100", "10.0.0.3:9100"].map(alert);
    let body = json!({"receiver": "firebreak", "status": "firing", "alerts": alerts,
        "groupLabels": {"alertname": "HighErrorRate", "service": "checkout"},
        "commonLabels": alerts[0]["labels"], "commonAnnotations": alerts[0]["annotations"],
        "externalURL": "http://alertmanager:9093", "version": "4", "truncatedAlerts": 0,
        "groupKey": "{}:{alertname=\"HighErrorRate\", service=\"checkout\"}"})
    .to_string();
    println!("a body of {} bytes, {} alerts", body.len(), alerts.len());
    for format in [Format::Alertmanager, Format::Grafana] {
        println!("{}: {:.2} us", format.name(), best(&format, body.as_bytes()).as_secs_f64() * 1e6);
    }
}

fn best(format: &Format, body: &[u8]) -> Duration {
    let (headers, severities) = (HeaderMap::new(), Severities::default());
    let now = "2026-01-01T00:00:00Z".parse().expect("a literal time");
    let round = || {
        let start = Instant::now();
        for _ in 0..READS {
            let reading = format.read("am", &headers, black_box(body), &severities, now);
            drop(black_box(reading));
        }
        start.elapsed() / READS
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}
