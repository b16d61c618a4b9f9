//! Programs of other projects: found on PATH, installed from Debian's archive where this process
//! may, or named with what to do. Installing never starts a service.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// A program by its possible names, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// Names it goes by, the usual one first.
    pub(crate) names: &'static [&'static str],
    /// Debian's package.
    pub(crate) package: &'static str,
    /// How to get it elsewhere.
    pub(crate) elsewhere: &'static str,
}

pub(crate) const PROMETHEUS: Program = Program {
    names: &["prometheus"],
    package: "prometheus",
    elsewhere: "https://prometheus.io/download/ (or `brew install prometheus`)",
};
pub(crate) const PROMTOOL: Program = Program { names: &["promtool"], ..PROMETHEUS };
pub(crate) const ALERTMANAGER: Program = Program {
    names: &["alertmanager", "prometheus-alertmanager"],
    package: "prometheus-alertmanager",
    elsewhere: "https://prometheus.io/download/ (or `brew install alertmanager`)",
};
pub(crate) const ANSIBLE: Program = Program {
    names: &["ansible-playbook"],
    package: "ansible-core",
    elsewhere: "`pipx install ansible-core`",
};
pub(crate) const POSTGRES: Program = Program {
    names: &["initdb"],
    package: "postgresql",
    elsewhere: "https://www.postgresql.org/download/ (or `brew install postgresql`)",
};
pub(crate) const WRK: Program = Program {
    names: &["wrk"],
    package: "wrk",
    elsewhere: "https://github.com/wg/wrk (or `brew install wrk`)",
};
pub(crate) const PYTHON: Program = Program {
    names: &["python3"],
    package: "python3-venv",
    elsewhere: "https://www.python.org/downloads/",
};

pub(crate) const NODE: Program = Program {
    names: &["node"],
    package: "nodejs",
    elsewhere: "https://nodejs.org/en/download (18 or newer)",
};
pub(crate) const NPM: Program = Program { names: &["npm"], package: "npm", ..NODE };

/// The first executable file of this name on PATH.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    find_in(name, &std::env::var_os("PATH")?)
}

fn find_in(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|file| {
        use std::os::unix::fs::PermissionsExt;
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

fn find_program(program: &Program) -> Option<PathBuf> {
    program.names.iter().find_map(|name| find(name).or_else(|| find_versioned(name)))
}

/// Debian keeps the programs of each version of PostgreSQL in a directory that is not on PATH.
fn find_versioned(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let directories = versions.map(|version| version.path().join("bin"));
    find_in(name, &std::env::join_paths(directories).ok()?)
}

/// Finds every program, installing what is missing where that is possible.
///
/// # Errors
/// Something is missing and cannot be installed from here: the message says what to install.
pub(crate) fn require<const N: usize>(programs: [Program; N]) -> anyhow::Result<[PathBuf; N]> {
    let missing: Vec<Program> =
        programs.iter().filter(|program| find_program(program).is_none()).copied().collect();
    if !missing.is_empty() {
        let is_root = rustix::process::geteuid().is_root();
        ensure!(is_root && find("apt-get").is_some(), "{}", advice(&missing));
        let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
        install(&packages)?;
    }
    let mut found = Vec::new();
    for program in &programs {
        let path = find_program(program);
        found.push(path.with_context(|| advice(std::slice::from_ref(program)))?);
    }
    Ok(found.try_into().expect("one path for each program"))
}

fn advice(missing: &[Program]) -> String {
    let mut text = String::from("not on PATH:");
    for program in missing {
        let name = program.names[0];
        text.push_str(&format!("\n  {name}: install it from {}", program.elsewhere));
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    text.push_str("\n  on Debian or Ubuntu: sudo apt-get install --no-install-recommends ");
    text.push_str(&packages.join(" "));
    text
}

/// Installs Debian packages without starting the services they bring.
///
/// # Errors
/// `apt-get` fails; its last lines are in the message.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    println!("installing {} (Debian packages)", packages.join(" "));
    let _policy = NoServices::set(Path::new("/usr/sbin/policy-rc.d"))?;
    let first = apt(&["install", "-y", "-q", "--no-install-recommends"], packages);
    if first.is_err() {
        // A fresh machine has no package lists, or old ones.
        apt(&["update", "-q"], &[])?;
        apt(&["install", "-y", "-q", "--no-install-recommends"], packages)?;
    }
    Ok(())
}

fn apt(arguments: &[&str], packages: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .args(packages)
        // Scripts that ask for the run level are told that no service is wanted.
        .env("RUNLEVEL", "1")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("run apt-get")?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = errors.lines().rev().take(5).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    bail!("apt-get {} {}:\n{}", arguments[0], packages.join(" "), tail.join("\n"))
}

/// Forbids the start of services while it lives, by Debian's `policy-rc.d`.
#[derive(Debug)]
struct NoServices {
    ours: Option<PathBuf>,
}

impl NoServices {
    fn set(file: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if file.exists() {
            return Ok(Self { ours: None });
        }
        std::fs::write(file, "#!/bin/sh\nexit 101\n")
            .with_context(|| file.display().to_string())?;
        let policy = Self { ours: Some(file.into()) };
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(file) = &self.ours {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_executable_files_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("prometheus");
        std::fs::write(&file, "").unwrap();
        let path = directory.path().as_os_str();
        assert_eq!(find_in("prometheus", path), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in("prometheus", path), Some(file));
    }

    #[test]
    fn advice_names_every_missing_package() {
        let text = advice(&[PROMETHEUS, ALERTMANAGER]);
        assert!(text.contains("alertmanager: install it from https://prometheus.io"), "{text}");
        assert!(
            text.ends_with("--no-install-recommends prometheus prometheus-alertmanager"),
            "{text}"
        );
    }

    #[test]
    fn service_policy_is_taken_back_unless_it_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy-rc.d");
        drop(NoServices::set(&file).unwrap());
        assert!(!file.exists());
        std::fs::write(&file, "theirs").unwrap();
        drop(NoServices::set(&file).unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "theirs");
    }
}
