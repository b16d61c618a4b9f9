//! The attributes of an event in headers, and its data wherever they stand.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::BadField;
use crate::fields::{Fields, parse};
use crate::reading::quoted;

/// The attributes that headers hold, as the fields of an event.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Value, BadField> {
    let mut attributes = Map::new();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix("ce-") else { continue };
        let bad = |why: &str| BadField::new(header.as_str(), why);
        let text = value.to_str().map_err(|_| bad("must be ASCII, other characters encoded"))?;
        let text = percent_decode_str(unquoted(text)).decode_utf8();
        let text = text.map_err(|_| bad("is not UTF-8 once it is decoded"))?;
        if attributes.insert(name.to_owned(), text.as_ref().into()).is_some() {
            return Err(bad("is there more than once"));
        }
    }
    Ok(Value::Object(attributes))
}

/// A value may stand in double quotes.
fn unquoted(text: &str) -> &str {
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inside.unwrap_or(text)
}

/// The data of an event whose attributes stand in headers.
pub(super) fn data_of(content_type: &str, text: &str) -> Result<Option<Value>, BadField> {
    if text.is_empty() {
        return Ok(None);
    }
    check_type("content-type", content_type)?;
    parse(text).map(Some)
}

/// The data of an event, as JSON.
pub(super) fn data<'a>(event: &Fields<'a>) -> Result<Option<Cow<'a, Value>>, BadField> {
    let content_type = event.filled("datacontenttype")?.unwrap_or_default();
    let (data, encoded) = (event.get("data"), event.get("data_base64"));
    if data.is_some() && encoded.is_some() {
        return Err(event.bad("data_base64", "must not stand beside `data`"));
    }
    if data.is_some() || encoded.is_some() {
        let place = event.place("datacontenttype");
        check_type(&place, &content_type.to_ascii_lowercase())?;
    }
    let Some(encoded) = encoded else { return Ok(data.map(Cow::Borrowed)) };
    let bad = |why: String| event.bad("data_base64", why);
    let text = encoded.as_str().ok_or_else(|| bad("must be a text".into()))?;
    let bytes = STANDARD.decode(text).map_err(|error| bad(format!("is not Base64: {error}")))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("is not UTF-8".into()))?;
    let value = parse(text).map_err(|error| bad(format!("holds a {error}")))?;
    Ok(Some(Cow::Owned(value)))
}

/// Only JSON is read; without a type, it is JSON.
fn check_type(place: &str, content_type: &str) -> Result<(), BadField> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.is_empty()
        || media_type == "text/json"
        || media_type == "application/json"
        || media_type.ends_with("+json");
    if is_json {
        return Ok(());
    }
    Err(BadField::new(place, format!("must be JSON, not {}", quoted(content_type))))
}
