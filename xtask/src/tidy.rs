//! `cargo xtask tidy`: the rules of the workspace that the compiler does not know.
//!
//! Each check is a pure function from what was read to the violations it found, so that a test can
//! show it failing. Nothing is fixed here and nothing is skipped: one violation fails the run.

mod layers;
mod lockfile;
mod manifests;
mod metadata;
mod shared;
mod sources;
mod usage;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

use metadata::Package;

/// One broken rule, with the place to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: Option<usize>,
    message: String,
}

impl Violation {
    fn new(file: impl Into<String>, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.file, self.message),
            None => write!(out, "{}: {}", self.file, self.message),
        }
    }
}

/// A file that git knows or would take, with its path below the workspace root.
#[derive(Clone, Debug)]
struct TrackedFile {
    path: String,
    bytes: Vec<u8>,
}

impl TrackedFile {
    /// The content of a text file.
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

/// Checks everything and prints every violation.
///
/// # Errors
/// The workspace cannot be read: no cargo, no git, an unreadable file.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let packages = metadata::read(root)?;
    let files = tracked_files(root)?;
    let mut violations = check(&packages, &files);
    match shared::directory(root) {
        Some(directory) => violations.extend(shared::check(&files, &directory)?),
        None => println!("tidy: no shared data on this machine, its check is skipped"),
    }
    violations.sort();
    violations.dedup();
    for violation in &violations {
        println!("{violation}");
    }
    let (crates, count) = (packages.len(), files.len());
    if violations.is_empty() {
        println!("tidy: {crates} crates, {count} files, no violation");
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {crates} crates, {count} files, {} violations", violations.len());
    Ok(ExitCode::FAILURE)
}

fn check(packages: &[Package], files: &[TrackedFile]) -> Vec<Violation> {
    let text = |path: &str| {
        files.iter().find(|file| file.path == path).and_then(TrackedFile::text).unwrap_or_default()
    };
    let mut violations = layers::check(packages);
    violations.extend(manifests::check_crates(packages, &text));
    violations.extend(manifests::check_workspace(packages, text("Cargo.toml")));
    violations.extend(usage::check(packages, files));
    violations.extend(lockfile::check(text("Cargo.lock")));
    violations.extend(sources::check(files));
    violations
}

fn tracked_files(root: &Path) -> anyhow::Result<Vec<TrackedFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("run git ls-files")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listed = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut paths: Vec<PathBuf> =
        listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        // Deleted in the work tree, still in the index: nothing to check.
        let Ok(bytes) = std::fs::read(root.join(&path)) else { continue };
        files.push(TrackedFile { path: path.to_string_lossy().into_owned(), bytes });
    }
    Ok(files)
}

#[cfg(test)]
fn tracked(path: &str, text: &str) -> TrackedFile {
    TrackedFile { path: path.into(), bytes: text.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violation_names_file_and_line() {
        let shown = Violation::new("a.rs", Some(3), "bad").to_string();
        assert_eq!(shown, "a.rs:3: bad");
        assert_eq!(Violation::new("a.rs", None, "bad").to_string(), "a.rs: bad");
    }

    #[test]
    fn every_check_takes_part() {
        let packages = [metadata::package("rpc", &["ingress"])];
        let files = [
            tracked("Cargo.toml", "[workspace.dependencies]\nlonely = \"1\"\n"),
            tracked("Cargo.lock", "[[package]]\nname = \"axum\"\n\n[[package]]\nname = \"axum\"\n"),
            tracked("crates/rpc/Cargo.toml", "[package]\n"),
            tracked("crates/rpc/src/lib.rs", "fn f() {}\n"),
        ];
        let found: Vec<String> =
            check(&packages, &files).iter().map(|violation| violation.message.clone()).collect();
        for part in ["row", "[lints]", "reason", "not used", "versions of axum", "header"] {
            assert!(found.iter().any(|message| message.contains(part)), "{part}: {found:#?}");
        }
    }
}
