//! A Jira that remembers: issues, comments, a workflow, a search that can lag, a credential, and
//! faults on demand. Every request and every answer is held to Jira's OpenAPI document; a breach
//! fails the test when the fake is dropped.

pub(crate) mod contract;
mod issues;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as FromState;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use base64::Engine;
use serde_json::{Value, json};

use contract::Contract;
pub(crate) use issues::{Issue, Workflow};

pub(crate) const USER: &str = "firebreak@example.org";
pub(crate) const TOKEN: &str = "token-of-the-fake";

pub(crate) struct FakeJira {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _process: service::Process,
}

pub(crate) struct State {
    contract: Contract,
    violations: Vec<String>,
    faults: VecDeque<Fault>,
    pub(crate) requests: Vec<String>,
    pub(crate) issues: Vec<Issue>,
    pub(crate) workflow: Workflow,
    /// New issues stay out of the search until this is false.
    pub(crate) search_lags: bool,
    pub(crate) takes_priority: bool,
}

/// What happens to the next request with this method, instead of or after the real thing.
pub(crate) struct Fault {
    pub(crate) method: Method,
    pub(crate) kind: FaultKind,
}

pub(crate) enum FaultKind {
    /// Answers this status and does nothing.
    Answer { status: u16, retry_after: Option<u64> },
    /// Does it, and a proxy in between answers this status.
    AnswerAfter { status: u16 },
    /// Does it, and breaks the connection in the middle of the answer.
    BreakAfter,
    /// Does it, and never answers.
    HangAfter,
}

/// An answer before it goes on the wire.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
}

impl Answer {
    pub(crate) fn ok(status: u16, body: Value) -> Self {
        Self { status, body: Some(body) }
    }

    pub(crate) fn field_error(field: &str, message: &str) -> Self {
        Self::ok(400, json!({ "errorMessages": [], "errors": { field: message } }))
    }

    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::ok(status, json!({ "errorMessages": [message], "errors": {} }))
    }
}

impl FakeJira {
    /// `None`, and a line that says so, where Jira's document is not at hand.
    pub(crate) async fn start() -> Option<Self> {
        let Some(contract) = Contract::read() else {
            println!("skipped: the OpenAPI document is not in FIREBREAK_SHARED/jira");
            return None;
        };
        let state = Arc::new(Mutex::new(State {
            contract,
            violations: Vec::new(),
            faults: VecDeque::new(),
            requests: Vec::new(),
            issues: Vec::new(),
            workflow: Workflow::open(),
            search_lags: false,
            takes_priority: true,
        }));
        let process = service::Process::new("fake-jira");
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let address = service::serve(&process, "127.0.0.1:0", "-", routes).await.unwrap();
        Some(Self { url: format!("http://{address}"), state, _process: process })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn fail_next(&self, method: Method, kind: FaultKind) {
        self.state().faults.push_back(Fault { method, kind });
    }

    /// Requests so far with this method and path ending.
    pub(crate) fn count(&self, method: &Method, ending: &str) -> usize {
        let prefix = format!("{method} ");
        let is_counted = |line: &&String| line.starts_with(&prefix) && line.ends_with(ending);
        self.state().requests.iter().filter(is_counted).count()
    }

    /// Takes the breaches so far, for tests that make one on purpose.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.state().violations)
    }
}

impl Drop for FakeJira {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.take_violations(), Vec::<String>::new(), "breaches of Jira's API");
        }
    }
}

async fn answer(
    FromState(state): FromState<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (answer, fault) = state.lock().unwrap().serve(&method, &uri, &headers, &body);
    let whole = answer.body.map(|body| body.to_string()).unwrap_or_default();
    let body = match fault {
        Some(FaultKind::HangAfter) => std::future::pending().await,
        Some(FaultKind::BreakAfter) => {
            let half = Bytes::from(whole[..whole.len() / 2].to_owned());
            Body::from_stream(futures::stream::iter([Ok(half), Err("connection lost")]))
        }
        _ => Body::from(whole),
    };
    let mut response = Response::builder()
        .status(answer.status)
        .header(header::CONTENT_TYPE, "application/json;charset=UTF-8");
    if let Some(FaultKind::Answer { retry_after: Some(seconds), .. }) = fault {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    response.body(body).unwrap()
}

impl State {
    fn serve(
        &mut self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> (Answer, Option<FaultKind>) {
        self.requests.push(format!("{method} {}", uri.path()));
        let query: Vec<(String, String)> =
            url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let fault = match self.faults.front() {
            Some(fault) if fault.method == *method => self.faults.pop_front(),
            _ => None,
        }
        .map(|fault| fault.kind);
        let operation = match self.contract.operation(method, uri.path()) {
            Ok(operation) => operation,
            Err(breach) => {
                self.violations.push(breach);
                return (Answer::error(404, "no such operation"), None);
            }
        };
        if let Err(breach) = self.contract.check_request(&operation, &query, headers, body) {
            self.violations.push(format!("{method} {uri}: request: {breach}"));
        }
        let (template, arguments) = (operation.template.to_owned(), operation.arguments.clone());
        let answer = match &fault {
            Some(FaultKind::Answer { status, .. }) => Answer::error(*status, "made to fail"),
            _ if !is_known(headers) => Answer::error(401, "Client must be authenticated"),
            _ => {
                let body = serde_json::from_slice(body).unwrap_or_default();
                let done = self.act(method, &template, &arguments, &query, &body);
                match &fault {
                    Some(FaultKind::AnswerAfter { status }) => {
                        Answer::error(*status, "the answer was lost on the way")
                    }
                    _ => done,
                }
            }
        };
        let operation = self.contract.operation(method, uri.path()).expect("found above");
        if let Err(breach) =
            self.contract.check_answer(&operation, answer.status, answer.body.as_ref())
        {
            self.violations.push(format!("{method} {uri}: answer: {breach}"));
        }
        (answer, fault)
    }
}

fn is_known(headers: &HeaderMap) -> bool {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{TOKEN}"));
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given == Some(&format!("Basic {basic}")) || given == Some(&format!("Bearer {TOKEN}"))
}
