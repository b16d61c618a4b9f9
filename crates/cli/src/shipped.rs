//! The configuration that ships with the binary, for a machine without the repository.

use std::path::{Path, PathBuf};

use anyhow::Context;
use include_dir::{Dir, include_dir};

static CONFIG: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../deploy/config");
static ANSIBLE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../deploy/ansible");

/// The configuration directory to use: the one named, the repository's, or the shipped one,
/// unpacked into the data directory where it can be read and edited.
///
/// # Errors
/// The directory named is none, or the shipped one cannot be written.
pub(crate) fn config_dir(named: Option<&Path>, data: &Path) -> anyhow::Result<PathBuf> {
    choose(named, "deploy/config", &CONFIG, &data.join("config"))
}

/// The same for playbooks.
///
/// # Errors
/// The directory named is none, or the shipped one cannot be written.
pub(crate) fn ansible_dir(named: Option<&Path>, data: &Path) -> anyhow::Result<PathBuf> {
    choose(named, "deploy/ansible", &ANSIBLE, &data.join("ansible"))
}

fn choose(
    named: Option<&Path>,
    here: &str,
    shipped: &Dir<'_>,
    unpacked: &Path,
) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        anyhow::ensure!(named.is_dir(), "{} is not a directory", named.display());
        return Ok(named.to_owned());
    }
    if Path::new(here).is_dir() {
        return Ok(here.into());
    }
    if !unpacked.is_dir() {
        std::fs::create_dir_all(unpacked)
            .and_then(|()| shipped.extract(unpacked))
            .with_context(|| format!("unpack the shipped files into {}", unpacked.display()))?;
    }
    Ok(unpacked.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rpc::a2a::ServerConfig;

    use super::*;

    /// The settings that every agent shows as a comment are settings.
    #[test]
    fn the_a2a_settings_in_the_samples_are_ones() {
        for agent in ["ingress", "diagnostic-agent", "resolution-agent", "ticketing-agent"] {
            let file = CONFIG.get_file(format!("{agent}.yaml")).unwrap();
            let text = file.contents_utf8().unwrap();
            let (_, block) = text.split_once("\n# a2a:").unwrap_or_else(|| panic!("{agent}"));
            let lines = block.lines().map_while(|line| match line {
                "" => Some(""),
                line => line.strip_prefix("# "),
            });
            let yaml = format!("a2a:\n{}\n", lines.collect::<Vec<_>>().join("\n"));
            let shown: BTreeMap<String, ServerConfig> =
                service::parse_yaml(&yaml, agent).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(shown["a2a"].check(), Ok(()), "{agent}");
            assert_eq!(shown["a2a"].limits, ServerConfig::default().limits, "{agent}");
        }
    }
}
