//! The settings of authentication, as programs embed them in their configuration files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

/// Live secrets of one caller: the current one, and the next while callers change over.
const SECRETS_EACH: usize = 2;

/// Who may call. Empty means that everybody may, and that all share the same tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthenticationConfig {
    /// Callers that prove who they are with a secret of their own (`Authorization: Bearer`).
    pub bearer: Vec<BearerConfig>,
    /// Callers with a JSON Web Token of one trusted issuer.
    pub jwt: Option<JwtConfig>,
}

/// One caller and its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BearerConfig {
    /// The name under which this caller owns its tasks: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Files with one secret each, of at least 16 characters: the current one and, while callers
    /// change over, the next. A changed file counts within a second. An unusable file leaves its
    /// last good secret in force; a file that is gone ends it.
    pub files: Vec<PathBuf>,
}

/// What a JSON Web Token must be like. Its subject owns tasks as `jwt:<subject>`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// The only `iss` accepted.
    pub issuer: String,
    /// Must be the `aud`, or among them.
    pub audience: String,
    /// The issuer's public keys, a JSON Web Key Set. A changed file counts within a second; an
    /// unusable one leaves the last good keys in force.
    pub jwks_file: PathBuf,
    /// By how much the issuer's clock may differ from ours, in seconds; at most 600.
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u32,
    /// Signature algorithms accepted. None is symmetric: a public key can never act as a secret.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<JwtAlgorithm>,
}

/// A signature algorithm by its JOSE name (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum JwtAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// A setting that cannot be used, by its dotted name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting `{field}`: {message}")]
pub struct SettingError {
    pub field: String,
    pub message: String,
}

impl SettingError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// Refuses a number with which nothing would work, or nothing be bounded.
    pub(crate) fn check_range(
        field: &str,
        number: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<(), Self> {
        if range.contains(&number) {
            return Ok(());
        }
        let (least, most) = range.into_inner();
        Err(Self::new(field, format!("must be from {least} to {most}, not {number}")))
    }

    /// The same with the name of the setting that this one is in.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

impl AuthenticationConfig {
    pub fn is_empty(&self) -> bool {
        self.bearer.is_empty() && self.jwt.is_none()
    }

    /// Checks what types cannot, without reading a file.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn check(&self) -> Result<(), SettingError> {
        let mut names = BTreeSet::new();
        for (index, bearer) in self.bearer.iter().enumerate() {
            bearer.check(&format!("bearer[{index}]"))?;
            if !names.insert(&bearer.name) {
                let why = format!("{} is the name of an earlier caller too", bearer.name);
                return Err(SettingError::new(format!("bearer[{index}].name"), why));
            }
        }
        self.jwt.as_ref().map_or(Ok(()), JwtConfig::check)
    }
}

impl BearerConfig {
    fn check(&self, field: &str) -> Result<(), SettingError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            let why = "must be letters, digits, `.`, `_` and `-`";
            return Err(SettingError::new(format!("{field}.name"), why));
        }
        if self.files.is_empty() || self.files.len() > SECRETS_EACH {
            let why = format!(
                "must name one file, or two while callers change over; found {}",
                self.files.len()
            );
            return Err(SettingError::new(format!("{field}.files"), why));
        }
        Ok(())
    }
}

impl JwtConfig {
    fn check(&self) -> Result<(), SettingError> {
        let refuse = |field: &str, why: &str| Err(SettingError::new(format!("jwt.{field}"), why));
        if self.issuer.is_empty() {
            return refuse("issuer", "must not be empty");
        }
        if self.audience.is_empty() {
            return refuse("audience", "must not be empty");
        }
        if self.algorithms.is_empty() {
            return refuse("algorithms", "must name at least one");
        }
        if self.leeway_seconds > 600 {
            return refuse("leeway_seconds", "must be at most 600");
        }
        Ok(())
    }
}

impl From<JwtAlgorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::RS256 => Self::RS256,
            JwtAlgorithm::RS384 => Self::RS384,
            JwtAlgorithm::RS512 => Self::RS512,
            JwtAlgorithm::PS256 => Self::PS256,
            JwtAlgorithm::PS384 => Self::PS384,
            JwtAlgorithm::PS512 => Self::PS512,
            JwtAlgorithm::ES256 => Self::ES256,
            JwtAlgorithm::ES384 => Self::ES384,
            JwtAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}

fn default_leeway() -> u32 {
    30
}

fn default_algorithms() -> Vec<JwtAlgorithm> {
    vec![JwtAlgorithm::RS256, JwtAlgorithm::ES256, JwtAlgorithm::EdDSA]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: serde_json::Value) -> String {
        match serde_json::from_value::<AuthenticationConfig>(json) {
            Ok(config) => config.check().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_field() {
        let bearer = |name: &str, files: &[&str]| serde_json::json!({"name": name, "files": files});
        let of = |bearer| error(serde_json::json!({"bearer": bearer}));
        assert!(of(vec![bearer("jwt:bob", &["a"])]).starts_with("setting `bearer[0].name`"));
        assert!(of(vec![bearer("bob", &[])]).starts_with("setting `bearer[0].files`"));
        assert!(of(vec![bearer("bob", &["a", "b", "c"])]).starts_with("setting `bearer[0].files`"));
        assert!(
            of(vec![bearer("bob", &["a"]), bearer("bob", &["b"])])
                .starts_with("setting `bearer[1].name`")
        );
        assert!(error(serde_json::json!({"barer": []})).contains("unknown field `barer`"));
        let jwt = |algorithm: &str| {
            error(
                serde_json::json!({"jwt": {"issuer": "", "audience": "a", "jwks_file": "f", "algorithms": [algorithm]}}),
            )
        };
        assert!(jwt("HS256").contains("unknown variant `HS256`"));
        assert!(jwt("none").contains("unknown variant `none`"));
        assert!(jwt("ES256").starts_with("setting `jwt.issuer`"));
    }
}
