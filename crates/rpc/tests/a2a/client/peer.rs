//! A peer written by hand: a card, and an answer to each request, which it remembers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt;
use futures::stream;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Requests before it, without those for the card.
    pub(crate) before: usize,
}

#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Body,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The JSON-RPC method.
    pub(crate) fn rpc(&self) -> String {
        self.json()["method"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn is_for_card(&self) -> bool {
        self.target == a2a_types::CARD_PATH
    }

    /// A JSON-RPC result.
    pub(crate) fn result(&self, result: Value) -> Answer {
        (200, self.envelope(&result)).into()
    }

    pub(crate) fn error(&self, code: i64) -> Answer {
        let error = json!({"code": code, "message": "as told"});
        (200, json!({"jsonrpc": "2.0", "id": self.json()["id"], "error": error}).to_string()).into()
    }

    /// A stream of JSON-RPC results that ends as `end` says.
    pub(crate) fn events(&self, events: &[Value], end: End) -> Answer {
        let text = |(index, event): (usize, &Value)| {
            format!("id: {}\ndata: {}\n\n", index + 1, self.envelope(event))
        };
        stream_of(events.iter().enumerate().map(text).collect(), end)
    }

    fn envelope(&self, result: &Value) -> String {
        json!({"jsonrpc": "2.0", "id": self.json()["id"], "result": result}).to_string()
    }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    /// The connection breaks.
    Broken,
    /// It does not; nothing more comes.
    Never,
}

pub(crate) fn stream_of(chunks: Vec<String>, end: End) -> Answer {
    let chunks = stream::iter(chunks).map(|chunk| Ok(Bytes::from(chunk)));
    let end = match end {
        End::Well => stream::empty().boxed(),
        // A turn later, so that what was said before is sent before.
        End::Broken => stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("as told"))
        })
        .boxed(),
        End::Never => stream::pending().boxed(),
    };
    let mut answer = Answer { body: Body::from_stream(chunks.chain(end)), ..(200, "").into() };
    answer.headers.insert("content-type", "text/event-stream; charset=utf-8".parse().unwrap());
    answer
}

impl<T: Into<Body>> From<(u16, T)> for Answer {
    fn from((status, body): (u16, T)) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }
}

impl Answer {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }
}

impl Peer {
    /// A peer with JSON-RPC and streams whose endpoint answers.
    pub(crate) async fn new(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let card = |url: &str| card_with(&[("JSONRPC", "1.0", &format!("{url}/rpc"), "")], true);
        Self::with_card(card, answer).await
    }

    pub(crate) async fn with_card(
        card: impl FnOnce(&str) -> Value,
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let card = card(&url).to_string();
        Self::bare(listener, move |asked| match asked.is_for_card() {
            true => (200, card.clone()).into(),
            false => answer(asked),
        })
    }

    /// A peer that answers requests for its card too.
    pub(crate) fn bare(
        listener: TcpListener,
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let all = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let (answer, log) = (Arc::new(answer), all.clone());
        let routes = Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let asked = read(request, &log).await;
                let Answer { status, headers, body } = answer(&asked);
                let mut response = Response::new(body);
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                *response.headers_mut() = headers;
                response
            }
        });
        // Dropped with the runtime of its test.
        TaskTracker::new().spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, asked: all }
    }

    /// What it was asked, without the requests for its card.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.all().into_iter().filter(|asked| !asked.is_for_card()).collect()
    }

    pub(crate) fn asked_for_card(&self) -> Vec<Asked> {
        self.all().into_iter().filter(Asked::is_for_card).collect()
    }

    /// The JSON-RPC methods it was asked for, in order.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.asked().iter().map(Asked::rpc).collect()
    }

    fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn read(request: Request, log: &Mutex<Vec<Asked>>) -> Asked {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let mut log = log.lock().unwrap();
    let before = log.iter().filter(|asked| !asked.is_for_card()).count();
    let target = parts.uri.path_and_query().unwrap().to_string();
    let method = parts.method.to_string();
    let asked = Asked { method, target, headers: parts.headers, body, before };
    log.push(asked.clone());
    asked
}

/// A card of interfaces: binding, version, URL and tenant.
pub(crate) fn card_with(interfaces: &[(&str, &str, &str, &str)], streaming: bool) -> Value {
    let interface = |(binding, version, url, tenant): &(&str, &str, &str, &str)| json!({"url": url, "protocolBinding": binding, "protocolVersion": version, "tenant": tenant});
    let interfaces: Vec<Value> = interfaces.iter().map(interface).collect();
    json!({"name": "p", "description": "", "version": "1", "supportedInterfaces": interfaces,
        "capabilities": {"streaming": streaming}, "defaultInputModes": [],
        "defaultOutputModes": [], "skills": []})
}

pub(crate) fn task(id: &str, state: &str) -> Value {
    json!({"id": id, "contextId": "c", "status": {"state": format!("TASK_STATE_{state}")}})
}

pub(crate) fn status(id: &str, state: &str) -> Value {
    let status = json!({"state": format!("TASK_STATE_{state}")});
    json!({"statusUpdate": {"taskId": id, "contextId": "c", "status": status}})
}

pub(crate) fn artifact(id: &str, text: &str, append: bool) -> Value {
    let artifact = json!({"artifactId": "a", "parts": [{"text": text}]});
    json!({"artifactUpdate":
        {"taskId": id, "contextId": "c", "artifact": artifact, "append": append}})
}
