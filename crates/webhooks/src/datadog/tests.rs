//! Notifications of Datadog, by the default body and by templates.

use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn read_json(body: &Value) -> Result<Alert, BadField> {
    read("dd", &body.to_string(), &Severities::default(), now())
        .map(|mut reading| reading.alerts.remove(0))
}

fn default_body(title: &str) -> Value {
    json!({"id": "1", "last_updated": "1733930132000", "event_type": "query_alert_monitor",
        "title": title, "date": "1733930132000", "org": {"id": "1", "name": "o"},
        "body": "%%%\nslow\n\nThe monitor was last triggered at Wed Dec 11 2024 15:15:32 UTC.\n\n\
            [[Monitor Status](https://app.datadoghq.com/monitors/77?group=host%3Adb-1&x=1)]\n%%%"})
}

#[test]
fn the_default_body_is_paired_by_the_monitor_in_its_text_and_the_scope_in_its_title() {
    let fired = read_json(&default_body("[Triggered on {host:db-1}] Disk is full")).unwrap();
    assert_eq!((fired.name.as_str(), fired.is_firing()), ("Disk is full", true));
    assert_eq!(fired.fingerprint, "monitor:77:host:db-1");
    assert_eq!(fired.severity, Severity::Critical);
    assert_eq!((fired.label("host"), fired.label("server")), (Some("db-1"), Some("db-1")));
    assert_eq!(fired.starts_at.to_string(), "2024-12-11T15:15:32Z");
    assert!(fired.is_start_known);
    assert_eq!(fired.generator_url, "https://app.datadoghq.com/monitors/77");
    let mut body = default_body("[Recovered on {host:db-1}] Disk is full");
    (body["id"], body["date"]) = (json!("2"), json!("1733930232000"));
    let ended = read_json(&body).unwrap();
    assert_eq!((ended.is_firing(), &ended.fingerprint), (false, &fired.fingerprint));
    assert_eq!(ended.starts_at, fired.starts_at);
    assert_eq!(ended.ends_at.unwrap().to_string(), "2024-12-11T15:17:12Z");
}

#[test]
fn the_same_episode_starts_at_the_same_time_however_often_it_is_said() {
    let mut again = default_body("[Renotify on {host:db-1}] Disk is full");
    again["date"] = json!("1733937332000");
    let fired = read_json(&default_body("[Triggered on {host:db-1}] Disk is full")).unwrap();
    assert_eq!(read_json(&again).unwrap().starts_at, fired.starts_at);
    again["body"] = json!("");
    assert!(!read_json(&again).unwrap().is_start_known, "its date is the event's");
}

#[test]
fn a_cycle_pairs_first_and_the_order_of_a_scope_is_nothing() {
    let body = |scope: &str, cycle: &str| {
        json!({"title": "[Triggered] Load", "alert_id": 77, "alert_scope": scope,
            "alert_cycle_key": cycle, "alert_transition": "Triggered"})
    };
    let of = |scope, cycle| read_json(&body(scope, cycle)).unwrap().fingerprint;
    assert_eq!(of("env:p,host:a", "123"), "cycle:123");
    assert_eq!(of("env:p,host:a", "$ALERT_CYCLE_KEY"), "monitor:77:env:p,host:a");
    assert_eq!(of("host:a, env:p", ""), "monitor:77:env:p,host:a");
    assert_eq!(of("*", ""), "monitor:77:");
}

#[test]
fn variables_that_were_not_filled_in_are_absent() {
    let body = json!({"title": "[Warn] Load", "alert_transition": "$ALERT_TRANSITION",
        "hostname": "$HOSTNAME", "tags": "$TAGS", "alert_scope": "$ALERT_SCOPE", "date": "$DATE",
        "alert_priority": "$ALERT_PRIORITY", "link": "$LINK", "body": "$TEXT_ONLY_MSG"});
    let alert = read_json(&body).unwrap();
    assert_eq!((alert.severity, alert.starts_at), (Severity::Warning, now()));
    assert_eq!(alert.labels.keys().collect::<Vec<_>>(), ["alertname"]);
    assert_eq!(alert.fingerprint, "title:Load:");
    assert!(is_absent("$TAGS[env]") && is_absent("  ") && !is_absent("$5 a day"));
}

#[test]
fn tags_become_labels_and_the_scope_wins() {
    let body = json!({"title": "[P1] [Triggered] Load", "monitor_id": "7", "date": 1733930132,
        "scopes": "env:prod", "tags": "env:test,monitor,team:a,team:b,team:a,url:http://x/y",
        "host_name": "web-1"});
    let alert = read_json(&body).unwrap();
    let label = |name| alert.label(name);
    assert_eq!(
        (label("env"), label("team"), label("monitor")),
        (Some("prod"), Some("a,b"), Some("true"))
    );
    assert_eq!((label("url"), label("server")), (Some("http://x/y"), Some("web-1")));
    assert_eq!(alert.starts_at.to_string(), "2024-12-11T15:15:32Z");
}

#[test]
fn severity_is_of_the_state_then_tags_then_priority() {
    let of = |transition: &str, tags: &str, priority: &str| {
        let body = json!({"title": "Load", "alert_transition": transition, "tags": tags,
            "alert_priority": priority});
        read_json(&body).unwrap().severity
    };
    assert_eq!(of("Warn", "severity:critical", "P1"), Severity::Warning);
    assert_eq!(of("No Data", "", "P1"), Severity::Warning);
    assert_eq!(of("Triggered", "severity:info", "P1"), Severity::Info);
    assert_eq!(of("Triggered", "", "P4"), Severity::Info);
    assert_eq!(of("Triggered", "", ""), Severity::Critical);
}

#[test]
fn a_warning_that_is_said_again_stays_one() {
    let of = |kind: &str| {
        let body = json!({"title": "Load", "alert_transition": "Renotify", "alert_type": kind});
        read_json(&body).unwrap().severity
    };
    assert_eq!((of("warning"), of("error")), (Severity::Warning, Severity::Critical));
}

#[test]
fn no_data_is_the_same_alert_and_marked() {
    let mut body = default_body("[No Data on {host:db-1}] Disk is full");
    let silent = read_json(&body).unwrap();
    assert_eq!(silent.label(MISSING_DATA), Some("no_data"));
    body["title"] = json!("[Recovered on {host:db-1}] Disk is full");
    let ended = read_json(&body).unwrap();
    assert_eq!((ended.label(MISSING_DATA), &ended.fingerprint), (None, &silent.fingerprint));
}

#[test]
fn what_cannot_be_used_is_named() {
    let error = |body: Value| read_json(&body).unwrap_err().to_string();
    let state = error(json!({"title": "Disk is full"}));
    assert!(state.starts_with("title: says no state"), "{state}");
    assert!(state.contains("$ALERT_TRANSITION"), "{state}");
    let transition = error(json!({"title": "Disk", "alert_transition": "Muted"}));
    assert_eq!(transition, "alert_transition: \"Muted\" is no transition");
    let date = error(json!({"title": "[Warn] Disk", "date": "noon"}));
    assert!(date.starts_with("date: \"noon\" is not"), "{date}");
    let tags = (0..300).map(|at| format!("t{at}:v")).collect::<Vec<_>>().join(",");
    let tags = error(json!({"title": "[Warn] Disk", "tags": tags}));
    assert_eq!(tags, "tags: holds 257 pairs; at most 256 are taken");
    assert_eq!(error(json!({"title": ["x"]})), "title: must be a text");
    let nobody = error(json!({"alert_transition": "Warn"}));
    assert!(nobody.starts_with("alert_id: is missing"), "{nobody}");
}
