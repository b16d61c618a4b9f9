//! A card as it is published (specification section 8.6): bytes that never change while the server
//! lives, known by their digest and by the time the server began.

use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How long a card may be kept before it is asked for again.
const CACHE_CONTROL: &str = "public, max-age=300";

#[derive(Debug)]
pub(crate) struct Published {
    body: Bytes,
    etag: String,
    /// To the second, as HTTP says it.
    modified: Timestamp,
}

impl Published {
    pub(crate) fn new(card: &Value, now: Timestamp) -> Self {
        let body = Bytes::from(card.to_string());
        let digest = hex::encode(Sha256::digest(&body));
        let modified = Timestamp::from_second(now.as_second()).expect("a time that was one before");
        Self { body, etag: format!("\"{digest}\""), modified }
    }

    /// The card, or that the caller has it already. For GET and HEAD.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let common = [
            (header::ETAG, self.etag.clone()),
            (header::LAST_MODIFIED, http_date(self.modified)),
            (header::CACHE_CONTROL, CACHE_CONTROL.to_owned()),
        ];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (common, content_type, self.body.clone()).into_response()
    }

    /// RFC 9110, section 13.2.2: the tag decides, and the date only where no tag is given.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::IF_NONE_MATCH) {
            let lines = headers.get_all(header::IF_NONE_MATCH).iter();
            let mut tags = lines.filter_map(|line| line.to_str().ok()).flat_map(|l| l.split(','));
            return tags.any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag
            });
        }
        let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|line| line.to_str().ok());
        let since = since.and_then(|date| httpdate::parse_http_date(date).ok());
        let since = since.and_then(|date| Timestamp::try_from(date).ok());
        since.is_some_and(|since| self.modified.duration_since(since) <= SignedDuration::ZERO)
    }
}

fn http_date(time: Timestamp) -> String {
    // A date of HTTP has years from 1970 on.
    let seconds = u64::try_from(time.as_second()).unwrap_or(0);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published(now: &str) -> Published {
        Published::new(&json!({"name": "agent"}), now.parse().unwrap())
    }

    fn status(card: &Published, headers: &[(http::HeaderName, &str)]) -> u16 {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        card.answer(&headers.collect()).status().as_u16()
    }

    #[test]
    fn the_tag_goes_before_the_date() {
        let card = published("2026-01-01T00:00:00.9Z");
        let (etag, since) = (header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE);
        let (same, older) = ("Thu, 01 Jan 2026 00:00:00 GMT", "Wed, 31 Dec 2025 23:59:59 GMT");
        assert_eq!(status(&card, &[]), 200);
        assert_eq!(status(&card, &[(since.clone(), same)]), 304);
        assert_eq!(status(&card, &[(since.clone(), older)]), 200);
        assert_eq!(status(&card, &[(since.clone(), "yesterday")]), 200);
        assert_eq!(status(&card, &[(etag.clone(), "\"other\""), (since.clone(), same)]), 200);
        let tag = card.etag.clone();
        assert_eq!(status(&card, &[(etag.clone(), &tag), (since, older)]), 304);
        assert_eq!(status(&card, &[(etag, &format!("\"a\", W/{tag}"))]), 304);
    }

    #[test]
    fn the_tag_is_of_the_content_alone() {
        let (one, other) = (published("2026-01-01T00:00:00Z"), published("2027-01-01T00:00:00Z"));
        assert_eq!(one.etag, other.etag);
        assert_eq!(one.etag.len(), 66);
        let another = Published::new(&json!({"name": "another"}), one.modified);
        assert_ne!(one.etag, another.etag);
    }
}
