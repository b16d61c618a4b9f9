//! Datadog's webhooks: its default body, whose state stands in the title only, and the templates that
//! people paste. A field is known by the names that templates give it; a variable that was not filled
//! in counts as absent. Trigger and recovery are paired by the alert's cycle, else by monitor and
//! scope: the `id` is another one each time.
//!
//! Source: <https://docs.datadoghq.com/integrations/webhooks/>.

mod message;
mod scope;
mod transition;

use incident::{Alert, AlertStatus, Severity};
use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{Fields, parse};
use crate::pairs::{Pairs, scalar};
use crate::reading::quoted;
use crate::time;
use crate::{BadField, MISSING_DATA, Reading, Severities, fingerprint};
use scope::Scope;
use transition::{Title, Transition};

/// Names that templates give a field, ours first.
const TITLE: &[&str] = &["title", "alert_title", "event_title"];
const BODY: &[&str] = &["body", "text_only_msg", "event_msg", "message"];
const TRANSITION: &[&str] = &["alert_transition", "transition"];
const TYPE: &[&str] = &["alert_type"];
const MONITOR: &[&str] = &["alert_id", "monitor_id"];
const CYCLE: &[&str] = &["alert_cycle_key", "cycle_key"];
const AGGREGATE: &[&str] = &["aggreg_key", "aggregate", "aggregation_key"];
const SCOPE: &[&str] = &["alert_scope", "scopes", "scope"];
const PRIORITY: &[&str] = &["alert_priority", "severity"];
const HOST: &[&str] = &["hostname", "host_name", "host"];
const TAGS: &[&str] = &["tags"];
const LINK: &[&str] = &["link", "url"];
const DATES: &[&str] = &["date", "last_updated"];

/// # Errors
/// The first field that cannot be used.
pub(crate) fn read(
    source: &str,
    text: &str,
    severities: &Severities,
    now: Timestamp,
) -> Result<Reading, BadField> {
    let body = parse(text)?;
    let body = Template(Fields::body(&body)?);
    let alert = Event::of(&body)?.read(source, severities, now)?;
    Ok(Reading { alerts: vec![alert], ..Reading::default() })
}

/// A body whose fields have more than one name, and may hold a variable's name instead of its value.
struct Template<'a>(Fields<'a>);

impl Template<'_> {
    /// The first of these names that holds something, and its value.
    fn find<'n>(&self, names: &[&'n str]) -> Result<Option<(&'n str, String)>, BadField> {
        for name in names {
            let Some(value) = self.0.get(name) else { continue };
            let text = match value {
                Value::String(_) => self.0.text(name)?.map(str::to_owned),
                other => scalar(other),
            };
            let text = text.ok_or_else(|| self.0.bad(name, "must be a text"))?;
            if !is_absent(&text) {
                return Ok(Some((name, text)));
            }
        }
        Ok(None)
    }

    fn text(&self, names: &[&str]) -> Result<Option<String>, BadField> {
        Ok(self.find(names)?.map(|(_, text)| text))
    }
}

/// Empty, or a variable such as `$ALERT_SCOPE` or `$TAGS[env]` that was not filled in.
fn is_absent(text: &str) -> bool {
    let text = text.trim();
    let Some(variable) = text.strip_prefix('$') else { return text.is_empty() };
    let name = variable.split('[').next().unwrap_or_default();
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// What a notification says, whichever template wrote it.
struct Event<'a> {
    body: &'a Template<'a>,
    title: Title,
    transition: Transition,
    message: String,
    monitor: Option<String>,
    scope: Scope,
}

impl<'a> Event<'a> {
    fn of(body: &'a Template<'a>) -> Result<Self, BadField> {
        let (field, title) = body.find(TITLE)?.unzip();
        let title = Title::of(title.as_deref().unwrap_or_default());
        let message = body.text(BODY)?.unwrap_or_default();
        let transition = transition(body, &title, field.unwrap_or(TITLE[0]))?;
        let monitor = body.text(MONITOR)?;
        let monitor = monitor.or_else(|| message::monitor_id(&message).map(str::to_owned));
        let scope = scope(body, &title, &message)?;
        Ok(Self { body, title, transition, message, monitor, scope })
    }

    fn read(
        &self,
        source: &str,
        severities: &Severities,
        now: Timestamp,
    ) -> Result<Alert, BadField> {
        let labels = self.labels()?;
        let severity = self.severity(&labels, severities)?;
        let at = self.at()?.unwrap_or(now);
        let is_firing = self.transition != Transition::Recovered;
        // The same in every notification of an episode, which the event's own date is not.
        let start = message::triggered_at(&self.message).filter(|start| *start <= at);
        Ok(Alert {
            source: source.to_owned(),
            fingerprint: self.fingerprint()?,
            status: if is_firing { AlertStatus::Firing } else { AlertStatus::Resolved },
            name: self.name().to_owned(),
            severity,
            labels: labels.into_map(),
            annotations: self.annotations()?.into_map(),
            starts_at: start.unwrap_or(at.min(now)),
            is_start_known: start.is_some(),
            ends_at: (!is_firing).then_some(at),
            generator_url: self.link()?,
        })
    }

    fn name(&self) -> &str {
        if self.title.name.is_empty() { "unnamed alert" } else { &self.title.name }
    }

