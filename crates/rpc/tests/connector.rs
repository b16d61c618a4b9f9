//! The connector against URLs made to reach what they must not: a real listener stands where they
//! lead, and must never see a connection.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

mod connector {
    pub(crate) mod dns;
    pub(crate) mod receiver;
}

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use connector::dns::{NameServer, Record, address};
use connector::receiver::Receiver;
use http::HeaderMap;
use rpc::a2a::{CallError, Connector, PushConfig, Refused};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

const OK: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

/// Hosts that must not be called, whatever their scheme. `{port}` is one of a listener on
/// 127.0.0.1 and ::1.
const REFUSED_HOSTS: &[&str] = &[
    // loopback, written in every way that a parser or a C library reads
    "127.0.0.1:{port}",
    "127.1:{port}",
    "127.0.1:{port}",
    "127.255.255.254:{port}",
    "2130706433:{port}",
    "017700000001:{port}",
    "0177.0.0.1:{port}",
    "0x7f000001:{port}",
    "0x7f.0.0.1:{port}",
    "0x7f.1:{port}",
    "127.0.0.1.:{port}",
    "%31%32%37.0.0.1:{port}",
    "１２７.０.０.１:{port}",
    "①②⑦.⓪.⓪.①:{port}",
    "127。0。0。1:{port}",
    "127．0．0．1:{port}",
    "127｡0｡0｡1:{port}",
    "0:{port}",
    "0.0.0.0:{port}",
    "[::1]:{port}",
    "[0:0:0:0:0:0:0:1]:{port}",
    "[::]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "[::ffff:7f00:1]:{port}",
    "[::127.0.0.1]:{port}",
    "[::ffff:0:127.0.0.1]:{port}",
    "[64:ff9b::127.0.0.1]:{port}",
    "[64:ff9b:1::7f00:1]:{port}",
    "[2002:7f00:1::]:{port}",
    "[2001:0:7f00:1::80ff:fffe]:{port}",
    // the ranges of a network's inside
    "10.0.0.1",
    "10.255.255.255:8443",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "3232235521",
    "100.64.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fc00::1]",
    "[fec0::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::169.254.169.254]",
    "[::ffff:a00:1]",
    // what is no single receiver
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "[ff02::1]",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "[2001:db8::1]",
    "[100::1]",
    // names of the inside
    "localhost:{port}",
    "LOCALHOST:{port}",
    "localhost.:{port}",
    "ｌｏｃａｌｈｏｓｔ:{port}",
    "hooks.localhost:{port}",
    "localhost.localdomain:{port}",
    "metadata.google.internal",
    "metadata",
    "db.default.svc",
    "db.default.svc.cluster.local",
    "1.0.0.127.in-addr.arpa",
    "loopback.attacker.example.:{port}",
    // names that a stranger's server answers with addresses of the inside
    "loopback.attacker.example:{port}",
    "LoopBack.Attacker.Example:{port}",
    "zero.attacker.example:{port}",
    "private.attacker.example:{port}",
    "metadata.attacker.example",
    "shared.attacker.example",
    "loopback6.attacker.example:{port}",
    "local6.attacker.example:{port}",
    "link6.attacker.example",
    "mapped.attacker.example:{port}",
    "nat64.attacker.example:{port}",
    "tunnel.attacker.example:{port}",
    "mixed.attacker.example:{port}",
    "mixed6.attacker.example:{port}",
    "alias.attacker.example:{port}",
    "aliases.attacker.example:{port}",
    // what hides the host, or what it is
    "public.example@127.0.0.1:{port}",
    "127.0.0.1:{port}@public.example",
    "user:secret@public.example",
    "@public.example",
    "public.example\\@127.0.0.1:{port}",
    "public.example:22",
    "public.example:25",
    "public.example:0",
    "public.example/#@127.0.0.1:{port}",
];

/// Not even the form of these is right.
const REFUSED_FORMS: &[&str] = &[
    "",
    "public.example",
    "//public.example/",
    "/hook",
    "https://",
    "https:///",
    "https://?",
    "ftp://public.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_",
    "data:text/plain,x",
    "javascript:alert(1)",
    "unix:/var/run/docker.sock",
    "ws://127.0.0.1:{port}/",
    "https:127.0.0.1:{port}",
    "https:/127.0.0.1:{port}/",
    "https:\\\\127.0.0.1:{port}\\",
    "https://127.0.0.1\t:{port}/",
    "https://public.example/a b",
    " https://public.example/",
    "https://public.example/\r\nHost: 127.0.0.1",
    "https://public.example:{port}:443/",
    "https://public.example:99999/",
    "https://[::1",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://1.2.3.4.5/",
    "https://256.256.256.256/",
    "https://0x7f.0x0.0x0.0x1ff/",
    "https://pub%00lic.example/",
    "https://public%2eexample%2f@127.0.0.1/",
];

