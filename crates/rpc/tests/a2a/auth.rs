//! Who is admitted: secrets that are replaced while the server runs, tokens that are good in every
//! respect, and nothing told to anyone else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rpc::a2a::{AuthError, Authentication, AuthenticationConfig, Caller};
use serde_json::{Value, json};

use super::bindings::{BOTH, Binding, answer_of};
use super::signature::fixture;
use super::support::{Served, memory, message};

const NOW: i64 = 1_800_000_000;

fn open(config: Value) -> Authentication {
    let config: AuthenticationConfig = serde_json::from_value(config).unwrap();
    Authentication::open(&config).unwrap()
}

fn ask(authentication: &Authentication, token: &str, second: i64) -> Result<Caller, AuthError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    authentication.authenticate(&headers, Timestamp::from_second(second).unwrap())
}

/// One caller with two files.
struct Secrets {
    _directory: tempfile::TempDir,
    current: PathBuf,
    next: PathBuf,
}

impl Secrets {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (current, next) = (directory.path().join("current"), directory.path().join("next"));
        std::fs::write(&current, "the-first-secret-of-ann\n").unwrap();
        Self { _directory: directory, current, next }
    }

    fn config(&self) -> Value {
        json!({"bearer": [{"name": "ann", "files": [self.current, self.next]}]})
    }
}

#[test]
fn two_secrets_live_side_by_side_while_callers_change_over() {
    let secrets = Secrets::new();
    let authentication = open(secrets.config());
    let admitted = |secret: &str, second| ask(&authentication, secret, second).is_ok();
    assert!(admitted("the-first-secret-of-ann", NOW));
    assert!(!admitted("the-second-secret-of-ann", NOW));
    std::fs::write(&secrets.next, "the-second-secret-of-ann").unwrap();
    assert!(admitted("the-first-secret-of-ann", NOW + 1));
    assert!(admitted("the-second-secret-of-ann", NOW + 1));
    std::fs::rename(&secrets.next, &secrets.current).unwrap();
    assert!(!admitted("the-first-secret-of-ann", NOW + 2));
    assert_eq!(ask(&authentication, "the-second-secret-of-ann", NOW + 2).unwrap().principal, "ann");
    // What is no secret leaves the last one in force; a file that is gone ends it.
    std::fs::write(&secrets.current, "short").unwrap();
    assert!(admitted("the-second-secret-of-ann", NOW + 3));
    assert!(!admitted("short", NOW + 3));
    std::fs::remove_file(&secrets.current).unwrap();
    assert!(!admitted("the-second-secret-of-ann", NOW + 4));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_at_the_start_by_its_field() {
    let secrets = Secrets::new();
    let error = |config: Value| {
        let config: AuthenticationConfig = serde_json::from_value(config).unwrap();
        Authentication::open(&config).unwrap_err()
    };
    std::fs::write(&secrets.next, "the-first-secret-of-ann").unwrap();
    assert_eq!(error(secrets.config()).field, "bearer[0].files[1]", "the same secret twice");
    std::fs::write(&secrets.current, "weak").unwrap();
    let weak = error(secrets.config());
    assert_eq!(weak.field, "bearer[0].files[0]");
    assert!(!weak.message.contains("weak"), "{weak}");
    std::fs::remove_file(&secrets.current).unwrap();
    assert_eq!(error(secrets.config()).field, "bearer[0].files[0]");
    let jwt = json!({"jwt": {"issuer": "i", "audience": "a", "jwks_file": fixture("card.json")}});
    assert_eq!(error(jwt).field, "jwt.jwks_file");
}

#[test]
fn a_secret_is_nowhere_in_what_is_printed() {
    let secrets = Secrets::new();
    let authentication = open(secrets.config());
    let printed = format!("{authentication:?} {:?}", ask(&authentication, "x", NOW));
    assert!(printed.contains("ann") && !printed.contains("secret"), "{printed}");
}

fn jwt_config() -> Value {
    json!({"jwt": {"issuer": "https://issuer.example.org", "audience": "firebreak",
        "jwks_file": fixture("jwks.json"), "leeway_seconds": 10}})
}

fn claims() -> Value {
    json!({"iss": "https://issuer.example.org", "aud": ["other", "firebreak"], "sub": "ann",
        "exp": NOW + 60, "nbf": NOW - 60, "scope": "read write", "roles": ["responder"]})
}

fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.into()), ..Header::new(algorithm) }
}

