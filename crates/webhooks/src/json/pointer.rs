//! Where a value stands in a body: a JSON Pointer, checked when the settings are read.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc6901>.

use serde::Deserialize;
use serde_json::Value;

/// A JSON Pointer; the empty one is the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(String);

impl Pointer {
    pub(crate) fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.0).filter(|value| !value.is_null())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            let dotted = text.replace('.', "/");
            return Err(format!(
                "{text:?} is no JSON Pointer (RFC 6901), such as {:?}",
                format!("/{dotted}")
            ));
        }
        let mut after = text.split('~').skip(1);
        if !after.all(|rest| rest.starts_with(['0', '1'])) {
            return Err(format!("{text:?} has a `~` that is neither `~0` (~) nor `~1` (/)"));
        }
        Ok(Self(text))
    }
}
