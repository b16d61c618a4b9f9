//! Two replicas of ingress on a real PostgreSQL server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use postgres_server::Server;
use service::{Clock, ProcessIdentity};
use store::{OpenOptions, Opened};

use super::sample::{firing, resolved};
use super::storm::sixty_four_bring_the_same;
use super::world::World;

pub(crate) async fn replica(beside: &World, server: &Server, id: &str) -> World {
    let opened = open(server, id).await;
    beside.replica_with(opened.store, opened.tasks).await
}

pub(crate) async fn open(server: &Server, id: &str) -> Opened {
    let this = ProcessIdentity::current();
    let options = OpenOptions::of_process(
        id.into(),
        (this.host, this.pid, this.start_time),
        |_, _, _| false,
        Duration::from_secs(3_600),
        Arc::new(|| Clock::System.now()),
    );
    Box::pin(store::open(&server.url(), "ingress", options)).await.unwrap()
}

#[tokio::test]
async fn two_replicas_on_postgres_do_everything_once_and_one_takes_over_from_the_other() {
    let Some(server) = Server::start() else { return };
    let settings = World::alone(|config| config.lease_seconds = 3_600).await;
    settings.stop().await;
    settings.bring_agents().await;
    let a = replica(&settings, &server, "a").await;
    let b = replica(&settings, &server, "b").await;
    let both = [&a, &b];

    // The same alert at both, and many at once.
    let names: Vec<String> = (0..12).map(|number| format!("db-{number}")).collect();
    let twice = names.iter().flat_map(|name| [(name, &a), (name, &b)]);
    let ids = join_all(twice.map(|(name, world)| world.deliver_one(firing(name)))).await;
    let ids: BTreeSet<String> = ids.into_iter().collect();
    assert_eq!(ids.len(), names.len());
    join_all(ids.iter().map(|id| b.until_phase(id, "resolved"))).await;
    let ends = names.iter().enumerate();
    join_all(ends.map(|(number, name)| both[number % 2].deliver_one(resolved(name)))).await;
    for id in &ids {
        b.until_ticket(id, "Closed").await;
        let told = a.kinds(id).await;
        for once in ["incident_opened", "alert_fired", "diagnosed", "concluded", "closed"] {
            let count = told.iter().filter(|kind| *kind == once).count();
            assert_eq!(count, 1, "{once} in {told:?}");
        }
    }
    assert_eq!(a.diagnostic.player.asked().len(), names.len());
    assert_eq!(a.resolution.player.asked().len(), names.len());

    // One stops in the middle of its work; its lease would last for an hour.
    a.resolution.player.close();
    let late = ["late-1", "late-2", "late-3", "late-4"];
    let late = late.iter().enumerate();
    let ids = join_all(late.map(|(number, name)| both[number % 2].deliver_one(firing(name)))).await;
    join_all(ids.iter().map(|id| b.until_phase(id, "verifying"))).await;
    a.stop().await;
    b.resolution.player.open();
    join_all(ids.iter().map(|id| b.until_phase(id, "resolved"))).await;
    assert_eq!(b.resolution.player.asked().len(), names.len() + ids.len());
}

#[tokio::test]
async fn sixty_four_senders_of_the_same_new_alerts_at_two_replicas_make_each_once() {
    let Some(server) = Server::start() else { return };
    let settings = World::alone(|config| config.lease_seconds = 3_600).await;
    settings.stop().await;
    let a = replica(&settings, &server, "a").await;
    let b = replica(&settings, &server, "b").await;
    sixty_four_bring_the_same(&[&a, &b]).await;
    a.stop().await;
    b.stop().await;
}
