//! What is said to requests that are none, and to callers of another version.

use a2a_types::AgentCapabilities;
use serde_json::{Value, json};

use super::support::{Served, error_of, memory, message};

async fn answer(request: reqwest::RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn malformed_envelopes_are_named_and_the_next_request_works() {
    let served = Served::new().await;
    let deep = format!("{{\"params\": {}", "[".repeat(100_000));
    let cases: Vec<(String, i64, &str)> = vec![
        ("{".into(), -32700, "invalid JSON"),
        (String::new(), -32700, "invalid JSON"),
        (deep, -32700, "invalid JSON"),
        ("[]".into(), -32600, "batches"),
        (
            json!([{"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}]).to_string(),
            -32600,
            "batches",
        ),
        ("3".into(), -32600, "jsonrpc"),
        (json!({"id": 1, "method": "GetTask"}).to_string(), -32600, "jsonrpc"),
        (json!({"jsonrpc": "1.0", "id": 1, "method": "GetTask"}).to_string(), -32600, "jsonrpc"),
        (json!({"jsonrpc": "2.0", "method": "GetTask"}).to_string(), -32600, "`id`"),
        (json!({"jsonrpc": "2.0", "id": {}, "method": "GetTask"}).to_string(), -32600, "`id`"),
        (json!({"jsonrpc": "2.0", "id": 1}).to_string(), -32600, "method"),
        (json!({"jsonrpc": "2.0", "id": 1, "method": 7}).to_string(), -32600, "method"),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "No"}).to_string(), -32601, "No"),
        (
            json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": [1]}).to_string(),
            -32602,
            "params",
        ),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask"}).to_string(), -32602, "id"),
    ];
    for (body, code, named) in cases {
        let shown: String = body.chars().take(80).collect();
        let error = error_of(&answer(served.post(body)).await);
        assert_eq!(error.0, code, "{shown}: {}", error.1);
        assert!(error.1.contains(named), "{shown}: {}", error.1);
    }
    let invalid = answer(served.post(b"{\"jsonrpc\": \"\xff\xfe\"}".to_vec())).await;
    assert_eq!(error_of(&invalid).0, -32700);
    assert_eq!(served.send("echo on").await["status"]["state"], "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn bad_parameters_are_named_by_their_path() {
    let served = Served::new().await;
    let changed = |pointer: &str, value: Value| {
        let mut params = message("x");
        *params.pointer_mut(pointer).unwrap() = value;
        params
    };
    for (params, field) in [
        (json!({}), "message"),
        (changed("/message/messageId", json!("")), "message.messageId"),
        (changed("/message/messageId", json!(7)), "message.messageId"),
        (changed("/message/parts", json!([])), "message.parts"),
        (changed("/message/parts", json!("x")), "message.parts"),
        (changed("/message/parts/0", json!({})), "message.parts[0]"),
        (changed("/message/role", json!(true)), "message.role"),
    ] {
        let answer = served.call("SendMessage", params.clone()).await;
        let (code, why) = error_of(&answer);
        assert_eq!(code, -32602, "{params}: {why}");
        let violation = &answer["error"]["data"][0]["fieldViolations"][0];
        assert!(why.contains(field), "{params}: {why}");
        assert_eq!(violation["field"].as_str().unwrap(), field, "{params}");
    }
}

#[tokio::test]
async fn ids_come_back_as_they_were() {
    let served = Served::new().await;
    for id in [json!(-7), json!(0), json!("abc"), json!(""), json!(null), json!(1.5)] {
        for method in ["SendMessage", "NoSuchMethod"] {
            let body =
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": message("echo x")});
            let answer = answer(served.post(body.to_string())).await;
            assert_eq!((&answer["id"], &answer["jsonrpc"]), (&id, &json!("2.0")), "{method}");
        }
    }
}

#[tokio::test]
async fn the_version_is_required_and_patches_are_the_same() {
    let served = Served::new().await;
    let body = || {
        json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message("echo x")})
            .to_string()
    };
    for version in [None, Some("0.3"), Some("2.0"), Some("1.1"), Some("10.0"), Some("")] {
        let mut request = served.bare_post(body());
        if let Some(version) = version {
            request = request.header("A2A-Version", version);
        }
        let (code, why) = error_of(&answer(request).await);
        assert_eq!(code, -32009, "{version:?}: {why}");
    }
    for version in ["1.0", "1.0.0", "1.0.7"] {
        let answer = answer(served.bare_post(body()).header("A2A-Version", version)).await;
        assert!(answer.get("result").is_some(), "{version}: {answer}");
    }
    let query = served.bare_post(body()).query(&[("A2A-Version", "1.0")]);
    assert!(answer(query).await.get("result").is_some());
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_413() {
    let served = Served::new().await;
    let body = message(&"x".repeat(5 << 20)).to_string();
    assert_eq!(served.post(body).send().await.unwrap().status(), 413);
    assert_eq!(served.send("echo on").await["status"]["state"], "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let served = Served::new().await;
    let request = reqwest::Client::new()
        .post(served.url("/a2a"))
        .header("A2A-Version", "1.0")
        .header("content-type", "text/xml")
        .body("<x/>");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 415);
    assert_eq!(error_of(&answer.json().await.unwrap()).0, -32005);
}

#[tokio::test]
async fn what_a_page_of_another_site_could_send_unasked_is_refused() {
    let served = Served::new().await;
    let body = || {
        let params = message("echo forged");
        json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}).to_string()
    };
    // A browser asks first for any header but these, and for JSON; the version fits in the address.
    let url = served.url("/a2a?A2A-Version=1.0");
    let post = || reqwest::Client::new().post(&url).body(body());
    for kind in [None, Some("text/plain; x=json"), Some("multipart/form-data; boundary=json")] {
        let forged = kind.iter().fold(post(), |post, kind| post.header("content-type", *kind));
        assert_eq!(forged.send().await.unwrap().status(), 415, "{kind:?}");
    }
    assert_eq!(served.script.runs(), [], "nothing was begun");
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/a2a+json"] {
        let asked = post().header("content-type", kind);
        assert!(answer(asked).await.get("result").is_some(), "{kind}");
    }
}

