//! A database that stands still while alerts keep coming: readiness goes first, then what is ordinary
//! is told to come again, never 429; what is critical and what ends still finds a place, and nothing
//! that found one is lost.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use postgres_server::Server;
use serde_json::{Value, json};
use service::{Clock, Ids, ManualClock, Process};
use store::Opened;

use super::postgres::{open, replica};
use super::sample::{alert, at, body};
use super::world::{PATIENCE, World};

/// Places in the queue.
const CAPACITY: usize = 20;

/// Somebody who keeps every delivery from being written.
struct Holder {
    psql: Child,
    says: ChildStdin,
}

impl Holder {
    fn new(server: &Server) -> Self {
        let mut psql = Command::new("psql")
            .args([&server.url(), "-q", "-X", "-v", "ON_ERROR_STOP=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = psql.stdin.take().unwrap();
        says.write_all(b"BEGIN; LOCK TABLE ingress.delivery;\n\\echo held\n").unwrap();
        says.flush().unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self { psql, says }
    }

    fn lets_go(self) {
        let Self { mut psql, says } = self;
        drop(says);
        assert!(psql.wait().unwrap().success());
    }
}

/// Has somebody else change the database.
fn change(server: &Server, sql: &str) {
    let mut psql = Command::new("psql");
    psql.args([&server.url(), "-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", sql]);
    assert!(psql.status().unwrap().success(), "{sql}");
}

fn one(name: &str, severity: &str, status: &str) -> String {
    let mut one = alert(name, status, 0);
    one["labels"]["severity"] = json!(severity);
    if status == "resolved" {
        one["endsAt"] = json!(at(9));
    }
    body(&[one])
}

/// Deliveries on their way.
type Senders<'a> = FuturesUnordered<BoxFuture<'a, (u16, Value)>>;

/// Lets deliveries go on until `is_so`.
async fn until(senders: &mut Senders<'_>, what: &str, is_so: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "never {what}");
        tokio::select! {
            biased;
            Some(early) = senders.next() => panic!("{what}: answered {early:?}"),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

async fn number(world: &World, metric: &str) -> f64 {
    let metrics = world.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(metric));
    let value = lines.find_map(|value| value.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

async fn is_ready(world: &World) -> bool {
    let answer = world.get(world.url("/readyz")).send().await.unwrap();
    let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert!(status == 200 || text.contains("intake_queue"), "{status}: {text}");
    status == 200
}

#[tokio::test]
async fn a_database_that_stands_still_costs_nothing_that_was_acknowledged() {
    let Some(server) = Server::start() else { return };
    let settings = World::alone(|config| {
        config.lease_seconds = 3_600;
        config.queue_capacity = CAPACITY;
    })
    .await;
    settings.stop().await;
    // Nobody loses patience: what waits for a place would be told to come again after a while.
    let clock = Clock::Manual(ManualClock::starting_at(at(600)));
    let process = Process::with("ingress", clock, Ids::default());
    let Opened { store, tasks } = open(&server, "a").await;
    let world = settings.replica_as(process, store, tasks).await;
    let ended = world.deliver_one(one("ends", "warning", "firing")).await;
    let holder = Holder::new(&server);
    let send = |body: String| -> BoxFuture<'_, (u16, Value)> { Box::pin(world.try_deliver(body)) };
    let mut senders = Senders::new();
    let depth =
        async |count: usize| number(&world, "firebreak_intake_queue_depth").await == count as f64;

    // One is in the hands of the intake; the others wait.
    senders.push(send(one("first", "warning", "firing")));
    let begun = async || {
        let counted = number(&world, "firebreak_intake_batch_deliveries_count").await;
        counted == 2.0
    };
    until(&mut senders, "in hand", begun).await;
    // A commit is given up after a while, so that few questions are asked meanwhile.
    let red = CAPACITY * 4 / 5;
    let mut waiting = 0;
    for (count, is_green) in [(red - 1, true), (red, false), (CAPACITY - 2, false)] {
        while waiting < count {
            waiting += 1;
            senders.push(send(one(&format!("ordinary-{waiting}"), "warning", "firing")));
        }
        until(&mut senders, "in the queue", async || depth(count).await).await;
        assert_eq!(is_ready(&world).await, is_green, "it is red at {red}, before any is shed");
    }
    let shed = world.webhook(one("shed", "warning", "firing"));
    let shed = shed.send().await.unwrap();
    assert_eq!(
        (shed.status().as_u16(), &shed.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );

    // The last places are for what is critical, and for what ends.
    senders.push(send(one("critical", "critical", "firing")));
    until(&mut senders, "in the queue", async || depth(CAPACITY - 1).await).await;
    senders.push(send(one("critical-2", "critical", "firing")));
    until(&mut senders, "full", async || depth(CAPACITY).await).await;
    let (status, _) = world.try_deliver(one("critical-3", "critical", "firing")).await;
    assert_eq!(status, 503);
    // What ends waits for a place where there is none.
    let mut ends = send(one("ends", "warning", "resolved"));
    tokio::select! {
        biased;
        answer = &mut ends => panic!("{answer:?}"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    holder.lets_go();
    let (status, answer) = ends.await;
    assert_eq!((status, &answer["incidents"][0]), (200, &json!(ended)));
    let answers = join_all(senders).await;
    assert_eq!(answers.len(), CAPACITY + 1);
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert!(is_ready(&world).await);
    assert_eq!(world.incidents().await.len(), CAPACITY + 2);
    for (class, count) in [("ordinary", 1.0), ("critical", 1.0), ("resolved", 0.0)] {
        let metric = format!("firebreak_intake_shed_total{{class=\"{class}\"}}");
        assert_eq!(number(&world, &metric).await, count, "{class}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_delivery_that_cannot_be_stored_fails_alone() {
    let Some(server) = Server::start() else { return };
    let settings = World::alone(|config| config.lease_seconds = 3_600).await;
    settings.stop().await;
    let world = replica(&settings, &server, "a").await;
    change(&server, "ALTER TABLE ingress.delivery ADD CHECK (body NOT LIKE '%poison%')");
    let holder = Holder::new(&server);
    let send = |name: &str| -> BoxFuture<'_, (u16, Value)> {
        Box::pin(world.try_deliver(one(name, "warning", "firing")))
    };
    let mut senders = Senders::new();
    senders.push(send("first"));
    let is_in_hand =
        async || number(&world, "firebreak_intake_batch_deliveries_count").await == 1.0;
    until(&mut senders, "in hand", is_in_hand).await;
    let mut poison = send("poison");
    tokio::select! {
        biased;
        answer = &mut poison => panic!("{answer:?}"),
        () = until(&mut senders, "in the queue", async || {
            number(&world, "firebreak_intake_queue_depth").await == 1.0
        }) => {}
    }
    for name in ["a", "b", "c"] {
        senders.push(send(name));
    }
    let is_there = async || number(&world, "firebreak_intake_queue_depth").await == 4.0;
    until(&mut senders, "in the queue", is_there).await;
    holder.lets_go();
    let (answers, (status, _)) = tokio::join!(join_all(senders), poison);
    assert_eq!(status, 503);
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(world.incidents().await.len(), 4);
    world.stop().await;
}
