//! What one delivery may hold. An alert beyond these is refused by name, not cut short.

/// Alerts in one delivery.
pub(crate) const ALERTS: usize = 4_096;
/// Labels or annotations of one alert.
pub(crate) const PAIRS: usize = 256;
/// Bytes of a label's name.
pub(crate) const NAME_BYTES: usize = 256;
/// Bytes of a label's or annotation's value.
pub(crate) const VALUE_BYTES: usize = 64 << 10;
