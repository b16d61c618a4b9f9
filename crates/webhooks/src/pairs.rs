//! Labels or annotations put together from many fields, within the limits.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fields::{Fields, check_count, check_name, check_text};
use crate::{BadField, limits};

/// Longest value of one that is as good a label as an annotation.
const LABEL_BYTES: usize = 256;
/// Longest value put together from many; each new one is compared with those before it.
const JOINED_BYTES: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Pairs(BTreeMap<String, String>);

impl Pairs {
    /// What is there already, read by [`Fields::pairs`].
    pub(crate) fn of(pairs: BTreeMap<String, String>) -> Self {
        Self(pairs)
    }

    /// Adds a text, or replaces it; `place` is where it was found.
    pub(crate) fn set(&mut self, place: &str, name: &str, value: &str) -> Result<(), BadField> {
        check(place, name, value)?;
        self.0.insert(name.to_owned(), value.to_owned());
        check_count(self.0.len()).map_err(|why| BadField::new(place, why))
    }

    /// Adds a text unless one is there.
    pub(crate) fn add(&mut self, place: &str, name: &str, value: &str) -> Result<(), BadField> {
        if self.0.contains_key(name) { Ok(()) } else { self.set(place, name, value) }
    }

    /// Adds a text, beside the one that is there, where it is another.
    pub(crate) fn join(&mut self, place: &str, name: &str, value: &str) -> Result<(), BadField> {
        let Some(known) = self.0.get_mut(name) else { return self.set(place, name, value) };
        if known.split(',').any(|part| part == value) {
            return Ok(());
        }
        if known.len() + value.len() >= JOINED_BYTES {
            let why = format!("gives {name:?} values of more than {JOINED_BYTES} bytes");
            return Err(BadField::new(place, why));
        }
        known.push(',');
        known.push_str(value);
        Ok(())
    }

    /// Adds a field of a body under a name of ours, where it is there and not empty.
    pub(crate) fn take(
        &mut self,
        fields: &Fields<'_>,
        field: &str,
        name: &str,
    ) -> Result<(), BadField> {
        match fields.filled(field)? {
            Some(value) => self.add(&fields.place(field), name, value),
            None => Ok(()),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub(crate) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

fn check(place: &str, name: &str, value: &str) -> Result<(), BadField> {
    check_name(name).map_err(|why| BadField::new(place, why))?;
    check_text(value).map_err(|why| BadField::new(place, why))
}

/// A single value as a text; `None` for an object, an array and `null`.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Sorts a sender's own details: short values into labels, the rest into annotations.
pub(crate) fn sort_details(
    place: &str,
    details: &Value,
    labels: &mut Pairs,
    annotations: &mut Pairs,
) -> Result<(), BadField> {
    let Some(details) = details.as_object() else {
        return match scalar(details) {
            Some(text) if !text.is_empty() => annotations.add(place, "details", &text),
            Some(_) => Ok(()),
            None if details.is_null() => Ok(()),
            None => annotations.add(place, "details", &details.to_string()),
        };
    };
    check_count(details.len()).map_err(|why| BadField::new(place, why))?;
    for (name, value) in details {
        check_name(name).map_err(|why| BadField::new(place, why))?;
        let place = format!("{place}.{name}");
        match scalar(value) {
            Some(text) if is_label(&text) => labels.add(&place, name, &text)?,
            Some(text) if text.is_empty() => {}
            Some(text) => annotations.add(&place, name, &text)?,
            None if value.is_null() => {}
            None => annotations.add(&place, name, &value.to_string())?,
        }
    }
    Ok(())
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= LABEL_BYTES && !text.contains(char::is_control)
}

/// The bound on what one text of ours may grow to.
pub(crate) fn bounded_lines(lines: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for line in lines {
        if text.len() + line.len() + 1 > limits::VALUE_BYTES {
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&line);
    }
    text
}
