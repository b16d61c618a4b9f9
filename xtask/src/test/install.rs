//! The stage that gets what the tests run: monitoring, Ansible, PostgreSQL, and the official SDKs of both
//! protocols in environments of their own below `target`.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::Runner;
use crate::programs::{
    self, ALERTMANAGER, ANSIBLE, NODE, NPM, POSTGRES, PROMETHEUS, PROMTOOL, PYTHON,
};

impl Runner<'_> {
    /// Installs everything that is missing.
    pub(super) fn install(&mut self) -> anyhow::Result<()> {
        programs::require([PROMETHEUS, PROMTOOL, ALERTMANAGER, ANSIBLE, POSTGRES])?;
        self.install_python()?;
        self.install_javascript()
    }

    fn install_python(&mut self) -> anyhow::Result<()> {
        let [python] = programs::require([PYTHON])?;
        let environment = self.root.join("target/venv");
        let own = environment.join("bin/python");
        if !own.is_file() {
            self.make_environment(&python, &environment)?;
        }
        let pinned = self.root.join("crates/scenarios/python/requirements.txt");
        let mut pip = Command::new(&own);
        pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&pinned);
        self.command("pip", &pip)?;
        self.environments.push(("FIREBREAK_VENV", environment));
        Ok(())
    }

    /// Debian ships `venv` apart from Python, and says so only when it is used.
    fn make_environment(&mut self, python: &Path, environment: &Path) -> anyhow::Result<()> {
        let mut make = Command::new(python);
        make.args(["-m", "venv"]).arg(environment);
        if self.command("venv", &make).is_err() {
            programs::install(&[PYTHON.package])?;
            self.command("venv", &make)?;
        }
        Ok(())
    }

    /// Node looks for modules beside and above a script only, so that a copy of what pins them
    /// stands where they are installed.
    fn install_javascript(&mut self) -> anyhow::Result<()> {
        let [_, npm] = programs::require([NODE, NPM])?;
        let environment = self.root.join("target/javascript");
        std::fs::create_dir_all(&environment)
            .with_context(|| format!("create {}", environment.display()))?;
        for pinned in ["package.json", "package-lock.json"] {
            let source = self.root.join("crates/scenarios/javascript").join(pinned);
            std::fs::copy(&source, environment.join(pinned))
                .with_context(|| format!("copy {}", source.display()))?;
        }
        let mut ci = Command::new(npm);
        ci.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]);
        ci.current_dir(&environment);
        self.command("npm", &ci)?;
        self.environments.push(("FIREBREAK_JAVASCRIPT", environment));
        Ok(())
    }
}
