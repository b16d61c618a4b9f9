//! Who may call. Secrets and keys come from files that are read again when they change, secrets
//! are kept as digests only, and a refusal says no more than that it is one: an unknown secret, a
//! wrong one and a forged token get the same answer.

mod bearer;
mod config;
mod gate;
mod jwt;
mod keys;
mod watched;

use std::fmt;
use std::sync::Arc;

use a2a_types::{AgentCard, HttpAuthSecurityScheme, SecurityRequirement, SecurityScheme};
use http::{HeaderMap, header};
use jiff::Timestamp;

pub use config::{AuthenticationConfig, BearerConfig, JwtAlgorithm, JwtConfig, SettingError};
pub(crate) use gate::{Gate, Refused};
pub(crate) use keys::{JwsHeader, KeySet};

use super::Caller;

use bearer::Bearers;
use jwt::JwtVerifier;

/// How long a token may be; longer ones are refused unread.
const TOKEN_BYTES: usize = 16 << 10;

/// What a server asks of its callers. Cheap to clone; the default asks nothing.
#[derive(Clone, Default)]
pub struct Authentication(Option<Arc<Checks>>);

struct Checks {
    bearers: Option<Bearers>,
    jwt: Option<JwtVerifier>,
}

/// Why a request was not admitted. The caller learns the kind and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credentials of a kind that is asked for.
    #[error("no bearer token was sent")]
    Missing,
    /// Credentials that cannot be read.
    #[error("the authorization header is malformed")]
    Malformed,
    /// Credentials that admit nobody.
    #[error("the access token is invalid")]
    Invalid,
}

impl AuthError {
    /// The challenge of RFC 6750, section 3.
    pub fn challenge(self) -> &'static str {
        match self {
            Self::Missing => r#"Bearer realm="a2a""#,
            Self::Malformed => r#"Bearer realm="a2a", error="invalid_request""#,
            Self::Invalid => r#"Bearer realm="a2a", error="invalid_token""#,
        }
    }
}

impl Authentication {
    /// Everybody is admitted, as nobody in particular.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the files that the settings name. Settings without any caller ask nothing.
    ///
    /// # Errors
    /// The first setting, or the file it names, that cannot be used.
    pub fn open(config: &AuthenticationConfig) -> Result<Self, SettingError> {
        config.check()?;
        if config.is_empty() {
            return Ok(Self::none());
        }
        let bearers = match config.bearer.is_empty() {
            true => None,
            false => Some(Bearers::open(&config.bearer)?),
        };
        let jwt = config.jwt.as_ref().map(JwtVerifier::open).transpose()?;
        Ok(Self(Some(Arc::new(Checks { bearers, jwt }))))
    }

    pub fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// The caller behind a request.
    ///
    /// # Errors
    /// The request carries no credentials that admit a caller.
    pub fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Result<Caller, AuthError> {
        let Some(checks) = &self.0 else { return Ok(Caller::default()) };
        let token = bearer_token(headers)?;
        let bearer = checks.bearers.as_ref().and_then(|bearers| bearers.find(token, now));
        let jwt = || checks.jwt.as_ref().and_then(|jwt| jwt.verify(token, now));
        bearer.or_else(jwt).ok_or(AuthError::Invalid)
    }

    /// Writes what is asked into a card: each scheme admits a caller by itself.
    pub fn declare(&self, card: &mut AgentCard) {
        let Some(checks) = &self.0 else { return };
        let bearer =
            checks.bearers.as_ref().map(|_| ("bearer", "A secret known to the agent.", ""));
        let jwt = checks.jwt.as_ref().map(|_| ("jwt", "A token of the agent's issuer.", "JWT"));
        for (name, description, format) in bearer.into_iter().chain(jwt) {
            let scheme = HttpAuthSecurityScheme {
                description: description.into(),
                scheme: "Bearer".into(),
                bearer_format: format.into(),
                ..Default::default()
            };
            let scheme = SecurityScheme::HttpAuthSecurityScheme(scheme);
            card.security_schemes.insert(name.into(), scheme);
            let schemes = [(name.to_owned(), a2a_types::StringList::default())].into();
            card.security_requirements.push(SecurityRequirement { schemes, ..Default::default() });
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_struct("Authentication");
        if let Some(checks) = &self.0 {
            map.field("bearers", &checks.bearers).field("jwt", &checks.jwt);
        }
        map.finish()
    }
}

/// The token of the one `Authorization: Bearer` header (RFC 6750, section 2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    let value = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    let token = token.trim_matches(' ');
    match is_token68(token) && (1..=TOKEN_BYTES).contains(&token.len()) {
        true => Ok(token),
        false => Err(AuthError::Malformed),
    }
}

/// Whether a text has only the characters of a bearer token (RFC 9110, section 11.2).
fn is_token68(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(values: &[&str]) -> Result<String, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer_token(&headers).map(str::to_owned)
    }

    #[test]
    fn one_well_formed_bearer_header_is_read() {
        assert_eq!(token_of(&["Bearer abc.def-1="]).unwrap(), "abc.def-1=");
        assert_eq!(token_of(&["bEARER  abc"]).unwrap(), "abc");
        assert_eq!(token_of(&[]), Err(AuthError::Missing));
        assert_eq!(token_of(&["Basic dTpw"]), Err(AuthError::Missing));
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES + 1));
        for bad in [&["Bearer"][..], &["Bearer "], &["Bearer a b"], &["Bearer \u{e9}"], &[&long]] {
            assert_eq!(token_of(bad), Err(AuthError::Malformed), "{bad:?}");
        }
        assert_eq!(token_of(&["Bearer a", "Bearer b"]), Err(AuthError::Malformed));
    }
}
