//! The ways in which a request proves whom it is from. What the headers can tell is asked before the
//! body is read; the rest with the body, before anything in it is believed.

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use service::{PeerCertificate, Process};
use subtle::{Choice, ConstantTimeEq};

use super::config;
use super::hmac::{Signed, Signer};
use super::reason::Reason;
use super::secrets::{SECRET_CHARACTERS, Secrets, same};

#[derive(Debug)]
pub(super) enum Way {
    Bearer(Secrets),
    Basic {
        user: String,
        secrets: Secrets,
    },
    Hmac(Signer),
    /// Names, any of which is the source's.
    Mtls(Vec<String>),
    RoutingKey(Secrets),
}

impl Way {
    pub(super) fn open_all(
        process: &Process,
        config: &config::Authentication,
    ) -> anyhow::Result<Vec<Self>> {
        let config::Authentication { bearer, basic, hmac, mtls, routing_key } = config;
        let mut ways = Vec::new();
        if let Some(config) = bearer {
            ways.push(Self::Bearer(Secrets::open(process, "bearer", &config.files)?));
        }
        if let Some(config) = basic {
            let secrets = Secrets::open(process, "basic", &config.files)?;
            ways.push(Self::Basic { user: config.user.clone(), secrets });
        }
        if let Some(config) = hmac {
            ways.push(Self::Hmac(Signer::open(process, config)?));
        }
        if let Some(config) = mtls {
            ways.push(Self::Mtls(config.names.clone()));
        }
        if let Some(config) = routing_key {
            ways.push(Self::RoutingKey(Secrets::open(process, "routing_key", &config.files)?));
        }
        Ok(ways)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "bearer",
            Self::Basic { .. } => "basic",
            Self::Hmac(_) => "hmac",
            Self::Mtls(_) => "mtls",
            Self::RoutingKey(_) => "routing_key",
        }
    }

    /// What a sender is told to show.
    pub(super) fn challenge(&self) -> &'static str {
        match self {
            Self::Bearer(_) => "Bearer realm=\"firebreak\"",
            Self::Basic { .. } => "Basic realm=\"firebreak\", charset=\"UTF-8\"",
            Self::Hmac(_) => "HMAC-SHA256 realm=\"firebreak\"",
            Self::Mtls(_) => "Certificate realm=\"firebreak\"",
            Self::RoutingKey(_) => "Routing-Key realm=\"firebreak\"",
        }
    }

    /// Whether a browser can be made to show it by a page of another site, without being asked.
    pub(super) fn is_shown_by_browsers(&self) -> bool {
        matches!(self, Self::Basic { .. } | Self::Mtls(_))
    }

    /// Whether the headers alone prove it.
    pub(super) fn is_of_headers(&self) -> bool {
        matches!(self, Self::Bearer(_) | Self::Basic { .. } | Self::Mtls(_))
    }

    /// The secret that stands in a body, as it is written there, where this way puts one there.
    pub(super) fn secret_in<'b>(&self, body: &'b [u8]) -> Option<&'b str> {
        let written = matches!(self, Self::RoutingKey(_)).then(|| written_key(body)).flatten();
        let secret = written?.strip_prefix('"')?.strip_suffix('"')?;
        // What is shorter is no secret, and may be any word of the body.
        (secret.len() >= SECRET_CHARACTERS).then_some(secret)
    }

    /// What the headers tell.
    pub(super) fn head(&self, head: &Parts, now: Timestamp) -> Result<(), Reason> {
        match self {
            Self::Bearer(secrets) => {
                let token = credentials(&head.headers, "bearer").ok_or(Reason::NoCredentials)?;
                known(secrets.hold(token.as_bytes()))
            }
            Self::Basic { user, secrets } => {
                let text = credentials(&head.headers, "basic").ok_or(Reason::NoCredentials)?;
                let text = STANDARD.decode(text).map_err(|_| Reason::WrongCredentials)?;
                let colon = text.iter().position(|byte| *byte == b':');
                let (name, rest) = text.split_at(colon.ok_or(Reason::WrongCredentials)?);
                // An unknown user costs what a wrong password does.
                known(same(user.as_bytes(), name) & secrets.hold(&rest[1..]))
            }
            Self::Hmac(signer) => signer.head(&head.headers, now).map(drop),
            Self::Mtls(names) => {
                let peer = head.extensions.get::<PeerCertificate>().ok_or(Reason::NoCredentials)?;
                let is_one = names.iter().any(|name| peer.names.contains(name));
                if is_one { Ok(()) } else { Err(Reason::WrongCredentials) }
            }
            Self::RoutingKey(_) => Ok(()),
        }
    }

    /// What the body tells. A signature with a time of signing is handed back, to be taken once.
    pub(super) fn body(
        &self,
        head: &Parts,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<Signed>, Reason> {
        match self {
            Self::Bearer(_) | Self::Basic { .. } | Self::Mtls(_) => Ok(None),
            Self::Hmac(signer) => signer.body(&head.headers, body, now),
            Self::RoutingKey(secrets) => {
                let key = routing_key(body).ok_or(Reason::NoCredentials)?;
                known(secrets.hold(key.as_bytes())).map(|()| None)
            }
        }
    }
}

pub(super) fn known(choice: Choice) -> Result<(), Reason> {
    if bool::from(choice) { Ok(()) } else { Err(Reason::WrongCredentials) }
}

pub(super) fn equal(one: &[u8], other: &[u8]) -> Choice {
    one.ct_eq(other)
}

/// The one header of a name; two of them are none.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What stands behind a scheme in `Authorization`.
fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (named, rest) = single(headers, header::AUTHORIZATION.as_str())?.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn routing_key(body: &[u8]) -> Option<String> {
    written_key(body).and_then(|written| serde_json::from_str(written).ok())
}

/// The key with its quotes and escapes.
fn written_key(body: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Keyed<'a> {
        #[serde(borrow)]
        routing_key: &'a RawValue,
    }
    serde_json::from_slice::<Keyed<'_>>(body).ok().map(|keyed| keyed.routing_key.get())
}
