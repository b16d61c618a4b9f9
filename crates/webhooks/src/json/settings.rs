//! Values of the settings that are checked when they are read.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::StatusMapping;

/// Where a value stands: a JSON Pointer; the empty one is the whole.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc6901>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(String);

impl Pointer {
    /// The value, where there is one.
    pub(super) fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.0).filter(|value| !value.is_null())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            let meant = format!("/{}", text.trim_start_matches(['$', '.']).replace('.', "/"));
            return Err(format!("{text:?} is no JSON Pointer (RFC 6901), such as {meant:?}"));
        }
        if !text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1'])) {
            return Err(format!("{text:?} has a `~` that is neither `~0` (~) nor `~1` (/)"));
        }
        Ok(Self(text))
    }
}

/// A place in the alert, `/title`, or the same text always, `{constant: text}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    At(Pointer),
    Constant(String),
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Field;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON Pointer such as `/title`, or `{constant: text}`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
                text.to_owned().try_into().map(Field::At).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
                let mut constant = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "constant" {
                        return Err(A::Error::unknown_field(&key, &["constant"]));
                    }
                    constant = Some(map.next_value::<Word>()?.0);
                }
                constant.map(Field::Constant).ok_or_else(|| A::Error::missing_field("constant"))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A value as a text, also where the file has a number or a flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(String);

impl Word {
    pub(super) fn is(&self, text: &str) -> bool {
        self.0 == text || self.0.to_lowercase() == text.to_lowercase()
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Word;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text, a number, `true` or `false`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word(text.to_owned()))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Word, E> {
                Ok(Word(flag.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Word, E> {
                Ok(Word(number.to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStatus {
    at: Field,
    firing: Vec<Word>,
    #[serde(default)]
    resolved: Vec<Word>,
}

impl TryFrom<RawStatus> for StatusMapping {
    type Error = String;

    fn try_from(RawStatus { at, firing, resolved }: RawStatus) -> Result<Self, String> {
        if firing.is_empty() {
            return Err("`firing` must hold a value: nothing would ever fire".into());
        }
        if let Some(both) = firing.iter().find(|word| resolved.iter().any(|end| end.is(&word.0))) {
            return Err(format!("{:?} stands in `firing` and in `resolved`", both.0));
        }
        Ok(Self { at, firing, resolved })
    }
}

pub(super) fn at_least_one<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Pointer>, D::Error> {
    let pointers = Vec::deserialize(deserializer)?;
    if pointers.is_empty() {
        return Err(D::Error::custom("must name what tells one alert from another"));
    }
    Ok(pointers)
}
