//! Public keys with the algorithms each may be used for, and the header of what they sign. A key that
//! says nothing usable, or a secret one, is left out: the algorithm of a signature is chosen by the
//! key, not by its sender.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Public keys by their id.
#[derive(Clone, Default)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Clone)]
struct Key {
    /// None fits every id.
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// The protected header of a JSON Web Signature (RFC 7515), as far as it is believed: what points at
/// keys (`jwk`, `jku`, `x5u`) is never followed.
#[derive(Deserialize)]
pub(crate) struct JwsHeader {
    pub(crate) alg: Algorithm,
    #[serde(default)]
    pub(crate) kid: String,
    #[serde(default)]
    crit: Option<Value>,
    #[serde(default)]
    b64: Option<Value>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

impl JwsHeader {
    /// Reads a header. None where it is none, or asks for an extension: no extension is understood
    /// here, so none may be critical (RFC 7515, section 4.1.11).
    pub(crate) fn read(encoded: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let header: Self = serde_json::from_slice(&json).ok()?;
        (header.crit.is_none() && header.b64.is_none()).then_some(header)
    }
}

impl KeySet {
    /// The usable keys of a JSON Web Key Set (RFC 7517).
    pub(crate) fn from_jwks(bytes: &[u8]) -> Result<Self, String> {
        let jwks: Jwks = serde_json::from_slice(bytes)
            .map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
        let keys: Vec<Key> = jwks.keys.into_iter().filter_map(Key::from_json).collect();
        match keys.is_empty() {
            true => Err("holds no public signature key with a `kid`".into()),
            false => Ok(Self(keys)),
        }
    }

    /// One public key in PEM, whatever id it is asked for by.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let ec = DecodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::ES256));
        let ed = || DecodingKey::from_ed_pem(pem).map(|key| (key, Algorithm::EdDSA));
        let Ok((key, algorithm)) = ec.or_else(|_| ed()) else {
            return Err("is no public key in PEM of P-256 or Ed25519".into());
        };
        Ok(Self(vec![Key { id: None, algorithms: vec![algorithm], key }]))
    }

    /// Whether there is a key that the header may mean.
    pub(crate) fn has(&self, header: &JwsHeader) -> bool {
        self.0.iter().any(|key| key.fits(header))
    }

    /// Whether `signature` over `message` was made by a key that the header may mean.
    pub(crate) fn verify(&self, header: &JwsHeader, message: &str, signature: &str) -> bool {
        let message = message.as_bytes();
        let mut fitting = self.0.iter().filter(|key| key.fits(header));
        let verify =
            |key: &Key| jsonwebtoken::crypto::verify(signature, message, &key.key, header.alg);
        fitting.any(|key| verify(key).unwrap_or(false))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| (&key.id, &key.algorithms))).finish()
    }
}

impl Key {
    fn fits(&self, header: &JwsHeader) -> bool {
        let is_named = self.id.as_ref().is_none_or(|id| *id == header.kid);
        is_named && self.algorithms.contains(&header.alg)
    }

    fn from_json(json: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let (algorithms, common) = (algorithms(&jwk), &jwk.common);
        if common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let operations = common.key_operations.as_ref();
        if operations.is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return None;
        }
        let id = common.key_id.clone().filter(|id| !id.is_empty())?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (!algorithms.is_empty()).then_some(Self { id: Some(id), algorithms, key })
    }
}

/// What a key may be used with: its type decides, and its own `alg` if it has one.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => vec![],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => vec![EdDSA],
            _ => vec![],
        },
        _ => vec![],
    };
    if let Some(own) = jwk.common.key_algorithm {
        algorithms.retain(|algorithm| own.to_string() == format!("{algorithm:?}"));
    }
    algorithms
}
