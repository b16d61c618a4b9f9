//! What monitoring systems send, read into one alert type. Pure: bytes in, alerts out, nothing is
//! remembered. A body is read whole or refused with the field that cannot be used.

mod reading;

pub use reading::{BadField, Reading};
