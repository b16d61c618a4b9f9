//! Every recorded Alertmanager body, as it was sent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::world::World;

fn recorded() -> Option<Vec<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("FIREBREAK_SHARED").map_or(beside, PathBuf::from);
    let payloads = shared.join("payloads");
    if !payloads.is_dir() {
        eprintln!("skipped: {} is absent", payloads.display());
        return None;
    }
    let mut files = Vec::new();
    for folder in [payloads.clone(), payloads.join("alertmanager")] {
        let is_in_folder = folder != payloads;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with(".json") && (is_in_folder || name.starts_with("alertmanager")) {
                files.push(path);
            }
        }
    }
    Some(files)
}

/// The targets of firing alerts, by the default correlation: what must become an incident each.
fn targets(body: &Value) -> BTreeSet<String> {
    let rules: [&[&str]; 5] = [
        &["cluster", "server"],
        &["server"],
        &["service", "instance"],
        &["instance"],
        &["service"],
    ];
    let target = |alert: &Value| {
        let label =
            |name: &&str| alert["labels"][name].as_str().map(|value| format!("{name}={value}"));
        let of_rule = |rule: &&[&str]| rule.iter().map(label).collect::<Option<Vec<_>>>();
        let found = rules.iter().find_map(of_rule);
        found.map_or_else(|| alert["labels"].to_string(), |labels| labels.join(","))
    };
    let alerts = body["alerts"].as_array().unwrap().iter();
    alerts.filter(|alert| alert["status"] == "firing").map(target).collect()
}

#[tokio::test]
async fn every_recorded_body_makes_the_right_incidents() {
    let Some(files) = recorded() else { return };
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        let world = World::alone(|_| {}).await;
        let (status, answer) = world.try_deliver(text.clone()).await;
        let name = file.display();
        assert_eq!(status, 200, "{name}: {answer}");
        let incidents = answer["incidents"].as_array().unwrap();
        assert_eq!(incidents.len(), targets(&body).len(), "{name}");
        assert_eq!(world.deliver(text).await.len(), incidents.len(), "{name}: repeated");
        let stored = world.incidents().await;
        assert_eq!(stored.len(), incidents.len(), "{name}: stored");
        for incident in stored {
            assert!(!incident["title"].as_str().unwrap().is_empty(), "{name}: {incident}");
            assert_eq!(incident["phase"]["name"], "diagnosing", "{name}");
        }
        world.stop().await;
    }
}
