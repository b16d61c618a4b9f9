//! Documents in the Atlassian Document Format, version 1:
//! <https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>.
//!
//! Text from outside only ever becomes the `text` of a text node, so it cannot add nodes, marks,
//! mentions or macros. Jira refuses more than 32,767 characters; the limit is kept on the encoded
//! document, which is never shorter than any form Jira may count.

use serde_json::{Value, json};

use crate::document::{Block, Document, Span};

/// Jira's limit for one text field.
const LIMIT: usize = 32_767;
/// Kept free for the envelope, the line that says text was cut, and the reference line.
const RESERVE: usize = 600;

/// A description or comment body. `reference` becomes a last paragraph of its own.
pub(crate) fn render(document: &Document, reference: Option<&str>) -> Value {
    let mut left = LIMIT - RESERVE;
    let document = document.bounded(|block| {
        // Encoded and counted in characters, plus the comma between nodes.
        let size = block_node(block).to_string().chars().count() + 1;
        let is_small = size <= left;
        if is_small {
            left -= size;
        }
        is_small
    });
    let mut content: Vec<Value> = document.blocks().iter().map(block_node).collect();
    content.extend(reference.map(|text| paragraph(vec![text_node(text, None)])));
    if content.is_empty() {
        content.push(paragraph(vec![text_node("(no text)", None)]));
    }
    json!({ "version": 1, "type": "doc", "content": content })
}

/// The text of a document's last block if that is a plain paragraph, where `render` puts the
/// reference.
pub(crate) fn reference(document: &Value) -> Option<&str> {
    let last = document["content"].as_array()?.last()?;
    match last["content"].as_array()?.as_slice() {
        [node] if last["type"] == "paragraph" && node["type"] == "text" => node["text"].as_str(),
        _ => None,
    }
}

fn block_node(block: &Block) -> Value {
    match block {
        Block::Heading(text) => json!({
            "type": "heading", "attrs": { "level": 3 }, "content": [text_node(text, None)],
        }),
        Block::Paragraph(spans) => paragraph(inline_nodes(spans)),
        Block::List(items) => {
            let item = |spans: &Vec<Span>| json!({ "type": "listItem", "content": [paragraph(inline_nodes(spans))] });
            json!({ "type": "bulletList", "content": items.iter().map(item).collect::<Vec<_>>() })
        }
        // A code block takes text without marks, line ends included.
        Block::Code(text) => json!({ "type": "codeBlock", "content": [text_node(text, None)] }),
    }
}

fn paragraph(content: Vec<Value>) -> Value {
    json!({ "type": "paragraph", "content": content })
}

fn inline_nodes(spans: &[Span]) -> Vec<Value> {
    let mut nodes = Vec::new();
    for span in spans {
        let mark = match span {
            Span::Text(_) => None,
            Span::Strong(_) => Some(json!({ "type": "strong" })),
            Span::Link { url, .. } => Some(json!({ "type": "link", "attrs": { "href": url } })),
        };
        // A text node holds one line; line ends are nodes of their own.
        for (index, line) in span.text().split('\n').enumerate() {
            if index > 0 {
                nodes.push(json!({ "type": "hardBreak" }));
            }
            if !line.is_empty() {
                nodes.push(text_node(line, mark.clone()));
            }
        }
    }
    nodes
}

fn text_node(text: &str, mark: Option<Value>) -> Value {
    match mark {
        Some(mark) => json!({ "type": "text", "text": text, "marks": [mark] }),
        None => json!({ "type": "text", "text": text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_nodes_and_line_ends_hard_breaks() {
        let document = Document::new()
            .heading("What")
            .paragraph([Span::strong("a"), Span::text_of("b\nc")])
            .list([vec![Span::link("runbook", "https://example.org/r")]])
            .code("x\ny");
        let nodes = render(&document, Some("ref"));
        assert_eq!(
            nodes,
            json!({ "version": 1, "type": "doc", "content": [
                { "type": "heading", "attrs": { "level": 3 },
                  "content": [{ "type": "text", "text": "What" }] },
                { "type": "paragraph", "content": [
                    { "type": "text", "text": "a", "marks": [{ "type": "strong" }] },
                    { "type": "text", "text": "b" },
                    { "type": "hardBreak" },
                    { "type": "text", "text": "c" }] },
                { "type": "bulletList", "content": [{ "type": "listItem", "content": [
                    { "type": "paragraph", "content": [{ "type": "text", "text": "runbook",
                      "marks": [{ "type": "link", "attrs": { "href": "https://example.org/r" } }] }] }] }] },
                { "type": "codeBlock", "content": [{ "type": "text", "text": "x\ny" }] },
                { "type": "paragraph", "content": [{ "type": "text", "text": "ref" }] },
            ]})
        );
        assert_eq!(reference(&nodes), Some("ref"));
    }

    #[test]
    fn text_that_looks_like_a_document_stays_text() {
        let hostile = r#"{"type":"mention","attrs":{"id":"all"}} {panel} [~admin]"#;
        let node = render(&Document::new().paragraph([Span::text_of(hostile)]), None);
        assert_eq!(node["content"][0]["content"][0]["text"], hostile);
        assert_eq!(node["content"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn the_encoded_document_keeps_the_limit_and_says_what_was_cut() {
        // Quotes double when encoded, which is the worst case.
        let mut document = Document::new();
        for _ in 0..20 {
            document = document.code(&"\"é".repeat(4_000));
        }
        let node = render(&document, Some("ref"));
        let size = node.to_string().chars().count();
        assert!(size <= LIMIT && size > LIMIT / 2, "{size}");
        assert!(node.to_string().contains("shortened"));
        assert_eq!(reference(&node), Some("ref"));
    }

    #[test]
    fn an_empty_document_is_still_one_jira_takes() {
        let node = render(&Document::new(), None);
        assert_eq!(node["content"][0]["content"][0]["text"], "(no text)");
    }
}