#[tokio::test]
async fn what_is_no_post_is_told_so() {
    let served = Served::new().await;
    for path in ["/a2a", "/a2a/"] {
        let answer = served.get(path).header("A2A-Version", "1.0").send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["allow"]),
            (405, &"POST".parse().unwrap())
        );
        let answer: Value = answer.json().await.unwrap();
        assert_eq!((error_of(&answer).0, &answer["id"]), (-32601, &Value::Null), "{path}");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}).to_string();
        let post = served.request(reqwest::Method::POST, path).header("A2A-Version", "1.0");
        let answer = post.header("content-type", "application/json").body(body);
        assert!(answer.send().await.unwrap().status().is_success(), "{path}");
    }
}

#[tokio::test]
async fn methods_of_the_protocol_that_the_card_does_not_offer_say_so() {
    let served = Served::configured(memory(), |card, _| {
        card.capabilities = AgentCapabilities::default();
    })
    .await;
    for (method, params, expected) in [
        ("SendStreamingMessage", message("x"), -32004),
        ("SubscribeToTask", json!({"id": "t"}), -32004),
        ("GetExtendedAgentCard", json!({}), -32004),
        ("CreateTaskPushNotificationConfig", json!({"taskId": "t", "url": "https://x"}), -32003),
        ("GetTaskPushNotificationConfig", json!({"taskId": "t", "id": "p"}), -32003),
        ("ListTaskPushNotificationConfigs", json!({"taskId": "t"}), -32003),
        ("DeleteTaskPushNotificationConfig", json!({"taskId": "t", "id": "p"}), -32003),
    ] {
        assert_eq!(served.error(method, params).await.0, expected, "{method}");
    }
    for method in ["tasks/get", "", "rpc.discover", "sendmessage"] {
        assert_eq!(served.error(method, json!({})).await.0, -32601, "{method}");
    }
}

/// A message whose data has so many levels; the objects around it are three more.
fn nested(levels: usize) -> Value {
    let data = (0..levels).fold(json!("x"), |inner, _| json!([inner]));
    let mut params = message("x");
    params["message"]["parts"] = json!([{"data": data}]);
    params
}

