//! Tickets as Markdown for people. Text from outside is escaped: it cannot become a link, an image,
//! a heading or HTML, and a code fence is longer than any run of backticks inside it.

use std::fmt::Write;

use crate::document::{Block, Document, Span};

pub(crate) fn render(document: &Document) -> String {
    let mut text = String::new();
    for block in document.blocks() {
        match block {
            Block::Heading(heading) => writeln!(text, "### {}\n", escape(heading)),
            Block::Paragraph(spans) => writeln!(text, "{}\n", spans_of(spans)),
            Block::List(items) => {
                for item in items {
                    let line = spans_of(item).replace('\n', "\n  ");
                    writeln!(text, "- {line}").expect("writing to a string cannot fail");
                }
                writeln!(text)
            }
            Block::Code(code) => {
                let fence = fence_for(code);
                writeln!(text, "{fence}\n{code}\n{fence}\n")
            }
        }
        .expect("writing to a string cannot fail");
    }
    text
}

pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '!' | '~' | '=' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '-' | '+' if escaped.ends_with('\n') || escaped.is_empty() => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

fn spans_of(spans: &[Span]) -> String {
    spans
        .iter()
        .map(|span| match span {
            Span::Text(text) => escape(text),
            Span::Strong(text) => format!("**{}**", escape(text)),
            Span::Link { text, url } => {
                let url = url.replace('<', "%3C").replace('>', "%3E");
                format!("[{}](<{url}>)", escape(text))
            }
        })
        .collect()
}

fn fence_for(code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "# x\n- y\n[a](http://evil) <script>alert(1)</script> ![i](x)";
        let text = render(&Document::new().paragraph([Span::text_of(hostile)]));
        assert_eq!(
            text,
            "\\# x\n\\- y\n\\[a\\](http://evil) &lt;script&gt;alert(1)&lt;/script&gt; \\!\\[i\\](x)\n\n"
        );
    }

    #[test]
    fn a_fence_in_code_does_not_end_the_block() {
        let text = render(&Document::new().code("```\nrm\n```"));
        assert!(text.starts_with("````\n```\nrm\n```\n````\n"), "{text}");
    }
}
