//! Signed cards: ours, and such as the official Python SDK signed.

use std::path::{Path, PathBuf};

use a2a_types::AgentCard;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rpc::a2a::{CardSigner, PinnedKeys, SignatureError, SigningConfig, verify_card};
use serde_json::{Value, json};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/a2a/fixtures").join(name)
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn pinned(name: &str) -> PinnedKeys {
    PinnedKeys::open(&fixture(name)).unwrap()
}

fn signer(key: &str, key_id: &str) -> CardSigner {
    let config = json!({"key_file": fixture(key), "key_id": key_id, "jwks_url": "https://example.org/jwks.json"});
    CardSigner::open(&serde_json::from_value::<SigningConfig>(config).unwrap()).unwrap()
}

/// The sample card as we sign it, as it goes over the wire.
fn signed(key: &str, key_id: &str) -> Value {
    let mut card: AgentCard = serde_json::from_value(read("card.json")).unwrap();
    signer(key, key_id).sign(&mut card);
    serde_json::to_value(card).unwrap()
}

#[test]
fn a_card_signed_with_either_algorithm_verifies_by_key_set_and_by_pem() {
    for (key, public, key_id) in
        [("es256.pem", "es256.pub.pem", "ec"), ("ed25519.pem", "ed25519.pub.pem", "ed")]
    {
        let card = signed(key, key_id);
        let protected = card["signatures"][0]["protected"].as_str().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(protected).unwrap()).unwrap();
        assert_eq!((&header["typ"], &header["kid"]), (&json!("JOSE"), &json!(key_id)));
        assert_eq!(header["jku"], "https://example.org/jwks.json");
        for keys in [pinned("jwks.json"), pinned(public)] {
            let verified = verify_card(&card, &keys).unwrap();
            assert_eq!(verified.key_id, key_id);
            assert_eq!(verified.card["name"], card["name"]);
        }
    }
}

#[test]
fn every_change_of_a_signed_card_is_noticed() {
    let keys = pinned("jwks.json");
    let card = signed("ed25519.pem", "ed");
    let changes: [fn(&mut Value); 6] = [
        |card| card["supportedInterfaces"][0]["url"] = json!("https://evil.example.org/a2a"),
        |card| card["capabilities"]["streaming"] = json!(false),
        |card| card["capabilities"]["extendedAgentCard"] = json!(false),
        |card| {
            card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] = json!("Basic")
        },
        |card| card["skills"][0]["examples"] = json!([]),
        |card| card["capabilities"]["extensions"][0]["params"]["schemas"] = json!(1),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut card = card.clone();
        change(&mut card);
        assert_eq!(verify_card(&card, &keys), Err(SignatureError::Wrong), "change {index}");
    }
}

#[test]
fn what_is_as_good_as_absent_changes_nothing_and_what_is_not_covered_is_left_out() {
    let keys = pinned("jwks.json");
    let mut card = signed("ed25519.pem", "ed");
    card["supportedInterfaces"][0]["tenant"] = json!("");
    card["capabilities"]["extensions"][0]["required"] = json!(false);
    card["iconUrl"] = Value::Null;
    assert!(verify_card(&card, &keys).is_ok());
    card["preferredTransport"] = json!("GRPC");
    let verified = verify_card(&card, &keys).unwrap();
    assert_eq!(verified.card.get("preferredTransport"), None);
}

#[test]
fn a_field_of_a_newer_version_is_covered() {
    let keys = pinned("jwks.json");
    let mut newer = read("card.json");
    newer["novelty"] = json!({"a": 1});
    let mut card: AgentCard = serde_json::from_value(newer).unwrap();
    signer("es256.pem", "ec").sign(&mut card);
    let card = serde_json::to_value(card).unwrap();
    assert_eq!(verify_card(&card, &keys).unwrap().card["novelty"], json!({"a": 1}));
}

#[test]
fn only_pinned_keys_and_their_own_algorithms_count() {
    let keys = pinned("jwks.json");
    let card = signed("ed25519.pem", "stranger");
    assert_eq!(verify_card(&card, &keys), Err(SignatureError::UnknownKey));
    let card = signed("ed25519.pem", "ec");
    assert_eq!(verify_card(&card, &keys), Err(SignatureError::UnknownKey), "an EC key for EdDSA");
    assert_eq!(verify_card(&read("card.json"), &keys), Err(SignatureError::Unsigned));
    let with = |header: Value| {
        let mut card = signed("ed25519.pem", "ed");
        for signature in card["signatures"].as_array_mut().unwrap() {
            signature["protected"] = json!(URL_SAFE_NO_PAD.encode(header.to_string()));
        }
        verify_card(&card, &keys)
    };
    for header in [
        json!({"alg": "none", "kid": "ed"}),
        json!({"alg": "HS256", "kid": "ed"}),
        json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false}),
        json!({"alg": "EdDSA", "kid": "ed"}),
    ] {
        assert!(with(header.clone()).is_err(), "{header}");
    }
    let mut card = signed("ed25519.pem", "ed");
    let one = card["signatures"][0].clone();
    card["signatures"] = json!(vec![one; 17]);
    assert!(matches!(verify_card(&card, &keys), Err(SignatureError::Malformed(_))));
}

/// One good signature is enough, beside those of keys that were given up.
#[test]
fn a_key_can_be_replaced_by_signing_with_both() {
    let mut card = signed("es256.pem", "ec");
    let old = signed("ed25519.pem", "retired")["signatures"].clone();
    let mut all = old.as_array().unwrap().clone();
    all.extend(card["signatures"].as_array().unwrap().clone());
    card["signatures"] = json!(all);
    assert_eq!(verify_card(&card, &pinned("jwks.json")).unwrap().key_id, "ec");
}

/// Captured from `a2a.utils.signing` of a2a-sdk 1.3.0; its server adds fields of version 0.3 to a
/// card after it was signed.
#[test]
fn cards_signed_by_the_official_python_sdk_verify() {
    let keys = pinned("jwks.json");
    for (name, key_id) in [
        ("card-signed-by-python-sdk-es256.json", "ec"),
        ("card-signed-by-python-sdk-eddsa.json", "ed"),
    ] {
        let mut card = read(name);
        assert_eq!(verify_card(&card, &keys).unwrap().key_id, key_id);
        card["protocolVersion"] = json!("0.3.0");
        let verified = verify_card(&card, &keys).unwrap();
        assert_eq!(verified.card.get("protocolVersion"), None);
        card["version"] = json!("2");
        assert_eq!(verify_card(&card, &keys), Err(SignatureError::Wrong));
    }
}

#[test]
fn a_signing_key_that_is_none_is_refused_by_field_and_a_good_one_never_prints() {
    let open = |file: PathBuf, key_id: &str| {
        let config = json!({"key_file": file, "key_id": key_id});
        CardSigner::open(&serde_json::from_value::<SigningConfig>(config).unwrap())
    };
    assert_eq!(open(fixture("jwks.json"), "k").unwrap_err().field, "key_file");
    assert_eq!(open(fixture("es256.pub.pem"), "k").unwrap_err().field, "key_file");
    assert_eq!(open(fixture("missing"), "k").unwrap_err().field, "key_file");
    assert_eq!(open(fixture("es256.pem"), "").unwrap_err().field, "key_id");
    let text = std::fs::read_to_string(fixture("es256.pem")).unwrap();
    let printed = format!("{:?}", open(fixture("es256.pem"), "k").unwrap());
    assert!(text.lines().filter(|line| line.len() > 8).all(|line| !printed.contains(line)));
    assert!(PinnedKeys::open(&fixture("card.json")).is_err());
}
