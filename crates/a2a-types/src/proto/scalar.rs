//! Integers and timestamps.

use std::fmt;

use jiff::Timestamp;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserializer, Serializer};

use super::Field;

const INTEGER: &str = "a whole number of 32 bits";

/// The beginning of the year 1, the earliest a `google.protobuf.Timestamp` can be.
const YEAR_ONE: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// A number of the protocol has 32 bits.
pub(crate) fn whole<N, E>(number: N) -> Result<i32, E>
where
    N: TryInto<i32> + fmt::Display + Copy,
    E: Error,
{
    let refused = |_| E::invalid_value(Unexpected::Other(&number.to_string()), &INTEGER);
    number.try_into().map_err(refused)
}

impl Field for i32 {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        from.deserialize_any(Integer)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i32(*self)
    }

    fn is_default(&self) -> bool {
        *self == 0
    }
}

struct Integer;

impl Visitor<'_> for Integer {
    type Value = Option<i32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INTEGER)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<i32>, E> {
        whole(number).map(Some)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<i32>, E> {
        whole(number).map(Some)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<i32>, E> {
        if number.fract() == 0.0 && number.abs() <= f64::from(u32::MAX) {
            return whole(number as i64).map(Some);
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<i32>, E> {
        if let Ok(number) = text.parse() {
            return Ok(Some(number));
        }
        match text.parse() {
            Ok(number) => self.visit_f64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_unit<E>(self) -> Result<Option<i32>, E> {
        Ok(None)
    }
}

impl Field for Timestamp {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        let Some(time) = <Option<Self> as serde::Deserialize>::deserialize(from)? else {
            return Ok(None);
        };
        if time < YEAR_ONE {
            return Err(D::Error::custom(format!("{time} is before the year 1")));
        }
        Ok(Some(time))
    }

    /// Writes 0, 3, 6 or 9 digits of a second.
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let digits = match self.subsec_nanosecond() {
            0 => 0,
            nanos if nanos % 1_000_000 == 0 => 3,
            nanos if nanos % 1_000 == 0 => 6,
            _ => 9,
        };
        to.collect_str(&format_args!("{self:.digits$}"))
    }
}
