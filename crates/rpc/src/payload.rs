//! The `incident/v1` extension in A2A parts: every data part is one payload.

use a2a_types::Part;
use incident::{Payload, PayloadError};

#[derive(Debug, thiserror::Error)]
#[error("parts[{index}].data")]
pub struct PartError {
    pub index: usize,
    #[source]
    pub source: PayloadError,
}

/// The data part that carries `payload`.
pub fn part(payload: &Payload) -> Part {
    Part::data(payload.to_value())
}

/// The payloads among `parts`, in order; text parts are passed over.
///
/// # Errors
/// A data part that is not a payload of the extension, by its index and the field that does not fit.
pub fn payloads(parts: &[Part]) -> Result<Vec<Payload>, PartError> {
    parts
        .iter()
        .enumerate()
        .filter_map(|(index, part)| part.as_data().map(|data| (index, data)))
        .map(|(index, data)| {
            Payload::from_value(data).map_err(|source| PartError { index, source })
        })
        .collect()
}
