//! Mappings of a file whose names a person wrote: a name that is there twice is refused where it
//! stands, and not taken for the last one.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// What an entry of a mapping must be.
pub(super) trait Entry<'de>: Deserialize<'de> {
    /// # Errors
    /// What is wrong with the name.
    fn check_name(name: &str) -> Result<(), String>;
}

/// A mapping in the order of its file.
#[derive(Debug)]
pub(super) struct Pairs<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Entry<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

struct PairsVisitor<T>(PhantomData<T>);

impl<'de, T: Entry<'de>> Visitor<'de> for PairsVisitor<T> {
    type Value = Pairs<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut pairs, mut seen) = (Vec::new(), HashSet::new());
        while let Some(name) = map.next_key_seed(Name { seen: &mut seen, check: T::check_name })? {
            pairs.push((name, map.next_value()?));
        }
        Ok(Pairs(pairs))
    }
}

struct Name<'a> {
    seen: &'a mut HashSet<String>,
    check: fn(&str) -> Result<(), String>,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        (self.check)(name).map_err(E::custom)?;
        if !self.seen.insert(name.to_owned()) {
            return Err(E::custom(format!("{name:?} is there twice")));
        }
        Ok(name.to_owned())
    }
}
