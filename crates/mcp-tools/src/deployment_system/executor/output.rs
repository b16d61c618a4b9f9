//! The output of an executor: untrusted text of any length. Its end is kept, by whole lines, and no
//! secret in it.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use service::Secret;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Fewer characters of a secret tell nothing.
const BEGUN: usize = 3;

/// The end of a stream. More is read and dropped, so that the writer never waits for us.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Vec<u8>,
    bound: usize,
    is_cut: bool,
}

impl Tail {
    pub(super) fn new(bound: usize) -> Self {
        Self { kept: Vec::new(), bound, is_cut: false }
    }

    /// Reads to the end of the stream. What was read is kept when this is given up.
    pub(super) async fn read(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut chunk = vec![0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            self.kept.extend_from_slice(&chunk[..length]);
            if self.kept.len() > 2 * self.bound {
                self.kept.drain(..self.kept.len() - self.bound);
                self.is_cut = true;
            }
        }
    }

    pub(super) fn into_text(mut self, secrets: &[Secret]) -> String {
        if self.is_cut {
            // Half a line may hold half a secret, which redaction would not know.
            let end = self.kept.iter().position(|&byte| byte == b'\n');
            self.kept.drain(..end.map_or(self.kept.len(), |at| at + 1));
        }
        let text = String::from_utf8_lossy(&self.kept).into_owned();
        redact(without_begun(text, secrets), secrets)
    }
}

/// The last `bound` bytes of a text.
pub(in crate::deployment_system) fn end_of(text: String, bound: usize) -> String {
    if text.len() <= bound {
        return text;
    }
    let mut start = text.len() - bound;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!("…{}", &text[start..])
}

/// Takes out `secrets`, and whatever stands where a secret would.
pub(in crate::deployment_system) fn redact(text: String, secrets: &[Secret]) -> String {
    static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?i)((?:authorization|passw(?:or)?d|secret|token|api_?key)["']?\s*[:=]\s*["']?)(?:(?:bearer|basic)\s+)?[^\s"',}]+"#)
            .expect("a valid pattern")
    });
    ASSIGNED.replace_all(&without(text, secrets), "${1}***").into_owned()
}

/// Takes out the beginning of a secret that a text ends with: whoever wrote it was ended in between.
fn without_begun(mut text: String, secrets: &[Secret]) -> String {
    let begun = |secret: &Secret| {
        let secret = secret.reveal();
        let ends = secret.char_indices().map(|(at, _)| at).skip(BEGUN).collect::<Vec<_>>();
        ends.into_iter().rev().find(|&end| text.ends_with(&secret[..end]))
    };
    if let Some(length) = secrets.iter().filter_map(begun).max() {
        text.truncate(text.len() - length);
        text.push_str("***");
    }
    text
}

/// Takes `secrets` out of every text of a value.
pub(in crate::deployment_system) fn redact_value(value: &mut Value, secrets: &[Secret]) {
    match value {
        Value::String(text) => *text = without(std::mem::take(text), secrets),
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(item, secrets)),
        Value::Object(fields) => fields.values_mut().for_each(|item| redact_value(item, secrets)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn without(text: String, secrets: &[Secret]) -> String {
    let secrets = secrets.iter().map(Secret::reveal).filter(|secret| !secret.is_empty());
    secrets.fold(text, |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_wherever_they_stand() {
        let secrets = [Secret::new("hunter2")];
        let text = redact(
            "url http://u:hunter2@h/ Authorization: Bearer abc.def token=xyz ok".into(),
            &secrets,
        );
        assert_eq!(text, "url http://u:***@h/ Authorization: *** token=*** ok");
    }

    #[test]
    fn secrets_are_redacted_in_what_was_recorded() {
        let mut value = serde_json::json!({"a": ["Bearer hunter2", 1], "b": {"c": "hunter2"}});
        redact_value(&mut value, &[Secret::new("hunter2"), Secret::new("")]);
        assert_eq!(value, serde_json::json!({"a": ["Bearer ***", 1], "b": {"c": "***"}}));
    }

    #[tokio::test]
    async fn a_long_output_is_kept_from_its_end_by_whole_lines() {
        let read = async |text: &[u8]| {
            let mut tail = Tail::new(1000);
            tail.read(Some(text)).await;
            tail.into_text(&[Secret::new("hunter2")])
        };
        let long: String = (0..10_000).map(|n| format!("line {n}\n")).collect();
        let kept = read(long.as_bytes()).await;
        assert!(kept.starts_with("line ") && kept.ends_with("line 9999\n"));
        assert!((900..=2000).contains(&kept.len()), "{}", kept.len());
        assert_eq!(read(b"short").await, "short");
        assert_eq!(read(b"password hunter2 and hunte").await, "password *** and ***");
        assert_eq!(read(b"who hun").await, "who ***");
        assert_eq!(read(b"who hu").await, "who hu");
    }

    #[test]
    fn the_end_of_an_output_is_cut_at_a_character() {
        assert_eq!(end_of("aéé".into(), 3), "…é");
        assert_eq!(end_of("aé".into(), 3), "aé");
    }
}
