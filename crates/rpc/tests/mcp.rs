//! Both ends of MCP against each other, and our client against a server that is older and lies.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use a2a_types::mcp::{Effect, FaultKind, ToolDefinition};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use rpc::mcp::client::{Client, McpError, Options};
use rpc::mcp::server::{Access, CallContext, Tool, ToolError, ToolServer, router};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

const DOUBLE: ToolDefinition = ToolDefinition {
    name: "double",
    title: "Double",
    description: "Doubles a number",
    input_schema: || json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
    output_schema: || json!({"type": "object", "properties": {"n": {"maximum": 100}}, "required": ["n"]}),
    effect: Effect::ReadOnly,
};

/// Serves until the set is dropped.
async fn listen(routes: Router) -> (Client, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (Client::new(url.parse().unwrap(), Options::default()).unwrap(), serving)
}

async fn serve(tool: Tool, concurrent_calls: usize) -> (Client, JoinSet<()>) {
    let server = ToolServer {
        name: "test",
        version: "1",
        instructions: "",
        tools: vec![tool],
        concurrent_calls,
    };
    listen(router(server, Access::default()).unwrap()).await
}

#[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
struct Number {
    n: i64,
}

async fn double(input: Number) -> Result<Number, ToolError> {
    match input.n {
        -1 => Err(ToolError::refused("n", "is negative")),
        -2 => Err(ToolError::Unavailable("later".to_owned())),
        -3 => Err(ToolError::Unknown("who knows".to_owned())),
        n => Ok(Number { n: 2 * n }),
    }
}

#[tokio::test]
async fn an_answer_an_error_and_a_broken_answer_arrive_as_what_they_are() {
    let (client, _serving) = serve(Tool::new(&DOUBLE, |n, _| double(n)), 8).await;
    let call = async |n| client.call::<_, Number>("double", &Number { n }, PATIENCE).await;
    assert_eq!(call(21).await.unwrap(), Number { n: 42 });
    assert_eq!(client.protocol_version().await.as_deref(), Some("2026-07-28"));

    let refused = call(-1).await.unwrap_err();
    assert_eq!(refused.fault().unwrap().field.as_deref(), Some("n"));
    assert!(!refused.is_transient() && !refused.may_have_acted());
    let unavailable = call(-2).await.unwrap_err();
    assert!(unavailable.is_transient() && !unavailable.may_have_acted());
    let unknown = call(-3).await.unwrap_err();
    assert!(!unknown.is_transient() && unknown.may_have_acted());
    // The handler's answer breaks the schema: the server does not let it out.
    let broken = call(51).await.unwrap_err();
    assert_eq!(broken.fault().unwrap().kind, FaultKind::Failed);
    assert!(broken.to_string().contains("breaks its schema at `n`"), "{broken}");
    // It fits the schema, but not the type that the caller asked for.
    let other = client.call::<_, Vec<u8>>("double", &Number { n: 1 }, PATIENCE).await.unwrap_err();
    assert!(matches!(other, McpError::InvalidOutput { .. }), "{other}");
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_as_unavailable() {
    let entered = Arc::new(tokio::sync::Notify::new());
    let release = Arc::new(tokio::sync::Notify::new());
    let (inside, go) = (entered.clone(), release.clone());
    let tool = Tool::new(&DOUBLE, move |input: Number, _| {
        let (inside, go) = (inside.clone(), go.clone());
        async move {
            inside.notify_one();
            go.notified().await;
            double(input).await
        }
    });
    let (client, _serving) = serve(tool, 1).await;
    let call = async |n| client.call::<_, Number>("double", &Number { n }, PATIENCE).await;
    let second = async {
        entered.notified().await;
        let refused = call(1).await;
        release.notify_one();
        refused
    };
    let (first, second) = tokio::join!(call(2), second);
    assert_eq!(first.unwrap(), Number { n: 4 });
    assert_eq!(second.unwrap_err().fault().unwrap().kind, FaultKind::Unavailable);
}

#[tokio::test]
async fn after_a_deadline_the_next_call_still_works() {
    let slow = Tool::new(&DOUBLE, |input: Number, call: CallContext| async move {
        assert!(call.timeout.is_some());
        if input.n == 0 {
            std::future::pending::<()>().await;
        }
        double(input).await
    });
    let (client, _serving) = serve(slow, 8).await;
    client.tools(PATIENCE).await.unwrap();
    let timeout = Duration::from_millis(100);
    let late = client.call::<_, Number>("double", &Number { n: 0 }, timeout).await.unwrap_err();
    assert!(matches!(late, McpError::Deadline { .. }) && late.may_have_acted(), "{late}");
    let next = client.call::<_, Number>("double", &Number { n: 1 }, PATIENCE).await.unwrap();
    assert_eq!(next, Number { n: 2 });
}

/// A server of the revision before, which announces a schema and does not keep to it.
async fn lying_legacy_server(calls: Arc<AtomicUsize>, request: Value) -> Response {
    let id = &request["id"];
    let result = match request["method"].as_str().unwrap() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"}
        }),
        "tools/list" => json!({"tools": [{
            "name": "double", "inputSchema": (DOUBLE.input_schema)(),
            "outputSchema": (DOUBLE.output_schema)()
        }]}),
        "tools/call" => {
            calls.fetch_add(1, Ordering::Relaxed);
            json!({"content": [], "structuredContent": {"n": 1000}})
        }
        method if method.starts_with("notifications/") => {
            return StatusCode::ACCEPTED.into_response();
        }
        _ => {
            let error = json!({"code": -32601, "message": "method not found"});
            return Json(json!({"jsonrpc": "2.0", "id": id, "error": error})).into_response();
        }
    };
    Json(json!({"jsonrpc": "2.0", "id": id, "result": result})).into_response()
}

#[tokio::test]
async fn an_older_server_is_spoken_to_in_its_revision_and_held_to_its_schema() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let answer = move |Json(request): Json<Value>| lying_legacy_server(counted.clone(), request);
    let (client, _serving) = listen(Router::new().route("/mcp", post(answer))).await;
    let lie = client.call::<_, Number>("double", &Number { n: 1 }, PATIENCE).await.unwrap_err();
    match lie {
        McpError::InvalidOutput { field, .. } => assert_eq!(field, "n"),
        other => panic!("{other}"),
    }
    assert_eq!(client.protocol_version().await.as_deref(), Some("2025-11-25"));
    let bad = client.call::<_, Value>("double", &json!({"n": "x"}), PATIENCE).await.unwrap_err();
    assert!(matches!(bad, McpError::InvalidInput { .. }), "{bad}");
    assert_eq!(calls.load(Ordering::Relaxed), 1, "bad input is not sent");
}
