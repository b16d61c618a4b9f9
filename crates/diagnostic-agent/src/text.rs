//! Text for people from values and from text that others wrote. Hostile text stays text: control
//! and bidirectional characters go, length is bounded, and it is never read as a template.

use serde_json::Value;

/// Longest piece of foreign text inside a sentence.
const FOREIGN_CHARS: usize = 160;

/// One bounded line of foreign text.
pub(crate) fn clean(text: &str) -> String {
    let is_kept = |c: &char| {
        !c.is_control() && !matches!(*c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut kept = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(is_kept);
    let mut line: String = kept.by_ref().take(FOREIGN_CHARS).collect();
    if kept.next().is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

/// A number as JSON; whole ones without a fraction. `None` for NaN and infinities.
pub(crate) fn number(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Some(Value::from(value as i64));
    }
    serde_json::Number::from_f64(value).map(Value::Number)
}

/// A value inside a sentence.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => rounded(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => clean(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => {
            let items_shown: Vec<String> = items.iter().take(10).map(shown).collect();
            let more = if items.len() > 10 { ", …" } else { "" };
            format!("{}{more}", items_shown.join(", "))
        }
        other => clean(&other.to_string()),
    }
}

/// A value with its unit inside a sentence; a share as a percentage.
pub(crate) fn with_unit(value: &Value, unit: Option<&str>) -> String {
    match (value.as_f64(), unit) {
        (Some(share), Some("1")) => format!("{} %", rounded(share * 100.0)),
        (_, Some(unit)) => format!("{} {}", shown(value), unit.replace(['{', '}'], "")),
        (_, None) => shown(value),
    }
}

/// Three significant digits, and whole numbers as they are.
pub(crate) fn rounded(value: f64) -> String {
    if value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Whether `name` can stand in a query as it is: a host, service or job name.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-'))
}

/// Replaces every `{name}` by what `value` gives, once: what was put in is not read again.
pub(crate) fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, name, after)) = next_placeholder(rest) {
        text.push_str(before);
        text.push_str(&value(name));
        rest = after;
    }
    text + rest
}

/// The names a template asks for.
pub(crate) fn placeholders(template: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = template;
    while let Some((_, name, after)) = next_placeholder(rest) {
        names.push(name);
        rest = after;
    }
    names
}

fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let open = text.find('{')?;
    let close = open + text[open..].find('}')?;
    Some((&text[..open], &text[open + 1..close], &text[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hostile_text_stays_text() {
        let filled = fill("{a} of {b}", |name| match name {
            "a" => "{b}".into(),
            _ => "2".into(),
        });
        assert_eq!(filled, "{b} of 2");
        assert_eq!(clean("a\u{1b}[31m\nb\u{202e}c\0"), "a[31m bc");
        assert_eq!(clean(&"x".repeat(1000)).chars().count(), FOREIGN_CHARS + 1);
        assert!(!is_plain_name("db\"} or vector(1)"));
        assert!(!is_plain_name(""));
        assert!(is_plain_name("db-server-01"));
    }

    #[test]
    fn numbers_are_short() {
        let texts: Vec<String> =
            [json!(2.0), json!(0.1234567), json!(12.345), json!(1234.5), json!(1.5e9), json!(0.0)]
                .iter()
                .map(shown)
                .collect();
        assert_eq!(texts, ["2", "0.123", "12.3", "1234", "1500000000", "0"]);
        assert_eq!(with_unit(&json!(0.0789), Some("1")), "7.89 %");
        assert_eq!(with_unit(&json!(12.5), Some("{timeouts}/s")), "12.5 timeouts/s");
        assert_eq!(number(2.0), Some(json!(2)));
        assert_eq!(number(f64::NAN), None);
    }
}
