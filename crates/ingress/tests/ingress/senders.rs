//! Senders as they are: a real Alertmanager with each way to prove itself that it has, Grafana's
//! signature, PagerDuty's path, clients with certificates.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use incident::OutcomeResult;
use ingress::{Config, SourceConfigs};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use reqwest::{Certificate, Identity};
use serde_json::{Value, json};
use service::TlsConfig;

use super::agents::Play;
use super::sample::firing;
use super::sources::{now, sign};
use super::world::{PATIENCE, World};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn sources(text: &str, directory: &Path) -> SourceConfigs {
    let file = directory.join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let text = text.replace("FILES", &format!("files: [{}]", file.display()));
    service::parse_yaml(&text, "sources").unwrap()
}

async fn world_of(text: &str) -> (World, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let sources = sources(text, directory.path());
    (World::alone(|config| config.sources = sources).await, directory)
}

/// An Alertmanager that sends every alert to every receiver.
fn alertmanager_config(ingress: &str, secret: &Path) -> Value {
    let webhook = |source: &str, http: Value| json!({"url": format!("http://{ingress}/webhooks/{source}"), "http_config": http});
    let wrong = json!({"username": "am", "password": "not-the-password-of-ingress"});
    let pager = json!({
        "url": format!("http://{ingress}/webhooks/pager/v2/enqueue"), "routing_key": SECRET,
    });
    json!({
        "route": {"receiver": "all", "group_wait": "0s", "group_by": ["alertname"]},
        "receivers": [{
            "name": "all",
            "webhook_configs": [
                webhook("with-bearer", json!({"authorization": {"credentials_file": secret}})),
                webhook("with-basic", json!({"basic_auth": {"username": "am", "password_file": secret}})),
                webhook("forged", json!({"basic_auth": wrong})),
            ],
            "pagerduty_configs": [pager],
        }],
    })
}

struct Child(Option<tokio::process::Child>);

fn start_alertmanager(directory: &Path, config: &Value, address: &str) -> Child {
    let file = directory.join("alertmanager.yml");
    std::fs::write(&file, config.to_string()).unwrap();
    let child = ["alertmanager", "prometheus-alertmanager"].into_iter().find_map(|program| {
        tokio::process::Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", directory.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()
    });
    Child(child)
}