fn ec_key() -> EncodingKey {
    EncodingKey::from_ec_pem(&std::fs::read(fixture("es256.pem")).unwrap()).unwrap()
}

fn token(claims: &Value) -> String {
    jsonwebtoken::encode(&header(Algorithm::ES256, "ec"), claims, &ec_key()).unwrap()
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[test]
fn a_good_token_names_its_caller_apart_from_those_with_secrets() {
    let secrets = Secrets::new();
    let mut config = jwt_config();
    config["bearer"] = secrets.config()["bearer"].clone();
    let authentication = open(config);
    let caller = ask(&authentication, &token(&claims()), NOW).unwrap();
    assert_eq!(caller.principal, "jwt:ann");
    assert_eq!(caller.scopes, BTreeSet::from(["read".to_owned(), "write".to_owned()]));
    assert_eq!(caller.roles, BTreeSet::from(["responder".to_owned()]));
    assert_eq!(ask(&authentication, "the-first-secret-of-ann", NOW).unwrap().principal, "ann");
    let pem = std::fs::read(fixture("ed25519.pem")).unwrap();
    let ed = EncodingKey::from_ed_pem(&pem).unwrap();
    let ed = jsonwebtoken::encode(&header(Algorithm::EdDSA, "ed"), &claims(), &ed).unwrap();
    assert!(ask(&authentication, &ed, NOW).is_ok());
}

#[test]
fn a_token_counts_in_its_time_only_give_or_take_the_leeway() {
    let authentication = open(jwt_config());
    let token = token(&claims());
    for (second, is_good) in [(60, true), (69, true), (70, false), (-70, true), (-71, false)] {
        assert_eq!(ask(&authentication, &token, NOW + second).is_ok(), is_good, "{second}");
    }
}

#[test]
fn a_token_that_is_wrong_in_any_respect_admits_nobody() {
    let authentication = open(jwt_config());
    let refused = |token: &str, what: &str| {
        assert_eq!(ask(&authentication, token, NOW), Err(AuthError::Invalid), "{what}");
    };
    for (name, value) in [
        ("iss", json!("https://issuer.example.org/")),
        ("iss", json!(["https://issuer.example.org"])),
        ("aud", json!("firebreaks")),
        ("aud", json!([])),
        ("exp", json!("never")),
        ("exp", Value::Null),
        ("nbf", json!(NOW + 60)),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("a".repeat(257))),
    ] {
        refused(&token(&with(name, value.clone())), &format!("{name}: {value}"));
    }
    for name in ["iss", "aud", "exp", "sub"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        refused(&token(&claims), &format!("no {name}"));
    }
    let encode =
        |header: &Header, key: &EncodingKey| jsonwebtoken::encode(header, &claims(), key).unwrap();
    refused(&encode(&header(Algorithm::ES256, "other"), &ec_key()), "an unknown key");
    refused(&encode(&Header::new(Algorithm::ES256), &ec_key()), "no kid");
    refused(&encode(&header(Algorithm::ES256, "ed"), &ec_key()), "the key of another algorithm");
    let critical = Header { crit: Some(vec!["exp".into()]), ..header(Algorithm::ES256, "ec") };
    refused(&encode(&critical, &ec_key()), "a critical extension");
    let good = token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    refused(&format!("{message}."), "no signature");
    refused(&format!("{message}.{}", signature.replace(&signature[..4], "AAAA")), "a forged one");
    let other = token(&with("sub", json!("bob")));
    let other = other.rsplit_once('.').unwrap().0;
    refused(&format!("{other}.{signature}"), "the signature of another token");
}

/// The attacks of RFC 8725, sections 2.1 and 3.1: no algorithm, and a public key as a secret.
#[test]
fn the_sender_does_not_choose_how_a_token_is_verified() {
    let authentication = open(jwt_config());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for alg in ["none", "None", "NONE"] {
        let header = part(&json!({"alg": alg, "kid": "ec"}));
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{}.{signature}", part(&claims()));
            assert!(ask(&authentication, &token, NOW).is_err(), "{alg} {signature}");
        }
    }
    let public = [
        std::fs::read(fixture("es256.pub.pem")).unwrap(),
        std::fs::read(fixture("jwks.json")).unwrap(),
    ];
    for secret in public {
        for kid in ["ec", "ed"] {
            let header = header(Algorithm::HS256, kid);
            let key = EncodingKey::from_secret(&secret);
            let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
            assert_eq!(ask(&authentication, &token, NOW), Err(AuthError::Invalid));
        }
    }
    // A key that the token brings along is not looked at, wherever it says it is.
    let own = Header { jku: Some("http://127.0.0.1:1/".into()), ..header(Algorithm::ES256, "x") };
    let token = jsonwebtoken::encode(&own, &claims(), &ec_key()).unwrap();
    assert_eq!(ask(&authentication, &token, NOW), Err(AuthError::Invalid));
}

