//! The parts of messages and artifacts (specification section 4.1.6).

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::Metadata;
use crate::proto::{self, Base64, Json, message};

/// One piece of content. Exactly one kind of content is present.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub content: PartContent,
    pub metadata: Metadata,
    pub filename: String,
    pub media_type: String,
    /// Fields of newer peers, written back as they came.
    pub extra: Metadata,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PartContent {
    Text(String),
    /// Bytes in base64: the standard alphabet, padded.
    Raw(String),
    Url(String),
    Data(Value),
}

impl PartContent {
    /// Bytes in base64 of either alphabet, padded or not. None where the text is no base64.
    pub fn raw(base64: String) -> Option<Self> {
        proto::normalised(base64).map(Self::Raw)
    }
}

impl Part {
    /// The names of the fields in JSON.
    pub const FIELDS: &'static [&'static str] = PartFields::FIELDS;

    pub fn text(text: impl Into<String>) -> Self {
        Self::of(PartContent::Text(text.into()), "text/plain")
    }

    pub fn data(data: Value) -> Self {
        Self::of(PartContent::Data(data), "application/json")
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            PartContent::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_data(&self) -> Option<&Value> {
        match &self.content {
            PartContent::Data(data) => Some(data),
            _ => None,
        }
    }

    /// A part without a name or metadata.
    pub fn of(content: PartContent, media_type: &str) -> Self {
        Self {
            content,
            metadata: Metadata::new(),
            filename: String::new(),
            media_type: media_type.into(),
            extra: Metadata::new(),
        }
    }
}

message! {
    /// A part as it stands in JSON, where the content is not yet known to be of one kind.
    struct PartFields {
        text: Option<String> => optional("text"),
        raw: Option<Base64> => optional("raw"),
        url: Option<String> => optional("url"),
        data: Option<Json> => optional("data"),
        metadata: Metadata => optional("metadata"),
        filename: String => optional("filename"),
        media_type: String => optional("mediaType"),
        ..extra
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let fields = PartFields::deserialize(from)?;
        let content = match (fields.text, fields.raw, fields.url, fields.data) {
            (Some(text), None, None, None) => PartContent::Text(text),
            (None, Some(raw), None, None) => PartContent::Raw(raw.0),
            (None, None, Some(url), None) => PartContent::Url(url),
            (None, None, None, Some(data)) => PartContent::Data(data.0),
            (None, None, None, None) => {
                return Err(D::Error::custom("none of text, raw, url, data is there"));
            }
            _ => return Err(D::Error::custom("more than one of text, raw, url, data")),
        };
        Ok(Self {
            content,
            metadata: fields.metadata,
            filename: fields.filename,
            media_type: fields.media_type,
            extra: fields.extra,
        })
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        match &self.content {
            PartContent::Text(text) => map.serialize_entry("text", text)?,
            PartContent::Raw(raw) => map.serialize_entry("raw", raw)?,
            PartContent::Url(url) => map.serialize_entry("url", url)?,
            PartContent::Data(data) => map.serialize_entry("data", data)?,
        }
        proto::optional(&mut map, "metadata", &self.metadata)?;
        proto::optional(&mut map, "filename", &self.filename)?;
        proto::optional(&mut map, "mediaType", &self.media_type)?;
        for (name, value) in &self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