/// Reads a path until it is as asked.
async fn until(world: &World, path: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let reading = async {
        loop {
            let read = world.read(path).await.as_array().unwrap().clone();
            if is_so(&read) {
                return read;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("never: {path}"))
}

#[tokio::test]
async fn a_real_alertmanager_proves_itself_by_token_password_and_routing_key_or_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let of_sources = sources(
        "with-bearer: {kind: alertmanager, authentication: {bearer: {FILES}}}\n\
         with-basic: {kind: alertmanager, authentication: {basic: {user: am, FILES}}}\n\
         forged: {kind: alertmanager, authentication: {basic: {user: am, FILES}}}\n\
         pager: {kind: pagerduty, authentication: {routing_key: {FILES}}}\n",
        directory.path(),
    );
    let world = World::alone(|config| config.sources = of_sources).await;
    let address = service::own_loopback_address();
    let config = alertmanager_config(&world.config.listen, &directory.path().join("secret"));
    let alertmanager = start_alertmanager(directory.path(), &config, &address);
    if alertmanager.0.is_none() {
        println!("skipped: alertmanager is not installed");
        return;
    }
    let alert =
        json!([{"labels": {"alertname": "DiskFull", "server": "db-1", "severity": "critical"}}]);
    let fire = async {
        let http = reqwest::Client::new();
        let url = format!("http://{address}/api/v2/alerts");
        while !http.post(&url).json(&alert).send().await.is_ok_and(|answer| answer.status() == 200)
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, fire).await.unwrap();
    let refused = until(&world, "/api/v1/refusals", |read| !read.is_empty()).await;
    assert_eq!(refused[0]["source"], "forged");
    assert_eq!(refused[0]["reason"], "wrong_credentials");
    let of = |alert: &Value| alert["alert"]["source"].as_str().unwrap_or_default().to_owned();
    let known = |incidents: &[Value]| {
        let alerts = incidents.iter().flat_map(|incident| incident["alerts"].as_array().unwrap());
        let mut sources: Vec<String> = alerts.map(of).collect();
        sources.sort();
        sources
    };
    let expected = ["pager", "with-basic", "with-bearer"];
    let incidents = until(&world, "/api/v1/incidents", |read| known(read) == expected).await;
    assert!(!incidents.is_empty());
}

#[tokio::test]
async fn grafana_signs_the_time_and_the_body() {
    let (world, _directory) = world_of(
        "s: {kind: grafana, authentication: {hmac: {FILES, timestamp_header: \
         X-Grafana-Alerting-Timestamp}}}",
    )
    .await;
    let body = json!({
        "receiver": "firebreak", "status": "firing", "orgId": 1, "state": "alerting",
        "alerts": [{
            "status": "firing", "labels": {"alertname": "High memory usage", "instance": "web-1"},
            "annotations": {}, "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "c6eadffa33fcdf37", "values": {"B": 1},
        }],
    });
    let (body, time) = (body.to_string(), now().to_string());
    for method in [reqwest::Method::POST, reqwest::Method::PUT] {
        let is_put = method == reqwest::Method::PUT;
        let body = format!("{body}{}", if is_put { " " } else { "" });
        let send = |signature: String| {
            reqwest::Client::new()
                .request(method.clone(), world.url("/webhooks/s"))
                .header("Content-Type", "application/json")
                .header("X-Grafana-Alerting-Timestamp", &time)
                .header("X-Grafana-Alerting-Signature", signature)
                .body(body.clone())
                .send()
        };
        let forged = send(sign("another-secret-than-ours", Some(&time), &body)).await.unwrap();
        assert_eq!(forged.status().as_u16(), 401);
        let good = send(sign(SECRET, Some(&time), &body)).await.unwrap();
        assert_eq!(good.status().as_u16(), 200);
    }
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn whoever_speaks_pagerduty_is_answered_as_pagerduty_does() {
    let (world, _directory) =
        world_of("pager: {kind: pagerduty, authentication: {routing_key: {FILES}}}").await;
    let event = |key: &str, action: &str| {
        json!({
            "routing_key": key, "event_action": action, "dedup_key": "disk-7",
            "payload": {"summary": "disk full on db-7", "source": "db-7", "severity": "critical"},
        })
        .to_string()
    };
    // Some senders escape what need not be escaped.
    let escaped = format!("\\u{:04x}{}", u32::from(SECRET.as_bytes()[0]), &SECRET[1..]);
    let escaped = event(SECRET, "trigger").replace(SECRET, &escaped);
    for (path, body) in
        [("/webhooks/pager/v2/enqueue", event(SECRET, "trigger")), ("/webhooks/pager", escaped)]
    {
        let answer = world.post(path, body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 202);
        let said: Value = answer.json().await.unwrap();
        assert_eq!(said["status"], "success");
        assert_eq!(said["dedup_key"], "disk-7");
    }
    for forged in [event("00000000000000000000000000000000", "resolve"), "{}".to_owned()] {
        let answer = world.post("/webhooks/pager/v2/enqueue", forged).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
    }
    let incidents = world.incidents().await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0]["alerts"][0]["alert"]["status"], "firing", "{incidents:?}");
    world.stop().await;
    let mut kept = Vec::new();
    for file in std::fs::read_dir(Path::new(&world.config.database).parent().unwrap()).unwrap() {
        kept.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let is_kept = |text: &str| kept.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(is_kept("disk full on db-7") && !is_kept(&SECRET[1..]), "the journal keeps no key");
}

#[tokio::test]
async fn what_anybody_may_report_never_leads_to_an_act() {
    let directory = tempfile::tempdir().unwrap();
    let of_sources = sources(
        "lab: {kind: alertmanager, unauthenticated: true}\n\
         s: {kind: alertmanager, authentication: {bearer: {FILES}}}",
        directory.path(),
    );
    let world = World::alone(|config| config.sources = of_sources).await;
    world.resolution.player.set(Play::Resolve { result: OutcomeResult::Proven, asks: false });
    world.bring_agents().await;
    let post = |path: &str| world.post(path, firing("db-1"));
    let ids = async |answer: reqwest::Response| -> Vec<Value> {
        assert_eq!(answer.status().as_u16(), 200);
        answer.json::<Value>().await.unwrap()["incidents"].as_array().unwrap().clone()
    };
    let anybodys = ids(post("/webhooks/lab").send().await.unwrap()).await;
    let anybodys = anybodys[0].as_str().unwrap();
    let handed = world.until_phase(anybodys, "needs_human").await;
    assert_eq!(handed["is_authenticated"], false);
    assert!(world.resolution.player.asked().is_empty(), "nothing was asked to act");
    // The same alert of a source that proves itself is another incident, and is acted upon.
    let good = ids(post("/webhooks/s").bearer_auth(SECRET).send().await.unwrap()).await;
    assert_ne!(good[0], anybodys);
    world.until_phase(good[0].as_str().unwrap(), "resolved").await;
    assert_eq!(world.resolution.player.asked().len(), 1);
}

/// An authority, and what it issued.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key.
    fn issue(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn client(&self, issued: Option<(String, String)>) -> reqwest::Client {
        let root = Certificate::from_pem(self.0.pem().as_bytes()).unwrap();
        let mut builder = reqwest::Client::builder().timeout(PATIENCE).tls_certs_only([root]);
        if let Some((certificate, key)) = issued {
            builder = builder
                .identity(Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap());
        }
        builder.build().unwrap()
    }
}

#[tokio::test]
async fn a_client_is_known_by_a_name_in_its_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let at = |name: &str| -> PathBuf { directory.path().join(name) };
    let tls = |config: &mut Config| {
        let host = config.listen.split(':').next().unwrap().to_owned();
        let (certificate, key) = authority.issue(&CertificateParams::new(vec![host]).unwrap());
        for (name, text) in
            [("ca.pem", authority.0.pem()), ("certificate.pem", certificate), ("key.pem", key)]
        {
            std::fs::write(at(name), text).unwrap();
        }
        config.tls = Some(TlsConfig {
            certificate: at("certificate.pem"),
            key: at("key.pem"),
            client_ca: Some(at("ca.pem")),
        });
        let names = "{names: [events.example, 'spiffe://example/events', Old Events]}";
        let text = format!("s: {{kind: alertmanager, authentication: {{mtls: {names}}}}}");
        config.sources = sources(&text, directory.path());
    };
    let world = World::alone(tls).await;
    let dns = |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap();
    let mut uri = CertificateParams::default();
    uri.subject_alt_names = vec![SanType::URI("spiffe://example/events".try_into().unwrap())];
    let mut common = CertificateParams::default();
    common.distinguished_name.push(DnType::CommonName, "Old Events");
    let post = async |client: reqwest::Client, kind: &str| {
        let url = format!("https://{}/webhooks/s", world.config.listen);
        let request = client.post(url).header("content-type", kind).body(firing("db-1"));
        request.send().await.map(|answer| answer.status().as_u16())
    };
    let json = "application/json";
    for good in [dns("events.example"), uri, common] {
        let client = authority.client(Some(authority.issue(&good)));
        assert_eq!(post(client, json).await.unwrap(), 200);
    }
    let other = authority.client(Some(authority.issue(&dns("others.example"))));
    assert_eq!(post(other, json).await.unwrap(), 401);
    assert_eq!(post(authority.client(None), json).await.unwrap(), 401);
    let page = authority.client(Some(authority.issue(&dns("events.example"))));
    assert_eq!(post(page, "text/plain").await.unwrap(), 415, "browsers show certificates unasked");
    let stranger = Authority::new().issue(&dns("events.example"));
    assert!(post(authority.client(Some(stranger)), json).await.is_err(), "no handshake");
    let read = |path: &str| world.get(world.console(path));
    let refusals: Value = read("/api/v1/refusals").send().await.unwrap().json().await.unwrap();
    let reasons: Vec<&str> =
        refusals.as_array().unwrap().iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"no_credentials") && reasons.contains(&"wrong_credentials"));
}
