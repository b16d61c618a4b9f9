//! What one delivery may hold. An alert beyond these is refused by name, not cut short.

/// Alerts in one delivery.
pub const ALERTS: usize = 4_096;
/// Labels or annotations of one alert.
pub const PAIRS: usize = 256;
/// Bytes of a label's name.
pub const NAME_BYTES: usize = 256;
/// Bytes of a label's or annotation's value.
pub const VALUE_BYTES: usize = 64 << 10;
/// Bytes of all texts of one alert. An incident keeps a few of them.
pub const ALERT_BYTES: usize = 128 << 10;
/// Bytes of a fingerprint. It is part of a key of the database, which takes no long ones.
pub const FINGERPRINT_BYTES: usize = 512;
/// Values, of whatever type, in a body that is read field by field.
pub const VALUES: usize = 500_000;
/// Characters of a sender's text that are repeated in an error.
pub(crate) const QUOTED_CHARS: usize = 200;
