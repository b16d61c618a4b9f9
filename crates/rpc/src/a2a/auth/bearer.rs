//! Callers with a secret of their own. Only digests are kept, and a token is compared with every
//! one of them in constant time, so that no answer tells how near a guess was.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::config::{BearerConfig, SettingError};
use super::is_token68;
use super::watched::Watched;
use crate::a2a::Caller;

/// A secret that can be guessed protects nothing.
const SECRET_CHARACTERS: usize = 16;

type SecretDigest = [u8; 32];

pub(super) struct Bearers(Vec<Bearer>);

struct Bearer {
    name: String,
    secrets: Vec<Watched<SecretDigest>>,
}

impl Bearers {
    pub(super) fn open(config: &[BearerConfig]) -> Result<Self, SettingError> {
        let mut bearers = Vec::with_capacity(config.len());
        let mut known: Vec<SecretDigest> = Vec::new();
        for (index, caller) in config.iter().enumerate() {
            let mut secrets = Vec::with_capacity(caller.files.len());
            for (which, path) in caller.files.iter().enumerate() {
                let field = || format!("bearer[{index}].files[{which}]");
                let secret = Watched::open(path, which > 0, digest_of_file)
                    .map_err(|why| SettingError::new(field(), why))?;
                let digest = secret.get(Timestamp::UNIX_EPOCH);
                if digest.is_some_and(|digest| known.contains(&digest)) {
                    let why = "the same secret is in an earlier file";
                    return Err(SettingError::new(field(), why));
                }
                known.extend(digest);
                secrets.push(secret);
            }
            bearers.push(Bearer { name: caller.name.clone(), secrets });
        }
        Ok(Self(bearers))
    }

    /// The caller whose secret the token is. Looks at all of them, found or not.
    pub(super) fn find(&self, token: &str, now: Timestamp) -> Option<Caller> {
        let token: SecretDigest = Sha256::digest(token).into();
        let mut found = u32::MAX;
        for (index, bearer) in (0u32..).zip(&self.0) {
            let digests = bearer.secrets.iter().filter_map(|secret| secret.get(now));
            let is_it = digests.fold(Choice::from(0), |is_it, digest| is_it | digest.ct_eq(&token));
            found = u32::conditional_select(&found, &index, is_it);
        }
        let bearer = self.0.get(found as usize)?;
        Some(Caller { principal: bearer.name.clone(), ..Caller::default() })
    }
}

impl fmt::Debug for Bearers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|bearer| &bearer.name)).finish()
    }
}

/// One secret, without the line end that editors add.
fn digest_of_file(bytes: &[u8]) -> Result<SecretDigest, String> {
    let secret = std::str::from_utf8(bytes).map_err(|_| "is not text")?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.len() < SECRET_CHARACTERS {
        return Err(format!("holds a secret of fewer than {SECRET_CHARACTERS} characters"));
    }
    if !is_token68(secret) {
        return Err("holds a secret with characters that a bearer token cannot have".into());
    }
    Ok(Sha256::digest(secret).into())
}
