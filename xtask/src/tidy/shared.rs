//! Sample data shared between projects is read in place and never committed. A tracked file with
//! the same content as a shared one is a copy.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{TrackedFile, Violation};

/// Smaller files can be alike by chance.
const SMALLEST_COPY: usize = 64;

/// Where the shared data is on this machine, if anywhere.
pub(super) fn directory(root: &Path) -> Option<PathBuf> {
    let named = std::env::var_os("FIREBREAK_SHARED").map(PathBuf::from);
    let directory = named.or_else(|| Some(root.parent()?.join("shared")))?;
    directory.is_dir().then_some(directory)
}

/// Compares by content, so a renamed copy is found too.
///
/// # Errors
/// A shared file or directory cannot be read.
pub(super) fn check(files: &[TrackedFile], directory: &Path) -> anyhow::Result<Vec<Violation>> {
    let mut by_size: HashMap<usize, Vec<&TrackedFile>> = HashMap::new();
    for file in files.iter().filter(|file| file.bytes.len() >= SMALLEST_COPY) {
        by_size.entry(file.bytes.len()).or_default().push(file);
    }
    let mut violations = Vec::new();
    let mut waiting = vec![directory.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            let kind = path.symlink_metadata().with_context(|| path.display().to_string())?;
            if kind.is_dir() {
                waiting.push(path);
            } else if let Some(alike) = by_size.get(&(kind.len() as usize)) {
                violations.extend(copies(alike, &path)?);
            }
        }
    }
    Ok(violations)
}

fn copies(alike: &[&TrackedFile], path: &Path) -> anyhow::Result<Vec<Violation>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(alike
        .iter()
        .filter(|file| file.bytes == bytes)
        .map(|file| Violation::new(&file.path, None, format!("is a copy of shared {name}")))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::tracked;
    use super::*;

    #[test]
    fn copy_is_found_under_another_name() {
        let shared = tempfile::tempdir().unwrap();
        let content = "x".repeat(SMALLEST_COPY);
        std::fs::create_dir(shared.path().join("payloads")).unwrap();
        std::fs::write(shared.path().join("payloads/original.json"), &content).unwrap();
        let files = [
            tracked("tests/renamed.json", &content),
            tracked("tests/own.json", &"y".repeat(SMALLEST_COPY)),
        ];
        let found = check(&files, shared.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "tests/renamed.json: is a copy of shared original.json");
    }
}
