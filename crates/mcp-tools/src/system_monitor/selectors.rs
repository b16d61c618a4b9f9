//! Finds the metric selectors in a PromQL expression, so that `timestamp()` can be asked of each:
//! the time in an instant answer is that of evaluation, and says nothing about the samples' age.
//! Finding none is possible and harmless: the answer's `newest` is then absent.

/// Words before a `(` or in an expression that are not metrics.
const KEYWORDS: [&str; 17] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
    "bool",
    "and",
    "or",
    "unless",
    "atan2",
    "inf",
    "nan",
    "start",
    "end",
    "keep_metric_names",
];
/// Words whose parentheses hold label names.
const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The distinct selectors of `query`, without ranges and offsets, in order of appearance.
pub(super) fn selectors(query: &str) -> Vec<String> {
    let mut rest = query;
    let mut found = Vec::new();
    let mut skip_list = false;
    while let Some(first) = rest.chars().next() {
        let consumed = match first {
            '"' | '\'' | '`' => string_length(rest),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '(' if skip_list => rest.find(')').map_or(rest.len(), |end| end + 1),
            '{' => {
                let length = braces_length(rest);
                found.push(rest[..length].to_owned());
                length
            }
            first if first.is_ascii_digit() || first == '.' => {
                rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len())
            }
            first if is_word(first) => {
                let (consumed, selector) = word(rest);
                found.extend(selector);
                consumed
            }
            other => other.len_utf8(),
        };
        let token = &rest[..consumed];
        if !token.trim().is_empty() {
            skip_list = LABEL_LISTS.contains(&token.to_ascii_lowercase().as_str());
        }
        rest = &rest[consumed..];
    }
    let mut distinct = Vec::new();
    for selector in found {
        if !distinct.contains(&selector) {
            distinct.push(selector);
        }
    }
    distinct
}

/// A word at the head of `text`: what it takes up, and the selector it begins, if it does.
fn word(text: &str) -> (usize, Option<String>) {
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let next = after.trim_start();
    if KEYWORDS.contains(&name.to_ascii_lowercase().as_str()) || next.starts_with('(') {
        return (end, None);
    }
    // An aggregation may have its labels before its argument: `sum by (x) (…)`.
    let is_aggregation = ["by", "without"]
        .iter()
        .any(|list| next.strip_prefix(list).is_some_and(|rest| rest.trim_start().starts_with('(')));
    if is_aggregation {
        return (end, None);
    }
    if next.starts_with('{') {
        let gap = after.len() - next.len();
        let length = braces_length(next);
        return (end + gap + length, Some(format!("{name}{}", &next[..length])));
    }
    (end, Some(name.to_owned()))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The length of the `{…}` at the head of `text`; strings inside may hold braces.
fn braces_length(text: &str) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes()[at] {
            b'}' => return at + 1,
            b'"' | b'\'' | b'`' => at += string_length(&text[at..]),
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of the quoted string at the head of `text`.
fn string_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if bytes[0] != b'`' => at += 2,
            byte if byte == bytes[0] => return at + 1,
            _ => at += 1,
        }
    }
    // An escape may have jumped past the end or into a character; the query is broken anyway.
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_found_in_the_queries_people_write() {
        let cases: [(&str, &[&str]); 9] = [
            ("up", &["up"]),
            ("up == 0 or absent(up)", &["up"]),
            (
                r#"rate(http_requests_total{status=~"5.."}[1m])"#,
                &[r#"http_requests_total{status=~"5.."}"#],
            ),
            (
                "sum by (server) (rate(a_total[30s])) / on(server) group_left(x) b offset 5m",
                &["a_total", "b"],
            ),
            (
                "histogram_quantile(0.99, sum(rate(db_seconds_bucket{server=\"}{\"}[1m])) by (le))",
                &["db_seconds_bucket{server=\"}{\"}"],
            ),
            (r#"{__name__=~"node_.*", x='it\'s'} > 1e3"#, &[r#"{__name__=~"node_.*", x='it\'s'}"#]),
            ("1 + 2 * 0x1F", &[]),
            ("vector(1) # comment up", &[]),
            ("max_over_time(deriv(m:x:y[5m])[1h:1m] @ end())", &["m:x:y"]),
        ];
        for (query, expected) in cases {
            assert_eq!(selectors(query), expected, "{query}");
        }
    }

    #[test]
    fn broken_queries_do_not_panic() {
        for query in ["\"", "{", "a{\"", "a[", "é\"\\", "by(", "\u{0}{é'\\é"] {
            selectors(query);
        }
    }
}
