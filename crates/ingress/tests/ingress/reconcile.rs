//! What webhooks failed to tell, found at real Alertmanagers.

use std::time::Duration;

use ingress::{AlertmanagerPeer, Config, Reconciliation};
use jiff::Timestamp;
use serde_json::Value;

use super::alertmanager::{Alert, Alertmanager, posting_to};
use super::world::{PATIENCE, World};

/// Two receivers, neither of which posts anywhere: every webhook is lost.
const LOST: &str = "\
route:
  receiver: firebreak
  group_by: [alertname]
  group_wait: 0s
  routes:
    - receiver: others
      matchers: ['team=\"others\"']
receivers:
  - name: firebreak
  - name: others
";

/// Asked every second, and believed from its start on.
fn asking<'a>(alertmanagers: &'a [&'a Alertmanager]) -> impl FnOnce(&mut Config) + 'a {
    move |config| {
        let settings = Reconciliation { settled_seconds: 0, ..reconciliation(alertmanagers) };
        reconcile(config, settings);
    }
}

fn reconcile(config: &mut Config, settings: Reconciliation) {
    config.sources.get_mut("alertmanager").unwrap().reconcile = Some(settings);
}

fn reconciliation(alertmanagers: &[&Alertmanager]) -> Reconciliation {
    let peer = |one: &&Alertmanager| {
        let url = one.url().parse().unwrap();
        AlertmanagerPeer { url, token_file: None, basic: None }
    };
    let alertmanagers = alertmanagers.iter().map(peer).collect();
    Reconciliation { alertmanagers, reconcile_seconds: 1, ..Reconciliation::default() }
}

/// How the one source is reconciled.
async fn standing(world: &World) -> Value {
    world.read("/api/v1/reconciliation").await[0].clone()
}

/// Waits until a round is as asked that began after this call.
async fn until_round(world: &World, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = |standing: &Value| {
        let at = standing["last_round_at"].as_str();
        at.map(|at| at.parse::<Timestamp>().unwrap())
    };
    let before = began(&standing(world).await);
    let waiting = async {
        loop {
            let now = standing(world).await;
            // The round that was under way may have asked before.
            if began(&now) > before && is_so(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    match waited {
        Ok(standing) => standing,
        Err(_) => panic!("never so: {}", standing(world).await),
    }
}

/// Two whole rounds from now: whatever differed when this is called is mended.
async fn reconciled(world: &World) {
    until_round(world, |round| round["outcome"] == "whole").await;
    until_round(world, |round| round["outcome"] == "whole").await;
}

/// Phase and alerts that fire, by title.
async fn told(world: &World) -> Vec<(String, String, usize)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |incident: &Value| {
        let alerts = incident["alerts"].as_array().unwrap().iter();
        let firing = alerts.filter(|tracked| tracked["alert"]["status"] == "firing").count();
        (text(&incident["title"]), text(&incident["phase"]["name"]), firing)
    };
    let mut all: Vec<_> = world.incidents().await.iter().map(of).collect();
    all.sort();
    all
}

fn incident(server: &str, phase: &str, firing: usize) -> (String, String, usize) {
    (format!("disk of {server} is full"), phase.into(), firing)
}

#[tokio::test]
async fn what_was_lost_while_ingress_was_away_is_found_once_and_others_are_left_alone() {
    let Some(mut alertmanager) = Alertmanager::prepare() else { return };
    alertmanager.start(LOST).await;
    let mut world = World::alone(asking(&[&alertmanager])).await;
    alertmanager.put(&[Alert::on("db-1"), Alert::on("db-2")]).await;
    world.deliver(alertmanager.as_webhook().await).await;
    world.stop().await;
    // Ten minutes without ingress: one alert ends, one goes on, one begins, one comes and goes.
    alertmanager
        .put(&[
            Alert::on("db-1").since(-900).until(-1),
            Alert::on("db-3").since(-500),
            Alert::on("db-4").since(-400).until(-100),
            Alert { team: "others", ..Alert::on("db-5") },
        ])
        .await;
    world.restart().await;
    reconciled(&world).await;
    let expected = [
        incident("db-1", "resolved", 0),
        incident("db-2", "diagnosing", 1),
        incident("db-3", "diagnosing", 1),
    ];
    assert_eq!(told(&world).await, expected);
    let all = world.incidents().await;
    let one = all.iter().find(|one| one["title"] == "disk of db-1 is full").unwrap();
    let learnt = &one["alerts"][0]["alert"]["annotations"]["firebreak_learnt_by"];
    assert!(learnt.as_str().unwrap().contains("reconciliation"), "{one}");
    // It fires again, and is found again; nothing is found twice.
    alertmanager.put(&[Alert::on("db-1")]).await;
    reconciled(&world).await;
    let expected = [
        incident("db-1", "diagnosing", 1),
        incident("db-2", "diagnosing", 1),
        incident("db-3", "diagnosing", 1),
    ];
    assert_eq!(told(&world).await, expected);
    for one in world.incidents().await {
        let kinds = world.kinds(one["id"].as_str().unwrap()).await;
        let fired = kinds.iter().filter(|kind| *kind == "alert_fired").count();
        let expected = if one["title"] == "disk of db-1 is full" { 2 } else { 1 };
        assert_eq!(fired, expected, "{one}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_webhook_that_leaves_alerts_out_has_the_others_asked_for() {
    let Some(mut alertmanager) = Alertmanager::prepare() else { return };
    let settings = reconciliation(&[&alertmanager]);
    let hourly = Reconciliation { reconcile_seconds: 3600, settled_seconds: 0, ..settings };
    let world = World::alone(|config| reconcile(config, hourly)).await;
    // The first round has nobody to ask.
    until_round_ended(&world).await;
    let webhook = world.url("/webhooks/alertmanager");
    alertmanager.start(&posting_to(&webhook, "max_alerts: 2")).await;
    let servers = ["db-1", "db-2", "db-3", "db-4", "db-5"];
    alertmanager.put(&servers.map(Alert::on)).await;
    let found = until_round(&world, |round| round["found"]["missing"] == 3).await;
    assert_eq!(found["outcome"], "whole", "{found}");
    let expected = servers.map(|server| incident(server, "diagnosing", 1));
    assert_eq!(told(&world).await, expected);
    world.stop().await;
}

async fn until_round_ended(world: &World) {
    let waiting = async {
        while standing(world).await["last_round_at"].is_null() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn an_alertmanager_that_has_just_started_resolves_nothing() {
    let Some(mut alertmanager) = Alertmanager::prepare() else { return };
    let settings = reconciliation(&[&alertmanager]);
    let world = World::alone(|config| reconcile(config, settings)).await;
    let webhook = world.url("/webhooks/alertmanager");
    alertmanager.start(&posting_to(&webhook, "")).await;
    alertmanager.put(&[Alert::on("db-1")]).await;
    let lists = |count: usize| move |round: &Value| round["alertmanagers"][0]["alerts"] == count;
    until_round(&world, lists(1)).await;
    alertmanager.restart().await;
    until_round(&world, lists(0)).await;
    let round = until_round(&world, lists(0)).await;
    assert_eq!(round["outcome"], "partial", "{round}");
    let trouble = round["alertmanagers"][0]["trouble"].as_str().unwrap();
    assert!(trouble.starts_with("up for "), "{round}");
    assert_eq!(told(&world).await, [incident("db-1", "diagnosing", 1)]);
    world.stop().await;
}

#[tokio::test]
async fn of_two_alertmanagers_of_a_cluster_both_must_lack_what_is_gone() {
    let (Some(one), Some(other)) = (Alertmanager::prepare(), Alertmanager::prepare()) else {
        return;
    };
    let gossip = [service::own_loopback_address(), service::own_loopback_address()];
    let mut one = one.gossiping(&gossip[0], &[]);
    let mut other = other.gossiping(&gossip[1], &[&gossip[0]]);
    one.start(LOST).await;
    other.start(LOST).await;
    let world = World::alone(asking(&[&one, &other])).await;
    for alertmanager in [&one, &other] {
        alertmanager.put(&[Alert::on("db-1").since(-60), Alert::on("db-2").since(-60)]).await;
    }
    reconciled(&world).await;
    for alertmanager in [&one, &other] {
        world.deliver(alertmanager.as_webhook().await).await;
    }
    let both = [incident("db-1", "diagnosing", 1), incident("db-2", "diagnosing", 1)];
    assert_eq!(told(&world).await, both, "twice listed, twice posted, once known");
    // One is down: what the other has is taken in, what it lacks may be what the first has.
    other.kill().await;
    one.put(&[Alert::on("db-1").since(-60).until(-1), Alert::on("db-3")]).await;
    until_round(&world, |round| round["outcome"] == "partial").await;
    until_round(&world, |round| round["outcome"] == "partial").await;
    let [db_1, db_2] = both;
    let with_new = [db_1, db_2, incident("db-3", "diagnosing", 1)];
    assert_eq!(told(&world).await, with_new);
    // It is back, and knows of nothing: neither lists the first alert, one lists the others.
    other.restart().await;
    reconciled(&world).await;
    let [_, db_2, db_3] = with_new;
    assert_eq!(told(&world).await, [incident("db-1", "resolved", 0), db_2, db_3]);
    world.stop().await;
}

#[tokio::test]
async fn alertmanagers_that_post_the_same_are_one_incident() {
    let (Some(mut one), Some(mut other)) = (Alertmanager::prepare(), Alertmanager::prepare())
    else {
        return;
    };
    let world = World::alone(|_| {}).await;
    let webhook = world.url("/webhooks/alertmanager");
    for alertmanager in [&mut one, &mut other] {
        alertmanager.start(&posting_to(&webhook, "")).await;
    }
    // Neither knows of the other: each says for itself that the alert began, and that it ended.
    for (ends, phase, firing) in [(None, "diagnosing", 1), (Some(-1), "resolved", 0)] {
        for alertmanager in [&one, &other] {
            alertmanager.put(&[Alert { ends, ..Alert::on("db-1").since(-60) }]).await;
        }
        until_posts(&world, if firing == 1 { 2 } else { 4 }).await;
        assert_eq!(told(&world).await, [incident("db-1", phase, firing)]);
    }
    world.stop().await;
}

/// Waits for so many deliveries that were answered with 200.
async fn until_posts(world: &World, count: u64) {
    let posted = || async {
        let text = world.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| {
            line.starts_with("firebreak_webhook_deliveries_total") && line.contains("\"200\"")
        });
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    let waiting = async {
        while posted().await < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(posted().await, count);
}

#[tokio::test]
async fn an_alertmanager_that_is_away_stops_nothing() {
    let Some(alertmanager) = Alertmanager::prepare() else { return };
    let world = World::alone(asking(&[&alertmanager])).await;
    let id = world.deliver_one(super::sample::firing("db-1")).await;
    world.until_phase(&id, "diagnosing").await;
    until_round_ended(&world).await;
    let round = standing(&world).await;
    assert_eq!(round["outcome"], "failed", "{round}");
    assert_eq!(world.incidents().await.len(), 1);
    tokio::time::timeout(Duration::from_secs(10), world.stop()).await.unwrap();
}

#[tokio::test]
async fn what_somebody_silences_is_left_alone_until_the_silence_is_over() {
    let Some(mut alertmanager) = Alertmanager::prepare() else { return };
    alertmanager.start(LOST).await;
    let world = World::alone(asking(&[&alertmanager])).await;
    alertmanager.put(&[Alert::on("db-1"), Alert::on("db-2")]).await;
    reconciled(&world).await;
    let silence = alertmanager.silence("db-1").await;
    reconciled(&world).await;
    let both = |phase| [incident("db-1", phase, 1), incident("db-2", "diagnosing", 1)];
    assert_eq!(told(&world).await, both("suppressed"));
    let all = world.incidents().await;
    let reason = all.iter().find_map(|incident| incident["phase"]["reason"].as_str());
    assert!(reason.unwrap().contains(&silence), "{reason:?}");
    alertmanager.end_silence(&silence).await;
    reconciled(&world).await;
    assert_eq!(told(&world).await, both("diagnosing"), "the same incident, reopened");
    world.stop().await;
}
