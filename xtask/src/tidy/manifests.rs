//! Manifests: lints inherited, nothing published, versions chosen in the workspace only, and every
//! dependency of the workspace with its reason and a crate that uses it.

use super::{Package, Violation};

pub(super) fn check_crates<'a>(
    packages: &[Package],
    text: &impl Fn(&str) -> &'a str,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        let manifest = package.manifest();
        let content = text(&manifest);
        if !section(content, "[lints]").any(|(_, line)| line == "workspace = true") {
            let message = "does not inherit the lints: [lints] workspace = true";
            violations.push(Violation::new(&manifest, None, message));
        }
        if package.is_published {
            violations.push(Violation::new(&manifest, None, "may be published: publish = false"));
        }
        for header in ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"] {
            for (number, line) in section(content, header) {
                if !is_inherited(line) {
                    let message = format!("version outside the workspace manifest: {line}");
                    violations.push(Violation::new(&manifest, Some(number), message));
                }
            }
        }
    }
    violations
}

pub(super) fn check_workspace(packages: &[Package], content: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let lines: Vec<&str> = content.lines().map(str::trim).collect();
    for (number, line) in section(content, "[workspace.dependencies]") {
        let Some(name) = line.split(['=', '.', ' ']).next().filter(|name| !name.is_empty()) else {
            continue;
        };
        let is_own = packages.iter().any(|package| package.name == name);
        let has_reason = lines[..number - 1].last().is_some_and(|above| above.starts_with('#'));
        if !is_own && !has_reason {
            let message = format!("dependency {name} has no reason: a comment above it");
            violations.push(Violation::new("Cargo.toml", Some(number), message));
        }
        let is_used = packages.iter().any(|package| {
            package.dependencies.iter().any(|dependency| dependency.called() == name)
        });
        if !is_used && !is_own {
            let message = format!("dependency {name} is not used by any crate");
            violations.push(Violation::new("Cargo.toml", Some(number), message));
        }
    }
    violations
}

fn is_inherited(line: &str) -> bool {
    let spaceless: String = line.chars().filter(|letter| !letter.is_whitespace()).collect();
    spaceless.contains(".workspace=true") || spaceless.contains("workspace=true")
}

/// The lines of one table, with their numbers, without blanks and comments.
fn section<'a>(content: &'a str, header: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    content
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .skip_while(move |(_, line)| *line != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::super::metadata::package;
    use super::*;

    const GOOD: &str = "[lints]\nworkspace = true\n\n[dependencies]\nserde.workspace = true\n\
                        tokio = { workspace = true, features = [\"net\"] }\n";

    fn crates(content: &str) -> Vec<Violation> {
        check_crates(&[package("rpc", &[])], &|_| content)
    }

    #[test]
    fn inherited_manifest_passes() {
        assert_eq!(crates(GOOD), []);
    }

    #[test]
    fn manifest_without_lints_is_refused() {
        let found = crates("[package]\nworkspace = true\n");
        assert!(found[0].message.contains("[lints]"), "{found:?}");
    }

    #[test]
    fn published_crate_is_refused() {
        let mut public = package("rpc", &[]);
        public.is_published = true;
        let found = check_crates(&[public], &|_| GOOD);
        assert!(found[0].message.contains("publish = false"), "{found:?}");
    }

    #[test]
    fn own_version_is_refused_with_its_line() {
        let found = crates("[lints]\nworkspace = true\n[dev-dependencies]\nrand = \"0.8\"\n");
        assert_eq!(found[0].line, Some(4));
    }

    #[test]
    fn workspace_dependency_needs_reason_and_user() {
        let packages = [package("rpc", &["serde", "bare"])];
        let content = "[workspace.dependencies]\n# own\nrpc = { path = \"crates/rpc\" }\n\
                       # data: wire types\nserde = \"1\"\nbare = \"1\"\n# for nobody\nidle = \"1\"\n\n[profile.dev]\n";
        let found = check_workspace(&packages, content);
        let shown: Vec<String> = found.iter().map(Violation::to_string).collect();
        assert_eq!(
            shown,
            [
                "Cargo.toml:6: dependency bare has no reason: a comment above it",
                "Cargo.toml:8: dependency idle is not used by any crate",
            ]
        );
    }
}
