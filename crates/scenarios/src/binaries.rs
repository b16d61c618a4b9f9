//! Where the programs are: ours beside this test in cargo's target directory, built first so that
//! none is older than its source; those of other projects on PATH.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, ensure};

use crate::Program;

const PACKAGES: [&str; 7] = [
    "ingress",
    "diagnostic-agent",
    "resolution-agent",
    "ticketing-agent",
    "mcp-tools",
    "fault-simulator",
    "tck-sut",
];

/// Names a directory of binaries that are to be tested as they are.
const BINARIES: &str = "FIREBREAK_BINARIES";

#[derive(Clone, Debug)]
pub(crate) struct Tools {
    ours: PathBuf,
    pub(crate) prometheus: PathBuf,
    pub(crate) alertmanager: PathBuf,
}

impl Tools {
    /// Finds every program; the inner error names those of other projects that are not installed.
    ///
    /// # Errors
    /// Ours do not build.
    pub(crate) fn find(root: &Path) -> anyhow::Result<Result<Self, String>> {
        let mut missing = Vec::new();
        let mut need = |names: &[&str]| {
            let found = names.iter().find_map(|name| on_path(name));
            if found.is_none() {
                missing.push(names[0].to_owned());
            }
            found.unwrap_or_default()
        };
        let prometheus = need(&["prometheus"]);
        let alertmanager = need(&["alertmanager", "prometheus-alertmanager"]);
        need(&["ansible-playbook"]);
        if !missing.is_empty() {
            return Ok(Err(format!("not on PATH: {}", missing.join(", "))));
        }
        Ok(Ok(Self { ours: our_directory(root)?, prometheus, alertmanager }))
    }

    pub(crate) fn ours(&self, program: Program) -> PathBuf {
        self.ours.join(program.name())
    }
}

/// The file of one of our programs.
///
/// # Errors
/// It does not build.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.ancestors().nth(2).context("this crate stands in a workspace")?;
    Ok(our_directory(root)?.join(name))
}

pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// The directory of our binaries, built once in this process.
fn our_directory(root: &Path) -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| match std::env::var_os(BINARIES) {
        Some(directory) => Ok(directory.into()),
        None => build(root).map_err(|error| format!("{error:#}")),
    });
    built.clone().map_err(anyhow::Error::msg)
}

fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("where this test is")?;
    // target/debug/deps/whole_system-… stands two levels below the binaries.
    let directory = own.ancestors().nth(2).context("this test stands in a target directory")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--bins"]).current_dir(root);
    if directory.ends_with("release") {
        command.arg("--release");
    }
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    let status = command.status().context("run cargo build")?;
    ensure!(status.success(), "{command:?} failed; cargo has said why");
    let built = directory.join(Program::Ingress.name());
    ensure!(built.is_file(), "{command:?} did not make {}: set {BINARIES}", built.display());
    Ok(directory.to_owned())
}
