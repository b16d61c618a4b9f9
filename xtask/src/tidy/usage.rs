//! A dependency that no line of the crate names is dead weight. Textual on purpose: comments do not
//! count, derive attributes and paths do.

use super::{Package, TrackedFile, Violation};

pub(super) fn check(packages: &[Package], files: &[TrackedFile]) -> Vec<Violation> {
    packages.iter().flat_map(|package| check_crate(package, files)).collect()
}

fn check_crate(package: &Package, files: &[TrackedFile]) -> Vec<Violation> {
    let sources: Vec<(&str, &str)> = files
        .iter()
        .filter_map(|file| {
            let inside = file.path.strip_prefix(&package.directory)?.strip_prefix('/')?;
            inside.ends_with(".rs").then(|| file.text().map(|text| (inside, text))).flatten()
        })
        .collect();
    package
        .dependencies
        .iter()
        .filter(|dependency| {
            // Nothing of the last row ships, so its tests may use everything it has.
            let is_for_tests =
                dependency.kind.as_deref() == Some("dev") || package.name == "scenarios";
            let ident = dependency.called().replace('-', "_");
            // An ordinary dependency that only `tests/` names is a dev-dependency.
            !sources
                .iter()
                .filter(|(path, _)| is_for_tests || !path.starts_with("tests/"))
                .any(|(_, text)| names(text, &ident))
        })
        .map(|dependency| {
            let kind =
                dependency.kind.as_deref().map(|kind| format!("{kind}-")).unwrap_or_default();
            let message =
                format!("{kind}dependency {} is not used in the crate", dependency.called());
            Violation::new(package.manifest(), None, message)
        })
        .collect()
}

/// Whether a line of code, not of comment, holds the identifier as a whole word.
fn names(text: &str, ident: &str) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| super::sources::has_word(line, ident))
}

#[cfg(test)]
mod tests {
    use super::super::metadata::package;
    use super::super::tracked;
    use super::*;

    fn found(source: &str) -> Vec<Violation> {
        let files = [
            tracked("crates/rpc/src/lib.rs", source),
            tracked("crates/rpc-other/src/lib.rs", "use tokio_util::sync;"),
        ];
        check(&[package("rpc", &["tokio-util"])], &files)
    }

    #[test]
    fn named_dependency_is_used() {
        assert_eq!(found("use tokio_util::sync::CancellationToken;"), []);
        assert_eq!(found("fn f(t: &tokio_util::task::TaskTracker) {}"), []);
    }

    #[test]
    fn comment_or_longer_name_is_no_use() {
        let unused = found("// tokio_util would do\nuse my_tokio_util_like::x;");
        assert!(unused[0].message.contains("tokio-util is not used"), "{unused:?}");
    }

    #[test]
    fn use_in_tests_only_makes_a_dev_dependency() {
        let files = [tracked("crates/rpc/tests/a.rs", "use tempfile::tempdir;")];
        let mut rpc = package("rpc", &["tempfile"]);
        assert_eq!(check(&[rpc.clone()], &files).len(), 1);
        rpc.dependencies[0].kind = Some("dev".into());
        assert_eq!(check(&[rpc], &files), []);
    }
}
