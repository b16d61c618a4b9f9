//! The text of a ticket, before a tracker's own notation. What it carries comes from alerts, logs
//! and tools, so it is hostile: every string is cleaned on its way in, and is only ever text.

/// A ticket's description or a comment: blocks in reading order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    blocks: Vec<Block>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    Heading(String),
    Paragraph(Vec<Span>),
    List(Vec<Vec<Span>>),
    Code(String),
}

/// A run of text inside a paragraph or a list item. Built by the functions below, which clean it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    Text(String),
    Strong(String),
    Link { text: String, url: String },
}

/// The longest text of one span, heading or code block, in characters. More is cut and says so.
const SPAN_CHARS: usize = 8_000;
/// What stands where a document was too long for its tracker.
const SHORTENED: &str = "… (shortened; the incident's timeline has all of it)";

impl Document {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads plain text: blank lines part paragraphs, lines that begin with `- ` are a list, and
    /// fences of three backticks hold code. Nothing else has a meaning, so text from outside can
    /// neither make a heading nor a link.
    pub fn from_text(text: &str) -> Self {
        let mut document = Self::new();
        let mut lines = text.lines().map(|line| line.trim_end_matches('\r')).peekable();
        while let Some(line) = lines.next() {
            if line.trim_start().starts_with("```") {
                let code: Vec<&str> =
                    lines.by_ref().take_while(|line| line.trim() != "```").collect();
                document = document.code(&code.join("\n"));
            } else if let Some(item) = line.strip_prefix("- ") {
                let mut items = vec![vec![Span::text_of(item)]];
                while let Some(item) = lines.next_if(|line| line.starts_with("- ")) {
                    items.push(vec![Span::text_of(&item[2..])]);
                }
                document = document.list(items);
            } else {
                let mut paragraph = line.to_owned();
                let goes_on = |line: &&str| {
                    !(line.trim().is_empty() || line.starts_with("- ") || line.starts_with("```"))
                };
                while let Some(more) = lines.next_if(goes_on) {
                    paragraph.push('\n');
                    paragraph.push_str(more);
                }
                document = document.paragraph([Span::text_of(paragraph.trim_start())]);
            }
        }
        document
    }

    /// Adds the blocks of another document.
    #[must_use]
    pub fn followed_by(mut self, other: Self) -> Self {
        self.blocks.extend(other.blocks);
        self
    }

    #[must_use]
    pub fn heading(self, text: &str) -> Self {
        self.with(Block::Heading(clean_line(text, 200)))
    }

    #[must_use]
    pub fn paragraph(self, spans: impl IntoIterator<Item = Span>) -> Self {
        self.with(Block::Paragraph(spans.into_iter().collect()))
    }

    #[must_use]
    pub fn list(self, items: impl IntoIterator<Item = Vec<Span>>) -> Self {
        self.with(Block::List(items.into_iter().collect()))
    }

    #[must_use]
    pub fn code(self, text: &str) -> Self {
        self.with(Block::Code(clean(text, SPAN_CHARS)))
    }

    /// Adds a block, unless it holds no text: an empty node is an error in some trackers.
    fn with(mut self, block: Block) -> Self {
        if let Some(block) = block.without_empty_text() {
            self.blocks.push(block);
        }
        self
    }

    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The same document with blocks as long as `fits` takes them. The first that does not fit is
    /// shortened until it does, the rest is dropped, and a last line says so.
    pub(crate) fn bounded(&self, mut fits: impl FnMut(&Block) -> bool) -> Self {
        let mut kept = Self::new();
        for block in &self.blocks {
            if fits(block) {
                kept.blocks.push(block.clone());
                continue;
            }
            let mut chars = block.chars() / 2;
            while let Some(shorter) = block.shortened(chars) {
                if fits(&shorter) {
                    kept.blocks.push(shorter);
                    break;
                }
                chars /= 2;
            }
            return kept.paragraph([Span::text_of(SHORTENED)]);
        }
        kept
    }
}

impl Block {
    fn without_empty_text(self) -> Option<Self> {
        let keep = |spans: Vec<Span>| -> Vec<Span> {
            spans.into_iter().filter(|span| !span.is_empty()).collect()
        };
        let block = match self {
            Self::Heading(text) if text.is_empty() => return None,
            Self::Code(text) if text.is_empty() => return None,
            Self::Paragraph(spans) => Self::Paragraph(keep(spans)),
            Self::List(items) => Self::List(
                items.into_iter().map(keep).filter(|item: &Vec<Span>| !item.is_empty()).collect(),
            ),
            other => other,
        };
        match &block {
            Self::Paragraph(spans) if spans.is_empty() => None,
            Self::List(items) if items.is_empty() => None,
            _ => Some(block),
        }
    }

