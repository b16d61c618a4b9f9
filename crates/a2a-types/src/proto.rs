//! How the objects of the protocol stand in JSON: the ProtoJSON mapping
//! (<https://protobuf.dev/programming-guides/json/>), stated once for all of them.
//!
//! Read: camelCase and snake_case names, though not both of one field; null for a default; enum
//! values by name or number; integers as texts; base64 of either alphabet. Free-form JSON is never
//! touched. Written: camelCase, names of enum values, no optional field that has its default.
//! What a newer peer adds, a field or an enum value, is kept where a type has room for it.

mod base64;
mod enumeration;
mod message;
mod one_of;
mod scalar;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub(crate) use base64::{Base64, normalised};
pub(crate) use enumeration::enumeration;
pub(crate) use message::message;
pub(crate) use one_of::one_of;
pub(crate) use scalar::whole;

/// A type that a field of a message can have.
pub(crate) trait Field: Sized {
    /// Reads a value; `None` is null.
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error>;

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;

    /// An optional field need not be written.
    fn is_default(&self) -> bool {
        false
    }
}

/// Types that stand in JSON as serde has them.
macro_rules! plain {
    ($($type:ty $(where $param:ident)? => $is_default:expr;)*) => { $(
        impl $(<$param: Serialize + DeserializeOwned>)? Field for $type {
            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
                Option::deserialize(from)
            }

            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.serialize(to)
            }

            fn is_default(&self) -> bool {
                $is_default(self)
            }
        }
    )* };
}

plain! {
    String => Self::is_empty;
    bool => |flag: &bool| !*flag;
    crate::Metadata => Self::is_empty;
    Vec<T> where T => Self::is_empty;
    BTreeMap<String, T> where T => Self::is_empty;
}

impl<T: Field> Field for Option<T> {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        Ok(T::read(from)?.map(Some))
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(to),
            None => to.serialize_none(),
        }
    }

    fn is_default(&self) -> bool {
        self.is_none()
    }
}

/// Any JSON at all, where null is a value like any other.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Value);

impl Field for Json {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        Value::deserialize(from).map(|value| Some(Self(value)))
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

/// A field of a message that is being read: not seen yet, null, or there.
pub(crate) struct Slot<T>(Option<Option<T>>);

impl<T: Field> Slot<T> {
    pub(crate) const EMPTY: Self = Self(None);

    pub(crate) fn read<'de, A: MapAccess<'de>>(
        &mut self,
        from: &mut A,
        name: &'static str,
    ) -> Result<(), A::Error> {
        if self.0.is_some() {
            return Err(A::Error::duplicate_field(name));
        }
        self.0 = Some(from.next_value_seed(Reader(PhantomData))?);
        Ok(())
    }

    pub(crate) fn required<E: Error>(self, name: &'static str) -> Result<T, E> {
        self.0.flatten().ok_or_else(|| E::missing_field(name))
    }

    pub(crate) fn optional<E>(self, _: &'static str) -> Result<T, E>
    where
        T: Default,
    {
        Ok(self.0.flatten().unwrap_or_default())
    }
}

/// Writes a field that is always there.
pub(crate) fn required<M: SerializeMap, T: Field>(
    to: &mut M,
    name: &'static str,
    value: &T,
) -> Result<(), M::Error> {
    to.serialize_entry(name, &Written(value))
}

/// Writes a field unless it has its default.
pub(crate) fn optional<M: SerializeMap, T: Field>(
    to: &mut M,
    name: &'static str,
    value: &T,
) -> Result<(), M::Error> {
    if value.is_default() { Ok(()) } else { required(to, name, value) }
}

/// Reads a [`Field`] where serde asks for a seed.
pub(crate) struct Reader<T>(pub(crate) PhantomData<T>);

impl<'de, T: Field> DeserializeSeed<'de> for Reader<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<T>, D::Error> {
        T::read(from)
    }
}

struct Written<'a, T>(&'a T);

impl<T: Field> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

/// The name of a field, not copied where the input can lend it.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(name.to_owned())))
    }

    fn visit_string<E>(self, name: String) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(name)))
    }
}
