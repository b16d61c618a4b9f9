//! One way to call a server over either binding, and to read its streams.

use std::collections::VecDeque;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Map, Value, json};

use super::support::{PATIENCE, Served};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    JsonRpc,
    Rest,
}

pub(crate) const BOTH: [Binding; 2] = [Binding::JsonRpc, Binding::Rest];

/// An answer, as far as it is the same in both bindings.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) result: Option<Value>,
}

impl Answer {
    pub(crate) fn result(self) -> Value {
        self.result.unwrap_or_else(|| panic!("no result: {}", self.body))
    }

    fn details(&self) -> &[Value] {
        let error = &self.body["error"];
        let details = error.get("details").or_else(|| error.get("data"));
        details.and_then(Value::as_array).unwrap_or_else(|| panic!("no error: {}", self.body))
    }

    /// Why it failed, as `ErrorInfo` has it.
    pub(crate) fn reason(&self) -> &str {
        let info = self.details().iter().find(|detail| detail.get("reason").is_some()).unwrap();
        assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
        assert_eq!(info["domain"], "a2a-protocol.org");
        info["reason"].as_str().unwrap()
    }

    /// The first field at fault.
    pub(crate) fn field(&self) -> Option<&str> {
        let violation = self.details().iter().find_map(|detail| detail.get("fieldViolations"));
        violation.and_then(|violations| violations[0]["field"].as_str())
    }

    pub(crate) fn why(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap()
    }
}

impl Binding {
    pub(crate) async fn call(self, served: &Served, method: &str, params: Value) -> Answer {
        let request = self.request(served, method, params).header("A2A-Version", "1.0");
        answer_of(request.send().await.unwrap(), self).await
    }

    /// The request of a method, without a version.
    pub(crate) fn request(self, served: &Served, method: &str, params: Value) -> RequestBuilder {
        match self {
            Self::JsonRpc => {
                let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
                served.bare_post(body.to_string())
            }
            Self::Rest => {
                let (method, path, rest) = route(method, params);
                let request = served.request(method.clone(), &format!("/a2a/v1{path}"));
                match method {
                    Method::POST => request.json(&rest),
                    _ => request.query(&query(&rest)),
                }
            }
        }
    }

    /// Opens a stream that is known to begin.
    pub(crate) async fn stream(self, served: &Served, method: &str, params: Value) -> Stream {
        let request = self.request(served, method, params).header("A2A-Version", "1.0");
        Stream::open(request, self).await
    }
}

pub(crate) async fn answer_of(response: Response, binding: Binding) -> Answer {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let result = match binding {
        Binding::JsonRpc => body.get("result").cloned(),
        Binding::Rest => (status == 200).then(|| body.clone()),
    };
    Answer { status, body, result }
}

/// Where a method is found in HTTP+JSON, and what of its parameters is not in the path.
fn route(method: &str, mut params: Value) -> (Method, String, Value) {
    let rest = params.as_object_mut().unwrap();
    let tenant = match rest.remove("tenant") {
        Some(tenant) => format!("/{}", tenant.as_str().unwrap()),
        None => String::new(),
    };
    let named = |rest: &mut Map<String, Value>, name| match rest.remove(name) {
        Some(Value::String(id)) => id,
        other => panic!("{method} without {name}: {other:?}"),
    };
    let (verb, path) = match method {
        "SendMessage" => (Method::POST, "/message:send".to_owned()),
        "SendStreamingMessage" => (Method::POST, "/message:stream".to_owned()),
        "ListTasks" => (Method::GET, "/tasks".to_owned()),
        "GetTask" => (Method::GET, format!("/tasks/{}", named(rest, "id"))),
        "CancelTask" => (Method::POST, format!("/tasks/{}:cancel", named(rest, "id"))),
        "SubscribeToTask" => (Method::GET, format!("/tasks/{}:subscribe", named(rest, "id"))),
        "GetExtendedAgentCard" => (Method::GET, "/extendedAgentCard".to_owned()),
        "CreateTaskPushNotificationConfig" => {
            (Method::POST, format!("/tasks/{}/pushNotificationConfigs", named(rest, "taskId")))
        }
        "ListTaskPushNotificationConfigs" => {
            (Method::GET, format!("/tasks/{}/pushNotificationConfigs", named(rest, "taskId")))
        }
        method => {
            let (task, id) = (named(rest, "taskId"), named(rest, "id"));
            let verb = if method.starts_with("Get") { Method::GET } else { Method::DELETE };
            (verb, format!("/tasks/{task}/pushNotificationConfigs/{id}"))
        }
    };
    (verb, format!("{tenant}{path}"), params)
}

fn query(params: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    params.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// One server-sent event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    /// The event as it was written.
    pub(crate) data: Value,
    /// The event without what JSON-RPC puts around it.
    pub(crate) object: Value,
}

impl Event {
    pub(crate) fn kind(&self) -> &str {
        self.object.as_object().unwrap().keys().next().unwrap()
    }

    pub(crate) fn state(&self) -> &str {
        self.object[self.kind()]["status"]["state"].as_str().unwrap_or_default()
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) response: Response,
    binding: Binding,
    text: String,
    events: VecDeque<Event>,
    /// Lines that only say the stream is there.
    pub(crate) comments: usize,
}

impl Stream {
    pub(crate) async fn open(request: RequestBuilder, binding: Binding) -> Self {
        let response = request.send().await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!((response.status().as_u16(), content_type.as_str()), (200, "text/event-stream"));
        let (text, events) = (String::new(), VecDeque::new());
        Self { response, binding, text, events, comments: 0 }
    }

    /// The next event, or the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        while self.events.is_empty() {
            self.read().await?;
        }
        self.events.pop_front()
    }

    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads what comes next, be it an event or a sign of life.
    pub(crate) async fn read(&mut self) -> Option<()> {
        let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.unwrap();
        self.text += std::str::from_utf8(&chunk.unwrap()?).unwrap();
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let (block, rest) = (block.to_owned(), rest.to_owned());
            self.text = rest;
            self.block(&block);
        }
        Some(())
    }

    fn block(&mut self, block: &str) {
        let (mut id, mut data) = (None, None);
        for line in block.lines() {
            match line.split_once(':').unwrap_or((line, "")) {
                ("", _) => self.comments += 1,
                ("id", number) => id = Some(number.trim().parse().unwrap()),
                ("data", text) => data = Some(serde_json::from_str(text).unwrap()),
                ("event", name) => assert_eq!(name.trim(), "error", "the others have no name"),
                other => panic!("no field of an event: {other:?}"),
            }
        }
        let Some(data): Option<Value> = data else { return };
        let object = match self.binding {
            Binding::JsonRpc if data.get("error").is_some() => json!({"error": data["error"]}),
            Binding::JsonRpc => data["result"].clone(),
            Binding::Rest => data.clone(),
        };
        self.events.push_back(Event { id, data, object });
    }
}