#[tokio::test]
async fn what_a_store_could_not_read_again_is_refused_by_every_binding() {
    let served = Served::configured(memory(), |_, options| options.v0_3 = true).await;
    let sent = served.result("SendMessage", nested(61)).await;
    assert!(sent["task"]["id"].is_string(), "{sent}");

    let deep = nested(62);
    let (code, why) = served.error("SendMessage", deep.clone()).await;
    assert_eq!((code, why.contains("message: must not be nested")), (-32602, true), "{why}");

    let rest = served.request(reqwest::Method::POST, "/a2a/v1/message:send").json(&deep);
    let refused = rest.header("A2A-Version", "1.0").send().await.unwrap();
    assert_eq!(refused.status(), 400);

    let mut old = deep;
    old["message"]["kind"] = json!("message");
    old["message"]["role"] = json!("user");
    old["message"]["parts"][0]["kind"] = json!("data");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": old});
    let refused = served.request(reqwest::Method::POST, "/a2a/v0.3").json(&body);
    assert_eq!(error_of(&answer(refused).await).0, -32602);
}

#[tokio::test]
async fn names_that_no_database_takes_are_refused_by_their_field() {
    let served = Served::configured(memory(), |card, _| {
        card.capabilities.push_notifications = Some(true);
    })
    .await;
    let sent = |field: &str, value: &str| {
        let mut params = message("echo x");
        match field.strip_prefix("message.") {
            Some(field) => params["message"][field] = json!(value),
            None => params[field] = json!(value),
        }
        ("SendMessage", field.to_owned(), params)
    };
    let asked = |method: &'static str, field: &str, value: &str| {
        let mut params = json!({"id": "x", "taskId": "x", "url": "https://hooks.example/a"});
        params[field] = json!(value);
        (method, field.to_owned(), params)
    };
    for value in ["a\0b", &"x".repeat(513), &"ü".repeat(257)] {
        for (method, field, params) in [
            sent("tenant", value),
            sent("message.contextId", value),
            sent("message.taskId", value),
            sent("message.messageId", value),
            asked("GetTask", "id", value),
            asked("GetTask", "tenant", value),
            asked("CancelTask", "id", value),
            asked("SubscribeToTask", "id", value),
            asked("CreateTaskPushNotificationConfig", "taskId", value),
            asked("GetTaskPushNotificationConfig", "taskId", value),
            asked("ListTaskPushNotificationConfigs", "taskId", value),
            asked("DeleteTaskPushNotificationConfig", "taskId", value),
            ("ListTasks", "tenant".into(), json!({"tenant": value})),
            ("ListTasks", "contextId".into(), json!({"contextId": value})),
        ] {
            let answer = served.call(method, params).await;
            assert_eq!(error_of(&answer).0, -32602, "{method} {field}: {answer}");
            let violation = &answer["error"]["data"][0]["fieldViolations"][0];
            assert_eq!(violation["field"], field, "{method}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_that_cannot_be_used_is_no_missing_one() {
    let served = Served::new().await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage",
        "params": message("echo x")})
    .to_string();
    let long = "k".repeat(256);
    for keys in [&[""][..], &["ü"], &[&long], &["a", "b"], &["a", "a"]] {
        let mut request = served.post(body.clone());
        for key in keys {
            request = request.header("Idempotency-Key", *key);
        }
        let answer = answer(request).await;
        assert_eq!(error_of(&answer).0, -32602, "{keys:?}");
        let violation = &answer["error"]["data"][0]["fieldViolations"][0];
        assert_eq!(violation["field"], "Idempotency-Key");
    }
    let id_of = async |key: &str, message_id: &str| {
        let mut params = message("echo x");
        params["message"]["messageId"] = json!(message_id);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
        let request = served.post(body.to_string()).header("Idempotency-Key", key);
        answer(request).await["result"]["task"]["id"].as_str().unwrap().to_owned()
    };
    let first = id_of("a/b", "c").await;
    assert_eq!(id_of("a/b", "c").await, first);
    assert_ne!(id_of("a", "b/c").await, first, "another key, and another message");
    let long_id = "i".repeat(255);
    assert_eq!(id_of(&long[1..], &long_id).await, id_of(&long[1..], &long_id).await);
}
