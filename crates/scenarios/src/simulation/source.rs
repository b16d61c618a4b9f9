//! Alertmanager: it tells ingress of every alert until that answers 2xx, now and then twice, again
//! after a while, and once more when an alert has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use http::{Request, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::fleet::Episode;
use super::network::Place;
use super::programs::WEBHOOK_TOKEN;

const LOOK: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(10);
/// How long an alert that goes on firing is not told of again.
const REPEAT: SignedDuration = SignedDuration::from_secs(60);

/// What was last told, and acknowledged, of each alert.
type Told = BTreeMap<String, (Episode, Timestamp)>;

/// Runs for ever.
pub(super) async fn run(place: Place, url: String) -> turmoil::Result {
    let world = place.world.clone();
    let mut told = Told::new();
    loop {
        let now = world.now();
        let alerts = world.fleet().alerts();
        let news = alerts.into_iter().filter(|alert| is_news(&told, alert, now));
        let sent = news.map(|alert| tell(&place, &url, alert));
        for alert in join_all(sent).await.into_iter().flatten() {
            told.insert(alert.fingerprint(), (alert, world.now()));
        }
        sleep(LOOK).await;
    }
}

fn is_news(told: &Told, alert: &Episode, now: Timestamp) -> bool {
    match told.get(&alert.fingerprint()) {
        // Nobody was told that it fired: that it ended is nothing to tell.
        None => alert.ends_at.is_none(),
        Some((known, at)) if known == alert => {
            alert.ends_at.is_none() && now.duration_since(*at) >= REPEAT
        }
        Some((known, _)) => known.starts_at == alert.starts_at || alert.ends_at.is_none(),
    }
}

/// Sends one alert, and returns it once it is acknowledged.
async fn tell(place: &Place, url: &str, alert: Episode) -> Option<Episode> {
    let times = if place.world.chance().is(0.1) { 2 } else { 1 };
    let mut is_taken = false;
    for _ in 0..times {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {WEBHOOK_TOKEN}"));
        let request = request.body(body(&alert).to_string().into_bytes()).ok()?;
        let answer = timeout(ANSWER, place.clone().send(request)).await;
        let status = answer.map(|answer| answer.map(|answer| answer.status()));
        let is_good = matches!(status, Ok(Ok(status)) if status.is_success());
        if is_good {
            place.world.acknowledge(&alert);
            let end = if alert.ends_at.is_some() { "end" } else { "begin" };
            place.world.tell(&format!("acknowledged {end} of {}", alert.fingerprint()));
        }
        is_taken |= is_good;
    }
    is_taken.then_some(alert)
}

fn body(alert: &Episode) -> Value {
    let status = if alert.ends_at.is_some() { "resolved" } else { "firing" };
    json!({
        "version": "4", "status": status, "receiver": "firebreak",
        "alerts": [{
            "status": status, "fingerprint": alert.fingerprint(),
            "labels": {"alertname": alert.name, "server": alert.target, "severity": "critical"},
            "annotations": {"summary": format!("{} is not well", alert.target)},
            "startsAt": alert.starts_at,
            "endsAt": alert.ends_at.map_or_else(|| "0001-01-01T00:00:00Z".into(), |at| at.to_string()),
        }],
    })
}
