//! Signatures over a body: HMAC-SHA256 in a header, with the time of signing in another. A signature
//! counts within a window of time, and once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use service::{Process, Secret};
use sha2::Sha256;
use subtle::Choice;

use super::config::{self, Encoding};
use super::reason::Reason;
use super::replay::Replays;
use super::secrets::Secrets;
use super::ways::{equal, known, single};

type Signature = [u8; 32];

#[derive(Debug)]
pub(super) struct Signer {
    secrets: Secrets,
    header: String,
    prefix: String,
    encoding: Encoding,
    time: Option<Time>,
}

/// When a request was signed.
#[derive(Debug)]
struct Time {
    header: String,
    window: SignedDuration,
    replays: Arc<Replays>,
}

/// What the headers of a request show.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    signature: Signature,
    /// The time of signing, and its text, which is signed.
    signed_at: Option<(Timestamp, &'a str)>,
}

/// A good signature that may be taken once.
#[derive(Clone)]
pub(crate) struct Signed {
    signature: Signature,
    at: Timestamp,
    replays: Arc<Replays>,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Signed {
    /// Takes it, unless it is taken.
    pub(super) fn take(&self, now: Timestamp) -> super::replay::Taking {
        self.replays.take(self.signature, self.at, now)
    }
}

impl Signer {
    pub(super) fn open(process: &Process, config: &config::Hmac) -> anyhow::Result<Self> {
        let window = Duration::from_secs(config.window_seconds);
        let time = config.timestamp_header.clone().map(|header| {
            let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
            Time { header, window, replays: Arc::new(Replays::new(window)) }
        });
        Ok(Self {
            secrets: Secrets::open(process, "hmac", &config.files)?,
            header: config.header.clone(),
            prefix: config.prefix.clone(),
            encoding: config.encoding,
            time,
        })
    }

    /// What the headers tell: there is a signature, and it is not too old.
    pub(super) fn head<'a>(
        &self,
        headers: &'a HeaderMap,
        now: Timestamp,
    ) -> Result<Shown<'a>, Reason> {
        let text = single(headers, &self.header).ok_or(Reason::NoCredentials)?;
        let text = text.strip_prefix(self.prefix.as_str()).ok_or(Reason::WrongCredentials)?;
        let signature = match self.encoding {
            Encoding::Hex => hex::decode(text).ok(),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        };
        let signature = signature.and_then(|bytes| Signature::try_from(bytes).ok());
        let signature = signature.ok_or(Reason::WrongCredentials)?;
        let Some(time) = &self.time else { return Ok(Shown { signature, signed_at: None }) };
        let text = single(headers, &time.header).ok_or(Reason::NoCredentials)?;
        let at = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let at = at.ok_or(Reason::WrongCredentials)?;
        if now.duration_since(at).abs() > time.window {
            return Err(Reason::StaleTimestamp);
        }
        Ok(Shown { signature, signed_at: Some((at, text)) })
    }

    pub(super) fn body(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<Signed>, Reason> {
        // The body may have taken so long that its signature has run out.
        let Shown { signature, signed_at } = self.head(headers, now)?;
        let time = signed_at.map(|(_, text)| text);
        known(self.secrets.any(|secret| is_of(secret, time, body, &signature)))?;
        let (Some(time), Some((at, _))) = (&self.time, signed_at) else { return Ok(None) };
        Ok(Some(Signed { signature, at, replays: time.replays.clone() }))
    }
}

fn is_of(secret: &Secret, time: Option<&str>, body: &[u8], signature: &Signature) -> Choice {
    let key = secret.reveal().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    if let Some(time) = time {
        mac.update(time.as_bytes());
        mac.update(b":");
    }
    mac.update(body);
    equal(&mac.finalize().into_bytes(), signature)
}
