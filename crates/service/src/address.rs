//! The address an agent's card advertises.

use url::Url;

use crate::ConfigError;

/// `public_url`, or else `listen` over plain HTTP.
///
/// # Errors
/// Neither makes an http(s) address, or `listen` names no address that a caller could reach.
pub fn advertised_url(listen: &str, public_url: Option<&Url>) -> Result<Url, ConfigError> {
    let is_unspecified = listen.starts_with("0.0.0.0:") || listen.starts_with("[::]:");
    let (field, url) = match public_url {
        Some(url) => ("public_url", Ok(url.clone())),
        None if is_unspecified => {
            let why = "is needed when `listen` names no address: the card would advertise one \
                       that nobody can reach";
            return Err(ConfigError::setting("public_url", why));
        }
        None => ("listen", Url::parse(&format!("http://{listen}"))),
    };
    let url = url.map_err(|error| ConfigError::setting(field, error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(ConfigError::setting(field, format!("{other} is not http or https"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_nobody_can_reach_is_not_advertised() {
        let url = |listen: &str| advertised_url(listen, None).map_err(|error| error.to_string());
        assert_eq!(url("127.0.0.1:5000").unwrap().as_str(), "http://127.0.0.1:5000/");
        assert!(url("0.0.0.0:5000").unwrap_err().starts_with("setting `public_url`"));
        let public: Url = "https://agents.example.org/x".parse().unwrap();
        assert_eq!(advertised_url("0.0.0.0:5000", Some(&public)).unwrap(), public);
        let ftp: Url = "ftp://example.org".parse().unwrap();
        assert!(advertised_url("127.0.0.1:1", Some(&ftp)).is_err());
    }
}
