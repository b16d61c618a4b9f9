//! Which Alertmanagers are asked.

use std::path::PathBuf;

use serde::Deserialize;
use service::ConfigError;
use url::Url;

/// How a source is reconciled.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconciliation {
    /// Every Alertmanager that posts to this source. An alert is gone only where none of them has it,
    /// so a cluster is named with all its members.
    pub alertmanagers: Vec<AlertmanagerPeer>,
    /// The receiver whose alerts are ours; others are left alone.
    pub receiver: String,
    /// Seconds between two questions.
    pub reconcile_seconds: u64,
    /// Seconds for which an Alertmanager must have been up before what it lacks counts as gone: after
    /// a start it knows nothing until each Prometheus has sent its alerts again.
    pub settled_seconds: u64,
}

/// A day: nothing is true for longer without a question.
const SECONDS_MOST: u64 = 24 * 3_600;

/// One Alertmanager, and the credential that it wants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerPeer {
    pub url: Url,
    /// File with a bearer token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    #[serde(default)]
    pub basic: Option<BasicCredential>,
}

/// A user and the file with its password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicCredential {
    pub username: String,
    pub password_file: PathBuf,
}

impl Default for Reconciliation {
    fn default() -> Self {
        Self {
            alertmanagers: Vec::new(),
            receiver: "firebreak".into(),
            reconcile_seconds: 30,
            settled_seconds: 300,
        }
    }
}

impl Reconciliation {
    /// # Errors
    /// The first setting that cannot be used, below `place`.
    pub(crate) fn check(&self, place: &str) -> Result<(), ConfigError> {
        let bad = |field: &str, why: &str| {
            Err(ConfigError::setting(format!("{place}.{field}"), why.to_owned()))
        };
        if self.alertmanagers.is_empty() {
            return bad("alertmanagers", "must name one");
        }
        let times = [
            ("reconcile_seconds", self.reconcile_seconds, 1..=SECONDS_MOST),
            ("settled_seconds", self.settled_seconds, 0..=SECONDS_MOST),
        ];
        for (field, seconds, range) in times {
            ConfigError::check_range(format!("{place}.{field}"), seconds, range)?;
        }
        if self.receiver.is_empty() {
            return bad("receiver", "must not be empty");
        }
        for (index, peer) in self.alertmanagers.iter().enumerate() {
            let of = |field: &str| format!("alertmanagers[{index}].{field}");
            check_url(&format!("{place}.{}", of("url")), &peer.url)?;
            if peer.token_file.is_some() && peer.basic.is_some() {
                return bad(&of("basic"), "and `token_file` exclude one another");
            }
        }
        Ok(())
    }
}

/// # Errors
/// The setting `field` is no address of an Alertmanager.
pub(crate) fn check_url(field: &str, url: &Url) -> Result<(), ConfigError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ConfigError::setting(field, "must be an http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let why = "must hold no credential: use a token file, or `basic` of `reconcile`";
        return Err(ConfigError::setting(field, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        let settings: Reconciliation = service::parse_yaml(text, "test").unwrap();
        settings.check("am").unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let good = "alertmanagers: [{url: 'http://a:9093', token_file: t}, \
                    {url: 'https://b', basic: {username: u, password_file: p}}]";
        let settings: Reconciliation = service::parse_yaml(good, "test").unwrap();
        settings.check("am").unwrap();
        let zero = why("{reconcile_seconds: 0, alertmanagers: [{url: 'http://a'}]}");
        assert!(zero.contains("am.reconcile_seconds"), "{zero}");
        let scheme = why("alertmanagers: [{url: 'ftp://a'}]");
        assert!(scheme.contains("am.alertmanagers[0].url"), "{scheme}");
        let inside = why("alertmanagers: [{url: 'http://u:secret@a'}]");
        assert!(inside.contains("no credential") && !inside.contains("secret"), "{inside}");
        let both = why("alertmanagers: [{url: 'http://a', token_file: t, \
             basic: {username: u, password_file: p}}]");
        assert!(both.contains("exclude"), "{both}");
    }
}
