//! Identities for senders that give none, or one that is too long for a key.

use std::collections::BTreeMap;

use crate::limits;

/// A stable identity of labels: FNV-1a over them, sorted, as Alertmanager computes its own.
pub(crate) fn of_labels(labels: &BTreeMap<String, String>) -> String {
    of_parts(labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]))
}

/// A stable identity of texts in their order; no text runs into the next.
pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    /// No byte of UTF-8.
    const SEPARATOR: u8 = 255;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        part.bytes().for_each(&mut add);
        add(SEPARATOR);
    }
    format!("{hash:016x}")
}

/// A readable identity as it is where it fits into a key, else one made of it.
pub(crate) fn fitting(text: String) -> String {
    if text.len() <= limits::FINGERPRINT_BYTES { text } else { of_parts([text.as_str()]) }
}
