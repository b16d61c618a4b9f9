//! Media types as HTTP writes them (RFC 9110, section 8.3.1).

/// The type without its parameters, in lower case.
pub(super) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