fn zone(names: &NameServer) {
    let simple = [
        ("public.example", "93.184.215.14"),
        ("loopback.attacker.example", "127.0.0.1"),
        ("zero.attacker.example", "0.0.0.0"),
        ("private.attacker.example", "10.1.2.3"),
        ("metadata.attacker.example", "169.254.169.254"),
        ("shared.attacker.example", "100.64.0.1"),
        ("loopback6.attacker.example", "::1"),
        ("local6.attacker.example", "fd12:3456::1"),
        ("link6.attacker.example", "fe80::1"),
        ("mapped.attacker.example", "::ffff:127.0.0.1"),
        ("nat64.attacker.example", "64:ff9b::7f00:1"),
        ("tunnel.attacker.example", "2002:7f00:1::1"),
    ];
    for (name, found) in simple {
        names.say(name, vec![address(found)]);
    }
    names.say("mixed.attacker.example", vec![address("93.184.215.14"), address("127.0.0.1")]);
    names.say("mixed6.attacker.example", vec![address("93.184.215.14"), address("::1")]);
    names.say("alias.attacker.example", vec![Record::Alias("loopback.attacker.example")]);
    names.say("aliases.attacker.example", vec![Record::Alias("alias.attacker.example")]);
}

fn http() -> PushConfig {
    PushConfig { allow_http: true, ..PushConfig::default() }
}

/// Lets `127.0.0.2` stand for a receiver on the internet.
fn with_receiver() -> PushConfig {
    PushConfig { allow_addresses: vec!["127.0.0.2/32".parse().unwrap()], ..http() }
}

fn connector(options: &PushConfig, names: &NameServer) -> Connector {
    Connector::with_resolver(options, names.resolver())
}

async fn post(connector: &Connector, url: &str) -> Result<u16, CallError> {
    let answer = connector.post(url, HeaderMap::new(), b"{}".to_vec()).await;
    answer.map(|answer| answer.status.as_u16())
}

async fn assert_refused(connector: &Connector, url: &str) {
    let checked = connector.check(url).await;
    assert!(matches!(checked, Err(CallError::Refused(_))), "check of {url:?}: {checked:?}");
    let called = post(connector, url).await;
    assert!(matches!(called, Err(CallError::Refused(_))), "call of {url:?}: {called:?}");
}

#[tokio::test]
async fn no_url_of_the_table_reaches_the_listener_behind_it() {
    let listener = Receiver::on_loopback(OK).await;
    let names = NameServer::start().await;
    zone(&names);
    let (strict, plain) = (PushConfig::default(), http());
    let port = listener.port().to_string();
    for scheme in ["https", "http"] {
        let connector = connector(if scheme == "https" { &strict } else { &plain }, &names);
        for host in REFUSED_HOSTS {
            let url = format!("{scheme}://{}", host.replace("{port}", &port));
            assert_refused(&connector, &url).await;
        }
        for url in REFUSED_FORMS {
            assert_refused(&connector, &url.replace("{port}", &port)).await;
        }
    }
    let strict = connector(&strict, &names);
    assert_refused(&strict, "http://public.example/").await;
    assert_eq!(listener.connections(), 0);
    println!(
        "{} hosts over https and http and {} malformed URLs were refused; connections: 0",
        REFUSED_HOSTS.len(),
        REFUSED_FORMS.len()
    );

    // The listener is there: with its address allowed, the same URLs reach it.
    let addresses = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
    let open = PushConfig { allow_addresses: addresses.into(), ..http() };
    let open = connector(&open, &names);
    let hosts = ["127.0.0.1", "0x7f.1", "[::1]", "loopback.attacker.example"];
    for host in hosts {
        assert_eq!(post(&open, &format!("http://{host}:{port}/")).await.unwrap(), 204, "{host}");
    }
    assert_eq!(listener.connections(), hosts.len());
}

