//! What the text of a notification says that its default body has no field for. Datadog writes these
//! lines after the monitor's own message, so the last of them counts.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

/// Digits of a monitor's id at most.
const ID_DIGITS: usize = 20;

/// When the episode began: "The monitor was last triggered at Wed Dec 11 2024 15:18:41 UTC."
pub(super) fn triggered_at(message: &str) -> Option<Timestamp> {
    let (_, after) = message.rsplit_once("The monitor was last triggered at ")?;
    let (_, text) = after.split_once(' ')?;
    let text = text.split(" UTC.").next()?;
    let time = DateTime::strptime("%b %d %Y %H:%M:%S", text).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

/// The id in the link to the monitor.
pub(super) fn monitor_id(message: &str) -> Option<&str> {
    links(message).next().map(|(id, _)| id)
}

/// The group that the link to the monitor names.
pub(super) fn group(message: &str) -> Option<String> {
    links(message).find_map(|(_, rest)| {
        let query = rest.strip_prefix('?')?;
        let group = query.split('&').find_map(|pair| pair.strip_prefix("group="))?;
        let group = group.replace('+', " ");
        Some(percent_decode_str(&group).decode_utf8().ok()?.into_owned())
    })
}

/// The monitor's page.
pub(super) fn monitor_link(message: &str) -> Option<&str> {
    let (id, _) = links(message).next()?;
    let end = id.as_ptr() as usize - message.as_ptr() as usize + id.len();
    let start = message[..end].rfind("https://")?;
    Some(&message[start..end])
}

/// The id in each link to a monitor, the last link first, and what follows it.
fn links(message: &str) -> impl Iterator<Item = (&str, &str)> {
    message.rmatch_indices("/monitors/").filter_map(|(at, found)| {
        let after = &message[at + found.len()..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let rest = after[digits..].split([')', ']', ' ', '\n', '/']).next().unwrap_or_default();
        (1..=ID_DIGITS).contains(&digits).then(|| (&after[..digits], rest))
    })
}

/// The message without the marks that tell Datadog that it is Markdown.
pub(super) fn readable(message: &str) -> &str {
    let text = message.trim();
    let text = text.strip_prefix("%%%").unwrap_or(text);
    text.strip_suffix("%%%").unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "%%%\nQueries time out. See https://wiki/monitors/9\n\nThe monitor was last \
        triggered at Wed Dec 11 2024 15:18:41 UTC.\n\n[[Monitor Status](https://app.datadoghq.com/\
        monitors/160077341?group=service%3Akeep-api&from_ts=1)] · [[Edit Monitor]\
        (https://app.datadoghq.com/monitors/160077341/edit?x=1)]\n%%%";

    #[test]
    fn the_text_says_when_and_which() {
        assert_eq!(triggered_at(MESSAGE), Some("2024-12-11T15:18:41Z".parse().unwrap()));
        assert_eq!(monitor_id(MESSAGE), Some("160077341"));
        assert_eq!(group(MESSAGE).as_deref(), Some("service:keep-api"));
        let link = "https://app.datadoghq.com/monitors/160077341";
        assert_eq!(monitor_link(MESSAGE), Some(link));
        assert!(readable(MESSAGE).starts_with("Queries time out"));
        assert!(!readable(MESSAGE).contains("%%%"));
    }

    #[test]
    fn text_that_says_nothing_is_passed_over() {
        for text in
            ["", "%%%", "/monitors/", "/monitors/x?group=a", "The monitor was last triggered at "]
        {
            assert_eq!((triggered_at(text), monitor_id(text)), (None, None), "{text}");
            assert_eq!((group(text), monitor_link(text)), (None, None), "{text}");
        }
        let bad = "The monitor was last triggered at Wed Dec 41 2024 15:18:41 UTC.";
        assert_eq!(triggered_at(bad), None);
    }
}
