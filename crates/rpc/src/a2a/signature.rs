//! Signatures of agent cards (specification section 8.4): JSON Web Signatures over the canonical
//! form of the card. A card is verified with keys that were pinned beforehand: what a card says of
//! where its keys are (`jku`) is never followed.

mod canonical;

use std::fmt;
use std::path::{Path, PathBuf};

use a2a_types::{AgentCard, AgentCardSignature};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::SettingError;
use super::auth::{JwsHeader, KeySet};
use canonical::Form;

/// Signatures of one card that are looked at; a card with more is refused.
const SIGNATURES: usize = 16;

/// The key that signs the card.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningConfig {
    /// The private key, PKCS#8 in PEM: P-256 (signs with ES256) or Ed25519 (signs with EdDSA).
    pub key_file: PathBuf,
    /// The name under which callers have pinned its public key.
    pub key_id: String,
    /// Where the public key is published as a JSON Web Key Set, for callers that look it up.
    #[serde(default)]
    pub jwks_url: Option<Url>,
}

/// Signs cards. Cheap to clone; the key never prints.
#[derive(Clone)]
pub struct CardSigner {
    key: EncodingKey,
    algorithm: Algorithm,
    key_id: String,
    jwks_url: Option<Url>,
}

/// Keys that were chosen to be trusted.
#[derive(Clone, Debug, Default)]
pub struct PinnedKeys(KeySet);

/// A card whose signature is good.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The name of the key that signed it.
    pub key_id: String,
    /// What the signature vouches for; anything else the card said is left out.
    pub card: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the agent card is not signed")]
    Unsigned,
    #[error("no signature of the agent card is by a pinned key")]
    UnknownKey,
    #[error("the signature of the agent card is not right")]
    Wrong,
    #[error("the agent card is malformed: {0}")]
    Malformed(&'static str),
}

impl CardSigner {
    /// Reads the key and tries it.
    ///
    /// # Errors
    /// The setting that cannot be used.
    pub fn open(config: &SigningConfig) -> Result<Self, SettingError> {
        if config.key_id.is_empty() {
            return Err(SettingError::new("key_id", "must not be empty"));
        }
        let file = config.key_file.display();
        let refuse = |why: String| SettingError::new("key_file", format!("{file}: {why}"));
        let pem = std::fs::read(&config.key_file).map_err(|error| refuse(error.to_string()))?;
        let ec = EncodingKey::from_ec_pem(&pem).map(|key| (key, Algorithm::ES256));
        let ed = || EncodingKey::from_ed_pem(&pem).map(|key| (key, Algorithm::EdDSA));
        let key = ec.or_else(|_| ed()).ok().filter(|(key, algorithm)| {
            jsonwebtoken::crypto::sign(b"tried", key, *algorithm).is_ok()
        });
        let Some((key, algorithm)) = key else {
            return Err(refuse("is no PKCS#8 private key in PEM of P-256 or Ed25519".into()));
        };
        let (key_id, jwks_url) = (config.key_id.clone(), config.jwks_url.clone());
        Ok(Self { key, algorithm, key_id, jwks_url })
    }

    /// Replaces the signatures of a card by our own.
    pub fn sign(&self, card: &mut AgentCard) {
        card.signatures.clear();
        let json = serde_json::to_value(&*card).expect("a card has string keys only");
        let exact = canonical::bytes(&json, Form::Exact).expect("a card's numbers are small");
        let bare = canonical::bytes(&json, Form::Bare).expect("a card's numbers are small");
        card.signatures.push(self.signature(&exact));
        // The official Python and JavaScript SDKs take empty values out before they look at a
        // signature, required or not; they find this one good where the two forms differ.
        if bare != exact {
            card.signatures.push(self.signature(&bare));
        }
    }

    fn signature(&self, payload: &[u8]) -> AgentCardSignature {
        let mut header = json!({"alg": self.algorithm, "typ": "JOSE", "kid": self.key_id});
        if let Some(url) = &self.jwks_url {
            header["jku"] = json!(url);
        }
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        let message = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm)
            .expect("the key was tried when it was read");
        AgentCardSignature { protected, signature, ..AgentCardSignature::default() }
    }
}

impl fmt::Debug for CardSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardSigner")
            .field("key_id", &self.key_id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl PinnedKeys {
    /// Reads a JSON Web Key Set, or one public key in PEM, which fits any `kid`.
    ///
    /// # Errors
    /// The file cannot be read, or holds no such key; the message names the file.
    pub fn open(file: &Path) -> Result<Self, String> {
        let named = |why: String| format!("{}: {why}", file.display());
        let bytes = std::fs::read(file).map_err(|error| named(error.to_string()))?;
        let is_pem = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
        let keys = if is_pem { KeySet::from_pem(&bytes) } else { KeySet::from_jwks(&bytes) };
        keys.map(Self).map_err(named)
    }
}

/// Verifies the signatures of a card as it came over the wire; one good one by a pinned key is
/// enough.
///
/// # Errors
/// Why the card is not to be trusted.
pub fn verify(card: &Value, keys: &PinnedKeys) -> Result<Verified, SignatureError> {
    let signatures = signatures(card)?;
    let mut error = SignatureError::UnknownKey;
    for form in [Form::Exact, Form::Known, Form::Bare] {
        let payload = canonical::bytes(card, form)
            .ok_or(SignatureError::Malformed("a number that JSON cannot carry everywhere"))?;
        let payload = URL_SAFE_NO_PAD.encode(payload);
        for signature in &signatures {
            match check(signature, &payload, keys) {
                Ok(key_id) => {
                    return Ok(Verified { key_id, card: canonical::covered(card, form) });
                }
                Err(SignatureError::Wrong) => error = SignatureError::Wrong,
                Err(_) => {}
            }
        }
    }
    Err(error)
}

fn signatures(card: &Value) -> Result<Vec<AgentCardSignature>, SignatureError> {
    let signatures = match card.get("signatures") {
        None | Some(Value::Null) => return Err(SignatureError::Unsigned),
        Some(Value::Array(signatures)) if signatures.is_empty() => {
            return Err(SignatureError::Unsigned);
        }
        Some(Value::Array(signatures)) if signatures.len() > SIGNATURES => {
            return Err(SignatureError::Malformed("too many signatures"));
        }
        Some(signatures) => signatures,
    };
    Vec::deserialize(signatures).map_err(|_| SignatureError::Malformed("signatures that are none"))
}

fn check(
    signature: &AgentCardSignature,
    payload: &str,
    keys: &PinnedKeys,
) -> Result<String, SignatureError> {
    let AgentCardSignature { protected, signature, .. } = signature;
    let header = JwsHeader::read(protected)
        .ok_or(SignatureError::Malformed("a protected header that cannot be used"))?;
    if !keys.0.has(&header) {
        return Err(SignatureError::UnknownKey);
    }
    match keys.0.verify(&header, &format!("{protected}.{payload}"), signature) {
        true => Ok(header.kid),
        false => Err(SignatureError::Wrong),
    }
}
