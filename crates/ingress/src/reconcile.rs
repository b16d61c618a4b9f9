//! Asks Alertmanager which alerts fire, at the start and now and then, so that a webhook that was
//! lost while ingress was away costs at most one interval. Takes firing alerts only: an alert that
//! is absent may belong to an Alertmanager that has just started, and proves nothing.
//!
//! Source: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.

use std::time::Duration;

use anyhow::Context;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use service::Secret;
use url::Url;
use webhooks::Format;

use crate::Config;
use crate::routes::Api;

/// The source whose alerts these are.
const ALERTMANAGER: &str = "alertmanager";
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Reconciler {
    http: reqwest::Client,
    url: Url,
    receiver: String,
    token: Option<Secret>,
    interval: Duration,
}

impl Reconciler {
    /// `None` where no Alertmanager is configured.
    ///
    /// # Errors
    /// The token file cannot be read.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.alertmanager_url else { return Ok(None) };
        let token = config.alertmanager_token_file.as_deref().map(Secret::from_file).transpose()?;
        let path = format!("{}/api/v2/alerts", url.as_str().trim_end_matches('/'));
        Ok(Some(Self {
            http: reqwest::Client::builder().timeout(DEADLINE).build()?,
            url: Url::parse(&path).context("alertmanager_url")?,
            receiver: config.alertmanager_receiver.clone(),
            token,
            interval: Duration::from_secs(config.reconcile_seconds),
        }))
    }

    pub(crate) async fn run(self, api: Api) {
        loop {
            match self.reconcile(&api).await {
                Ok(count) => tracing::debug!(count, "reconciled with Alertmanager"),
                Err(error) => tracing::warn!("Alertmanager was not read: {error:#}"),
            }
            api.engine.process.clock().sleep(self.interval).await;
        }
    }

    async fn reconcile(&self, api: &Api) -> anyhow::Result<usize> {
        let query = [("active", "true"), ("silenced", "false"), ("inhibited", "false")];
        let mut request = self.http.get(self.url.clone()).query(&query);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        let answer = request.send().await?.error_for_status()?;
        let listed: Vec<Value> = answer.json().await?;
        let ours = listed.into_iter().filter(|alert| self.is_ours(alert)).map(|mut alert| {
            alert["status"] = json!("firing");
            // What the API calls the end is when the alert would expire without news.
            alert["endsAt"] = Value::Null;
            alert
        });
        let body = json!({ "alerts": ours.collect::<Vec<_>>() }).to_string();
        let (severities, now) =
            (&api.engine.config.mapping.severities, api.engine.process.clock().now());
        let headers = HeaderMap::new();
        let read =
            Format::Alertmanager.read(ALERTMANAGER, &headers, body.as_bytes(), severities, now);
        let unknown = api.engine.unknown_firing(read?.alerts).await?;
        let count = unknown.len();
        if count > 0 {
            api.take_alerts(ALERTMANAGER, body, unknown).await?;
        }
        Ok(count)
    }

    fn is_ours(&self, alert: &Value) -> bool {
        let receivers = alert["receivers"].as_array().into_iter().flatten();
        receivers.into_iter().any(|receiver| receiver["name"] == self.receiver.as_str())
    }
}
