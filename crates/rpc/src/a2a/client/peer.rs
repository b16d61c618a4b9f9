//! A peer agent as a program's configuration names it: a bare URL, or a mapping with how far the
//! peer is trusted. A card cannot widen that trust.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use url::Url;

use super::transport::bearer;
use crate::a2a::SettingError;
use crate::a2a::signature::PinnedKeys;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// The card is published under it, and calls and the token go to its origin.
    pub url: Url,
    /// Where the card is instead of the well-known path under `url`. Gets no token elsewhere.
    pub card_url: Option<Url>,
    /// File with the bearer token; read at every call, so that a new one needs no restart.
    pub token_file: Option<PathBuf>,
    /// File with the JSON Web Key Set whose keys sign the card. With it, an unsigned card is refused.
    pub signature_keys: Option<PathBuf>,
    /// Further origins the card may lead to; they get the token too.
    pub allowed_origins: Vec<Url>,
    /// Extensions asked for with every call.
    pub extensions: Vec<String>,
}

impl From<Url> for PeerConfig {
    fn from(url: Url) -> Self {
        Self {
            url,
            card_url: None,
            token_file: None,
            signature_keys: None,
            allowed_origins: Vec::new(),
            extensions: incident_extension(),
        }
    }
}

impl PeerConfig {
    /// Checks what types cannot, without reading a file.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn check(&self) -> Result<(), SettingError> {
        check_url("url", &self.url)?;
        if let Some(url) = &self.card_url {
            check_url("card_url", url)?;
        }
        for origin in &self.allowed_origins {
            check_url("allowed_origins", origin)?;
            if origin.path() != "/" || origin.query().is_some() || origin.fragment().is_some() {
                let why = format!("{origin} must be an origin, such as https://agent.example:8443");
                return Err(SettingError::new("allowed_origins", why));
            }
        }
        Ok(())
    }

    /// Reads the files that are named, as calls do.
    ///
    /// # Errors
    /// The first setting whose file cannot be used.
    pub fn check_files(&self) -> Result<(), SettingError> {
        if let Some(path) = &self.token_file {
            let token = std::fs::read_to_string(path).and_then(|text| bearer(&text));
            let unusable = |error| format!("cannot use {}: {error}", path.display());
            token.map_err(|error| SettingError::new("token_file", unusable(error)))?;
        }
        let keys = self.signature_keys.as_deref().map(PinnedKeys::open).transpose();
        keys.map(drop).map_err(|why| SettingError::new("signature_keys", why))
    }

    /// Whether calls, and the token with them, may go to this URL.
    pub(super) fn allows(&self, url: &Url) -> bool {
        let is_http = matches!(url.scheme(), "http" | "https");
        let mut allowed = std::iter::once(&self.url).chain(&self.allowed_origins);
        is_http && has_no_credentials(url) && allowed.any(|known| known.origin() == url.origin())
    }
}

fn check_url(field: &str, url: &Url) -> Result<(), SettingError> {
    let wrong = |why: &str| Err(SettingError::new(field, why));
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("must be an http or https URL");
    }
    if !has_no_credentials(url) {
        return wrong("must hold no user name or password; use `token_file`");
    }
    Ok(())
}

fn has_no_credentials(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

fn incident_extension() -> Vec<String> {
    vec![incident::EXTENSION_URI.to_owned()]
}

/// The mapping form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    url: Url,
    #[serde(default)]
    card_url: Option<Url>,
    #[serde(default)]
    token_file: Option<PathBuf>,
    #[serde(default)]
    signature_keys: Option<PathBuf>,
    #[serde(default)]
    allowed_origins: Vec<Url>,
    #[serde(default = "incident_extension")]
    extensions: Vec<String>,
}

impl<'de> Deserialize<'de> for PeerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UrlOrFields)
    }
}

struct UrlOrFields;

impl<'de> Visitor<'de> for UrlOrFields {
    type Value = PeerConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the URL of an agent, or a mapping with its `url`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PeerConfig, E> {
        let url = Url::parse(text).map_err(|error| E::custom(format!("{text:?}: {error}")))?;
        Ok(url.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PeerConfig, A::Error> {
        let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
        let Fields { url, card_url, token_file, signature_keys, allowed_origins, extensions } =
            fields;
        Ok(PeerConfig { url, card_url, token_file, signature_keys, allowed_origins, extensions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<PeerConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_url_alone_is_enough_and_unknown_keys_are_refused() {
        let bare = read("\"http://agent:1\"").unwrap();
        assert_eq!(bare, read(r#"{"url": "http://agent:1"}"#).unwrap());
        let whole = r#"{"url": "https://a", "card_url": "https://cards/a", "token_file": "t",
            "signature_keys": "k", "allowed_origins": ["https://b:8443"], "extensions": []}"#;
        let whole = read(whole).unwrap();
        assert_eq!((whole.check(), whole.extensions.len()), (Ok(()), 0));
        for (wrong, why) in [
            ("{\"url\": \"http://a\", \"tokn_file\": \"x\"}", "unknown field `tokn_file`"),
            ("{\"token_file\": \"x\"}", "missing field `url`"),
            ("\"nowhere\"", "\"nowhere\": relative URL"),
            ("7", "expected the URL of an agent"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn urls_that_cannot_be_called_are_named_by_their_field() {
        for (json, field) in [
            (r#"{"url": "ftp://a"}"#, "url"),
            (r#"{"url": "http://user:secret@a"}"#, "url"),
            (r#"{"url": "http://a", "card_url": "file:///card"}"#, "card_url"),
            (r#"{"url": "http://a", "allowed_origins": ["http://b/path"]}"#, "allowed_origins"),
        ] {
            assert_eq!(read(json).unwrap().check().unwrap_err().field, field, "{json}");
        }
    }

    #[test]
    fn only_named_origins_are_called() {
        let peer = read(r#"{"url": "http://a:1/x", "allowed_origins": ["https://b"]}"#).unwrap();
        for (url, is_allowed) in [
            ("http://a:1/anything", true),
            ("https://b:443/", true),
            ("http://a:2/", false),
            ("https://a:1/", false),
            ("http://b/", false),
            ("http://u:p@a:1/", false),
            ("http://169.254.169.254/", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(peer.allows(&url.parse().unwrap()), is_allowed, "{url}");
        }
    }
}
