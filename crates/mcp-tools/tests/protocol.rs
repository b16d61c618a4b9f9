//! MCP itself, as any client meets it: who may call, both revisions, schemas on both ends.
#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod support;

use std::time::Duration;

use a2a_types::mcp::logs::{SEARCH, SearchInput, SearchOutput};
use mcp_tools::access::AccessConfig;
use mcp_tools::log_analyzer::{Config, start};
use rpc::mcp::client::{Client, McpError, Options};
use serde_json::{Value, json};
use support::{PATIENCE, Served, client, serve};

async fn served(access: AccessConfig) -> (tempfile::TempDir, Served) {
    served_at("127.0.0.1:0", access).await
}

async fn served_at(listen: &str, access: AccessConfig) -> (tempfile::TempDir, Served) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("db-1.log"), "2026-01-01T00:00:00Z INFO db up\n").unwrap();
    let config = Config {
        listen: listen.to_owned(),
        access,
        directory: directory.path().to_owned(),
        ..Config::default()
    };
    (directory, serve(config, start).await)
}

fn post(served: &Served, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.post(format!("http://{}/mcp", served.address))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(body)
}

fn initialize() -> String {
    let client = json!({"name": "t", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string()
}

#[tokio::test]
async fn hosts_origins_and_bodies_out_of_bounds_are_refused_and_the_next_good_request_works() {
    let (_directory, served) = served(AccessConfig::default()).await;
    let status =
        async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(post(&served, initialize()).header("host", "evil.example")).await, 403);
    assert_eq!(
        status(post(&served, initialize()).header("origin", "http://evil.example")).await,
        403
    );
    assert_eq!(status(post(&served, vec![b' '; 2 << 20])).await, 413);
    for body in ["{", "", "[]", "\u{0}", "{\"jsonrpc\": \"2.0\"}"] {
        let status = status(post(&served, body)).await;
        assert!((400..500).contains(&status), "{body:?}: {status}");
    }
    let invalid_utf8 = status(post(&served, b"\"\xff\"".to_vec())).await;
    assert!((400..500).contains(&invalid_utf8));
    let answer = post(&served, initialize()).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(answer["result"]["serverInfo"]["name"], "log-analyzer");
    served.stop().await;
}

#[tokio::test]
async fn our_client_speaks_the_new_revision_and_refuses_bad_input_before_it_is_sent() {
    let (_directory, served) = served(AccessConfig::default()).await;
    assert_eq!(served.client.tools(PATIENCE).await.unwrap(), ["patterns", "search"]);
    assert_eq!(served.client.protocol_version().await.as_deref(), Some("2026-07-28"));
    let unknown = served.call::<Value>("delete_everything", &json!({})).await.unwrap_err();
    assert!(matches!(unknown, McpError::UnknownTool { .. }), "{unknown}");
    let extra = served.call::<Value>(SEARCH, &json!({"sauce": "db-1"})).await.unwrap_err();
    match extra {
        McpError::InvalidInput { field, .. } => assert_eq!(field, "sauce"),
        other => panic!("{other}"),
    }
    served.stop().await;
}

#[tokio::test]
async fn the_server_refuses_bad_input_of_any_client_by_its_field() {
    let (_directory, served) = served(AccessConfig::default()).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": SEARCH, "arguments": {"limit": "many"}}});
    let request = post(&served, call.to_string()).header("mcp-protocol-version", "2025-11-25");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let result = &answer["result"];
    assert_eq!(result["isError"], true, "{answer}");
    assert_eq!(result["_meta"]["firebreak/fault"]["field"], "limit");
    assert_eq!(result["_meta"]["firebreak/fault"]["kind"], "refused");
    assert!(result["content"][0]["text"].as_str().unwrap().starts_with("limit: "));
    served.stop().await;
}

#[tokio::test]
async fn a_token_is_needed_where_one_is_configured() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let access = AccessConfig { token_files: vec![token], ..AccessConfig::default() };
    let (_directory, served) = served(access).await;
    let refused = served.client.tools(PATIENCE).await.unwrap_err();
    assert!(matches!(refused, McpError::Unauthorized { .. }), "{refused}");
    let wrong = Options { bearer_token: Some("s3cre!".to_owned()), ..Options::default() };
    let refused = client(served.address, wrong).tools(PATIENCE).await.unwrap_err();
    assert!(matches!(refused, McpError::Unauthorized { .. }), "{refused}");
    let options = Options { bearer_token: Some("s3cret".to_owned()), ..Options::default() };
    assert_eq!(client(served.address, options).tools(PATIENCE).await.unwrap().len(), 2);
    served.stop().await;
}

#[tokio::test]
async fn a_client_survives_the_restart_of_its_server() {
    let address = service::own_loopback_address();
    let access = || AccessConfig {
        allowed_hosts: vec![address.split(':').next().unwrap().to_owned()],
        ..AccessConfig::default()
    };
    let (directory, served) = served_at(&address, access()).await;
    let input = SearchInput { source: Some("db-1".to_owned()), ..SearchInput::default() };
    let client: Client = served.client.clone();
    client.call::<_, SearchOutput>(SEARCH, &input, PATIENCE).await.unwrap();
    served.stop().await;
    let error = client.call::<_, SearchOutput>(SEARCH, &input, PATIENCE).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let config = Config {
        listen: address.clone(),
        access: access(),
        directory: directory.path().to_owned(),
        ..Config::default()
    };
    let again = serve(config, start).await;
    client.call::<_, SearchOutput>(SEARCH, &input, PATIENCE).await.unwrap();
    again.stop().await;
}

#[tokio::test]
async fn a_server_that_never_answers_costs_no_more_than_the_deadline() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(silent.local_addr().unwrap(), Options::default());
    let timeout = Duration::from_millis(200);
    let error = client.call::<_, Value>(SEARCH, &json!({}), timeout).await.unwrap_err();
    assert!(error.is_transient() && !error.may_have_acted(), "{error}");
}
