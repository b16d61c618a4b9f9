//! Clients that mean no good, or nothing at all, beside one that wants an answer.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: program\r\n\r\n";

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
}

fn routes() -> Router {
    let endless = get(|| async {
        let piece = Bytes::from_static(&[b'x'; 64 << 10]);
        Body::from_stream(futures::stream::repeat(Ok::<_, Infallible>(piece)))
    });
    let slowly = get(|| async {
        let first = futures::stream::once(async { Ok::<_, Infallible>("x") });
        Body::from_stream(first.chain(futures::stream::pending()))
    });
    Router::new()
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/refused", post(|| async { http::StatusCode::PAYLOAD_TOO_LARGE }))
        .route("/endless", endless)
        .route("/slowly", slowly)
        .route("/panic", get(panics))
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn start(limits: ConnectionLimits) -> (Process, SocketAddr) {
    let process = Process::new("program");
    let listen = Listen { limits, ..Listen::new("127.0.0.1:0", "listen") };
    let address = serve_at(&process, listen, routes()).await.unwrap();
    (process, address)
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// One request and the status of its answer.
async fn ask(client: &mut TcpStream, request: &[u8]) -> String {
    client.write_all(request).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = client.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// All that comes until the other end closes, however it does.
async fn rest(client: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut piece).await {
        rest.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&rest).into_owned()
}

/// Time stands still meanwhile. Paused time runs on by itself whenever nothing is to be done, also while
/// the kernel is about to bring what one end has sent to the other.
pub(super) async fn timeless<T>(work: impl Future<Output = T>) -> T {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let holding = tokio::task::spawn_blocking(move || is_done.recv());
    let result = work.await;
    drop(done);
    assert!(holding.await.unwrap().is_err(), "nothing is ever said");
    result
}

async fn is_well(address: SocketAddr) {
    assert_eq!(ask(&mut connect(address).await, GET).await, "HTTP/1.1 200 OK");
}

fn closed(process: &Process, why: &str) -> u64 {
    let text = process.metrics().encode();
    let start = format!("firebreak_connections_closed_total{{why=\"{why}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_half_sent_request_does_not_fail_the_shutdown() {
    // Nobody but the shutdown closes it.
    let patient = ConnectionLimits { head_seconds: 1000, ..limits() };
    let (process, address) = start(patient).await;
    let mut connection = timeless(async {
        let mut connection = connect(address).await;
        connection.write_all(b"POST / HT").await.unwrap();
        // Accepted in order: once this one is answered, that one is in hand.
        is_well(address).await;
        connection
    })
    .await;
    process.shut_down(Duration::from_secs(10)).await.unwrap();
    assert_eq!(rest(&mut connection).await, "");
}

#[tokio::test(start_paused = true)]
async fn who_keeps_the_listener_waiting_is_closed() {
    let (process, address) = start(limits()).await;
    let half = async |text: &'static str| {
        let mut client = timeless(async {
            let mut client = connect(address).await;
            client.write_all(text.as_bytes()).await.unwrap();
            is_well(address).await;
            client
        })
        .await;
        rest(&mut client).await
    };
    assert_eq!(half("").await, "");
    assert_eq!(half("POST /length HTTP/1.1\r\nhost: ").await, "");
    assert_eq!(closed(&process, "Head"), 2);
    // Who is told to go on has been understood so far.
    let head = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\
                 expect: 100-continue\r\n\r\n";
    let mut client = connect(address).await;
    let told = timeless(ask(&mut client, head)).await;
    assert_eq!(told, "HTTP/1.1 100 Continue");
    client.write_all(b"half").await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(closed(&process, "Body"), 1);
    let mut idle = connect(address).await;
    assert_eq!(timeless(ask(&mut idle, GET)).await, "HTTP/1.1 200 OK");
    rest(&mut idle).await;
    assert_eq!(closed(&process, "Idle"), 1);
    timeless(is_well(address)).await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_answer_is_closed() {
    let (process, address) = start(limits()).await;
    let (mut reader, mut other) = (connect(address).await, connect(address).await);
    timeless(async {
        let endless = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
        reader.write_all(endless).await.unwrap();
        reader.read_u8().await.unwrap();
        // Both requests come together, and the first is answered.
        let never = [GET, b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n"].concat();
        assert_eq!(ask(&mut other, &never).await, "HTTP/1.1 200 OK");
    })
    .await;
    let passed = tokio::time::timeout(Duration::from_secs(300), other.read_u8()).await;
    assert!(passed.is_err(), "a handler may take as long as it likes");
    assert_eq!(closed(&process, "Reader"), 1);
    drop(reader);
}

#[tokio::test]
async fn silent_clients_make_room_for_one_that_asks() {
    let (process, address) = start(ConnectionLimits { open: 100, ..limits() }).await;
    let mut kept = connect(address).await;
    assert_eq!(ask(&mut kept, GET).await, "HTTP/1.1 200 OK");
    let mut silent = Vec::new();
    for n in 0..1_000 {
        silent.push(connect(address).await);
        if n % 50 == 0 {
            is_well(address).await;
        }
    }
    is_well(address).await;
    assert!(closed(&process, "Room") >= 900, "{}", closed(&process, "Room"));
    assert_eq!(closed(&process, "Refused"), 0);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn answers_without_end_make_room_when_nothing_else_does() {
    let (process, address) = start(ConnectionLimits { open: 2, ..limits() }).await;
    let mut streams = [connect(address).await, connect(address).await];
    timeless(async {
        for client in &mut streams {
            client.write_all(b"GET /slowly HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            client.read_u8().await.unwrap();
        }
        assert_eq!(rest(&mut connect(address).await).await, "");
    })
    .await;
    assert_eq!((closed(&process, "Refused"), closed(&process, "Room")), (1, 0));
    tokio::time::sleep(Duration::from_secs(5)).await;
    timeless(is_well(address)).await;
    assert_eq!((closed(&process, "Refused"), closed(&process, "Room")), (1, 1));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let (_process, address) = start(limits()).await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(300_000));
    for head in [many, long] {
        let mut client = connect(address).await;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{head}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    is_well(address).await;
}

#[tokio::test]
async fn a_client_that_still_sends_reads_why_it_was_refused() {
    let (_process, address) = start(limits()).await;
    let mut client = connect(address).await;
    let head = "POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&[b'x'; 900_000]).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn what_is_read_of_a_refused_body_has_an_end() {
    let (_process, address) = start(limits()).await;
    let mut client = connect(address).await;
    let head = "POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut sent = 0_usize;
    while let Ok(written) = client.write(&[b'x'; 64 << 10]).await {
        sent += written;
    }
    assert!(sent < 20 << 20, "{sent}");
}

#[tokio::test]
async fn a_panic_is_500_and_its_connection_goes_on() {
    let (_process, address) = start(limits()).await;
    let mut client = connect(address).await;
    let panic = b"GET /panic HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(ask(&mut client, panic).await, "HTTP/1.1 500 Internal Server Error");
    assert_eq!(ask(&mut client, GET).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_route_sees_the_address_of_its_client() {
    let (_process, address) = start(limits()).await;
    let mut client = connect(address).await;
    client.write_all(b"GET /peer HTTP/1.0\r\n\r\n").await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.ends_with(&client.local_addr().unwrap().to_string()), "{answer}");
}
