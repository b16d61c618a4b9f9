//! Text of the repository: a header on every module, no note left for later, no path of the machine
//! it was written on.

use super::{TrackedFile, Violation};

/// Words that mark unfinished work. Put together here so that this file does not hold them.
const LATER: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// Directories of one machine.
const MACHINE: [&str; 2] = [concat!("/wo", "rk"), concat!("/ro", "ot")];

pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &TrackedFile) -> Vec<Violation> {
    let Some(text) = file.text() else { return Vec::new() };
    let mut violations = Vec::new();
    if file.path.ends_with(".rs") && !text.starts_with("//!") {
        let message = "has no module header: `//!` on the first line";
        violations.push(Violation::new(&file.path, Some(1), message));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(word) = LATER.iter().find(|word| has_word(line, word)) {
            let message = format!("{word}: finish it, or write it into an issue");
            violations.push(Violation::new(&file.path, Some(index + 1), message));
        }
        if let Some(path) = MACHINE.iter().find(|path| has_path(line, path)) {
            let message = format!("names {path}, a directory of one machine");
            violations.push(Violation::new(&file.path, Some(index + 1), message));
        }
    }
    violations
}

/// Whether `line` holds `word` with no identifier letter on either side.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_ident = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_ident)
            && !line[at + word.len()..].chars().next().is_some_and(is_ident)
    })
}

/// Whether `line` holds `path` as the beginning of an absolute path.
fn has_path(line: &str, path: &str) -> bool {
    let goes_on = |letter: char| letter.is_alphanumeric() || "_-.}".contains(letter);
    line.match_indices(path).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(goes_on)
            && !line[at + path.len()..].chars().next().is_some_and(goes_on)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tracked;
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&[tracked(path, text)]).iter().map(Violation::to_string).collect()
    }

    #[test]
    fn module_without_header_is_refused() {
        assert_eq!(messages("a.rs", "//! Says why.\n"), Vec::<String>::new());
        assert!(messages("a.rs", "use std::fmt;\n")[0].starts_with("a.rs:1: has no module header"));
        assert_eq!(messages("a.yaml", "a: 1\n"), Vec::<String>::new());
    }

    #[test]
    fn note_for_later_is_refused() {
        let text = format!("first\n# {}: more\n", LATER[1]);
        assert!(messages("a.yaml", &text)[0].starts_with("a.yaml:2:"));
        let status = format!("status {}S and to do\n", LATER[0]);
        assert_eq!(messages("a.md", &status), Vec::<String>::new());
    }

    #[test]
    fn machine_path_is_refused() {
        for text in [format!("see {}/main", MACHINE[0]), format!("(\"{}/.cargo\")", MACHINE[1])] {
            assert!(messages("a.md", &text)[0].contains("of one machine"), "{text}");
        }
        let fine = format!("{}flow, src{}s, $HOME{}/x", MACHINE[0], MACHINE[1], MACHINE[0]);
        assert_eq!(messages("a.md", &fine), Vec::<String>::new());
    }

    #[test]
    fn words_end_at_identifier_letters() {
        assert!(has_word("use serde::Serialize", "serde"));
        assert!(!has_word("use serde_json::Value", "serde"));
    }
}
