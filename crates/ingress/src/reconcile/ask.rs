//! One Alertmanager is asked: which alerts it has, and since when it is up. Bounded in time and bytes;
//! a redirect is not followed, as the credential is for this address alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::DATE;
use serde::Deserialize;
use service::{Process, Secret, WatchedSecret};
use url::Url;

use super::settings::AlertmanagerPeer;

const DEADLINE: Duration = Duration::from_secs(10);
/// A list of about 60,000 alerts.
const LIST_BYTES: usize = 64 << 20;
const STATUS_BYTES: usize = 4 << 20;

/// Every alert, whatever state it is in: one that is not listed here is gone.
const ALERTS: &str = "api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true";
const STATUS: &str = "api/v2/status";

#[derive(Debug)]
pub(super) struct Peer {
    http: reqwest::Client,
    url: Url,
    credential: Option<Credential>,
}

#[derive(Debug)]
enum Credential {
    Bearer(Arc<WatchedSecret>),
    Basic { username: String, password: Arc<WatchedSecret> },
}

/// What one Alertmanager says.
#[derive(Debug)]
pub(super) struct Answer {
    /// A JSON array of alerts.
    pub(super) list: Bytes,
    /// How long it has been up, by its own clock, and ready; else why that is not known.
    pub(super) up: Result<SignedDuration, String>,
}

#[derive(Debug, Deserialize)]
struct StatusBody {
    /// The time of its start, in spite of the name.
    uptime: Timestamp,
    #[serde(default)]
    cluster: ClusterBody,
}

#[derive(Debug, Default, Deserialize)]
struct ClusterBody {
    #[serde(default)]
    status: String,
}

impl Peer {
    /// # Errors
    /// A credential cannot be read.
    pub(super) fn open(process: &Process, settings: &AlertmanagerPeer) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true);
        if matches!(settings.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            http = http.no_proxy();
        }
        let watched = |setting: &str, file: &Path| {
            let opened = WatchedSecret::open(process, file, false, |_| Ok(()));
            opened.with_context(|| format!("`{setting}`"))
        };
        let credential = match (&settings.token_file, &settings.basic) {
            (Some(file), _) => Some(Credential::Bearer(watched("token_file", file)?)),
            (None, Some(basic)) => Some(Credential::Basic {
                username: basic.username.clone(),
                password: watched("basic.password_file", &basic.password_file)?,
            }),
            (None, None) => None,
        };
        Ok(Self { http: http.build()?, url: settings.url.clone(), credential })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// # Errors
    /// It does not say which alerts it has.
    pub(super) async fn ask(&self) -> anyhow::Result<Answer> {
        let (alerts, status) =
            tokio::join!(self.get(ALERTS, LIST_BYTES), self.get(STATUS, STATUS_BYTES));
        let (_, list) = alerts?;
        let up = status.and_then(|(date, body)| {
            up_for(date, &body).with_context(|| format!("read the answer to {STATUS}"))
        });
        Ok(Answer { list, up: up.map_err(|error| format!("{error:#}")) })
    }

    /// The time of an answer by its server's clock, and the body.
    async fn get(&self, path: &str, limit: usize) -> anyhow::Result<(Option<Timestamp>, Bytes)> {
        let what = || format!("GET {}", path.split('?').next().unwrap_or(path));
        let url = format!("{}/{path}", self.url.as_str().trim_end_matches('/'));
        let request = match &self.credential {
            None => self.http.get(url),
            Some(Credential::Bearer(file)) => self.http.get(url).bearer_auth(read(file)?.reveal()),
            Some(Credential::Basic { username, password }) => {
                self.http.get(url).basic_auth(username, Some(read(password)?.reveal()))
            }
        };
        let mut answer = request.send().await.with_context(what)?;
        ensure!(answer.status().is_success(), "{}: HTTP {}", what(), answer.status());
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.with_context(what)? {
            let is_small = body.len() + chunk.len() <= limit;
            ensure!(is_small, "{}: the answer is larger than {limit} bytes", what());
            body.extend_from_slice(&chunk);
        }
        Ok((date.map(|date| date.timestamp()), body.into()))
    }
}

fn read(file: &WatchedSecret) -> anyhow::Result<Arc<Secret>> {
    file.get().with_context(|| format!("secret file {} is gone", file.path().display()))
}

fn up_for(date: Option<Timestamp>, body: &[u8]) -> anyhow::Result<SignedDuration> {
    let status: StatusBody = serde_json::from_slice(body)?;
    ensure!(status.cluster.status != "settling", "it is settling into its cluster");
    Ok(date.context("it does not say what time it is")?.duration_since(status.uptime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_is_measured_by_the_clock_that_told_it() {
        let date = jiff::fmt::rfc2822::parse("Mon, 23 Nov 2026 22:17:29 GMT").unwrap().timestamp();
        let body = |cluster: &str| {
            format!(
                r#"{{"cluster":{{"peers":[],"status":"{cluster}"}},"config":{{"original":""}},
                "uptime":"2026-11-23T22:17:09.572Z","versionInfo":{{"version":"0.25.0"}}}}"#
            )
        };
        let up = up_for(Some(date), body("disabled").as_bytes()).unwrap();
        assert_eq!(up.as_millis(), 19_428);
        assert!(up_for(Some(date), body("settling").as_bytes()).is_err());
        assert!(up_for(None, body("ready").as_bytes()).is_err());
        assert!(up_for(Some(date), b"{}").is_err());
    }
}
