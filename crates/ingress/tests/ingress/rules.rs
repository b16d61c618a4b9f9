//! Enrichment and correlation: what depends on one thing is one incident, which says who owns it, and
//! files that change are taken up.

use std::path::Path;

use ingress::Enrichment;
use serde_json::{Value, json};

use super::agents::ticket_update;
use super::sample::{alert, body};
use super::world::{PATIENCE, World};

const OWNERS: &str = "server,owner,tier,runbook_url\nweb,shop,2,https://runbooks.example/web\n\
    api,shop,2,\ndb-1,dba,1,https://runbooks.example/db\n";
const SERVICES: &str =
    "services:\n  web: {depends_on: [api]}\n  api: {depends_on: [db-1]}\n  db-1: {}\n";

/// Ingress with the two files in a directory.
async fn world(directory: &Path) -> World {
    let (owners, services) = (directory.join("owners.csv"), directory.join("services.yaml"));
    std::fs::write(&owners, OWNERS).unwrap();
    std::fs::write(&services, SERVICES).unwrap();
    let table = Enrichment { file: owners, match_label: "server".into(), labels: None };
    let world = World::alone(|config| {
        config.enrichment = vec![table];
        config.dependencies = Some(services);
    });
    world.await
}

fn firing(server: &str, number: usize) -> String {
    let mut alert = alert(server, "firing", 0);
    alert["fingerprint"] = json!(format!("{server}-{number}"));
    body(&[alert])
}

fn tags(incident: &Value) -> Vec<&str> {
    incident["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect()
}

/// Waits until the metric says that a file was taken, or refused.
async fn until_file(world: &World, file: &str, is_refused: u8) {
    let looking = async {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            pause.tick().await;
            let answer = world.get(world.url("/metrics")).send().await.unwrap();
            let metrics = answer.text().await.unwrap();
            let line = |line: &&str| line.starts_with("firebreak_rule_files_refused");
            let mut lines = metrics.lines().filter(line);
            if lines.any(|line| line.ends_with(&format!("{file}\"}} {is_refused}"))) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("the file is looked at");
}

#[tokio::test]
async fn what_depends_on_one_database_is_one_incident_that_says_who_owns_it() {
    for order in [["web", "api", "db-1"], ["db-1", "web", "api"], ["api", "db-1", "web"]] {
        let directory = tempfile::tempdir().unwrap();
        let world = world(directory.path()).await;
        world.bring_agents().await;
        let mut ids = Vec::new();
        for server in order {
            ids.push(world.deliver_one(firing(server, 1)).await);
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{order:?}: {ids:?}");
        assert_eq!(world.incidents().await.len(), 1);
        let incident = world.incident(&ids[0]).await;
        assert_eq!(incident["key"], r#"root "db-1""#);
        let (owner, tier) = if order[0] == "db-1" { ("dba", 1) } else { ("shop", 2) };
        let owner_and_tier = [format!("owner:{owner}"), format!("tier:{tier}")];
        assert!(
            owner_and_tier.iter().all(|tag| tags(&incident).contains(&tag.as_str())),
            "{incident}"
        );
        let owners: Vec<&Value> = incident["alerts"].as_array().unwrap().iter().collect();
        assert_eq!(owners.len(), 3, "{incident}");
        assert!(owners.iter().all(|tracked| tracked["alert"]["labels"]["owner"].is_string()));
        if order[0] != "api" {
            world.until(&ids[0], "a ticket", |incident| !incident["ticket"].is_null()).await;
            let told = ticket_update(world.ticketing.player.asked().last().unwrap());
            assert!(told.description.contains("\nRunbook: https://runbooks.example/"), "{told:?}");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn changed_files_are_taken_up_and_bad_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path()).await;
    let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
    let of_db = world.deliver_one(firing("db-1", 1)).await;
    assert_eq!(world.deliver_one(firing("web", 1)).await, of_db);

    write("owners.csv", "server,owner\nweb,night-shift\nweb,day-shift\n");
    until_file(&world, "owners.csv", 1).await;
    write("services.yaml", "services: {web: {depends_on: [web]}}\n");
    until_file(&world, "services.yaml", 1).await;
    assert_eq!(world.deliver_one(firing("web", 2)).await, of_db, "what made sense still counts");

    write("owners.csv", "server,owner\nweb,night-shift\n");
    until_file(&world, "owners.csv", 0).await;
    write("services.yaml", "services: {web: {depends_on: [cache]}, cache: {}}\n");
    until_file(&world, "services.yaml", 0).await;
    let of_cache = world.deliver_one(firing("web", 3)).await;
    assert_ne!(of_cache, of_db);
    let incident = world.incident(&of_cache).await;
    assert_eq!(incident["key"], r#"root "cache""#);
    assert!(tags(&incident).contains(&"owner:night-shift"), "{incident}");
    assert_eq!(world.deliver_one(firing("web", 1)).await, of_db, "an alert stays where it is");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("owners.csv");
    std::fs::write(&file, "server,owner\ndb-1\n").unwrap();
    let table = Enrichment { file, match_label: "server".into(), labels: None };
    let config = ingress::Config {
        database: directory.path().join("ingress.db").display().to_string(),
        enrichment: vec![table],
        ..ingress::Config::default()
    };
    let started = ingress::start(config, service::Process::new("ingress")).await;
    let why = format!("{:#}", started.err().unwrap());
    assert!(why.contains("owners.csv:2: field `server`: the line has 1 fields"), "{why}");
}
