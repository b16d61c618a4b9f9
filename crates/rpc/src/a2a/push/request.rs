//! A push notification as an HTTP request, and the checks that make it one: nothing a caller wrote
//! into its configuration becomes more than the value of one header.

use a2a_types::{A2aError, Delivery, PROTOCOL_VERSION, TaskPushNotificationConfig};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

const MEDIA_TYPE: &str = "application/a2a+json";
const TOKEN: HeaderName = HeaderName::from_static("x-a2a-notification-token");
const IDEMPOTENCY: HeaderName = HeaderName::from_static("idempotency-key");
const VERSION: HeaderName = HeaderName::from_static("a2a-version");

/// Longest id of a configuration.
const ID_BYTES: usize = 256;
/// Longest token, scheme or credentials.
const SECRET_BYTES: usize = 4096;

/// A field of a configuration that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadField {
    pub(super) field: &'static str,
    why: &'static str,
}

impl BadField {
    pub(super) fn under(&self, prefix: &str) -> A2aError {
        A2aError::invalid_field(format!("{prefix}{}", self.field), self.why)
    }
}

/// The headers and body of a delivery. The idempotency key and the body are the same at every try.
pub(super) fn request(delivery: &Delivery) -> Result<(HeaderMap, Vec<u8>), BadField> {
    let mut headers = secrets(&delivery.config)?;
    let key = format!("{}/{}", delivery.config.task_id, delivery.event.sequence);
    headers.insert(IDEMPOTENCY, header("taskId", &key)?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(VERSION, HeaderValue::from_static(PROTOCOL_VERSION));
    let body = serde_json::to_vec(&delivery.event.event).expect("events have string keys only");
    Ok((headers, body))
}

/// Whether requests can be made of a configuration.
pub(super) fn check(config: &TaskPushNotificationConfig) -> Result<(), BadField> {
    if config.id.len() > ID_BYTES || config.id.chars().any(char::is_control) {
        return Err(BadField { field: "id", why: "must be printable and at most 256 bytes long" });
    }
    secrets(config).map(drop)
}

fn secrets(config: &TaskPushNotificationConfig) -> Result<HeaderMap, BadField> {
    let mut headers = HeaderMap::new();
    if !config.token.is_empty() {
        headers.insert(TOKEN, secret("token", &config.token)?);
    }
    if let Some(authentication) = &config.authentication {
        if !is_token(&authentication.scheme) {
            let why = "must be the name of an HTTP authentication scheme";
            return Err(BadField { field: "authentication.scheme", why });
        }
        let credentials = &authentication.credentials;
        // A scheme alone proves nothing, and is no valid header with most of them.
        if !credentials.is_empty() {
            let value = format!("{} {credentials}", authentication.scheme);
            headers.insert(AUTHORIZATION, secret("authentication.credentials", &value)?);
        }
    }
    Ok(headers)
}

fn secret(field: &'static str, value: &str) -> Result<HeaderValue, BadField> {
    let mut value = header(field, value)?;
    value.set_sensitive(true);
    Ok(value)
}

fn header(field: &'static str, value: &str) -> Result<HeaderValue, BadField> {
    let why = "must be printable ASCII, as the value of a header, and at most 4096 bytes long";
    let is_plain = value.len() <= SECRET_BYTES && value.bytes().all(|b| (b' '..=b'~').contains(&b));
    let value = is_plain.then(|| HeaderValue::from_str(value).ok()).flatten();
    value.ok_or(BadField { field, why })
}

/// Whether a text is a token of HTTP (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(is_token)
}

#[cfg(test)]
mod tests {
    use a2a_types::{AuthenticationInfo, IDEMPOTENCY_HEADER, VERSION_HEADER};

    use super::*;

    #[test]
    fn header_names_are_those_of_the_protocol() {
        assert!(IDEMPOTENCY_HEADER.eq_ignore_ascii_case(IDEMPOTENCY.as_str()));
        assert!(VERSION_HEADER.eq_ignore_ascii_case(VERSION.as_str()));
    }

    #[test]
    fn no_value_becomes_a_second_header() {
        let config = |token: &str, scheme: &str, credentials: &str| TaskPushNotificationConfig {
            token: token.into(),
            authentication: Some(AuthenticationInfo {
                scheme: scheme.into(),
                credentials: credentials.into(),
            }),
            ..TaskPushNotificationConfig::default()
        };
        assert_eq!(check(&config("t", "Bearer", "c")), Ok(()));
        let wrong = [
            (config("a\r\nX-Evil: 1", "Bearer", "c"), "token"),
            (config("a\nb", "Bearer", "c"), "token"),
            (config("a\0", "Bearer", "c"), "token"),
            (config("ü", "Bearer", "c"), "token"),
            (config(&"a".repeat(5000), "Bearer", "c"), "token"),
            (config("t", "", "c"), "authentication.scheme"),
            (config("t", "Bearer x\r\nX-Evil:", "c"), "authentication.scheme"),
            (config("t", "Bea rer", "c"), "authentication.scheme"),
            (config("t", "Bearer", "c\r\nX-Evil: 1"), "authentication.credentials"),
            (config("t", "Bearer", "c\n d"), "authentication.credentials"),
        ];
        for (config, field) in wrong {
            assert_eq!(check(&config).unwrap_err().field, field, "{config:?}");
        }
    }
}