#[test]
fn keys_of_the_issuer_are_read_again_and_symmetric_ones_never() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwks.json");
    let all: Value = serde_json::from_slice(&std::fs::read(fixture("jwks.json")).unwrap()).unwrap();
    std::fs::write(&file, json!({"keys": [all["keys"][1]]}).to_string()).unwrap();
    let mut config = jwt_config();
    config["jwt"]["jwks_file"] = json!(file);
    let authentication = open(config.clone());
    let token = token(&claims());
    assert!(ask(&authentication, &token, NOW).is_err());
    std::fs::write(&file, all.to_string()).unwrap();
    assert!(ask(&authentication, &token, NOW + 1).is_ok());
    std::fs::write(&file, "{\"keys\": [").unwrap();
    assert!(ask(&authentication, &token, NOW + 2).is_ok(), "the last good keys");
    let symmetric = json!({"keys": [{"kty": "oct", "kid": "ec", "alg": "HS256", "k": "c2VjcmV0"}]});
    std::fs::write(&file, symmetric.to_string()).unwrap();
    let config: AuthenticationConfig = serde_json::from_value(config).unwrap();
    assert_eq!(Authentication::open(&config).unwrap_err().field, "jwt.jwks_file");
}

/// A server that asks for a secret of ann or a token, with a clock to turn.
async fn guarded(secrets: &Secrets) -> (Served, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(NOW));
    let time = clock.clone();
    let time = Arc::new(move || Timestamp::from_second(time.load(Ordering::SeqCst)).unwrap());
    let mut config = jwt_config();
    config["bearer"] = secrets.config()["bearer"].clone();
    let authentication = open(config);
    let served = Served::timed(memory(), time, |_, options| {
        options.authentication = authentication;
        options.limits.refusals_per_minute = 3;
    });
    (served.await, clock)
}

async fn status(served: &Served, binding: Binding, token: Option<&str>) -> (u16, HeaderMap, Value) {
    let request = binding.request(served, "ListTasks", json!({})).header("A2A-Version", "1.0");
    let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, answer_of(response, binding).await.body)
}

