//! The address an agent's card advertises.

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use crate::{ConfigError, TlsConfig};

/// `public_url`, or else `listen`, over HTTPS where it has a certificate.
///
/// # Errors
/// Neither makes an http(s) address, or it is one that no caller could reach: one that names no
/// host, or this machine alone where `listen` is for others.
pub fn advertised_url(
    listen: &str,
    public_url: Option<&Url>,
    tls: Option<&TlsConfig>,
) -> Result<Url, ConfigError> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listens_on = listen.parse::<SocketAddr>().ok().map(|address| address.ip().to_canonical());
    let is_unspecified = listens_on.is_some_and(|ip| ip.is_unspecified());
    let (field, url) = match public_url {
        Some(url) => ("public_url", Ok(url.clone())),
        None if is_unspecified => {
            let why = "is needed when `listen` names no address: the card would advertise one \
                       that nobody can reach";
            return Err(ConfigError::setting("public_url", why));
        }
        None => ("listen", Url::parse(&format!("{scheme}://{listen}"))),
    };
    let url = url.map_err(|error| ConfigError::setting(field, error.to_string()))?;
    match unusable(&url, listens_on) {
        Some(why) => Err(ConfigError::setting(field, why)),
        None => Ok(url),
    }
}

/// Why an address is of no use to callers.
fn unusable(url: &Url, listens_on: Option<IpAddr>) -> Option<String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some(format!("{} is not http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must hold no credentials: everybody reads the card".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Some("must end with its path: the agent's paths are added to it".into());
    }
    let (address, is_local_name) = match url.host()? {
        Host::Ipv4(address) => (Some(IpAddr::V4(address)), false),
        Host::Ipv6(address) => (Some(IpAddr::V6(address).to_canonical()), false),
        Host::Domain(name) => (None, name == "localhost" || name.ends_with(".localhost")),
    };
    if address.is_some_and(|ip| ip.is_unspecified()) {
        return Some("names no address: nobody can reach it".into());
    }
    // Listening on every address may well be for a port that a container publishes on this machine.
    let is_for_others = listens_on.is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified());
    let is_local = is_local_name || address.is_some_and(|ip| ip.is_loopback());
    (is_for_others && is_local)
        .then(|| "names this machine alone, but `listen` is for other machines".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_nobody_can_reach_is_not_advertised() {
        let url =
            |listen: &str| advertised_url(listen, None, None).map_err(|error| error.to_string());
        assert_eq!(url("127.0.0.1:5000").unwrap().as_str(), "http://127.0.0.1:5000/");
        let file = std::path::PathBuf::from("pem");
        let tls = TlsConfig { certificate: file.clone(), key: file, client_ca: None };
        let over_tls = advertised_url("127.0.0.1:5000", None, Some(&tls)).unwrap();
        assert_eq!(over_tls.as_str(), "https://127.0.0.1:5000/");
        assert!(url("0.0.0.0:5000").unwrap_err().starts_with("setting `public_url`"));
        let public: Url = "https://agents.example.org/x".parse().unwrap();
        assert_eq!(advertised_url("0.0.0.0:5000", Some(&public), None).unwrap(), public);
        for unspecified in ["[::]:5000", "[::ffff:0.0.0.0]:5000", "[0::0]:5000"] {
            assert!(url(unspecified).unwrap_err().starts_with("setting `public_url`"));
        }
        let ftp: Url = "ftp://example.org".parse().unwrap();
        assert!(advertised_url("127.0.0.1:1", Some(&ftp), None).is_err());
    }
    #[test]
    fn a_public_address_is_one_for_its_callers() {
        let error = |listen: &str, public: &str| {
            let public: Url = public.parse().unwrap();
            advertised_url(listen, Some(&public), None).err().map(|error| error.to_string())
        };
        for useless in ["http://0.0.0.0:5000", "http://[::]:5000", "https://0/"] {
            assert!(error("0.0.0.0:5000", useless).unwrap().contains("names no address"));
        }
        for local in ["http://localhost:5000", "http://127.0.0.1:5000", "http://[::1]:5000"] {
            assert!(error("10.1.2.3:5000", local).unwrap().contains("this machine alone"));
            assert_eq!(error("0.0.0.0:5000", local), None, "a published port of a container");
            assert_eq!(error("127.0.0.1:5000", local), None);
        }
        assert!(
            error("0.0.0.0:1", "https://me:secret@example.org").unwrap().contains("credentials")
        );
        assert!(error("0.0.0.0:1", "https://example.org/?a=b").unwrap().contains("path"));
        assert_eq!(error("10.1.2.3:5000", "https://agents.example.org/x"), None);
    }
}
