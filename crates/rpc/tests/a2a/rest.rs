//! HTTP+JSON: every route, and how requests and errors look in HTTP.

use reqwest::Method;
use rpc::a2a::{Authentication, AuthenticationConfig, BearerConfig};
use serde_json::{Value, json};

use super::bindings::{Answer, BOTH, Binding, Stream, answer_of};
use super::support::{Served, memory, message, state};

async fn served() -> Served {
    Served::configured(memory(), |card, _| {
        card.capabilities.push_notifications = Some(true);
    })
    .await
}

fn request(served: &Served, method: Method, path: &str) -> reqwest::RequestBuilder {
    served.request(method, &format!("/a2a/v1{path}")).header("A2A-Version", "1.0")
}

async fn get(served: &Served, path: &str) -> Answer {
    answer(request(served, Method::GET, path)).await
}

async fn post(served: &Served, path: &str, body: &Value) -> Answer {
    answer(request(served, Method::POST, path).json(body)).await
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    answer_of(request.send().await.unwrap(), Binding::Rest).await
}

#[tokio::test]
async fn every_route_is_served_with_a_slash_and_a_tenant() {
    let served = served().await;
    for (tenant, slash) in [("", ""), ("", "/"), ("/blue", ""), ("/blue%20team", "/")] {
        let at = |path: &str| format!("{tenant}{path}{slash}");
        let sent = post(&served, &at("/message:send"), &message("ask")).await.result();
        let task = &sent["task"];
        assert_eq!(state(task), "TASK_STATE_INPUT_REQUIRED");
        let id = task["id"].as_str().unwrap();
        assert_eq!(get(&served, &at(&format!("/tasks/{id}"))).await.result(), *task);
        let listed = get(&served, &at("/tasks")).await.result();
        assert_eq!(listed["tasks"][0]["id"], id);
        pushes(&served, &at, id).await;
        streams(&served, &at, id).await;
        let cancel = at(&format!("/tasks/{id}:cancel"));
        let canceled = answer(request(&served, Method::POST, &cancel)).await.result();
        assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
        let card = get(&served, &at("/extendedAgentCard")).await;
        assert_eq!((card.status, card.reason()), (400, "UNSUPPORTED_OPERATION"));
    }
}

async fn pushes(served: &Served, at: &impl Fn(&str) -> String, id: &str) {
    let configs = format!("/tasks/{id}/pushNotificationConfigs");
    let config = json!({"url": "https://hooks.example/a", "token": "t"});
    let made = post(served, &at(&configs), &config).await.result();
    assert_eq!((&made["taskId"], &made["url"]), (&json!(id), &config["url"]));
    let one = format!("{configs}/{}", made["id"].as_str().unwrap());
    assert_eq!(get(served, &at(&one)).await.result(), made);
    let listed = get(served, &at(&configs)).await.result();
    assert_eq!(listed["configs"], json!([made]));
    for _ in 0..2 {
        let deleted = answer(request(served, Method::DELETE, &at(&one))).await;
        assert_eq!(deleted.result(), json!({}));
    }
    let gone = get(served, &at(&one)).await;
    assert_eq!((gone.status, gone.reason()), (404, "TASK_NOT_FOUND"));
}

async fn streams(served: &Served, at: &impl Fn(&str) -> String, id: &str) {
    let path = at("/message:stream");
    let sent = request(served, Method::POST, &path).json(&message("echo x"));
    let events = Stream::open(sent, Binding::Rest).await.rest().await;
    assert_eq!(events.last().unwrap().state(), "TASK_STATE_COMPLETED");
    for method in [Method::GET, Method::POST] {
        let path = at(&format!("/tasks/{id}:subscribe"));
        let mut stream = Stream::open(request(served, method, &path), Binding::Rest).await;
        assert_eq!(stream.next().await.unwrap().object["task"]["id"], id);
    }
}