#[tokio::test]
async fn public_urls_pass() {
    let names = NameServer::start().await;
    zone(&names);
    names.say("xn--bcher-kva.example", vec![address("93.184.215.14")]);
    let connector = connector(&PushConfig::default(), &names);
    let passing = [
        "https://public.example",
        "https://PUBLIC.example/hook?task=1",
        "https://public.example:443/hook",
        "https://public.example:8443/hook",
        "https://bücher.example/",
        "https://8.8.8.8/hook",
        "https://[2606:4700:4700::1111]/hook",
    ];
    for url in passing {
        connector.check(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[tokio::test]
async fn rebinding_name_is_refused_at_the_call_although_it_passed_the_check() {
    let listener = Receiver::on_loopback(OK).await;
    let names = NameServer::start().await;
    let name = "rebind.attacker.example";
    names.say_in_turn(name, vec![vec![address("93.184.215.14")], vec![address("127.0.0.1")]]);
    let connector = connector(&http(), &names);
    let url = format!("http://{name}:{}/", listener.port());

    connector.check(&url).await.unwrap();
    let refused = post(&connector, &url).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(Refused::Address { .. })), "{refused:?}");
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn rebinding_name_that_turns_public_is_refused_until_then() {
    let names = NameServer::start().await;
    let name = "rebind.attacker.example";
    names.say_in_turn(name, vec![vec![address("127.0.0.1")], vec![address("93.184.215.14")]]);
    let connector = connector(&PushConfig::default(), &names);
    let url = format!("https://{name}/");

    assert!(connector.check(&url).await.is_err());
    connector.check(&url).await.unwrap();
}

#[tokio::test]
async fn connection_goes_to_the_address_that_was_checked() {
    let (receiver, forbidden) = Receiver::pair(OK).await;
    let names = NameServer::start().await;
    let name = "rebind.attacker.example";
    let (good, bad) = (vec![address("127.0.0.2")], vec![address("127.0.0.1")]);
    let turns = (0..40).map(|turn| if turn % 2 == 0 { good.clone() } else { bad.clone() });
    names.say_in_turn(name, turns.collect());
    let connector = connector(&with_receiver(), &names);
    let url = format!("http://{name}:{}/", receiver.port());

    for call in 0..40 {
        let answer = post(&connector, &url).await;
        match call % 2 {
            0 => assert_eq!(answer.unwrap(), 204),
            _ => assert!(matches!(answer, Err(CallError::Refused(_))), "{answer:?}"),
        }
        // One question a call: there is no second answer that could be another.
        assert_eq!(names.asked(name), call + 1);
    }
    assert_eq!(receiver.connections(), 20);
    assert_eq!(forbidden.connections(), 0);
}

#[tokio::test]
async fn redirect_is_an_answer_and_not_followed() {
    let forbidden = Receiver::on_loopback(OK).await;
    let location = format!("http://127.0.0.1:{}/", forbidden.port());
    let names = NameServer::start().await;
    let connector = connector(&with_receiver(), &names);
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\n");
        let receiver = Receiver::on("127.0.0.2", &format!("{head}Content-Length: 0\r\n\r\n")).await;
        let url = format!("http://127.0.0.2:{}/", receiver.port());
        assert_eq!(post(&connector, &url).await.unwrap(), status);
    }
    assert_eq!(forbidden.connections(), 0);
}

#[tokio::test]
async fn settings_open_names_addresses_and_ports_and_nothing_else() {
    let names = NameServer::start().await;
    zone(&names);
    for (name, found) in [("hooks.internal", "10.1.2.3"), ("db.internal", "10.9.9.9")] {
        names.say(name, vec![address(found)]);
    }
    let options: PushConfig = serde_json::from_value(serde_json::json!({
        "allow_hosts": [".internal"],
        "allow_addresses": ["10.1.0.0/16"],
        "allow_ports": [444],
    }))
    .unwrap();
    let inside = connector(&options, &names);
    inside.check("https://hooks.internal/").await.unwrap();
    inside.check("https://10.1.2.3:444/").await.unwrap();
    inside.check("https://public.example/").await.unwrap();
    let refused = [
        "https://db.internal/",
        "https://internal/",
        "https://hooks.internal:445/",
        "https://10.2.0.1/",
        "https://[::ffff:10.1.2.3]/",
        "http://hooks.internal/",
    ];
    for url in refused {
        assert_refused(&inside, url).await;
    }

    let only =
        PushConfig { only_hosts: vec!["public.example".parse().unwrap()], ..PushConfig::default() };
    let only = connector(&only, &names);
    only.check("https://public.example/").await.unwrap();
    for url in ["https://other.example/", "https://sub.public.example/", "https://8.8.8.8/"] {
        assert_refused(&only, url).await;
    }
}

#[tokio::test]
async fn setting_that_names_no_host_or_network_is_an_error() {
    let wrong = [
        r#"{"allow_hosts": ["https://hooks.internal"]}"#,
        r#"{"allow_hosts": [""]}"#,
        r#"{"only_hosts": ["*.internal"]}"#,
        r#"{"allow_addresses": ["10.0.0.0/99"]}"#,
        r#"{"allow_everything": true}"#,
    ];
    for text in wrong {
        assert!(serde_json::from_str::<PushConfig>(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn refusal_does_not_tell_which_address_a_name_has() {
    let names = NameServer::start().await;
    zone(&names);
    let connector = connector(&PushConfig::default(), &names);
    let error = connector.check("https://private.attacker.example/").await.unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "host private.attacker.example has an address that may not be called");
}

#[tokio::test]
async fn unknown_name_is_unresolvable_and_not_refused() {
    let names = NameServer::start().await;
    let connector = connector(&PushConfig::default(), &names);
    let error = post(&connector, "https://nobody.example/").await.unwrap_err();
    assert!(matches!(error, CallError::Unresolvable { .. }), "{error:?}");
}

#[tokio::test]
async fn silent_receiver_is_left_at_the_deadline() {
    let receiver = Receiver::on("127.0.0.2", "").await;
    let names = NameServer::start().await;
    let options = PushConfig { timeout_ms: 50, ..with_receiver() };
    let connector = connector(&options, &names);
    let url = format!("http://127.0.0.2:{}/", receiver.port());
    let error = post(&connector, &url).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline(_)), "{error:?}");
}

#[tokio::test]
async fn endless_answer_is_not_read() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n";
    let receiver = Receiver::on("127.0.0.2", head).await;
    let names = NameServer::start().await;
    let connector = connector(&with_receiver(), &names);
    let url = format!("http://127.0.0.2:{}/", receiver.port());
    let answer = tokio::time::timeout(Duration::from_secs(20), post(&connector, &url));
    assert_eq!(answer.await.unwrap().unwrap(), 200);
}

/// Where a test that runs itself again tells its second run what to call.
const TARGET: &str = "CONNECTOR_TEST_TARGET";

/// Runs a test of this file again with an environment that a process can only be born with.
async fn run_again(test: &str, target: String, environment: Vec<(&'static str, String)>) {
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test]).env(TARGET, target).envs(environment);
    let ran = tokio::task::spawn_blocking(move || again.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_asked() {
    let names = NameServer::start().await;
    if let Ok(url) = std::env::var(TARGET) {
        assert_eq!(post(&connector(&with_receiver(), &names), &url).await.unwrap(), 204);
        return;
    }
    let receiver = Receiver::on("127.0.0.2", OK).await;
    let proxy = Receiver::on_loopback(OK).await;
    let proxy_url = format!("http://127.0.0.1:{}", proxy.port());
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"];
    let environment = names.map(|name| (name, proxy_url.clone())).into();
    let target = format!("http://127.0.0.2:{}/", receiver.port());
    run_again("proxies_of_the_environment_are_not_asked", target, environment).await;
    assert_eq!((receiver.connections(), proxy.connections()), (1, 0));
}

#[tokio::test]
async fn certificate_must_be_that_of_the_name_and_not_of_the_address() {
    let names = NameServer::start().await;
    for name in ["hooks.example", "other.example"] {
        names.say(name, vec![address("127.0.0.2")]);
    }
    let strict = PushConfig { allow_http: false, ..with_receiver() };
    let strict = connector(&strict, &names);
    if let Ok(port) = std::env::var(TARGET) {
        let hooks = format!("https://hooks.example:{port}/");
        assert_eq!(post(&strict, &hooks).await.unwrap(), 204);
        for host in ["other.example", "127.0.0.2"] {
            let refused = post(&strict, &format!("https://{host}:{port}/")).await;
            assert!(matches!(refused, Err(CallError::Unreachable(_))), "{host}: {refused:?}");
        }
        return;
    }
    let made = rcgen::generate_simple_self_signed(["hooks.example".to_owned()]).unwrap();
    let receiver = Receiver::with_tls("127.0.0.2", OK, acceptor(&made)).await;
    // Nobody vouches for the certificate here; the second run is told of it.
    let hooks = format!("https://hooks.example:{}/", receiver.port());
    let refused = post(&strict, &hooks).await;
    assert!(matches!(refused, Err(CallError::Unreachable(_))), "{refused:?}");

    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, made.cert.pem()).unwrap();
    let environment = vec![("SSL_CERT_FILE", roots.to_str().unwrap().to_owned())];
    let name = "certificate_must_be_that_of_the_name_and_not_of_the_address";
    run_again(name, receiver.port().to_string(), environment).await;
}

fn acceptor(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn system_resolver_is_held_to_the_same_rules() {
    let listener = Receiver::on_loopback(OK).await;
    let hosts = vec!["localhost".parse().unwrap()];
    let named = PushConfig { allow_hosts: hosts, ..http() };
    let url = format!("http://localhost:{}/", listener.port());
    let refused = post(&Connector::new(&named), &url).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(Refused::Address { .. })), "{refused:?}");
    assert_eq!(listener.connections(), 0);

    let addresses = ["127.0.0.1/32", "::1/128"].map(|network| network.parse().unwrap());
    let open = PushConfig { allow_addresses: addresses.into(), ..named };
    let open = Connector::new(&open);
    assert_eq!(post(&open, &url).await.unwrap(), 204);
}