    fn fingerprint(&self) -> Result<String, BadField> {
        if let Some(cycle) = self.body.text(CYCLE)? {
            return Ok(fingerprint::fitting(format!("cycle:{cycle}")));
        }
        let scope = self.scope.text();
        if let Some(monitor) = &self.monitor {
            return Ok(fingerprint::fitting(format!("monitor:{monitor}:{scope}")));
        }
        if let Some(aggregate) = self.body.text(AGGREGATE)? {
            return Ok(fingerprint::fitting(format!("aggregate:{aggregate}:{scope}")));
        }
        if self.title.name.is_empty() {
            let why = "is missing, and nothing else tells one alert from another";
            return Err(BadField::new(MONITOR[0], why));
        }
        Ok(fingerprint::fitting(format!("title:{}:{scope}", self.title.name)))
    }

    fn at(&self) -> Result<Option<Timestamp>, BadField> {
        let Some((field, text)) = self.body.find(DATES)? else { return Ok(None) };
        let time = time::parse(&text);
        time.map(Some).map_err(|why| BadField::new(field, why))
    }

    fn severity(&self, labels: &Pairs, severities: &Severities) -> Result<Severity, BadField> {
        if matches!(self.transition, Transition::Warn | Transition::NoData) {
            return Ok(Severity::Warning);
        }
        let own = labels.get(&severities.label).and_then(|value| severities.meaning(value));
        let priority = self.body.text(PRIORITY)?.or_else(|| self.title.priority.clone());
        let of_priority = priority.and_then(|priority| {
            severities.meaning(&priority).or_else(|| transition::severity_of(&priority))
        });
        let usual = || severities.meaning("error").unwrap_or_default();
        Ok(own.or(of_priority).unwrap_or_else(usual))
    }

    fn labels(&self) -> Result<Pairs, BadField> {
        let mut labels = Pairs::default();
        // The scope says which of a monitor's groups this is; tags are of all of it.
        let (place, scope) = (&self.scope.field, &self.scope.tags);
        for (name, value) in scope {
            labels.join(place, name, value)?;
        }
        if let Some((field, tags)) = self.body.find(TAGS)? {
            let known: Vec<String> = labels.map().keys().cloned().collect();
            for (name, value) in scope::tags(&tags) {
                if !known.iter().any(|known| known == name) {
                    labels.join(field, name, value)?;
                }
            }
        }
        if let Some((field, host)) = self.body.find(HOST)? {
            labels.add(field, "host", &host)?;
        }
        if let Some(host) = labels.get("host").map(str::to_owned) {
            labels.add("host", "server", &host)?;
        }
        labels.add("title", "alertname", self.name())?;
        if let Some(monitor) = &self.monitor {
            labels.add(MONITOR[0], "monitor_id", monitor)?;
        }
        if self.transition == Transition::NoData {
            labels.set("title", MISSING_DATA, "no_data")?;
        }
        Ok(labels)
    }

    fn annotations(&self) -> Result<Pairs, BadField> {
        let mut annotations = Pairs::default();
        let message = message::readable(&self.message);
        if !message.is_empty() {
            annotations.set(BODY[0], "description", message)?;
        }
        annotations.set(TRANSITION[0], "transition", self.transition.name())?;
        for (field, name) in [
            ("alert_query", "query"),
            ("alert_metric", "metric"),
            ("alert_status", "alert_status"),
            ("snapshot", "snapshot"),
            ("event_type", "event_type"),
        ] {
            if let Some(value) = self.body.text(&[field])? {
                annotations.set(field, name, &value)?;
            }
        }
        Ok(annotations)
    }

    fn link(&self) -> Result<String, BadField> {
        let link = self.body.text(LINK)?;
        Ok(link
            .unwrap_or_else(|| message::monitor_link(&self.message).unwrap_or_default().to_owned()))
    }
}

fn transition(
    body: &Template<'_>,
    title: &Title,
    title_field: &str,
) -> Result<Transition, BadField> {
    let of_type = body.text(TYPE)?.and_then(|text| Transition::of_type(&text));
    match named_transition(body)?.or(title.transition) {
        // What is only said again may be a warning.
        Some(Transition::Triggered) if of_type == Some(Transition::Warn) => Ok(Transition::Warn),
        Some(transition) => Ok(transition),
        None => of_type.ok_or_else(|| {
            let why = "says no state, such as `[Triggered]`; give the webhook a payload with \
                       `\"alert_transition\": \"$ALERT_TRANSITION\"`";
            BadField::new(title_field, why)
        }),
    }
}

fn named_transition(body: &Template<'_>) -> Result<Option<Transition>, BadField> {
    let Some((field, text)) = body.find(TRANSITION)? else { return Ok(None) };
    if text.eq_ignore_ascii_case("null") {
        return Ok(None);
    }
    let named = Transition::named(&text);
    let unknown = || BadField::new(field, format!("{} is no transition", quoted(&text)));
    named.map(Some).ok_or_else(unknown)
}

fn scope(body: &Template<'_>, title: &Title, message: &str) -> Result<Scope, BadField> {
    if let Some((field, text)) = body.find(SCOPE)? {
        return Ok(Scope::of(field, &text));
    }
    if let Some(scope) = &title.scope {
        return Ok(Scope::of("title", scope));
    }
    Ok(message::group(message).map_or_else(Scope::default, |group| Scope::of("body", &group)))
}

#[cfg(test)]
mod tests;