#[tokio::test]
async fn errors_have_the_status_of_the_specification() {
    let served = Served::new().await;
    let done = served.send("echo x").await;
    let id = done["id"].as_str().unwrap();
    let push = json!({"url": "https://hooks.example"});
    let mut odd = message("x");
    odd["message"]["parts"][0]["mediaType"] = json!("application/x-unsupported-tck-type");
    let mut picky = message("x");
    picky["configuration"] = json!({"acceptedOutputModes": ["image/png"]});
    for (answer, code, status, reason) in [
        (get(&served, "/tasks/nobody").await, 404, "NOT_FOUND", "TASK_NOT_FOUND"),
        (
            post(&served, &format!("/tasks/{id}:cancel"), &json!({})).await,
            400,
            "FAILED_PRECONDITION",
            "TASK_NOT_CANCELABLE",
        ),
        (
            post(&served, &format!("/tasks/{id}/pushNotificationConfigs"), &push).await,
            400,
            "FAILED_PRECONDITION",
            "PUSH_NOTIFICATION_NOT_SUPPORTED",
        ),
        (
            get(&served, &format!("/tasks/{id}:subscribe")).await,
            400,
            "FAILED_PRECONDITION",
            "UNSUPPORTED_OPERATION",
        ),
        (
            post(&served, "/message:send", &odd).await,
            400,
            "INVALID_ARGUMENT",
            "CONTENT_TYPE_NOT_SUPPORTED",
        ),
        (
            post(&served, "/message:send", &picky).await,
            400,
            "INVALID_ARGUMENT",
            "CONTENT_TYPE_NOT_SUPPORTED",
        ),
        (
            post(&served, "/message:send", &json!({})).await,
            400,
            "INVALID_ARGUMENT",
            "INVALID_PARAMS",
        ),
        (
            post(&served, "/message:send", &json!([])).await,
            400,
            "INVALID_ARGUMENT",
            "INVALID_PARAMS",
        ),
        (get(&served, "/nothing").await, 404, "NOT_FOUND", "METHOD_NOT_FOUND"),
        (get(&served, "/message:send").await, 405, "NOT_FOUND", "METHOD_NOT_FOUND"),
    ] {
        let error = &answer.body["error"];
        assert_eq!(answer.status, code, "{error}");
        assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(status)), "{error}");
        assert_eq!(answer.reason(), reason, "{error}");
    }
    let invalid = request(&served, Method::POST, "/message:send")
        .header("content-type", "application/json")
        .body("{");
    let answer = answer(invalid).await;
    assert_eq!((answer.status, answer.reason()), (400, "PARSE_ERROR"));
}

#[tokio::test]
async fn both_bindings_find_the_same_faults() {
    let served = served().await;
    let task = served.send("ask").await;
    let changed = |pointer: &str, value: Value| {
        let mut params = message("x");
        params["configuration"] = json!({"historyLength": 0});
        *params.pointer_mut(pointer).unwrap() = value;
        params
    };
    let part = |part: Value| changed("/message/parts/0", part);
    let many = json!(vec![json!({"text": "x"}); 257]);
    let push = |url: &str| json!({"taskId": task["id"], "url": url});
    for (method, params, field) in [
        ("SendMessage", json!({}), "message"),
        ("SendMessage", changed("/message/messageId", json!("")), "message.messageId"),
        ("SendMessage", changed("/message/role", json!("ROLE_BOSS")), "message.role"),
        ("SendMessage", changed("/message/parts", json!([])), "message.parts"),
        ("SendMessage", changed("/message/parts", many), "message.parts"),
        ("SendMessage", part(json!({"raw": "%%"})), "message.parts[0].raw"),
        ("SendMessage", part(json!({"url": "no url"})), "message.parts[0].url"),
        (
            "SendMessage",
            changed("/configuration/historyLength", json!(-1)),
            "configuration.historyLength",
        ),
        ("GetTask", json!({"id": task["id"], "historyLength": -1}), "historyLength"),
        ("CreateTaskPushNotificationConfig", push("mailto:a@b"), "url"),
        ("CreateTaskPushNotificationConfig", push("/path"), "url"),
        (
            "ListTaskPushNotificationConfigs",
            json!({"taskId": task["id"], "pageSize": 101}),
            "pageSize",
        ),
        (
            "ListTaskPushNotificationConfigs",
            json!({"taskId": task["id"], "pageToken": "%"}),
            "pageToken",
        ),
    ] {
        for binding in BOTH {
            let answer = binding.call(&served, method, params.clone()).await;
            assert_eq!(answer.reason(), "INVALID_PARAMS", "{binding:?} {method} {params}");
            assert_eq!(answer.field(), Some(field), "{binding:?} {method}: {}", answer.why());
        }
    }
}

