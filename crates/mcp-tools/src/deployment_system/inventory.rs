//! The targets that can be changed, and how. A name that is not here cannot be acted upon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use service::{ConfigError, Secret};
use url::Url;

use super::playbook::Playbooks;

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    pub targets: BTreeMap<String, Target>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The service it runs, for people.
    pub service: String,
    pub executor: ExecutorConfig,
    /// Playbooks of the catalogue that may be run for it.
    #[serde(default)]
    pub playbooks: Vec<String>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExecutorConfig {
    /// A service with an admin API, as the fault-simulator has it.
    HttpAdmin(HttpAdminConfig),
    /// A process of this machine.
    Process(ProcessConfig),
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAdminConfig {
    /// Base URL of the admin API, without `/admin`.
    pub url: Url,
    /// File with the bearer token for it.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Program and arguments. No shell reads it.
    pub command: Vec<String>,
    /// Working directory.
    #[serde(default = "here")]
    pub directory: PathBuf,
    /// The whole environment, besides `PATH`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Receives the process's output, appended.
    pub log_file: PathBuf,
    /// Time to end by SIGTERM before SIGKILL.
    #[serde(default = "grace")]
    pub stop_grace_ms: u64,
}

fn here() -> PathBuf {
    ".".into()
}

fn grace() -> u64 {
    5_000
}

impl Inventory {
    /// Reads and checks an inventory file.
    ///
    /// # Errors
    /// The first thing that cannot be used, with file and field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let inventory: Self = service::read_yaml(path)?;
        for (name, target) in &inventory.targets {
            let invalid = |field: &str, message: &str| invalid(path, name, field, message);
            if !is_name(name) {
                return Err(invalid("", "the name may hold letters, digits and _.:- only"));
            }
            match &target.executor {
                ExecutorConfig::HttpAdmin(admin) => {
                    if !matches!(admin.url.scheme(), "http" | "https") {
                        return Err(invalid("executor.url", "must be http or https"));
                    }
                }
                ExecutorConfig::Process(process) => {
                    if process.command.is_empty() {
                        return Err(invalid("executor.command", "must name a program"));
                    }
                }
            }
        }
        Ok(inventory)
    }

    /// Gives targets other URLs than the file does.
    ///
    /// # Errors
    /// A target that is not in the inventory, or has no URL.
    pub(super) fn redirect(&mut self, urls: &BTreeMap<String, Url>) -> Result<(), ConfigError> {
        for (name, url) in urls {
            let setting = format!("target_urls.{name}");
            match self.targets.get_mut(name).map(|target| &mut target.executor) {
                Some(ExecutorConfig::HttpAdmin(admin)) => admin.url = url.clone(),
                Some(ExecutorConfig::Process(_)) => {
                    return Err(ConfigError::setting(setting, "is a process and has no URL"));
                }
                None => return Err(ConfigError::setting(setting, "is not in the inventory")),
            }
        }
        Ok(())
    }

    pub(super) fn check_playbooks(
        &self,
        path: &Path,
        playbooks: &Playbooks,
    ) -> Result<(), ConfigError> {
        for (name, target) in &self.targets {
            if let Some(unknown) = target.playbooks.iter().find(|name| !playbooks.has(name)) {
                let message = format!("{unknown:?} is not in the playbook catalogue");
                return Err(invalid(path, name, "playbooks", &message));
            }
        }
        Ok(())
    }

    /// Reads the credentials of every target, which an executor does when it is made.
    pub(super) fn check_tokens(&self, path: &Path) -> anyhow::Result<()> {
        for (name, target) in &self.targets {
            if let ExecutorConfig::HttpAdmin(admin) = &target.executor {
                let read = admin.token(name);
                read.with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }
}

impl HttpAdminConfig {
    /// The secret for the admin API of this target.
    pub(super) fn token(&self, target: &str) -> anyhow::Result<Option<Secret>> {
        let setting = format!("targets.{target}.executor.token_file");
        Secret::of_setting(&setting, self.token_file.as_deref())
    }
}

fn invalid(path: &Path, name: &str, field: &str, message: &str) -> ConfigError {
    ConfigError::Invalid {
        origin: path.display().to_string(),
        field: format!("targets.{name}.{field}").trim_end_matches('.').to_owned(),
        message: message.to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment_system::Config;
    use crate::system_monitor::Catalogue;

    #[test]
    fn the_sample_inventory_fits_the_playbooks_and_the_signals() {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let path = deploy.join("config/inventory.yaml");
        let inventory = Inventory::read(&path).unwrap();
        let config = Config { ansible_directory: deploy.join("ansible"), ..Config::default() };
        inventory.check_playbooks(&path, &Playbooks::read(&config).unwrap()).unwrap();
        let mut known = Catalogue::read(&deploy.join("config/signals.yaml")).unwrap().targets;
        known.sort();
        assert_eq!(inventory.targets.keys().cloned().collect::<Vec<_>>(), known);
    }

    #[test]
    fn an_inventory_that_cannot_be_used_names_the_target_and_the_field() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.yaml");
        let read = |target: &str| {
            std::fs::write(&path, format!("targets:\n  {target}\n")).unwrap();
            Inventory::read(&path).unwrap_err().to_string()
        };
        let bad_url = read("db: {service: d, executor: {kind: http_admin, url: 'ftp://h'}}");
        assert!(bad_url.contains("`targets.db.executor.url`"), "{bad_url}");
        let bad_name = read("'a b': {service: d, executor: {kind: http_admin, url: 'http://h'}}");
        assert!(bad_name.contains("`targets.a b`"), "{bad_name}");
        let no_command =
            read("w: {service: d, executor: {kind: process, command: [], log_file: l}}");
        assert!(no_command.contains("`targets.w.executor.command`"), "{no_command}");
        let unknown = read("db: {service: d, executor: {kind: magic}}");
        assert!(unknown.contains("magic"), "{unknown}");
    }
}
