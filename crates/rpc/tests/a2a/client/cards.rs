//! Cards: how long they are kept, which interface is taken, and where they cannot lead.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rpc::a2a::{CardSigner, Client, ClientError, ClientOptions, PeerConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::peer::{Answer, Peer, card_with, task};
use super::{PATIENCE, Served, client, say};

/// A clock that a test moves.
#[derive(Clone, Debug, Default)]
struct Seconds(Arc<AtomicI64>);

impl Seconds {
    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn client(&self, peer: Value) -> Client {
        let seconds = self.0.clone();
        let now = move || Timestamp::from_second(1_800_000_000 + seconds.load(Ordering::SeqCst));
        let peer: PeerConfig = serde_json::from_value(peer).unwrap();
        Client::of_peer(peer, ClientOptions::default(), Arc::new(move || now().unwrap())).unwrap()
    }
}

/// The condition of each request for the card.
fn conditions(peer: &Peer) -> Vec<String> {
    peer.asked_for_card().iter().map(|asked| asked.header("if-none-match").to_owned()).collect()
}

fn working(asked: &super::peer::Asked) -> Answer {
    asked.result(task("t", "WORKING"))
}

/// A peer whose card comes with these headers, and is confirmed by its entity tag.
async fn caching(headers: &'static [(&'static str, &'static str)]) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rpc", listener.local_addr().unwrap());
    let card = card_with(&[("JSONRPC", "1.0", &url, "")], false).to_string();
    Peer::bare(listener, move |asked| {
        if !asked.is_for_card() {
            return working(asked);
        }
        let answer: Answer = match asked.header("if-none-match") {
            "\"v1\"" => (304, "").into(),
            _ => (200, card.clone()).into(),
        };
        headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    })
}

#[tokio::test]
async fn a_card_is_read_once_while_it_is_fresh_and_confirmed_when_it_is_not() {
    let peer = caching(&[("cache-control", "max-age=60"), ("etag", "\"v1\"")]).await;
    let seconds = Seconds::default();
    let client = seconds.client(json!(peer.url));
    for _ in 0..3 {
        client.task("t").await.unwrap();
        seconds.pass(19);
    }
    assert_eq!(peer.asked_for_card().len(), 1);
    seconds.pass(10);
    client.task("t").await.unwrap();
    client.task("t").await.unwrap();
    assert_eq!(conditions(&peer), ["", "\"v1\""], "confirmed once, then fresh again");
}

#[tokio::test]
async fn a_card_that_must_not_be_kept_is_read_at_every_call() {
    let peer = caching(&[("cache-control", "no-store"), ("etag", "\"v1\"")]).await;
    let client = Seconds::default().client(json!(peer.url));
    client.task("t").await.unwrap();
    client.task("t").await.unwrap();
    assert_eq!(conditions(&peer), ["", ""]);
    let peer = caching(&[("cache-control", "no-cache"), ("etag", "\"v1\"")]).await;
    let client = Seconds::default().client(json!(peer.url));
    client.task("t").await.unwrap();
    client.task("t").await.unwrap();
    assert_eq!(conditions(&peer), ["", "\"v1\""]);
}

#[tokio::test]
async fn a_stale_card_serves_for_an_hour_while_its_place_is_away() {
    let answers = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rpc", listener.local_addr().unwrap());
    let card = card_with(&[("JSONRPC", "1.0", &url, "")], false).to_string();
    let given = answers.clone();
    let peer = Peer::bare(listener, move |asked| match asked.is_for_card() {
        true if given.fetch_add(1, Ordering::SeqCst) > 0 => (503, "").into(),
        true => Answer::from((200, card.clone())).with("cache-control", "max-age=10"),
        false => working(asked),
    });
    let seconds = Seconds::default();
    let client = seconds.client(json!(peer.url));
    client.task("t").await.unwrap();
    seconds.pass(3599);
    client.task("t").await.unwrap();
    assert_eq!(answers.load(Ordering::SeqCst), 2, "it was asked for");
    seconds.pass(1);
    let error = client.task("t").await.unwrap_err();
    assert!(matches!(error, ClientError::Status { status: 503, .. }), "{error}");
}

#[tokio::test]
async fn the_card_is_read_again_after_a_failure() {
    let (one, two) = (Served::new().await, Served::new().await);
    let endpoint = Arc::new(Mutex::new(one.url("/a2a")));
    let published = endpoint.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = Peer::bare(listener, move |_| {
        let url = published.lock().unwrap().clone();
        (200, card_with(&[("JSONRPC", "1.0.0", &url, "")], false).to_string()).into()
    });
    let allowed = [one.url("/"), two.url("/")];
    let client = Seconds::default().client(json!({"url": peer.url, "allowed_origins": allowed}));
    client.send(say("echo x", Some(PATIENCE))).await.unwrap();
    one.shut_down().await;
    *endpoint.lock().unwrap() = two.url("/a2a");
    assert!(client.send(say("echo x", Some(PATIENCE))).await.unwrap_err().is_transient());
    client.send(say("echo x", Some(PATIENCE))).await.unwrap();
    assert_eq!((one.script.runs().len(), two.script.runs().len()), (1, 1));
}

