//! A look at incidents from a terminal.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use url::Url;

use crate::arguments::{Incidents, Timeline};

pub(crate) async fn incidents(arguments: Incidents) -> anyhow::Result<()> {
    let path = format!("/api/v1/incidents?shape=summary&limit={}", arguments.limit);
    for incident in read_list(&arguments.url, &path).await? {
        println!("{}", incident_line(&incident));
    }
    Ok(())
}

pub(crate) async fn timeline(arguments: Timeline) -> anyhow::Result<()> {
    let id = match arguments.id {
        Some(id) => id,
        None => newest(&arguments.url).await?,
    };
    anyhow::ensure!(
        id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        "{id:?} is not an incident id"
    );
    let mut after = 0;
    loop {
        let path = format!("/api/v1/incidents/{id}/timeline?after={after}");
        let page = read_list(&arguments.url, &path).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last["sequence"].as_i64().context("an entry without its `sequence`")?;
        page.iter().for_each(|entry| println!("{}", entry_line(entry)));
    }
}

fn entry_line(entry: &Value) -> String {
    format!("{}  {:<18} {}", text(&entry["at"]), text(&entry["actor"]), text(&entry["summary"]))
}

async fn newest(url: &Url) -> anyhow::Result<String> {
    let newest = read_list(url, "/api/v1/incidents?shape=summary&limit=1").await?;
    let incident = newest.first().context("there is no incident yet")?;
    Ok(text(&incident["id"]))
}

fn incident_line(incident: &Value) -> String {
    format!(
        "{}  {:<17} {:<8} {}",
        text(&incident["id"]),
        text(&incident["phase"]["name"]),
        text(&incident["severity"]),
        text(&incident["title"]),
    )
}

/// Text of an alert for a terminal: escape sequences in it do nothing.
pub(crate) fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(crate) async fn read_list(url: &Url, path: &str) -> anyhow::Result<Vec<Value>> {
    let url = format!("{}{path}", url.as_str().trim_end_matches('/'));
    let body = exchange(client()?.get(&url), &url).await?;
    serde_json::from_slice(&body).with_context(|| format!("the answer of {url}"))
}

pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?)
}

/// Sends a request and returns the body of a good answer.
pub(crate) async fn exchange(
    request: reqwest::RequestBuilder,
    url: &str,
) -> anyhow::Result<Vec<u8>> {
    let answer = request.send().await.with_context(|| format!("ask {url}"))?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("read the answer of {url}"))?;
    anyhow::ensure!(
        status.is_success(),
        "{url} answered {status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(body.into())
}
