//! The usual body, straight from text to alerts. Whatever is unusual is `None`, and [`super::named`]
//! says why. No more is kept than the limits allow, however long the body is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use incident::{Alert, AlertStatus};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::fields::is_no_time;
use crate::{Reading, Severities, fingerprint, limits};

pub(super) fn read(source: &str, text: &str, severities: &Severities) -> Option<Reading> {
    let Object::<Body<'_>>(body) = serde_json::from_str(text).ok()?;
    let alerts = body.alerts.0.into_iter().map(|alert| alert.read(source, severities));
    Some(Reading {
        alerts: alerts.collect::<Option<_>>()?,
        truncated: body.truncated.unwrap_or_default(),
        dedup_key: None,
    })
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    alerts: AlertList<'a>,
    #[serde(rename = "truncatedAlerts")]
    truncated: Option<u64>,
}

struct AlertList<'a>(Vec<AlertBody<'a>>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertBody<'a> {
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(default)]
    labels: Pairs,
    #[serde(default)]
    annotations: Pairs,
    #[serde(borrow)]
    starts_at: Text<'a>,
    #[serde(borrow)]
    ends_at: Option<Text<'a>>,
    #[serde(borrow, rename = "generatorURL")]
    generator_url: Option<Text<'a>>,
    #[serde(borrow)]
    fingerprint: Option<Text<'a>>,
}

impl AlertBody<'_> {
    fn read(self, source: &str, severities: &Severities) -> Option<Alert> {
        let labels = self.labels.0;
        let fingerprint = match self.fingerprint.map(|text| text.0).filter(|text| !text.is_empty())
        {
            Some(text) if text.len() > limits::FINGERPRINT_BYTES => return None,
            Some(text) => text.into_owned(),
            None => fingerprint::of_labels(&labels),
        };
        let ends_at = match &self.ends_at {
            Some(text) if !is_no_time(&text.0) => Some(text.0.parse().ok()?),
            _ => None,
        };
        Some(Alert {
            source: source.to_owned(),
            fingerprint,
            status: match self.status.0.as_ref() {
                "firing" => AlertStatus::Firing,
                "resolved" => AlertStatus::Resolved,
                _ => return None,
            },
            name: super::name_of(&labels),
            severity: severities.of(&labels),
            labels,
            annotations: self.annotations.0,
            starts_at: starts_at(&self.starts_at.0)?,
            is_start_known: true,
            ends_at,
            generator_url: self.generator_url.map(|text| text.0.into_owned()).unwrap_or_default(),
        })
    }
}

fn starts_at(text: &str) -> Option<Timestamp> {
    if is_no_time(text) { None } else { text.parse().ok() }
}

impl<'de: 'a, 'a> Deserialize<'de> for AlertList<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = AlertList<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("alerts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut alerts = Vec::new();
                while let Some(Object(alert)) = list.next_element()? {
                    if alerts.len() == limits::ALERTS {
                        return Err(A::Error::custom("too many"));
                    }
                    alerts.push(alert);
                }
                Ok(AlertList(alerts))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// A struct written as an object. Serde takes an array of its fields too, which no sender means.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Labels or annotations within the limits; `null` is none.
#[derive(Default)]
struct Pairs(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Pairs;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("texts by name")
            }

            fn visit_unit<E: Error>(self) -> Result<Pairs, E> {
                Ok(Pairs::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    let is_new = name.0.len() <= limits::NAME_BYTES
                        && pairs.insert(name.0.into_owned(), value.0.into_owned()).is_none();
                    if !is_new || pairs.len() > limits::PAIRS {
                        return Err(A::Error::custom("a long name, a second value or too many"));
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_any(Map)
    }
}

/// A text within the limits, borrowed from the body where it holds no escape.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Text<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                check(text)?;
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                check(text)?;
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Bounded)
    }
}

fn check<E: Error>(text: &str) -> Result<(), E> {
    if text.len() > limits::VALUE_BYTES || text.contains('\0') {
        return Err(E::custom("too long, or with a NUL byte"));
    }
    Ok(())
}