#[tokio::test]
async fn push_configurations_come_in_pages() {
    let served = served().await;
    let task = served.send("ask").await;
    for number in 0..5 {
        let config = json!({"taskId": task["id"], "id": format!("c{number}"),
            "url": "https://hooks.example"});
        Binding::JsonRpc.call(&served, "CreateTaskPushNotificationConfig", config).await.result();
    }
    for binding in BOTH {
        let (mut read, mut token) = (Vec::new(), String::new());
        loop {
            let params = json!({"taskId": task["id"], "pageSize": 2, "pageToken": token});
            let page =
                binding.call(&served, "ListTaskPushNotificationConfigs", params).await.result();
            let configs = page["configs"].as_array().unwrap();
            read.extend(configs.iter().map(|config| config["id"].as_str().unwrap().to_owned()));
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(read, ["c0", "c1", "c2", "c3", "c4"], "{binding:?}");
    }
}

#[tokio::test]
async fn the_path_decides_and_the_body_may_agree() {
    let served = served().await;
    let task = served.send("ask").await;
    let id = task["id"].as_str().unwrap();
    let path = format!("/tasks/{id}:cancel");
    let other = post(&served, &path, &json!({"id": "another"})).await;
    assert_eq!((other.status, other.field()), (400, Some("id")));
    let mut params = message("echo x");
    params["tenant"] = json!("red");
    let other = post(&served, "/blue/message:send", &params).await;
    assert_eq!((other.status, other.field()), (400, Some("tenant")));
    let other = get(&served, "/blue/tasks?tenant=red").await;
    assert_eq!((other.status, other.field()), (400, Some("tenant")));
    let configs = format!("/tasks/{id}/pushNotificationConfigs");
    let config = json!({"task_id": "another", "url": "https://hooks.example"});
    assert_eq!(post(&served, &configs, &config).await.field(), Some("taskId"));
    let sent = post(&served, "/red/message:send", &params).await.result();
    let own = format!("/red/tasks/{}", sent["task"]["id"].as_str().unwrap());
    assert_eq!(get(&served, &own).await.status, 200);
    let canceled =
        post(&served, &path, &json!({"id": id, "metadata": {"why": "x"}})).await.result();
    assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
}

#[tokio::test]
async fn content_types_are_those_the_caller_knows() {
    let served = Served::new().await;
    let task = served.send("ask").await;
    let path = format!("/tasks/{}", task["id"].as_str().unwrap());
    for (accept, expected) in [
        (None, "application/json"),
        (Some("*/*"), "application/json"),
        (Some("application/json, text/event-stream"), "application/json"),
        (Some("application/a2a+json"), "application/a2a+json"),
        (Some("text/html, application/A2A+json;q=0.5"), "application/a2a+json"),
    ] {
        for path in [path.as_str(), "/tasks/nobody", "", "/"] {
            let mut request = request(&served, Method::GET, path);
            if let Some(accept) = accept {
                request = request.header("accept", accept);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], expected, "{accept:?} {path}");
        }
    }
    let send = |kind: &str| {
        let request = request(&served, Method::POST, "/message:send");
        request.header("content-type", kind).body(message("echo x").to_string())
    };
    let answer = send("application/a2a+json").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/a2a+json");
    assert_eq!(send("application/json; charset=utf-8").send().await.unwrap().status(), 200);
    let runs = served.script.runs().len();
    for kind in ["text/plain", "text/plain; x=json", "application/x-www-form-urlencoded"] {
        let answer = answer_of(send(kind).send().await.unwrap(), Binding::Rest).await;
        assert_eq!((answer.status, answer.reason()), (415, "CONTENT_TYPE_NOT_SUPPORTED"), "{kind}");
    }
    assert_eq!(served.script.runs().len(), runs, "nothing was begun");
}