#[tokio::test]
async fn unknown_wrong_and_forged_credentials_get_one_answer() {
    let secrets = Secrets::new();
    for binding in BOTH {
        let (served, _) = guarded(&secrets).await;
        let forged = format!("{}AAAA", &token(&claims())[..40]);
        let mut bodies = Vec::new();
        for token in ["the-secret-of-nobody-at-all", "the-first-secret-of-anm", &forged] {
            let (status, headers, body) = status(&served, binding, Some(token)).await;
            assert_eq!(status, 401, "{binding:?} {token}");
            let challenge = headers["www-authenticate"].to_str().unwrap();
            assert_eq!(challenge, "Bearer realm=\"a2a\", error=\"invalid_token\"");
            bodies.push(body);
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        let (status, headers, body) = status(&served, binding, None).await;
        // The fourth refusal in a minute: guessing is slowed down.
        assert_eq!((status, &headers["retry-after"]), (429, &"20".parse().unwrap()), "{body}");
    }
}

#[tokio::test]
async fn secrets_are_replaced_under_a_running_server_and_guessing_locks_nobody_out() {
    let secrets = Secrets::new();
    let (served, clock) = guarded(&secrets).await;
    let ask = async |token: &str| status(&served, Binding::Rest, Some(token)).await.0;
    assert_eq!(ask("the-first-secret-of-ann").await, 200);
    std::fs::write(&secrets.current, "the-second-secret-of-ann").unwrap();
    clock.fetch_add(1, Ordering::SeqCst);
    assert_eq!(ask("the-first-secret-of-ann").await, 401);
    for _ in 0..2 {
        ask("a-guess-of-a-stranger").await;
    }
    assert_eq!(ask("a-guess-of-a-stranger").await, 429);
    assert_eq!(ask("the-second-secret-of-ann").await, 200);
    clock.fetch_add(20, Ordering::SeqCst);
    assert_eq!(ask("a-guess-of-a-stranger").await, 401);
    assert_eq!(ask(&token(&claims())).await, 200);
}

/// The body is not read before: not even one that is too large, or never ends.
#[tokio::test]
async fn nothing_of_a_body_counts_before_its_sender_is_known() {
    let secrets = Secrets::new();
    let (served, _) = guarded(&secrets).await;
    let answer = served.post("{ no json").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let endless = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let answer = served.post(reqwest::Body::wrap_stream(endless)).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(challenge, "Bearer realm=\"a2a\"", "no error where nothing was sent (RFC 6750)");
}

#[tokio::test]
async fn a_task_of_another_is_one_that_is_not_there_for_every_method() {
    let secrets = Secrets::new();
    let (served, _) = guarded(&secrets).await;
    let stranger = token(&claims());
    let call = async |binding: Binding, token: &str, method: &str, params: Value| {
        let request = binding.request(&served, method, params).header("A2A-Version", "1.0");
        answer_of(request.bearer_auth(token).send().await.unwrap(), binding).await
    };
    let ann = "the-first-secret-of-ann";
    for binding in BOTH {
        let task = call(binding, ann, "SendMessage", message("ask")).await.result()["task"].clone();
        let id = task["id"].as_str().unwrap();
        let methods = ["GetTask", "CancelTask", "SubscribeToTask"].map(|method| (method, "id"));
        let answering = |id: &str| {
            let mut params = message("this one");
            params["message"]["taskId"] = json!(id);
            params
        };
        for (method, name) in methods {
            let foreign = call(binding, &stranger, method, json!({name: id})).await;
            let unknown = call(binding, &stranger, method, json!({name: "nobody"})).await;
            assert_eq!(same(&foreign.body, id), same(&unknown.body, "nobody"), "{method}");
            assert_eq!(foreign.status, unknown.status);
        }
        let foreign = call(binding, &stranger, "SendMessage", answering(id)).await;
        let unknown = call(binding, &stranger, "SendMessage", answering("nobody")).await;
        assert_eq!(same(&foreign.body, id), same(&unknown.body, "nobody"), "an answer");
        let listed = call(binding, &stranger, "ListTasks", json!({})).await.result();
        assert_eq!((&listed["totalSize"], &listed["tasks"]), (&json!(0), &json!([])));
        assert_eq!(call(binding, ann, "GetTask", json!({"id": id})).await.result()["id"], id);
    }
}

#[tokio::test]
async fn push_configurations_of_another_are_not_there_either() {
    let secrets = Secrets::new();
    let authentication =
        open(json!({"bearer": secrets.config()["bearer"], "jwt": jwt_config()["jwt"]}));
    let time = || Timestamp::from_second(NOW).unwrap();
    let served = Served::timed(memory(), Arc::new(time), |card, options| {
        card.capabilities.push_notifications = Some(true);
        options.authentication = authentication;
    });
    let (served, stranger) = (served.await, token(&claims()));
    let call = async |binding: Binding, token: &str, method: &str, params: Value| {
        let request = binding.request(&served, method, params).header("A2A-Version", "1.0");
        answer_of(request.bearer_auth(token).send().await.unwrap(), binding).await
    };
    for binding in BOTH {
        let task = call(binding, "the-first-secret-of-ann", "SendMessage", message("ask")).await;
        let id = task.result()["task"]["id"].as_str().unwrap().to_owned();
        for method in ["Create", "Get", "List", "Delete"] {
            let name = match method {
                "List" => "ListTaskPushNotificationConfigs".to_owned(),
                method => format!("{method}TaskPushNotificationConfig"),
            };
            let params = |task: &str| match method {
                "Create" => json!({"taskId": task, "url": "https://8.8.8.8/hook"}),
                "List" => json!({"taskId": task}),
                _ => json!({"taskId": task, "id": "c"}),
            };
            let foreign = call(binding, &stranger, &name, params(&id)).await;
            let unknown = call(binding, &stranger, &name, params("nobody")).await;
            assert_eq!(foreign.reason(), "TASK_NOT_FOUND", "{name}");
            assert_eq!(same(&foreign.body, &id), same(&unknown.body, "nobody"), "{name}");
        }
    }
}

/// An error with the id that was asked for taken out.
fn same(body: &Value, id: &str) -> String {
    assert!(body.get("error").is_some(), "{body}");
    body.to_string().replace(id, "<id>")
}
