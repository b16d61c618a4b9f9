//! The published card.

use serde_json::Value;

use super::support::Served;

const CARD: &str = "/.well-known/agent-card.json";

#[tokio::test]
async fn the_card_is_cacheable_and_known_by_its_tag() {
    let served = Served::new().await;
    let answer = served.get(CARD).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let card: Value = answer.json().await.unwrap();
    let interface = &card["supportedInterfaces"][0];
    assert_eq!(interface["url"], served.url("/a2a"));
    assert_eq!(interface["protocolBinding"], "JSONRPC");
    assert_eq!(interface["protocolVersion"], "1.0");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"old\", {tag}"), "*".to_owned()] {
        let answer = served.get(CARD).header("if-none-match", &known).send().await.unwrap();
        assert_eq!(answer.status(), 304, "{known}");
        assert_eq!(answer.headers()["etag"], *tag);
        assert!(answer.bytes().await.unwrap().is_empty());
    }
    let answer = served.get(CARD).header("if-none-match", "\"old\"").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}
