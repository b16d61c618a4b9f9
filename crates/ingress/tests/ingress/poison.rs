//! Clients that mean harm, or break down at the worst moment, each over a real socket. A clear 4xx or
//! a closed connection is all they get, while a healthy sender beside them is served as ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::future::join_all;
use ingress::Config;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bad_input;
use super::sample::firing;
use super::world::{PATIENCE, WEBHOOK_TOKEN, World};

/// A sender that posts one webhook after the other for as long as a test lasts.
struct Healthy {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Healthy {
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    fn beside(world: &World) -> Self {
        let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let webhook = world.webhook(firing("db-healthy"));
        let (ends, counts) = (is_over.clone(), served.clone());
        let task = tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                let answer = webhook.try_clone().unwrap().send().await.unwrap();
                assert!(answer.status().is_success(), "a healthy sender is told {answer:?}");
                counts.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { is_over, served, task }
    }

    /// It is served a few times more, and was never refused.
    async fn is_well(&self) {
        let enough = self.served.load(Ordering::Relaxed) + 3;
        let served = async {
            while self.served.load(Ordering::Relaxed) < enough && !self.task.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, served).await.expect("a healthy sender waits in vain");
    }

    async fn stayed_well(self) {
        self.is_well().await;
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

fn quick(config: &mut Config) {
    config.connections.head_seconds = 1;
    config.connections.body_seconds = 1;
}

/// The head of a webhook, with more lines for it.
fn head(lines: &str) -> String {
    format!(
        "POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {WEBHOOK_TOKEN}\r\n{lines}\r\n"
    )
}

/// Says something on a connection of its own, and hears all until the other end closes.
async fn talk(world: &World, words: &[u8]) -> String {
    let mut client = connect(world).await;
    // The other end may have heard enough before it has heard all.
    let _ = client.write_all(words).await;
    rest(&mut client).await
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(&world.config.listen).await.unwrap()
}

async fn rest(client: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut piece = vec![0; 64 << 10];
    let hearing = async {
        while let Ok(read @ 1..) = client.read(&mut piece).await {
            heard.extend_from_slice(&piece[..read]);
        }
    };
    timeout(PATIENCE, hearing).await.expect("the connection is not closed");
    String::from_utf8_lossy(&heard).into_owned()
}

/// Nothing, or one answer that refuses.
fn assert_refused(what: &str, answer: &str) {
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{what}: {answer}");
}

#[tokio::test]
async fn bodies_that_cannot_be_used_hurt_nobody_beside_them() {
    let world = World::alone(|_| {}).await;
    let healthy = Healthy::beside(&world);
    for (name, body, field) in bad_input::cases() {
        let poisoners = (0..8).map(|_| world.try_deliver(body.clone()));
        for (status, answer) in join_all(poisoners).await {
            assert_eq!((status, answer["field"].as_str()), (400, Some(field)), "{name}: {answer}");
        }
    }
    healthy.stayed_well().await;
}

#[tokio::test]
async fn what_is_too_large_is_told_so_and_not_read_to_its_end() {
    let world = World::alone(|config| config.body_bytes = 1 << 20).await;
    let healthy = Healthy::beside(&world);
    let piece = vec![b'x'; 64 << 10];
    let framed = [piece.clone(), [b"10000\r\n", piece.as_slice(), b"\r\n"].concat()];
    let lines = ["Content-Length: 20971520\r\n", "Transfer-Encoding: chunked\r\n"];
    for (lines, piece) in lines.into_iter().zip(framed) {
        let mut client = connect(&world).await;
        client.write_all(head(lines).as_bytes()).await.unwrap();
        let mut sent = 0;
        while sent < 20 << 20 && client.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
        assert!(sent < 20 << 20, "{lines}: all of it was read");
    }
    let large = vec![b'x'; 20 << 20];
    let (status, answer) = world.try_deliver(large).await;
    assert_eq!(status, 413, "{answer}");
    healthy.stayed_well().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_closed() {
    let world = World::alone(quick).await;
    let healthy = Healthy::beside(&world);
    let half = head("");
    let half = &half.as_bytes()[..half.len() - 2];
    let silent = (0..200).map(|_| talk(&world, half));
    let dripping = (0..50).map(|_| async {
        let mut client = connect(&world).await;
        // Each write waits for nothing, so that the head grows for as long as it may.
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(50));
        let (mut reader, mut writer) = client.split();
        let dripping = async {
            writer.write_all(half).await.unwrap();
            while writer.write_all(b"x").await.is_ok() {
                pace.tick().await;
            }
        };
        let mut answer = String::new();
        tokio::select! {
            () = dripping => {}
            _ = reader.read_to_string(&mut answer) => {}
        }
        answer
    });
    let (silent, dripping) =
        timeout(PATIENCE, async { tokio::join!(join_all(silent), join_all(dripping)) })
            .await
            .expect("a half head is never closed");
    assert!(silent.into_iter().chain(dripping).all(|answer| answer.is_empty()));
    healthy.stayed_well().await;
}

#[tokio::test]
async fn a_body_that_does_not_end_is_closed() {
    let world = World::alone(quick).await;
    let healthy = Healthy::beside(&world);
    let half = head("Content-Length: 1000\r\n") + "{\"alerts\": [";
    for answer in join_all((0..100).map(|_| talk(&world, half.as_bytes()))).await {
        assert_refused("half a body", &answer);
    }
    healthy.stayed_well().await;
}

#[tokio::test]
async fn five_thousand_silent_connections_keep_nobody_out() {
    let world = World::alone(|_| {}).await;
    // Both ends are files of this process. The listener has raised the limit as far as it may.
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < 10_500 {
        eprintln!("skipped: {files} files may be open, 5,000 connections take 10,500");
        return;
    }
    let healthy = Healthy::beside(&world);
    let mut silent = Vec::new();
    for _ in 0..5_000 {
        silent.push(connect(&world).await);
    }
    healthy.is_well().await;
    world.deliver_one(firing("db-1")).await;
    healthy.stayed_well().await;
    drop(silent);
}

#[tokio::test]
async fn with_every_place_taken_the_silent_ones_go() {
    let world = World::alone(|config| config.connections.open = 512).await;
    let healthy = Healthy::beside(&world);
    let mut silent = Vec::new();
    for n in 0..2_000 {
        silent.push(connect(&world).await);
        if n % 200 == 0 {
            healthy.is_well().await;
        }
    }
    healthy.stayed_well().await;
}

#[tokio::test]
async fn a_header_bomb_is_431() {
    let world = World::alone(|_| {}).await;
    let healthy = Healthy::beside(&world);
    let many: String = (0..10_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(10 << 20));
    let address = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(60_000));
    for bomb in [head(&many), head(&long), address, "x".repeat(10 << 20)] {
        let answer = talk(&world, bomb.as_bytes()).await;
        assert_refused(&bomb[..40], &answer);
    }
    let small = talk(&world, head(&many[..4_000]).as_bytes()).await;
    assert!(small.starts_with("HTTP/1.1 431"), "{small}");
    healthy.stayed_well().await;
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    let world = World::alone(quick).await;
    let healthy = Healthy::beside(&world);
    for chunks in [
        "zz\r\n",
        "-1\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "5\r\nhelloworld\r\n",
        "\r\n\r\n\r\n",
        "2;x=\"\n\"\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n",
        "2\n{}\n0\n\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
    ] {
        let words = head("Transfer-Encoding: chunked\r\nConnection: close\r\n") + chunks;
        assert_refused(chunks, &talk(&world, words.as_bytes()).await);
    }
    let endless = head("Transfer-Encoding: chunked\r\n") + "2;" + &"x".repeat(1 << 20);
    assert_refused("an endless extension", &talk(&world, endless.as_bytes()).await);
    healthy.stayed_well().await;
}

#[tokio::test]
async fn no_second_request_is_smuggled_in_behind_a_first() {
    let world = World::alone(quick).await;
    let healthy = Healthy::beside(&world);
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for lines in [
        "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\0z\r\n",
    ] {
        let words = head(lines) + "0\r\n\r\n" + smuggled;
        assert_refused(lines, &talk(&world, words.as_bytes()).await);
    }
    healthy.stayed_well().await;
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let world = World::alone(quick).await;
    let healthy = Healthy::beside(&world);
    let others: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\xff\xfe / HTTP/1.1\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http:/// HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ];
    for words in others {
        let what = String::from_utf8_lossy(words);
        assert_refused(&what, &talk(&world, words).await);
    }
    healthy.stayed_well().await;
}

#[tokio::test]
async fn old_and_proxied_requests_are_taken() {
    let world = World::alone(|_| {}).await;
    let body = firing("db-1");
    let lines = format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
    let usual = head(&lines) + &body;
    let path = "/webhooks/alertmanager HTTP/1.1";
    let old = usual.replace("HTTP/1.1\r\nHost: x\r\n", "HTTP/1.0\r\n");
    let proxied = usual.replace(path, &format!("http://elsewhere.example{path}"));
    for words in [usual.clone(), old, proxied] {
        let answer = talk(&world, words.as_bytes()).await;
        assert!(answer.lines().next().unwrap().ends_with(" 200 OK"), "{words}{answer}");
    }
}
