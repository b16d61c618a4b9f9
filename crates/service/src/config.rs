//! Configuration files: YAML, unknown keys refused by the types, errors that name file, line and
//! field. Environment variables override single settings, by name and on purpose.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::Process;

/// The settings of one program.
pub trait Configuration: DeserializeOwned + Default + Send + 'static {
    /// Applies the environment variables this program knows.
    ///
    /// # Errors
    /// A variable whose value cannot be used.
    fn apply_env(&mut self, _env: &Env) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Checks what types cannot: ranges, files that must exist, settings that contradict.
    ///
    /// # Errors
    /// The first setting that cannot be used, by its dotted name.
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Reads and checks the files that the settings name, those of secrets too, as the start does.
    /// What it opens it looks at until the end of `process`.
    ///
    /// # Errors
    /// The first file that cannot be used, with the setting that names it and what is wrong. No
    /// secret is in it.
    fn check_files(&self, _process: &Process) -> anyhow::Result<()> {
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{origin}: field `{field}`: {message}")]
    Invalid { origin: String, field: String, message: String },
    #[error("environment variable {name}: {message}")]
    Env { name: String, message: String },
    #[error("setting `{field}`: {message}")]
    Setting { field: String, message: String },
}

impl ConfigError {
    pub fn setting(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Setting { field: field.into(), message: message.into() }
    }

    /// Refuses a number with which a program could do nothing, or would take what the machine has not.
    ///
    /// # Errors
    /// The number is not in the range.
    pub fn check_range(
        field: impl Into<String>,
        number: u64,
        range: RangeInclusive<u64>,
    ) -> Result<(), Self> {
        if range.contains(&number) {
            return Ok(());
        }
        let (least, most) = range.into_inner();
        Err(Self::setting(field, format!("must be from {least} to {most}, not {number}")))
    }
}

/// The environment, or a stand-in for it in a test.
#[derive(Clone, Debug)]
pub struct Env(Source);

#[derive(Clone, Debug)]
enum Source {
    Process,
    Fixed(Vec<(String, String)>),
}

impl Env {
    pub fn process() -> Self {
        Self(Source::Process)
    }

    pub fn fixed<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(Source::Fixed(pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()))
    }

    /// The value of `name`; an empty value counts as absent, as compose files produce them.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Source::Process => std::env::var(name).ok(),
            Source::Fixed(pairs) => {
                pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
            }
        };
        value.filter(|value| !value.is_empty())
    }

    /// Overrides `setting` where `name` is set.
    ///
    /// # Errors
    /// A value that does not parse as the setting's type.
    pub fn apply<T>(&self, name: &str, setting: &mut T) -> Result<(), ConfigError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        if let Some(value) = self.get(name) {
            *setting = value.parse().map_err(|error: T::Err| ConfigError::Env {
                name: name.to_owned(),
                message: format!("{value:?}: {error}"),
            })?;
        }
        Ok(())
    }

    /// Overrides an optional `setting` where `name` is set.
    ///
    /// # Errors
    /// A value that does not parse as the setting's type.
    pub fn apply_some<T>(&self, name: &str, setting: &mut Option<T>) -> Result<(), ConfigError>
    where
        T: std::str::FromStr + Clone,
        T::Err: std::fmt::Display,
    {
        if let Some(value) = self.get(name) {
            *setting = Some(value.parse().map_err(|error: T::Err| ConfigError::Env {
                name: name.to_owned(),
                message: format!("{value:?}: {error}"),
            })?);
        }
        Ok(())
    }
}

/// Reads a program's settings: defaults, then the file, then the environment, then the checks.
///
/// # Errors
/// The first thing that cannot be used, with the file, line and field it stands at.
pub fn load_config<C: Configuration>(path: Option<&Path>, env: &Env) -> Result<C, ConfigError> {
    let mut config = match path {
        Some(path) => read_yaml(path)?,
        None => C::default(),
    };
    config.apply_env(env)?;
    config.validate()?;
    Ok(config)
}

/// Reads one YAML file into a type.
///
/// # Errors
/// The file cannot be read, or does not fit the type: file, line, column and field are named.
pub fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse_yaml(&text, &path.display().to_string())
}

/// Reads YAML text into a type; `origin` is what an error calls it. Empty text is an empty mapping.
///
/// # Errors
/// The text does not fit the type: origin, line, column and field are named.
pub fn parse_yaml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, ConfigError> {
    let is_blank =
        text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    let text = if is_blank { "{}" } else { text };
    serde_path_to_error::deserialize(serde_norway::Deserializer::from_str(text)).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        let origin = match inner.location() {
            Some(at) => format!("{origin}:{}:{}", at.line(), at.column()),
            None => origin.to_owned(),
        };
        // The path is reported as `field`; the parser's own copies of path and position go.
        let mut message = inner.to_string();
        if let Some(cut) = message.rfind(" at line ") {
            message.truncate(cut);
        }
        if let Some(rest) = message.strip_prefix(&format!("{field}: ")) {
            message = rest.to_owned();
        }
        ConfigError::Invalid { origin, field, message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Default, Debug)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        port: u16,
        token: Option<String>,
    }
    impl Configuration for Sample {
        fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
            env.apply("SAMPLE_PORT", &mut self.port)?;
            env.apply_some("SAMPLE_TOKEN", &mut self.token)
        }
    }

    #[test]
    fn an_error_names_file_line_and_field() {
        let error = parse_yaml::<Sample>("# x\nport: many\n", "a.yaml").unwrap_err().to_string();
        assert_eq!(error, "a.yaml:2:7: field `port`: invalid type: string \"many\", expected u16");
        let error = parse_yaml::<Sample>("prot: 1\n", "a.yaml").unwrap_err().to_string();
        assert!(error.contains("a.yaml:1:1") && error.contains("unknown field `prot`"), "{error}");
    }

    #[test]
    fn the_environment_overrides_the_file_and_a_bad_value_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yaml");
        std::fs::write(&path, "port: 1\n").unwrap();
        let env = Env::fixed([("SAMPLE_PORT", "2"), ("SAMPLE_TOKEN", "")]);
        let sample: Sample = load_config(Some(&path), &env).unwrap();
        assert_eq!((sample.port, sample.token), (2, None));
        let error = load_config::<Sample>(None, &Env::fixed([("SAMPLE_PORT", "x")])).unwrap_err();
        assert!(
            error.to_string().starts_with("environment variable SAMPLE_PORT: \"x\""),
            "{error}"
        );
    }

    #[test]
    fn a_file_of_comments_only_is_the_defaults() {
        assert_eq!(parse_yaml::<Sample>("# nothing\n", "a").unwrap().port, 0);
    }
}
