//! Credentials: read from files, printed as `***`, never serialised.

use std::fmt;
use std::path::Path;

use anyhow::Context;

/// A credential. Its text is reachable only through `reveal`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a credential file, without the line end that editors add.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read secret file {}", path.display()))?;
        let text = text.trim_end_matches(['\r', '\n']);
        anyhow::ensure!(!text.is_empty(), "secret file {} is empty", path.display());
        Ok(Self::new(text))
    }

    /// The same for the file that a setting names, if it names one.
    ///
    /// # Errors
    /// The file cannot be used; the setting is named.
    pub fn of_setting(setting: &str, file: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let read = |file| Self::from_file(file).with_context(|| format!("setting `{setting}`"));
        file.map(read).transpose()
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_stars_and_loses_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = Secret::from_file(&path).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        std::fs::write(&path, "\n").unwrap();
        assert!(Secret::from_file(&path).is_err());
    }
}
