//! JSON Web Tokens of one issuer (RFC 7519, RFC 8725). The algorithm must be allowed by the
//! settings and by the key, the token is for this audience, and it ends. What is not checked is not
//! believed.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::config::{JwtConfig, SettingError};
use super::keys::{JwsHeader, KeySet};
use super::watched::Watched;
use crate::a2a::Caller;

/// Longest subject that may own a task.
const SUBJECT_BYTES: usize = 256;

pub(super) struct JwtVerifier {
    issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    leeway: f64,
    keys: Watched<KeySet>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: OneOrMany,
    sub: String,
    /// Seconds since 1970, possibly with a fraction.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    scope: Option<OneOrMany>,
    #[serde(default)]
    scp: Option<OneOrMany>,
    #[serde(default)]
    roles: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn contains(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one == text,
            Self::Many(many) => many.iter().any(|one| one == text),
        }
    }

    /// The words of a list, or of a text with blanks between them.
    fn words(&self) -> Vec<String> {
        match self {
            Self::One(one) => one.split_ascii_whitespace().map(str::to_owned).collect(),
            Self::Many(many) => many.clone(),
        }
    }
}

impl JwtVerifier {
    pub(super) fn open(config: &JwtConfig) -> Result<Self, SettingError> {
        let keys = Watched::open(&config.jwks_file, false, KeySet::from_jwks)
            .map_err(|why| SettingError::new("jwt.jwks_file", why))?;
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            algorithms: config.algorithms.iter().copied().map(Algorithm::from).collect(),
            leeway: f64::from(config.leeway_seconds),
            keys,
        })
    }

    /// The caller a token speaks for, if it is good in every respect.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Option<Caller> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header = JwsHeader::read(header)?;
        let is_allowed = self.algorithms.contains(&header.alg);
        if !is_allowed || !self.keys.get(now)?.verify(&header, message, signature) {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        self.admit(serde_json::from_slice(&payload).ok()?, now)
    }

    fn admit(&self, claims: Claims, now: Timestamp) -> Option<Caller> {
        let now = now.as_millisecond() as f64 / 1000.0;
        let is_ours = claims.iss == self.issuer && claims.aud.contains(&self.audience);
        let is_alive =
            claims.exp + self.leeway > now && claims.nbf.is_none_or(|nbf| nbf - self.leeway <= now);
        let is_name = (1..=SUBJECT_BYTES).contains(&claims.sub.len())
            && !claims.sub.chars().any(char::is_control);
        if !(is_ours && is_alive && is_name) {
            return None;
        }
        let scopes = claims.scope.iter().chain(&claims.scp).flat_map(OneOrMany::words);
        let roles = claims.roles.iter().flat_map(OneOrMany::words);
        Some(Caller {
            // A subject never has the name of a caller with a secret: those have no colon.
            principal: format!("jwt:{}", claims.sub),
            scopes: scopes.collect::<BTreeSet<_>>(),
            roles: roles.collect::<BTreeSet<_>>(),
        })
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("jwks_file", &self.keys.path())
            .finish_non_exhaustive()
    }
}
