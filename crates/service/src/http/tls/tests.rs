//! TLS over real sockets, with certificates made for the test.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::routing::get;
use axum::{Extension, Router};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::*;
use crate::http::tests::timeless;
use crate::http::{Listen, serve_at};
use crate::{Process, ServeError};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

struct Issued {
    certificate: String,
    key: String,
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// A listener whose certificate is for `service.example`, and which trusts the clients of one
/// authority.
struct World {
    directory: TempDir,
    authority: Authority,
    config: TlsConfig,
    _process: Process,
    address: SocketAddr,
}

impl World {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("ca.pem"), authority.0.pem()).unwrap();
        let config = TlsConfig {
            certificate: at("certificate.pem"),
            key: at("key.pem"),
            client_ca: Some(at("ca.pem")),
        };
        renew(&config, &authority.issue(&named("service.example")));
        let process = Process::new("program");
        let routes = Router::new().route("/names", get(names));
        let listen = Listen { tls: Some(&config), ..Listen::new("127.0.0.1:0", "listen") };
        let address = serve_at(&process, listen, routes).await.unwrap();
        Self { directory, authority, config, _process: process, address }
    }

    /// What a client of this authority's server is told that its names are, if it is served.
    async fn names(&self, server: &str, client: Option<&Issued>) -> Option<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let server = ServerName::try_from(server.to_owned()).unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await.ok()?;
        let request = b"GET /names HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        Some(body.to_owned())
    }
}

async fn names(certificate: Option<Extension<PeerCertificate>>, _: Request) -> String {
    certificate.map_or("nobody".into(), |Extension(certificate)| certificate.names.join(" "))
}

fn renew(config: &TlsConfig, issued: &Issued) {
    std::fs::write(&config.certificate, &issued.certificate).unwrap();
    std::fs::write(&config.key, &issued.key).unwrap();
}

#[tokio::test]
async fn a_client_is_who_its_certificate_says_or_nobody() {
    let world = World::start().await;
    assert_eq!(world.names("service.example", None).await.unwrap(), "nobody");
    let mut params = named("alertmanager.example");
    params.subject_alt_names.push(SanType::URI("spiffe://x/am".try_into().unwrap()));
    params.distinguished_name.push(DnType::CommonName, "am-1");
    let client = world.authority.issue(&params);
    let names = world.names("service.example", Some(&client)).await.unwrap();
    assert_eq!(names, "alertmanager.example spiffe://x/am am-1");
}

#[tokio::test]
async fn an_expired_or_foreign_certificate_ends_the_handshake() {
    let world = World::start().await;
    let mut expired = named("alertmanager.example");
    expired.not_after = date_time_ymd(2020, 1, 1);
    let expired = world.authority.issue(&expired);
    assert_eq!(world.names("service.example", Some(&expired)).await, None);
    let foreign = Authority::new().issue(&named("alertmanager.example"));
    assert_eq!(world.names("service.example", Some(&foreign)).await, None);
    assert!(world.names("service.example", None).await.is_some());
}

#[tokio::test]
async fn a_renewed_certificate_needs_no_restart_and_half_of_one_changes_nothing() {
    let world = World::start().await;
    let renewed = world.authority.issue(&named("renewed.example"));
    std::fs::write(&world.config.certificate, &renewed.certificate).unwrap();
    assert!(world.names("service.example", None).await.is_some());
    std::fs::write(&world.config.key, &renewed.key).unwrap();
    assert!(world.names("renewed.example", None).await.is_some());
    assert_eq!(world.names("service.example", None).await, None);
}

#[tokio::test]
async fn an_authority_that_is_taken_away_lets_its_clients_in_no_more() {
    let world = World::start().await;
    let client = world.authority.issue(&named("alertmanager.example"));
    assert!(world.names("service.example", Some(&client)).await.is_some());
    std::fs::write(world.directory.path().join("ca.pem"), Authority::new().0.pem()).unwrap();
    assert_eq!(world.names("service.example", Some(&client)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_to_an_end_is_given_up() {
    let world = World::start().await;
    let mut stream = timeless(async {
        let stream = TcpStream::connect(world.address).await.unwrap();
        // Accepted in order: once this one is answered, that one is in hand.
        assert!(world.names("service.example", None).await.is_some());
        stream
    })
    .await;
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut [0; 1])).await;
    assert_eq!(ended.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn plain_http_is_no_handshake() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"GET /names HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(world.names("service.example", None).await.is_some());
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let world = World::start().await;
    let process = Process::new("program");
    std::fs::write(&world.config.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(world.config.check().is_err());
    let listen = Listen { tls: Some(&world.config), ..Listen::new("127.0.0.1:0", "listen") };
    let refused = serve_at(&process, listen, Router::new()).await;
    assert!(matches!(refused, Err(ServeError::Certificate { .. })), "{refused:?}");
}
