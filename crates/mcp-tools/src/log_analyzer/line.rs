//! One log line: `<RFC 3339 time> <LEVEL> <component> <text>`, each part optional. What does not
//! parse is kept as text; nothing a line holds is trusted.

use std::collections::BTreeMap;

use a2a_types::mcp::logs::{Level, LogLine};
use jiff::Timestamp;

/// The parts of a line, borrowed from it.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed<'a> {
    pub(super) time: Option<Timestamp>,
    pub(super) level: Option<Level>,
    pub(super) component: Option<&'a str>,
    /// The line after time and level.
    pub(super) message: &'a str,
}

pub(super) fn parse(line: &str) -> Parsed<'_> {
    let (time, rest) = match split_word(line) {
        Some((word, rest)) if starts_like_a_date(word) => match word.parse() {
            Ok(time) => (Some(time), rest),
            Err(_) => (None, line),
        },
        _ => (None, line),
    };
    let (level, message) = match split_word(rest) {
        Some((word, after)) => match Level::parse(word.trim_matches(['[', ']', ':'])) {
            Some(level) => (Some(level), after),
            None => (None, rest),
        },
        None => (None, rest),
    };
    let component = level
        .and_then(|_| split_word(message))
        .map(|(word, _)| word.trim_end_matches(':'))
        .filter(|word| is_component(word));
    Parsed { time, level, component, message }
}

/// Cheap enough to run on every line: most lines without a time fail here.
fn starts_like_a_date(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 20 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

fn split_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace)?;
    Some((&text[..end], text[end..].trim_start()))
}

fn is_component(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b))
}

impl Parsed<'_> {
    /// The line as an answer shows it, its text cut to `longest` bytes.
    pub(super) fn to_line(&self, source: &str, longest: usize) -> LogLine {
        let labels: BTreeMap<_, _> = self
            .component
            .map(|component| ("component".to_owned(), component.to_owned()))
            .into_iter()
            .collect();
        LogLine {
            time: self.time,
            source: source.to_owned(),
            level: self.level,
            labels,
            message: cut(self.message, longest),
        }
    }
}

/// At most `longest` bytes of `text`, at a character's border.
pub(super) fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mut end = longest;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_line_has_time_level_component_and_message() {
        let parsed = parse("2026-01-02T03:04:05.678Z ERROR pool connection acquire timed out");
        assert_eq!(parsed.time.unwrap().to_string(), "2026-01-02T03:04:05.678Z");
        assert_eq!(parsed.level, Some(Level::Error));
        assert_eq!(parsed.component, Some("pool"));
        assert_eq!(parsed.message, "pool connection acquire timed out");
        let offset = parse("2026-01-02T05:04:05+02:00 [WARNING] gc: slow");
        assert_eq!(offset.time.unwrap().to_string(), "2026-01-02T03:04:05Z");
        assert_eq!((offset.level, offset.component), (Some(Level::Warn), Some("gc")));
    }

    #[test]
    fn a_line_without_time_or_level_is_all_message() {
        for line in ["    at pool.acquire(pool.rs:12)", "2026-99-99T00:00:00Z what", "", "é"] {
            let parsed = parse(line);
            assert_eq!((parsed.time, parsed.level, parsed.component), (None, None, None));
            assert_eq!(parsed.message, line);
        }
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        assert_eq!(cut("ééé", 3), "é…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