#[tokio::test]
async fn requests_beyond_a_bound_are_refused_in_the_form_of_their_binding() {
    let served = Served::configured(memory(), |_, options| {
        (options.body_bytes, options.url_bytes, options.parts) = (2000, 200, 2);
    })
    .await;
    for binding in BOTH {
        let large = binding.call(&served, "SendMessage", message(&"x".repeat(2000))).await;
        assert_eq!((large.status, large.reason()), (413, "INVALID_REQUEST"), "{binding:?}");
        assert!(large.why().contains("2000"), "{}", large.why());
        let chunks = ["x".repeat(1500), "x".repeat(1500)].map(Ok::<_, std::io::Error>);
        let chunked = binding.request(&served, "SendMessage", message("x"));
        let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
        let chunked = chunked.header("A2A-Version", "1.0").body(body).send().await.unwrap();
        assert_eq!(chunked.status(), 413, "{binding:?}");
        let long = binding.request(&served, "ListTasks", json!({}));
        let long = long.query(&[("A2A-Version", "1.0"), ("a2a-x", &"x".repeat(200))]);
        let long = answer_of(long.send().await.unwrap(), binding).await;
        assert_eq!((long.status, long.reason()), (414, "INVALID_REQUEST"), "{binding:?}");
        let mut parts = message("x");
        parts["message"]["parts"] = json!([{"text": "1"}, {"text": "2"}, {"text": "3"}]);
        let parts = binding.call(&served, "SendMessage", parts).await;
        assert_eq!(parts.field(), Some("message.parts"), "{binding:?}");
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let mut params = message("x");
        params["metadata"] = json!({ "deep": deep });
        let deep = binding.call(&served, "SendMessage", params).await;
        assert_eq!(deep.reason(), "PARSE_ERROR", "{binding:?}");
    }
    assert_eq!(served.script.runs(), []);
}

#[tokio::test]
async fn the_version_is_asked_of_every_binding() {
    let served = Served::new().await;
    for binding in BOTH {
        let ask = || binding.request(&served, "ListTasks", json!({}));
        for version in [None, Some(""), Some("0.3"), Some("0.3.0"), Some("1.1"), Some("99.0")] {
            let request = version.iter().fold(ask(), |ask, v| ask.header("A2A-Version", *v));
            let answer = answer_of(request.send().await.unwrap(), binding).await;
            assert_eq!(answer.reason(), "VERSION_NOT_SUPPORTED", "{binding:?} {version:?}");
        }
        for version in ["1.0", "1.0.0", "1.0.9", " 1.0 "] {
            let answer = ask().header("a2a-version", version).send().await.unwrap();
            answer_of(answer, binding).await.result();
            let answer = ask().query(&[("A2A-Version", version.trim())]).send().await.unwrap();
            answer_of(answer, binding).await.result();
        }
    }
}

#[tokio::test]
async fn required_extensions_are_asked_for_and_active_ones_told() {
    let extension = |uri: &str, required| a2a_types::AgentExtension {
        uri: uri.into(),
        required,
        ..a2a_types::AgentExtension::default()
    };
    let served = Served::configured(memory(), |card, _| {
        card.capabilities.extensions =
            vec![extension("urn:must", true), extension("urn:may", false)];
    })
    .await;
    for binding in BOTH {
        let ask = |named: &str| {
            let request = binding.request(&served, "SendMessage", message("echo x"));
            request.header("A2A-Version", "1.0").header("A2A-Extensions", named)
        };
        for named in ["", "urn:may", "urn:must2"] {
            let answer = answer_of(ask(named).send().await.unwrap(), binding).await;
            assert_eq!(answer.reason(), "EXTENSION_SUPPORT_REQUIRED", "{binding:?} {named}");
            assert!(answer.why().contains("urn:must"), "{}", answer.why());
        }
        for (named, active) in
            [("urn:must", "urn:must"), ("urn:other ,urn:may,urn:must", "urn:must, urn:may")]
        {
            let answer = ask(named).send().await.unwrap();
            assert_eq!(answer.headers()["a2a-extensions"], active, "{binding:?}");
        }
        let two = ask("urn:may").header("A2A-Extensions", "urn:must").send().await.unwrap();
        assert_eq!(two.headers()["a2a-extensions"], "urn:must, urn:may");
    }
}

#[tokio::test]
async fn a_key_makes_a_repetition_in_either_binding() {
    let served = Served::new().await;
    let mut ids = Vec::new();
    for binding in [Binding::Rest, Binding::JsonRpc, Binding::Rest] {
        let request = binding.request(&served, "SendMessage", message("echo x"));
        let request = request.header("A2A-Version", "1.0").header("Idempotency-Key", "k");
        let answer = answer_of(request.send().await.unwrap(), binding).await.result();
        ids.push(answer["task"]["id"].clone());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(served.script.runs().len(), 1);
}

/// A server that admits two callers by a secret each, and has a card for them.
async fn guarded(directory: &tempfile::TempDir, has_card: bool) -> Served {
    let bearer = ["ann", "bob"].map(|name| {
        let file = directory.path().join(name);
        std::fs::write(&file, format!("the-secret-of-{name}")).unwrap();
        BearerConfig { name: name.into(), files: vec![file] }
    });
    let config = AuthenticationConfig { bearer: bearer.to_vec(), ..Default::default() };
    Served::configured(memory(), |card, options| {
        card.capabilities.extended_agent_card = Some(true);
        let mut extended = card.clone();
        extended.description = "for those who are known".into();
        options.extended_card = has_card.then_some(extended);
        options.authentication = Authentication::open(&config).unwrap();
    })
    .await
}

#[tokio::test]
async fn callers_are_known_before_anything_else_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let served = guarded(&directory, true).await;
    for binding in BOTH {
        for secret in [None, Some("the-secret-of-eve")] {
            // Neither a version nor anything else that could be used.
            let request = binding.request(&served, "SendMessage", json!({}));
            let request =
                secret.iter().fold(request, |request, secret| request.bearer_auth(secret));
            let response = request.send().await.unwrap();
            let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.starts_with("Bearer "), "{challenge}");
            let answer = answer_of(response, binding).await;
            assert_eq!((answer.status, answer.reason()), (401, "UNAUTHENTICATED"), "{binding:?}");
        }
    }
    assert_eq!(served.script.runs(), []);
}

