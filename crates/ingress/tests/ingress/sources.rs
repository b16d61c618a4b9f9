//! Who may post: every source proves that a request is from it, and what does not prove it leaves no
//! row but a count.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use ingress::{Config, SourceConfigs};
use reqwest::RequestBuilder;
use serde_json::Value;
use service::{Clock, ProcessIdentity};
use sha2::Sha256;
use store::{Fault, Faults, MemoryDatabase, OpenOptions, Replica};

use super::sample::{firing, resolved};
use super::world::{PATIENCE, WEBHOOK_TOKEN, World};

const SECRET: &str = "a-secret-that-nobody-guesses";
const OTHER: &str = "another-secret-for-the-change";
const REFUSED: &str = "the request does not prove that it is from this source";

/// A source `s` whose secrets are in two files, the second of which is not there yet.
struct Secrets {
    directory: tempfile::TempDir,
}

impl Secrets {
    fn new() -> Self {
        let secrets = Self { directory: tempfile::tempdir().unwrap() };
        secrets.put("one", SECRET);
        secrets
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As secrets are exchanged: a new file takes the place of the old one.
    fn put(&self, name: &str, secret: &str) {
        std::fs::write(self.path("next"), format!("{secret}\n")).unwrap();
        std::fs::rename(self.path("next"), self.path(name)).unwrap();
    }

    /// `sources` with the paths of the files in place of `FILES`.
    async fn world(&self, sources: &str) -> World {
        World::alone(|config| config.sources = self.sources(sources)).await
    }

    fn sources(&self, text: &str) -> SourceConfigs {
        let files = format!("files: [{:?}, {:?}]", self.path("one"), self.path("two"));
        service::parse_yaml(&text.replace("FILES", &files), "sources").unwrap()
    }
}

/// Everything that ingress has stored, once it has stopped.
struct Rows {
    deliveries: usize,
    alerts: usize,
    incidents: usize,
    /// Source, reason, count.
    refusals: Vec<(String, String, i64)>,
}

async fn rows(world: &World) -> Rows {
    world.stop().await;
    let this = ProcessIdentity::current();
    let options = OpenOptions::of_process(
        "looks".into(),
        (this.host, this.pid, this.start_time),
        |_, _, _| true,
        Duration::from_secs(3_600),
        Arc::new(|| Clock::System.now()),
    );
    let opened = Box::pin(store::open(&world.config.database, "ingress", options)).await.unwrap();
    let store = opened.store;
    let mut alerts = 0;
    for source in world.config.sources.keys() {
        alerts += store.firing_alerts(source.clone(), None, 100).await.unwrap().len();
    }
    let mut refusals: Vec<_> = store.refusals(100).await.unwrap();
    refusals.sort_by_key(|row| row.minute);
    let rows = Rows {
        deliveries: store.deliveries(0, 100).await.unwrap().len(),
        alerts,
        incidents: store.incidents(100, None).await.unwrap().len(),
        refusals: refusals.into_iter().map(|row| (row.source, row.reason, row.count)).collect(),
    };
    store.close().await;
    rows
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Sends until it is answered as expected: a changed file counts after a moment.
async fn until_status(expected: u16, request: impl Fn() -> RequestBuilder) {
    let started = Instant::now();
    loop {
        let answered = status(request()).await;
        if answered == expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "still {answered}, not {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As Grafana signs: hex of the HMAC-SHA256 over the time, a colon and the body.
pub(crate) fn sign(secret: &str, time: Option<&str>, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    if let Some(time) = time {
        mac.update(format!("{time}:").as_bytes());
    }
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

const SIGNED: &str =
    "s: {kind: alertmanager, authentication: {hmac: {FILES, timestamp_header: X-Signed-At}}}";

fn signed(world: &World, secret: &str, at: i64, body: &str) -> RequestBuilder {
    let time = at.to_string();
    world
        .post("/webhooks/s", body.to_owned())
        .header("X-Grafana-Alerting-Signature", sign(secret, Some(&time), body))
        .header("X-Signed-At", time)
}

pub(crate) fn now() -> i64 {
    Clock::System.now().as_second()
}

#[tokio::test]
async fn what_is_forged_or_unsigned_is_refused_alike_leaves_no_row_and_is_counted() {
    let secrets = Secrets::new();
    let world = secrets.world("s: {kind: alertmanager, authentication: {bearer: {FILES}}}").await;
    let post = || world.post("/webhooks/s", firing("db-1"));
    let attempts = [
        post(),
        post().bearer_auth("guessed-guessed-guessed"),
        post().bearer_auth(""),
        post().bearer_auth(format!("{SECRET}x")),
        post().bearer_auth(SECRET).bearer_auth(SECRET),
        post().basic_auth("s", Some(SECRET)),
        world.post("/webhooks/s", "{").bearer_auth("guessed-guessed-guessed"),
    ];
    for attempt in attempts {
        let answer = attempt.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"firebreak\"");
        assert_eq!(answer.json::<Value>().await.unwrap()["error"], REFUSED);
    }
    let told = world.read("/api/v1/refusals").await;
    let count = |reason: &str| -> i64 {
        let told = told.as_array().unwrap().iter().filter(|row| row["reason"] == reason);
        told.map(|row| row["count"].as_i64().unwrap()).sum()
    };
    assert_eq!((count("no_credentials"), count("wrong_credentials")), (4, 3), "{told}");
    assert_eq!(told[0]["source"], "s");
    assert_eq!(told[0]["address"], "127.0.0.1");
    let metrics = world.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = "webhook_refusals_total{source=\"s\",reason=\"wrong_credentials\"} 3";
    assert!(metrics.contains(line), "{metrics}");
    post().bearer_auth("guessed-once-more-at-the-end").send().await.unwrap();
    let rows = rows(&world).await;
    assert_eq!((rows.deliveries, rows.alerts, rows.incidents), (0, 0, 0));
    let all: i64 = rows.refusals.iter().map(|(_, _, count)| count).sum();
    assert_eq!(all, 8, "what was counted last is written at the end: {:?}", rows.refusals);
}

#[tokio::test]
async fn a_secret_is_exchanged_while_ingress_runs_and_the_old_one_is_worth_nothing() {
    let secrets = Secrets::new();
    let world = secrets.world("s: {kind: alertmanager, authentication: {bearer: {FILES}}}").await;
    let post = |secret: &'static str| {
        let world = &world;
        move || world.post("/webhooks/s", firing("db-1")).bearer_auth(secret)
    };
    assert_eq!(status(post(SECRET)()).await, 200);
    assert_eq!(status(post(OTHER)()).await, 401);
    secrets.put("two", OTHER);
    until_status(200, post(OTHER)).await;
    assert_eq!(status(post(SECRET)()).await, 200, "both are live");
    secrets.put("one", "short");
    secrets.put("two", OTHER);
    assert_eq!(status(post(SECRET)()).await, 200, "an unusable file changes nothing");
    std::fs::remove_file(secrets.path("one")).unwrap();
    until_status(401, post(SECRET)).await;
    assert_eq!(status(post(OTHER)()).await, 200);
    let rows = rows(&world).await;
    assert_eq!((rows.alerts, rows.incidents), (1, 1));
}

#[tokio::test]
async fn basic_credentials_are_a_name_and_a_secret_and_put_is_taken_as_post() {
    let secrets = Secrets::new();
    let source = "s: {kind: alertmanager, authentication: {basic: {user: grafana, FILES}}}";
    let world = secrets.world(source).await;
    let send = |user: &str, password: &str| {
        let request = reqwest::Client::new().put(world.url("/webhooks/s"));
        request.basic_auth(user, Some(password)).header("content-type", "application/json")
    };
    for (user, password) in [("grafana", "wrong"), ("nobody", SECRET), ("", ""), (SECRET, "")] {
        let answer = send(user, password).body(firing("db-1")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
    }
    let page = send("grafana", SECRET).header("content-type", "text/plain").body(firing("db-1"));
    assert_eq!(status(page).await, 415, "a browser shows a password that it remembers");
    assert_eq!(status(send("grafana", SECRET).body(firing("db-1"))).await, 200);
    let rows = rows(&world).await;
    assert_eq!((rows.deliveries, rows.incidents), (1, 1));
}

#[tokio::test]
async fn a_signature_counts_for_its_body_within_its_window_and_once() {
    let secrets = Secrets::new();
    let world = secrets.world(SIGNED).await;
    let text = firing("db-1");
    let at = now();
    assert_eq!(status(signed(&world, SECRET, at, &text)).await, 200);
    assert_eq!(status(signed(&world, SECRET, at, &text)).await, 401, "a copy");
    let resigned = signed(&world, SECRET, at - 1, &text);
    assert_eq!(status(resigned).await, 200, "the sender's own repetition is signed anew");
    assert_eq!(status(signed(&world, OTHER, at, &resolved("db-1"))).await, 401);
    for stale in [at - 400, at + 400] {
        assert_eq!(status(signed(&world, SECRET, stale, &text)).await, 401);
    }
    let signature = sign(SECRET, Some(&at.to_string()), &text);
    let with = |body: &str, time: &str, signature: &str| {
        let request = world.post("/webhooks/s", body.to_owned()).header("X-Signed-At", time);
        request.header("X-Grafana-Alerting-Signature", signature)
    };
    let time = at.to_string();
    assert_eq!(status(with(&resolved("db-1"), &time, &signature)).await, 401, "another body");
    assert_eq!(status(with(&text, &(at - 2).to_string(), &signature)).await, 401, "another time");
    assert_eq!(status(with(&text, "yesterday", &signature)).await, 401);
    assert_eq!(status(with(&text, &time, "zz")).await, 401);
    let unsigned = world.post("/webhooks/s", text.clone());
    assert_eq!(status(unsigned).await, 401);
    let rows = rows(&world).await;
    assert_eq!((rows.deliveries, rows.incidents), (2, 1));
    let count = |reason: &str| {
        let of_reason = rows.refusals.iter().filter(|(_, told, _)| told == reason);
        of_reason.map(|(_, _, count)| count).sum::<i64>()
    };
    let counts = ["replayed", "stale_timestamp", "wrong_credentials", "no_credentials"].map(count);
    assert_eq!(counts, [1, 2, 5, 1]);
}

#[tokio::test]
async fn what_was_answered_503_may_come_again_with_its_signature() {
    let secrets = Secrets::new();
    let settings = secrets.world(SIGNED).await;
    settings.stop().await;
    let database = MemoryDatabase::new();
    let is_away = Arc::new(AtomicBool::new(true));
    let away = is_away.clone();
    database.set_faults(Faults::new(move |call| {
        (call.name == "commit" && away.load(Ordering::SeqCst)).then_some(Fault::Away)
    }));
    let options = OpenOptions {
        replica: Replica { id: "a".into(), host: String::new(), pid: 0, start_time: 0 },
        lease: Duration::from_secs(3_600),
        is_dead: Arc::new(|_| false),
        time: Arc::new(|| Clock::System.now()),
    };
    let world = settings.replica(database.open("ingress", options)).await;
    let (text, at) = (firing("db-1"), now());
    assert_eq!(status(signed(&world, SECRET, at, &text)).await, 503);
    is_away.store(false, Ordering::SeqCst);
    assert_eq!(status(signed(&world, SECRET, at, &text)).await, 200);
    assert_eq!(status(signed(&world, SECRET, at, &text)).await, 401);
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn alternatives_each_suffice_and_ways_of_one_must_all_hold() {
    let secrets = Secrets::new();
    let world = secrets
        .world(
            "s: {kind: alertmanager, authentication: [{bearer: {FILES}, hmac: {FILES, header: X-Sign, \
             prefix: 'sha256='}}, {basic: {user: u, FILES}}]}",
        )
        .await;
    let text = firing("db-1");
    let signature = format!("sha256={}", sign(SECRET, None, &text));
    let post = || world.post("/webhooks/s", text.clone());
    assert_eq!(status(post().bearer_auth(SECRET)).await, 401);
    assert_eq!(status(post().header("X-Sign", &signature)).await, 401);
    assert_eq!(status(post().header("X-Sign", &signature).bearer_auth(SECRET)).await, 200);
    assert_eq!(status(post().basic_auth("u", Some(SECRET))).await, 200);
}

#[tokio::test]
async fn without_a_source_of_its_name_nothing_is_taken() {
    let world = World::alone(|_| {}).await;
    let stranger = world.post("/webhooks/grafana", firing("db-1")).bearer_auth(WEBHOOK_TOKEN);
    let answer = stranger.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    let said: Value = answer.json().await.unwrap();
    assert_eq!(said["error"], "no such source is configured");
    let event = world.post("/webhooks/alertmanager/v2/enqueue", "{}").bearer_auth(WEBHOOK_TOKEN);
    assert_eq!(status(event).await, 404, "only PagerDuty's senders use that path");
    let nobody = World::alone(|config: &mut Config| config.sources.clear()).await;
    let answer = nobody.webhook(firing("db-1")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 404);
    let said = answer.text().await.unwrap();
    assert!(said.contains("name no `sources`"), "{said}");
}

#[tokio::test]
async fn a_source_without_authentication_is_shown_as_such_and_no_other_sites_page_can_post() {
    let secrets = Secrets::new();
    let world = secrets
        .world(
            "lab: {kind: alertmanager, unauthenticated: true}\n\
             s: {kind: alertmanager, authentication: {bearer: {FILES}}}",
        )
        .await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let page = reqwest::Client::new().post(world.url("/webhooks/lab")).body(firing("db-1"));
        assert_eq!(status(page.header("content-type", content_type)).await, 415);
    }
    assert_eq!(status(world.post("/webhooks/lab", firing("db-1"))).await, 200);
    for url in [world.url("/api/v1/sources"), world.console("/api/v1/sources")] {
        let sources: Value = world.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(sources[0]["name"], "lab");
        assert_eq!(sources[0]["unauthenticated"], true);
        assert_eq!(sources[1]["unauthenticated"], false);
        assert_eq!(sources[1]["authentication"][0][0], "bearer");
        assert!(!sources.to_string().contains(SECRET));
    }
}

#[tokio::test]
async fn a_start_without_a_usable_secret_fails_and_names_the_setting() {
    let secrets = Secrets::new();
    secrets.put("one", "short");
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        listen: service::own_loopback_address(),
        database: directory.path().join("ingress.db").display().to_string(),
        sources: secrets.sources("s: {kind: alertmanager, authentication: {bearer: {FILES}}}"),
        ..Config::default()
    };
    let error = ingress::start(config, service::Process::new("ingress")).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("`sources.s`") && error.contains("`bearer.files[0]`"), "{error}");
    assert!(error.contains("fewer than 16 characters"), "{error}");
}