#[tokio::test]
async fn the_first_interface_we_speak_is_taken_with_its_tenant() {
    let card = |url: &str| {
        card_with(
            &[
                ("GRPC", "1.0", "grpc://x", ""),
                ("JSONRPC", "0.3.0", &format!("{url}/old"), ""),
                ("https://x.example/custom", "1.0", &format!("{url}/custom"), ""),
                ("JSONRPC", "1.0.2", &format!("{url}/new"), "acme"),
                ("HTTP+JSON", "1.0", &format!("{url}/rest"), ""),
            ],
            false,
        )
    };
    let peer = Peer::with_card(card, working).await;
    client(&peer.url).task("t").await.unwrap();
    let asked = peer.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].target.as_str()), ("POST", "/new"));
    assert_eq!(asked[0].json()["params"], json!({"id": "t", "historyLength": 0, "tenant": "acme"}));
    assert_eq!(asked[0].header("a2a-version"), "1.0");
    assert_eq!(asked[0].header("a2a-extensions"), incident::EXTENSION_URI);
    let old = |url: &str| card_with(&[("JSONRPC", "0.3.0", &format!("{url}/old"), "")], true);
    let peer = Peer::with_card(old, working).await;
    let error = client(&peer.url).task("t").await.unwrap_err();
    assert!(matches!(error, ClientError::NoInterface { .. }), "{error}");
}

#[tokio::test]
async fn a_card_cannot_lead_the_client_or_its_token_away() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "secret-1\n").unwrap();
    let thief = Peer::new(working).await;
    let elsewhere = format!("{}/rpc", thief.url);
    let card = move |_: &str| card_with(&[("JSONRPC", "1.0", &elsewhere, "")], false);
    let peer = Peer::with_card(card, working).await;
    let seconds = Seconds::default();
    let trusting = json!({"url": peer.url, "token_file": token_file});
    let error = seconds.client(trusting).task("t").await.unwrap_err();
    assert!(matches!(&error, ClientError::ForeignOrigin { origin, .. } if *origin == thief.url));
    assert_eq!((thief.asked().len(), peer.asked_for_card().len()), (0, 1));
    assert_eq!(peer.asked_for_card()[0].header("authorization"), "Bearer secret-1");

    let allowing =
        json!({"url": peer.url, "token_file": token_file, "allowed_origins": [thief.url]});
    let client = seconds.client(allowing);
    client.task("t").await.unwrap();
    std::fs::write(&token_file, "secret-2").unwrap();
    client.task("t").await.unwrap();
    let seen: Vec<_> =
        thief.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect();
    assert_eq!(seen, ["Bearer secret-1", "Bearer secret-2"], "allowed, and read again");
    assert!(!format!("{client:?}").contains("secret"));

    std::fs::write(&token_file, " \n").unwrap();
    let error = client.task("t").await.unwrap_err();
    assert!(matches!(error, ClientError::Token { .. }), "{error}");
}

#[tokio::test]
async fn a_card_kept_elsewhere_is_fetched_without_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "secret").unwrap();
    let agent = Peer::new(working).await;
    let url = format!("{}/rpc", agent.url);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = Peer::bare(listener, move |_| {
        (200, card_with(&[("JSONRPC", "1.0", &url, "")], false).to_string()).into()
    });
    let card_url = format!("{}/cards/agent.json", registry.url);
    let peer = json!({"url": agent.url, "card_url": card_url, "token_file": token_file});
    Seconds::default().client(peer).task("t").await.unwrap();
    let (read, asked) = (registry.asked(), agent.asked());
    assert_eq!(
        (read[0].target.as_str(), read[0].header("authorization")),
        ("/cards/agent.json", "")
    );
    assert_eq!(asked[0].header("authorization"), "Bearer secret");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let thief = Peer::new(working).await;
    let to = format!("{}/rpc", thief.url);
    let peer = Peer::new(move |_| Answer::from((307, "")).with("location", &to)).await;
    let error = client(&peer.url).task("t").await.unwrap_err();
    assert!(matches!(error, ClientError::Status { status: 307, .. }), "{error}");
    assert!(thief.asked().is_empty());
    let short = super::client_within(&thief.url, Duration::from_secs(5));
    short.task("t").await.unwrap();
}

#[tokio::test]
async fn with_pinned_keys_only_a_card_they_signed_is_followed() {
    let fixture = |name: &str| crate::a2a::signature::fixture(name);
    let config = json!({"key_file": fixture("ed25519.pem"), "key_id": "ed"});
    let signer = CardSigner::open(&serde_json::from_value(config).unwrap()).unwrap();
    let sign = move |mut card: Value| {
        let mut typed = serde_json::from_value(card.take()).unwrap();
        signer.sign(&mut typed);
        serde_json::to_value(typed).unwrap()
    };
    let tamper = |mut card: Value| {
        card["supportedInterfaces"][0]["tenant"] = json!("other");
        card
    };
    let plain = |url: &str| card_with(&[("JSONRPC", "1.0", &format!("{url}/rpc"), "")], false);
    let keys = fixture("jwks.json");
    for (change, is_trusted) in [(0, true), (1, false), (2, false)] {
        let card = |url: &str| match change {
            0 => sign(plain(url)),
            1 => tamper(sign(plain(url))),
            _ => plain(url),
        };
        let peer = Peer::with_card(card, working).await;
        let client = Seconds::default().client(json!({"url": peer.url, "signature_keys": keys}));
        match client.task("t").await {
            Ok(_) => assert!(is_trusted),
            Err(error) => {
                assert!(matches!(error, ClientError::Untrusted { .. }) && !is_trusted, "{error}");
                assert!(peer.asked().is_empty());
            }
        }
    }
    let peer = json!({"url": "http://a", "signature_keys": "/nowhere/keys.json"});
    let peer = serde_json::from_value(peer).unwrap();
    let time = Arc::new(|| Timestamp::UNIX_EPOCH);
    let error = Client::of_peer(peer, ClientOptions::default(), time).unwrap_err();
    assert_eq!(error.field, "signature_keys");
}