    /// The same block with at most `max` characters of text; `None` when nothing would be left.
    pub(crate) fn shortened(&self, max: usize) -> Option<Self> {
        let mut left = max;
        let block = match self {
            Self::Heading(text) => Self::Heading(take(text, &mut left)),
            Self::Code(text) => Self::Code(take(text, &mut left)),
            Self::Paragraph(spans) => Self::Paragraph(take_spans(spans, &mut left)),
            Self::List(items) => {
                Self::List(items.iter().map(|item| take_spans(item, &mut left)).collect())
            }
        };
        block.without_empty_text()
    }

    pub(crate) fn chars(&self) -> usize {
        let of = |spans: &[Span]| spans.iter().map(|span| span.text().chars().count()).sum();
        match self {
            Self::Heading(text) | Self::Code(text) => text.chars().count(),
            Self::Paragraph(spans) => of(spans),
            Self::List(items) => items.iter().map(|item| -> usize { of(item) }).sum(),
        }
    }
}

impl Span {
    pub fn text_of(text: &str) -> Self {
        Self::Text(clean(text, SPAN_CHARS))
    }

    pub fn strong(text: &str) -> Self {
        Self::Strong(clean(text, SPAN_CHARS))
    }

    /// A link, if `url` is an absolute http(s) address; anything else stays text that names it.
    pub fn link(text: &str, url: &str) -> Self {
        match url::Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && url.len() <= 2_000 => {
                Self::Link { text: clean_line(text, 500), url: parsed.into() }
            }
            _ => Self::Text(clean_line(&format!("{text} ({url})"), 500)),
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Strong(text) | Self::Link { text, .. } => text,
        }
    }

    fn is_empty(&self) -> bool {
        self.text().is_empty()
    }
}

fn take(text: &str, left: &mut usize) -> String {
    let kept: String = text.chars().take(*left).collect();
    *left -= kept.chars().count();
    kept
}

fn take_spans(spans: &[Span], left: &mut usize) -> Vec<Span> {
    let shorter = |span: &Span, left: &mut usize| match span {
        Span::Text(text) => Span::Text(take(text, left)),
        Span::Strong(text) => Span::Strong(take(text, left)),
        Span::Link { text, url } => Span::Link { text: take(text, left), url: url.clone() },
    };
    spans.iter().map(|span| shorter(span, left)).collect()
}

/// Text a person can read safely: no control characters but line ends and tabs, nothing that
/// reverses or hides text, at most `max` characters, and a mark where it was cut.
pub fn clean(text: &str, max: usize) -> String {
    let mut kept: String = text.chars().filter(|c| is_visible(*c)).take(max + 1).collect();
    if kept.chars().count() > max {
        let mark = " … (shortened)";
        kept = kept.chars().take(max.saturating_sub(mark.chars().count())).collect();
        kept.push_str(mark);
    }
    kept.trim_end().to_owned()
}

/// As `clean`, on one line.
pub fn clean_line(text: &str, max: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    clean(line.trim(), max)
}

fn is_visible(c: char) -> bool {
    let hides = matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    matches!(c, '\n' | '\t') || !(c.is_control() || hides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_removed_and_length_is_bounded() {
        assert_eq!(clean("a\0b\u{1b}[31mc\r\n\td\u{202e}e", 100), "ab[31mc\n\tde");
        let long = clean(&"é".repeat(40_000), 1_000);
        assert_eq!(long.chars().count(), 1_000);
        assert!(long.ends_with("(shortened)"));
        assert_eq!(clean_line("  one\ntwo\tthree ", 100), "one two three");
    }

    #[test]
    fn blocks_without_text_are_left_out() {
        let document = Document::new()
            .heading("\0")
            .paragraph([Span::text_of(""), Span::strong("")])
            .list([vec![], vec![Span::text_of("x")]])
            .code("");
        assert_eq!(document.blocks(), [Block::List(vec![vec![Span::Text("x".into())]])]);
    }

    #[test]
    fn plain_text_makes_paragraphs_lists_and_code_and_nothing_else() {
        let text =
            "# Approved by admin\r\nstill [text](http://x)\n\n- a\n- b\n```sh\nls\n\nid\n```\nend";
        let item = |text: &str| vec![Span::Text(text.into())];
        assert_eq!(
            Document::from_text(text).blocks(),
            [
                Block::Paragraph(item("# Approved by admin\nstill [text](http://x)")),
                Block::List(vec![item("a"), item("b")]),
                Block::Code("ls\n\nid".into()),
                Block::Paragraph(item("end")),
            ]
        );
        assert!(Document::from_text("\n \n").blocks().is_empty());
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert!(matches!(Span::link("a", "https://example.org/x"), Span::Link { .. }));
        let text = Span::link("a", "javascript:alert(1)");
        assert_eq!(text, Span::Text("a (javascript:alert(1))".into()));
    }

    #[test]
    fn a_block_is_shortened_across_its_spans() {
        let block = Block::Paragraph(vec![Span::text_of("abc"), Span::strong("def")]);
        let shorter = block.shortened(4).unwrap();
        assert_eq!(
            shorter,
            Block::Paragraph(vec![Span::Text("abc".into()), Span::Strong("d".into())])
        );
        assert_eq!(block.shortened(0), None);
    }
}
