//! `--check-config` reads every file that the settings name, and says which one is wrong, under which
//! setting, and nothing of what stands in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ingress::Config;
use service::{Configuration, Env, Process};

const SETTINGS: &str = "
tls: {certificate: DIR/cert.pem, key: DIR/key.pem, client_ca: DIR/ca.pem}
a2a: {authentication: {bearer: [{name: ops, files: [DIR/ops]}]}}
enrichment: [{file: DIR/owners.csv, match: server}]
dependencies: DIR/services.yaml
agents: {diagnostic: {url: 'http://d:1', token_file: DIR/diagnostic, signature_keys: DIR/card.pem}}
alertmanager_url: http://am:9093
alertmanager_token_file: DIR/am-api
sources:
  bearer: {kind: grafana, authentication: {bearer: {files: [DIR/bearer]}}}
  basic: {kind: grafana, authentication: {basic: {user: u, files: [DIR/basic]}}}
  hmac: {kind: grafana, authentication: {hmac: {files: [DIR/hmac, DIR/hmac-next]}}}
  mtls: {kind: grafana, authentication: {mtls: {names: [grafana.example]}}}
  pagerduty: {kind: pagerduty, authentication: {routing_key: {files: [DIR/routing-key]}}}
  asked:
    kind: alertmanager
    unauthenticated: true
    reconcile:
      alertmanagers: [{url: 'http://am:1'}, {url: 'http://am:2', basic: {username: u, password_file: DIR/am}}]
";
const SECRET: &str = "only-the-sender-knows-this";
/// No certificate, no key, no table and no YAML.
const NONSENSE: &str = "\"a,\n- : [only-the-sender-knows-this";

/// Files of a directory: name, what names it, and a content that is good.
fn good_files() -> Vec<(&'static str, &'static str, String)> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["ingress".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().pem();
    let secret = || SECRET.to_owned();
    vec![
        ("cert.pem", "setting `tls`", certificate.clone()),
        ("key.pem", "setting `tls`", key.serialize_pem()),
        ("ca.pem", "setting `tls`", certificate),
        ("ops", "`authentication.bearer[0].files[0]`", secret()),
        ("owners.csv", "owners.csv", "server,owner\ndb-1,ana\n".to_owned()),
        ("services.yaml", "services.yaml", "services: {db-1: {}}\n".to_owned()),
        ("diagnostic", "`agents.diagnostic`: setting `token_file`", secret()),
        ("card.pem", "`agents.diagnostic`: setting `signature_keys`", key.public_key_pem()),
        ("am-api", "source alertmanager, Alertmanager http://am:9093/: `token_file`", secret()),
        ("bearer", "`sources.bearer`: `bearer.files[0]`", secret()),
        ("basic", "`sources.basic`: `basic.files[0]`", secret()),
        ("hmac", "`sources.hmac`: `hmac.files[0]`", secret()),
        ("routing-key", "`sources.pagerduty`: `routing_key.files[0]`", secret()),
        ("am", "source asked, Alertmanager http://am:2/: `basic.password_file`", secret()),
    ]
}

fn written(directory: &Path) -> PathBuf {
    for (name, _, text) in good_files() {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let settings = directory.join("ingress.yaml");
    let text = SETTINGS.replace("DIR", &directory.display().to_string());
    std::fs::write(&settings, text).unwrap();
    settings
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let directory = tempfile::tempdir().unwrap();
    let settings = written(directory.path());
    let config: Config = service::load_config(Some(&settings), &Env::fixed([])).unwrap();
    let check = || {
        let checked = config.check_files(&Process::new("check"));
        checked.map_err(|error| format!("{error:#}"))
    };
    assert_eq!(check(), Ok(()));
    for (name, place, text) in good_files() {
        let file = directory.path().join(name);
        let whole = std::fs::read(&file).unwrap();
        // A secret may be any text of a line.
        let bad = if text == SECRET { "" } else { NONSENSE };
        for bad in [None, Some(bad)] {
            std::fs::remove_file(&file).unwrap();
            if let Some(bad) = bad {
                std::fs::write(&file, bad).unwrap();
            }
            let error = check().unwrap_err();
            let is_named = error.contains(&file.display().to_string()) && error.contains(place);
            assert!(is_named && !error.contains(SECRET), "{name}, {bad:?}: {error}");
            std::fs::write(&file, &whole).unwrap();
        }
    }
    // A second secret may be absent, but not be of no use.
    std::fs::write(directory.path().join("hmac-next"), "too-short").unwrap();
    let error = check().unwrap_err();
    assert!(error.contains("`sources.hmac`: `hmac.files[1]`"), "{error}");
    assert!(!error.contains("too-short"), "{error}");
}

#[test]
fn the_program_says_so_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let settings = written(directory.path());
    let check = || -> Output {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ingress"));
        program.arg("--check-config").arg("--config").arg(&settings).env_clear().output().unwrap()
    };
    let checked = check();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    std::fs::write(directory.path().join("bearer"), "").unwrap();
    let checked = check();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("setting `sources.bearer`: `bearer.files[0]`: secret file"), "{said}");
}
