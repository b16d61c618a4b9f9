//! Bytes, kept in base64 as they travel: the standard alphabet, padded. Either alphabet is read,
//! padded or not.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serializer};

use super::Field;

#[derive(Debug)]
pub(crate) struct Base64(pub(crate) String);

impl Field for Base64 {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        match normalised(text) {
            Some(text) => Ok(Some(Self(text))),
            None => Err(D::Error::invalid_value(Unexpected::Other("other text"), &"base64")),
        }
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// The text in the standard alphabet with its padding, if it is base64.
pub(crate) fn normalised(mut text: String) -> Option<String> {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    let length = text.len() - padding;
    let is_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    let is_whole =
        length % 4 != 1 && (padding == 0 || (padding < 3 && text.len().is_multiple_of(4)));
    if !is_whole || !text.bytes().take(length).all(is_alphabet) {
        return None;
    }
    if text.contains(['-', '_']) {
        text = text.replace('-', "+").replace('_', "/");
    }
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    Some(text)
}
