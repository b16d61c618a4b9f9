//! The published card.

use rpc::a2a::{
    LIMITS_EXTENSION_URI, PinnedKeys, Profile, ServerConfig, ServerOptions, SkillSchemas,
    verify_card,
};
use serde_json::{Value, json};
use url::Url;

use super::signature::fixture;
use super::support::{Served, memory};

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

#[tokio::test]
async fn the_card_has_a_date_and_is_asked_for_without_its_body() {
    let served = Served::new().await;
    let answer = served.get(CARD).send().await.unwrap();
    let modified = answer.headers()["last-modified"].to_str().unwrap().to_owned();
    assert_eq!(modified, "Thu, 01 Jan 2026 00:00:00 GMT");
    let (tag, length) = (answer.headers()["etag"].clone(), answer.bytes().await.unwrap().len());
    let answer = served.get(CARD).header("if-modified-since", &modified).send().await.unwrap();
    assert_eq!(answer.status(), 304);
    let head = served.request(reqwest::Method::HEAD, CARD).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["etag"]), (200, &tag));
    assert_eq!(head.headers()["content-length"].to_str().unwrap(), length.to_string());
}

#[tokio::test]
async fn the_card_is_open_says_what_is_asked_and_is_signed_as_it_is_published() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "the-first-secret-of-ann").unwrap();
    let config = json!({
        "authentication": {
            "bearer": [{"name": "ann", "files": [secret]}],
            "jwt": {"issuer": "i", "audience": "a", "jwks_file": fixture("jwks.json")},
        },
        "limits": {"streams": 7},
        "push": {"enabled": false},
        "signing": {"key_file": fixture("es256.pem"), "key_id": "ec"},
        "provider": {"organization": "Example", "url": "https://example.org"},
        "documentation_url": "https://example.org/docs",
    });
    let config: ServerConfig = serde_json::from_value(config).unwrap();
    let settings = config.open().unwrap();
    for v0_3 in [false, true] {
        let served = Served::configured(memory(), |card, options| {
            card.capabilities.push_notifications = Some(true);
            *options = ServerOptions { v0_3, ..settings.clone() };
        });
        let served = served.await;
        let card: Value = served.get(CARD).send().await.unwrap().json().await.unwrap();
        let scheme = |name: &str| &card["securitySchemes"][name]["httpAuthSecurityScheme"];
        assert_eq!(
            (&scheme("bearer")["scheme"], &scheme("jwt")["bearerFormat"]),
            (&json!("Bearer"), &json!("JWT"))
        );
        let required: Vec<_> = card["securityRequirements"].as_array().unwrap().iter().collect();
        assert_eq!(required.len(), 2, "either one is enough");
        assert_eq!(card["capabilities"]["extendedAgentCard"], true);
        assert_eq!(card["capabilities"]["pushNotifications"], false);
        assert_eq!(card["provider"]["organization"], "Example");
        assert_eq!(card["documentationUrl"], "https://example.org/docs");
        assert_eq!(card.get("protocolVersion").is_some(), v0_3);
        let keys = PinnedKeys::open(&fixture("jwks.json")).unwrap();
        assert_eq!(verify_card(&card, &keys).unwrap().key_id, "ec");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "GetExtendedAgentCard"});
        let request = served.post(body.to_string()).bearer_auth("the-first-secret-of-ann");
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let extended = &answer["result"];
        assert_eq!(verify_card(extended, &keys).unwrap().key_id, "ec");
        let extensions = extended["capabilities"]["extensions"].as_array().unwrap();
        let limits = extensions.iter().find(|it| it["uri"] == LIMITS_EXTENSION_URI).unwrap();
        assert_eq!(limits["params"]["streams"], 7);
    }
}

#[test]
fn the_schemas_of_a_skill_stand_in_the_extension() {
    let address: Url = "https://agents.example.org/x/".parse().unwrap();
    let schemas = SkillSchemas { input: vec![incident::schema::brief()], output: Vec::new() };
    let profile = Profile {
        name: "n",
        description: "d",
        version: "1",
        address: &address,
        data: "parts",
        schemas: [("diagnose", schemas)].into(),
        skills: Vec::new(),
    };
    let card = serde_json::to_value(profile.card()).unwrap();
    assert_eq!(card["supportedInterfaces"][0]["url"], "https://agents.example.org/x/a2a");
    let skill = &card["capabilities"]["extensions"][0]["params"]["schemas"]["diagnose"];
    assert_eq!(skill, &json!({"input": {"anyOf": [incident::schema::brief()]}}));
}

#[test]
fn a_setting_that_cannot_be_used_is_named_with_its_place() {
    let open = |config: Value| {
        serde_json::from_value::<ServerConfig>(config).unwrap().open().unwrap_err().field
    };
    assert_eq!(open(json!({"limits": {"burst": 0}})), "limits.burst");
    let bearer = json!({"authentication": {"bearer": [{"name": "a", "files": ["/nowhere"]}]}});
    assert_eq!(open(bearer), "authentication.bearer[0].files[0]");
    let signing = json!({"signing": {"key_file": "/nowhere", "key_id": "k"}});
    assert_eq!(open(signing), "signing.key_file");
}
