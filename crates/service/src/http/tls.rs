//! TLS of a listener. The certificate, its key and the authorities of clients are read again when a
//! file changes, so that a renewal needs no restart; what cannot be used leaves the old one in place.
//! A client may present a certificate. One that is expired, or of another authority, ends the
//! handshake; none at all leaves it to the routes to refuse.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::FileStamp;

/// Where a listener's certificate is. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose clients may authenticate themselves by a certificate.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

impl TlsConfig {
    /// Reads the files as the listener does.
    ///
    /// # Errors
    /// A file that cannot be read, holds no such thing, or a key of another certificate.
    pub fn check(&self) -> anyhow::Result<()> {
        self.load().map(drop)
    }

    fn load(&self) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .context("protocol versions")?;
        let builder = match &self.client_ca {
            Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.with_context(|| format!("read the key {}", self.key.display()))?;
        let mut config = builder
            .with_single_cert(certificates(&self.certificate)?, key)
            .with_context(|| format!("use the certificate {}", self.certificate.display()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // A resumed session would bring its client's certificate back unchecked.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    fn stamps(&self) -> Stamps {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        paths.map(|path| FileStamp::of(path?).ok())
    }
}

/// The three files as they were when they were read.
type Stamps = [Option<FileStamp>; 3];

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let reading = || format!("read the certificates {}", path.display());
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).with_context(reading)?.collect();
    let found = found.with_context(reading)?;
    if found.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(found)
}

fn verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).with_context(|| format!("use the authority {}", path.display()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .with_context(|| format!("use the authorities {}", path.display()))
}

/// The files of a listener as they are now.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsConfig,
    current: Mutex<(Stamps, Arc<ServerConfig>)>,
}

impl Tls {
    pub(super) fn open(files: &TlsConfig) -> anyhow::Result<Self> {
        let stamps = files.stamps();
        let current = Mutex::new((stamps, Arc::new(files.load()?)));
        Ok(Self { files: files.clone(), current })
    }

    /// For the next handshake. A look at three files is nothing beside one.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().expect("no panic while it is held");
        let stamps = self.files.stamps();
        if stamps != current.0 {
            // Said once for each change, also where only one file of two has changed yet.
            current.0 = stamps;
            match self.files.load() {
                Ok(config) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate read again");
                    current.1 = Arc::new(config);
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "the new certificate cannot be used, the old one stays");
                }
            }
        }
        current.1.clone()
    }
}

/// Who a client is by the certificate it presented, in the extensions of its requests. The
/// certificate is one of the listener's `client_ca`, and in date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The DNS names and URIs of its subject, and its common names.
    pub names: Vec<String>,
}

impl PeerCertificate {
    /// `None`: what it says of its subject cannot be read.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut names = Vec::new();
        if let Some(alternatives) = certificate.subject_alternative_name().ok()? {
            for name in &alternatives.value.general_names {
                if let GeneralName::DNSName(name) | GeneralName::URI(name) = name {
                    names.push((*name).to_owned());
                }
            }
        }
        for name in certificate.subject().iter_common_name() {
            names.extend(name.as_str().map(str::to_owned));
        }
        Some(Self { names })
    }
}

#[cfg(test)]
mod tests;
