//! What `cargo metadata` says of the workspace's crates, as far as the checks need it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
}

#[derive(Debug, Deserialize)]
struct RawPackage {
    name: String,
    manifest_path: String,
    /// `null` where anything may publish, an empty list where nothing may.
    publish: Option<Vec<String>>,
    dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// What it is called here, where it is called otherwise.
    pub(super) rename: Option<String>,
    /// `dev`, `build`, or nothing for an ordinary one.
    pub(super) kind: Option<String>,
}

impl Dependency {
    /// The name that manifests and code use.
    pub(super) fn called(&self) -> &str {
        self.rename.as_deref().unwrap_or(&self.name)
    }
}

/// One crate of the workspace.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// Directory below the workspace root.
    pub(super) directory: String,
    pub(super) is_published: bool,
    pub(super) dependencies: Vec<Dependency>,
}

impl Package {
    pub(super) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.directory)
    }
}

/// Reads the workspace's own crates.
///
/// # Errors
/// Cargo cannot be run or does not accept the manifests.
pub(super) fn read(root: &Path) -> anyhow::Result<Vec<Package>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("run cargo metadata")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "cargo metadata: {}", errors.trim());
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("read the answer of cargo metadata")?;
    metadata.packages.into_iter().map(|package| below(root, package)).collect()
}

fn below(root: &Path, package: RawPackage) -> anyhow::Result<Package> {
    let manifest = Path::new(&package.manifest_path);
    let directory = manifest
        .parent()
        .and_then(|directory| directory.strip_prefix(root).ok())
        .with_context(|| format!("{} is outside the workspace", package.manifest_path))?;
    Ok(Package {
        name: package.name,
        directory: directory.to_string_lossy().into_owned(),
        is_published: package.publish.is_none_or(|registries| !registries.is_empty()),
        dependencies: package.dependencies,
    })
}

#[cfg(test)]
pub(super) fn package(name: &str, dependencies: &[&str]) -> Package {
    Package {
        name: name.into(),
        directory: format!("crates/{name}"),
        is_published: false,
        dependencies: dependencies
            .iter()
            .map(|name| Dependency { name: (*name).into(), rename: None, kind: None })
            .collect(),
    }
}