#[tokio::test]
async fn tasks_of_others_are_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let served = guarded(&directory, true).await;
    for binding in BOTH {
        let call = async |name: &str, method: &str, params: Value| {
            let request = binding.request(&served, method, params).header("A2A-Version", "1.0");
            let request = request.bearer_auth(format!("the-secret-of-{name}"));
            answer_of(request.send().await.unwrap(), binding).await
        };
        let task = call("ann", "SendMessage", message("ask")).await.result()["task"].clone();
        let id = json!({"id": task["id"]});
        for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
            let foreign = call("bob", method, id.clone()).await;
            assert_eq!(foreign.reason(), "TASK_NOT_FOUND", "{binding:?} {method}");
            let unknown = call("ann", method, json!({"id": "nobody"})).await;
            let named = |answer: &Answer| answer.why().rsplit_once(' ').unwrap().0.to_owned();
            assert_eq!(named(&foreign), named(&unknown), "{binding:?} {method}");
        }
        assert_eq!(call("bob", "ListTasks", json!({})).await.result()["totalSize"], 0);
        assert_eq!(call("ann", "GetTask", id).await.result()["id"], task["id"]);
    }
}

#[tokio::test]
async fn the_extended_card_is_for_those_who_are_known() {
    let directory = tempfile::tempdir().unwrap();
    for has_card in [true, false] {
        let served = guarded(&directory, has_card).await;
        for binding in BOTH {
            let request = binding.request(&served, "GetExtendedAgentCard", json!({}));
            let request = request.header("A2A-Version", "1.0").bearer_auth("the-secret-of-ann");
            let answer = answer_of(request.send().await.unwrap(), binding).await;
            match has_card {
                true => assert_eq!(answer.result()["description"], "for those who are known"),
                false => assert_eq!(answer.reason(), "EXTENDED_AGENT_CARD_NOT_CONFIGURED"),
            }
        }
    }
    let open = Served::configured(memory(), |card, options| {
        card.capabilities.extended_agent_card = Some(true);
        options.extended_card = Some(card.clone());
    })
    .await;
    for binding in BOTH {
        let answer = binding.call(&open, "GetExtendedAgentCard", json!({})).await;
        assert_eq!((answer.status, answer.reason()), (401, "UNAUTHENTICATED"), "{binding:?}");
    }
}

#[tokio::test]
async fn a_caller_beyond_its_limits_is_told_when_to_ask_again() {
    for binding in BOTH {
        let served = Served::configured(memory(), |_, options| {
            (options.limits.burst, options.limits.streams) = (3, 1);
        })
        .await;
        let stream = binding.stream(&served, "SendStreamingMessage", message("hold"));
        let mut stream = stream.await;
        stream.next().await.unwrap();
        let again = binding.call(&served, "SendStreamingMessage", message("hold")).await;
        assert_eq!((again.status, again.reason()), (429, "RESOURCE_EXHAUSTED"), "{binding:?}");
        assert_eq!(binding.call(&served, "ListTasks", json!({})).await.result()["totalSize"], 1);
        let request = binding.request(&served, "ListTasks", json!({}));
        let response = request.header("A2A-Version", "1.0").send().await.unwrap();
        assert_eq!(response.headers()["retry-after"], "1");
        let answer = answer_of(response, binding).await;
        assert_eq!((answer.status, answer.reason()), (429, "RESOURCE_EXHAUSTED"), "{binding:?}");
    }
}
