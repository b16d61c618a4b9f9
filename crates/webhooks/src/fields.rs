//! A body as a tree, for what is read field by field. Every error names the field by its path from
//! the top of the body; a key that is there twice is refused, since two readers could take different
//! ones.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::reading::quoted;
use crate::{BadField, limits};

/// Reads a body into a tree.
///
/// # Errors
/// It is no JSON, holds a key twice, or too many values.
pub(crate) fn parse(text: &str) -> Result<Value, BadField> {
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let left = Cell::new(limits::VALUES);
    let tree = Tree { left: &left };
    let read = tree
        .deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track))
        .and_then(|value| json.end().map(|()| value));
    read.map_err(|error| {
        if error.is_data() {
            let path = track.path().to_string();
            let field =
                if matches!(path.as_str(), "." | "") { "body".to_owned() } else { short(&path) };
            return BadField::new(field, short(&error.to_string()));
        }
        BadField::new("body", format!("is not JSON: {error}"))
    })
}

fn short(text: &str) -> String {
    text.chars().take(limits::QUOTED_CHARS).collect()
}

/// An object and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object that is the whole body.
    pub(crate) fn body(value: &'a Value) -> Result<Self, BadField> {
        let object = value.as_object().ok_or_else(|| BadField::new("body", "must be an object"))?;
        Ok(Self { path: String::new(), object })
    }

    pub(crate) fn at(path: String, value: &'a Value) -> Result<Self, BadField> {
        match value.as_object() {
            Some(object) => Ok(Self { path, object }),
            None => Err(BadField::new(path, "must be an object")),
        }
    }

    pub(crate) fn place(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    pub(crate) fn bad(&self, field: &str, why: impl Into<String>) -> BadField {
        BadField::new(self.place(field), why)
    }

    pub(crate) fn missing(&self, field: &str) -> BadField {
        self.bad(field, "is missing")
    }

    /// A field that is there and not `null`.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, field: &str) -> Result<Option<&'a str>, BadField> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => {
                check_text(text).map_err(|why| self.bad(field, why))?;
                Ok(Some(text))
            }
            Some(_) => Err(self.bad(field, "must be a text")),
        }
    }

    /// A text that is there and not empty.
    pub(crate) fn filled(&self, field: &str) -> Result<Option<&'a str>, BadField> {
        Ok(self.text(field)?.filter(|text| !text.is_empty()))
    }

    pub(crate) fn count(&self, field: &str) -> Result<u64, BadField> {
        let Some(value) = self.get(field) else { return Ok(0) };
        value.as_u64().ok_or_else(|| self.bad(field, "must be a count"))
    }

    pub(crate) fn list(&self, field: &str) -> Result<Option<&'a [Value]>, BadField> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.bad(field, "must be an array")),
        }
    }

    /// The alerts of a group, as many as are taken at once.
    pub(crate) fn alerts(&self, field: &str) -> Result<Vec<Fields<'a>>, BadField> {
        let value = self.object.get(field).ok_or_else(|| self.missing(field))?;
        let items = value.as_array().ok_or_else(|| self.bad(field, "must be an array"))?;
        check_alerts(items.len()).map_err(|why| self.bad(field, why))?;
        let item = |(index, item)| Fields::at(self.place(&format!("{field}[{index}]")), item);
        items.iter().enumerate().map(item).collect()
    }

    /// An object of texts.
    pub(crate) fn pairs(&self, field: &str) -> Result<BTreeMap<String, String>, BadField> {
        let pairs = match self.get(field) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(pairs)) => pairs,
            Some(_) => return Err(self.bad(field, "must be an object of texts")),
        };
        check_count(pairs.len()).map_err(|why| self.bad(field, why))?;
        pairs.iter().map(|(name, value)| self.pair(field, name, value)).collect()
    }

    fn pair(&self, field: &str, name: &str, value: &Value) -> Result<(String, String), BadField> {
        check_name(name).map_err(|why| self.bad(field, why))?;
        let place = format!("{field}.{name}");
        let value = value.as_str().ok_or_else(|| self.bad(&place, "must be a text"))?;
        check_text(value).map_err(|why| self.bad(&place, why))?;
        Ok((name.to_owned(), value.to_owned()))
    }

    /// An RFC 3339 time; Go's zero time stands for none.
    pub(crate) fn time(&self, field: &str) -> Result<Option<Timestamp>, BadField> {
        let Some(text) = self.text(field)?.filter(|text| !is_no_time(text)) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| {
            self.bad(field, format!("{} is not an RFC 3339 time: {error}", quoted(text)))
        })
    }

    /// The sender's own fingerprint; an empty one is none.
    pub(crate) fn fingerprint(&self, field: &str) -> Result<Option<&'a str>, BadField> {
        let Some(text) = self.filled(field)? else { return Ok(None) };
        let (length, most) = (text.len(), limits::FINGERPRINT_BYTES);
        if length > most {
            return Err(self.bad(field, format!("is {length} bytes long; at most {most}")));
        }
        Ok(Some(text))
    }
}

/// Nothing, or the year in which Go's time begins.
pub(crate) fn is_no_time(text: &str) -> bool {
    text.is_empty() || text.starts_with("0001-01-01T")
}

pub(crate) fn check_alerts(count: usize) -> Result<(), String> {
    if count > limits::ALERTS {
        return Err(format!("holds {count} alerts; at most {} are taken", limits::ALERTS));
    }
    Ok(())
}

pub(crate) fn check_count(pairs: usize) -> Result<(), String> {
    if pairs > limits::PAIRS {
        return Err(format!("holds {pairs} pairs; at most {} are taken", limits::PAIRS));
    }
    Ok(())
}

pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.len() > limits::NAME_BYTES || name.contains('\0') {
        let most = limits::NAME_BYTES;
        return Err(format!("has a name with a NUL byte or of more than {most} bytes"));
    }
    Ok(())
}

pub(crate) fn check_text(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("holds a NUL byte".into());
    }
    if text.len() > limits::VALUE_BYTES {
        return Err(format!("is {} bytes long; at most {}", text.len(), limits::VALUE_BYTES));
    }
    Ok(())
}

/// Builds the tree, as long as values are left.
#[derive(Clone, Copy)]
struct Tree<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| {
            D::Error::custom(format!("more than {} values are before this", limits::VALUES))
        })?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            if fields.contains_key(&name) {
                let name = quoted(&name);
                return Err(A::Error::custom(format!("has the key {name} more than once")));
            }
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_key_is_named_whatever_it_is_called() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error(r#"{"a": {"b": 1, "b": 2}}"#).starts_with("a: has the key \"b\" more than"));
        assert!(
            error(r#"{"": {"b": 1, "b": 2}}"#).starts_with("body: has the key \"b\" more than")
        );
        assert!(error(r#"[{"b": 1, "b": 2}]"#).starts_with("[0]: has the key \"b\" more than"));
    }
}
