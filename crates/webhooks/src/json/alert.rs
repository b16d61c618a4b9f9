//! One alert of a body, read as the settings say.

use std::borrow::Cow;
use std::collections::BTreeMap;

use incident::{Alert, AlertStatus, Severity};
use jiff::Timestamp;
use serde_json::Value;

use super::{Field, JsonMapping, PairsMapping, Pointer};
use crate::fields::check_text;
use crate::pairs::{Pairs, scalar};
use crate::reading::quoted;
use crate::{BadField, Severities, fingerprint, limits, time};

pub(super) struct AlertAt<'a> {
    pub(super) mapping: &'a JsonMapping,
    /// The pointer to it.
    pub(super) path: String,
    pub(super) value: &'a Value,
}

impl AlertAt<'_> {
    pub(super) fn read(
        &self,
        source: &str,
        severities: &Severities,
        now: Timestamp,
    ) -> Result<Alert, BadField> {
        let mapping = self.mapping;
        let status = self.status()?;
        let labels = self.pairs(&mapping.labels)?;
        let name = self.field(&mapping.name)?.filter(|name| !name.is_empty());
        let starts_at = self.time(mapping.starts_at.as_ref())?;
        let ends_at = self.time(mapping.ends_at.as_ref())?;
        let url = mapping.generator_url.as_ref().map(|url| self.field(url)).transpose()?.flatten();
        Ok(Alert {
            source: source.to_owned(),
            fingerprint: self.fingerprint()?,
            status,
            name: name.ok_or_else(|| self.missing(&mapping.name))?.into_owned(),
            severity: self.severity(&labels, severities)?,
            labels,
            annotations: self.pairs(&mapping.annotations)?,
            starts_at: starts_at.unwrap_or(now),
            is_start_known: starts_at.is_some(),
            ends_at: match status {
                AlertStatus::Firing => ends_at,
                AlertStatus::Resolved => Some(ends_at.unwrap_or(now)),
            },
            generator_url: url.unwrap_or_default().into_owned(),
        })
    }

    fn fingerprint(&self) -> Result<String, BadField> {
        let mut parts = Vec::new();
        for pointer in &self.mapping.fingerprint {
            let part = self.text(pointer)?.filter(|part| !part.is_empty());
            parts.push(part.ok_or_else(|| BadField::new(self.place(pointer), "is missing"))?);
        }
        let one = if parts.len() == 1 { parts.pop() } else { None };
        let Some(one) = one else {
            return Ok(fingerprint::of_parts(parts.iter().map(String::as_str)));
        };
        let (length, most) = (one.len(), limits::FINGERPRINT_BYTES);
        if length > most {
            let place = self.place(&self.mapping.fingerprint[0]);
            return Err(BadField::new(place, format!("is {length} bytes long; at most {most}")));
        }
        Ok(one)
    }

    fn status(&self) -> Result<AlertStatus, BadField> {
        let mapping = &self.mapping.status;
        let text = self.field(&mapping.at)?.ok_or_else(|| self.missing(&mapping.at))?;
        if mapping.firing.iter().any(|word| word.is(&text)) {
            return Ok(AlertStatus::Firing);
        }
        if mapping.resolved.iter().any(|word| word.is(&text)) {
            return Ok(AlertStatus::Resolved);
        }
        let why = format!("{} is in neither list of the source's `status`", quoted(&text));
        Err(BadField::new(self.place_of(&mapping.at), why))
    }

    fn severity(
        &self,
        labels: &BTreeMap<String, String>,
        severities: &Severities,
    ) -> Result<Severity, BadField> {
        let Some(mapping) = &self.mapping.severity else { return Ok(severities.of(labels)) };
        let Some(text) = self.field(&mapping.at)? else { return Ok(severities.of(labels)) };
        let own = mapping.values.iter().find(|(word, _)| word.is(&text));
        let own = own.map(|(_, severity)| *severity);
        Ok(own.or_else(|| severities.meaning(&text)).unwrap_or_default())
    }

    fn pairs(&self, mapping: &PairsMapping) -> Result<BTreeMap<String, String>, BadField> {
        let mut pairs = Pairs::default();
        for pointer in &mapping.all {
            let Some(found) = pointer.of(self.value) else { continue };
            let place = self.place(pointer);
            let object =
                found.as_object().ok_or_else(|| BadField::new(&place, "must be an object"))?;
            for (name, value) in object {
                if let Some(text) = scalar(value) {
                    pairs.set(&place, name, &text)?;
                }
            }
        }
        for (name, field) in &mapping.each {
            if let Some(text) = self.field(field)? {
                pairs.set(&self.place_of(field), name, &text)?;
            }
        }
        Ok(pairs.into_map())
    }

    fn time(&self, pointer: Option<&Pointer>) -> Result<Option<Timestamp>, BadField> {
        let Some(pointer) = pointer else { return Ok(None) };
        let Some(text) = self.text(pointer)?.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let time = time::parse(&text);
        time.map(Some).map_err(|why| BadField::new(self.place(pointer), why))
    }

    fn field<'f>(&self, field: &'f Field) -> Result<Option<Cow<'f, str>>, BadField> {
        match field {
            Field::Constant(text) => Ok(Some(Cow::Borrowed(text))),
            Field::At(pointer) => Ok(self.text(pointer)?.map(Cow::Owned)),
        }
    }

    /// A single value, as a text.
    fn text(&self, pointer: &Pointer) -> Result<Option<String>, BadField> {
        let Some(found) = pointer.of(self.value) else { return Ok(None) };
        let bad = |why: String| BadField::new(self.place(pointer), why);
        let text = scalar(found).ok_or_else(|| bad("must be a single value".into()))?;
        check_text(&text).map_err(bad)?;
        Ok(Some(text))
    }

    fn missing(&self, field: &Field) -> BadField {
        BadField::new(self.place_of(field), "is missing")
    }

    fn place_of(&self, field: &Field) -> String {
        match field {
            Field::At(pointer) => self.place(pointer),
            Field::Constant(_) => "the constant of the settings".into(),
        }
    }

    fn place(&self, pointer: &Pointer) -> String {
        let place = format!("{}{}", self.path, pointer.as_str());
        if place.is_empty() { "body".into() } else { place }
    }
}
