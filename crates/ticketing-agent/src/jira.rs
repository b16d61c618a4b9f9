//! Tickets in Jira Cloud, REST API version 3:
//! <https://developer.atlassian.com/cloud/jira/platform/rest/v3/intro/>.
//!
//! One ticket per incident: the ticket carries a label that names its incident, and a create looks
//! for that label first. Jira's search may lag behind a create by some seconds, so after a create
//! without an answer no second one is made until the lag is over.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use incident::{IncidentId, TicketStatus};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use service::Clock;
use tokio::time::Instant;

use crate::document::clean_line;
use crate::error::TrackerError;
use crate::tracker::{NewComment, NewTicket, Result, Ticket};

mod adf;
mod http;
mod settings;
mod workflow;

use http::{Call, Http};
pub use settings::{Auth, JiraSettings};
use workflow::{Status, Transition};

/// The most transitions one move may take.
const HOPS: usize = 3;
/// Comments read per page, and the most pages read.
const PAGE: usize = 100;
const PAGES: usize = 20;
/// Creates without an answer that are remembered; beyond this the oldest is forgotten.
const UNSETTLED: usize = 1_000;

#[derive(Debug)]
pub struct JiraTracker {
    http: Http,
    settings: JiraSettings,
    clock: Clock,
    /// Incidents whose create has no answer, and until when a search may miss what it made.
    unsettled: Mutex<HashMap<IncidentId, Instant>>,
}

#[derive(Deserialize)]
struct Issue {
    key: String,
    fields: IssueFields,
}

#[derive(Deserialize)]
struct IssueFields {
    summary: String,
    status: Status,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    issues: Vec<Issue>,
}

#[derive(Deserialize)]
struct Created {
    key: String,
}

#[derive(Deserialize)]
struct Transitions {
    #[serde(default)]
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
struct Comments {
    #[serde(default)]
    comments: Vec<CommentBody>,
    #[serde(default)]
    total: usize,
}

#[derive(Deserialize)]
struct CommentBody {
    #[serde(default)]
    body: Value,
}

impl JiraTracker {
    /// # Errors
    /// The settings are not usable, or the token file cannot be read.
    pub fn new(settings: JiraSettings, clock: Clock) -> anyhow::Result<Self> {
        settings.validate()?;
        let http = Http::new(&settings, clock.clone())?;
        Ok(Self { http, settings, clock, unsettled: Mutex::default() })
    }

    pub(crate) async fn create(&self, ticket: &NewTicket) -> Result<Ticket> {
        if let Some(existing) = self.find(ticket.incident).await? {
            self.lock().remove(&ticket.incident);
            return Ok(existing);
        }
        self.refuse_while_unsettled(ticket)?;
        // Before the call, because this future may be dropped in the middle of it.
        self.remember_unsettled(ticket.incident, self.clock.instant() + self.settles_within());
        let created = self.post_issue(ticket).await;
        if !matches!(&created, Err(error) if error.may_have_happened()) {
            self.lock().remove(&ticket.incident);
        }
        created
    }

    pub(crate) async fn find(&self, incident: IncidentId) -> Result<Option<Ticket>> {
        let operation = "find ticket";
        let label = incident_label(incident);
        let project = &self.settings.project;
        let jql = format!("project = \"{project}\" AND labels = \"{label}\" ORDER BY created ASC");
        let query =
            [("jql", jql), ("maxResults", "2".to_owned()), ("fields", "summary,status".to_owned())];
        let found: Option<Found> = self.read(operation, &["search", "jql"], &query).await?;
        let issues = found.map(|found| found.issues).unwrap_or_default();
        if let [first, second, ..] = issues.as_slice() {
            tracing::warn!(
                incident.id = %incident,
                ticket.key = first.key,
                other = second.key,
                "two tickets carry this incident's label: using the oldest"
            );
        }
        Ok(issues.into_iter().next().map(|issue| self.ticket(issue)))
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Ticket>> {
        let query = [("fields", "summary,status".to_owned())];
        let issue: Option<Issue> = self.read("get ticket", &["issue", key], &query).await?;
        Ok(issue.map(|issue| self.ticket(issue)))
    }

    pub(crate) async fn recorded_up_to(&self, key: &str, incident: IncidentId) -> Result<u64> {
        let operation = "read comments";
        let mut last = 0;
        for page in 0..PAGES {
            let start = page * PAGE;
            let query = [
                ("startAt", start.to_string()),
                ("maxResults", PAGE.to_string()),
                ("orderBy", "-created".to_owned()),
            ];
            let read: Option<Comments> =
                self.read(operation, &["issue", key, "comment"], &query).await?;
            let read =
                read.ok_or_else(|| TrackerError::NotFound { operation, key: key.to_owned() })?;
            let covered = read.comments.iter().filter_map(|comment| {
                adf::reference(&comment.body)?.strip_prefix(&reference(incident))?.parse().ok()
            });
            last = covered.max().unwrap_or(0).max(last);
            // Newest first: the first page with one of ours has the last of ours.
            if last > 0 || read.comments.is_empty() || start + read.comments.len() >= read.total {
                break;
            }
        }
        Ok(last)
    }

    pub(crate) async fn comment(&self, key: &str, comment: &NewComment) -> Result<()> {
        let reference = format!("{}{}", reference(comment.incident), comment.sequence);
        let body = json!({ "body": adf::render(&comment.body, Some(&reference)) });
        self.write("comment", &["issue", key, "comment"], &body).await.map(drop)
    }

    pub(crate) async fn transition(&self, key: &str, status: TicketStatus) -> Result<Ticket> {
        let target = self.settings.status(status);
        let mut visited = Vec::new();
        loop {
            let (issue, offered) = self.issue_with_transitions(key).await?;
            let current = &issue.fields.status;
            if workflow::has_arrived(current, &target, &offered, &self.settings) {
                return Ok(self.ticket(issue));
            }
            visited.push(current.name.clone());
            let step = workflow::next_step(&offered, &target, &visited, &self.settings);
            match step.filter(|_| visited.len() <= HOPS) {
                Some(step) => self.take(key, step).await?,
                None => {
                    return Err(TrackerError::NoTransition {
                        key: key.to_owned(),
                        from: current.name.clone(),
                        wanted: target,
                        available: offered.into_iter().map(|offer| offer.to.name).collect(),
                    });
                }
            }
        }
    }

    async fn issue_with_transitions(&self, key: &str) -> Result<(Issue, Vec<Transition>)> {
        let operation = "read transitions";
        let missing = || TrackerError::NotFound { operation, key: key.to_owned() };
        let query = [("fields", "summary,status".to_owned())];
        let issue: Option<Issue> = self.read(operation, &["issue", key], &query).await?;
        let query = [("expand", "transitions.fields".to_owned())];
        let offered: Option<Transitions> =
            self.read(operation, &["issue", key, "transitions"], &query).await?;
        Ok((issue.ok_or_else(missing)?, offered.ok_or_else(missing)?.transitions))
    }

    async fn take(&self, key: &str, step: &Transition) -> Result<()> {
        let mut body = json!({ "transition": { "id": step.id } });
        if let Some(fields) = workflow::fields(step, &self.settings) {
            body["fields"] = fields;
        }
        self.write("transition", &["issue", key, "transitions"], &body).await.map(drop)
    }

    async fn post_issue(&self, ticket: &NewTicket) -> Result<Ticket> {
        let mut body = self.issue_body(ticket);
        let mut created = self.write("create ticket", &["issue"], &body).await;
        if let Err(TrackerError::Refused { status: 400, messages, .. }) = &created
            && messages.iter().all(|message| message.starts_with("priority:"))
        {
            tracing::warn!(?messages, "project takes no such priority: ticket made without one");
            body["fields"].as_object_mut().expect("made as an object").remove("priority");
            created = self.write("create ticket", &["issue"], &body).await;
        }
        let created: Created = decode("create ticket", created?)?;
        Ok(Ticket {
            url: self.http.browse(&created.key),
            key: created.key,
            title: body["fields"]["summary"].as_str().unwrap_or_default().to_owned(),
            status: String::new(),
        })
    }

    fn issue_body(&self, ticket: &NewTicket) -> Value {
        let extra = ticket.labels.iter().map(|label| label.replace(char::is_whitespace, "-"));
        let mut labels: Vec<String> = self.settings.labels.clone();
        labels.extend(extra.map(|label| clean_line(&label, 200)));
        labels.retain(|label| settings::is_label(label));
        labels.truncate(20);
        labels.push(incident_label(ticket.incident));
        // Jira refuses a summary with a line end, an empty one, or more than 255 characters.
        let summary = match clean_line(&ticket.title, 250) {
            empty if empty.is_empty() => format!("Incident {}", ticket.incident),
            summary => summary,
        };
        let mut fields = json!({
            "project": { "key": self.settings.project },
            "issuetype": { "name": self.settings.issue_type },
            "summary": summary,
            "description": adf::render(&ticket.description, None),
            "labels": labels,
        });
        if let Some(priority) = self.settings.priorities.get(&ticket.severity) {
            fields["priority"] = json!({ "name": priority });
        }
        json!({ "fields": fields })
    }

    /// A clock that is set neither ends the wait nor prolongs it: what this process sent itself it
    /// measures, and of what it is told it waits for the settle time at most.
    fn refuse_while_unsettled(&self, ticket: &NewTicket) -> Result<()> {
        let (incident, now) = (ticket.incident, self.clock.instant());
        let told = ticket.unanswered_since.map(|since| {
            let passed = Duration::try_from(self.clock.now().duration_since(since));
            now + self.settles_within().saturating_sub(passed.unwrap_or_default())
        });
        let Some(until) = self.lock().get(&incident).copied().or(told) else { return Ok(()) };
        if now < until {
            self.remember_unsettled(incident, until);
            let until = self.clock.now() + (until - now);
            return Err(TrackerError::CreateUnsettled { incident, until });
        }
        Ok(())
    }

    pub(crate) fn settles_within(&self) -> Duration {
        Duration::from_secs(self.settings.settle_seconds)
    }

    fn remember_unsettled(&self, incident: IncidentId, until: Instant) {
        let mut unsettled = self.lock();
        unsettled.insert(incident, until);
        if unsettled.len() > UNSETTLED
            && let Some(oldest) = unsettled.iter().min_by_key(|(_, at)| **at)
        {
            let oldest = *oldest.0;
            unsettled.remove(&oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IncidentId, Instant>> {
        self.unsettled.lock().expect("no panic while the map is held")
    }

    async fn read<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<T>> {
        let call = Call { operation, method: Method::GET, path, query, body: None };
        self.http.call(&call).await?.map(|answer| decode(operation, answer)).transpose()
    }

    async fn write(&self, operation: &'static str, path: &[&str], body: &Value) -> Result<Value> {
        let call = Call { operation, method: Method::POST, path, query: &[], body: Some(body) };
        self.http.call(&call).await.map(Option::unwrap_or_default)
    }

    fn ticket(&self, issue: Issue) -> Ticket {
        Ticket {
            url: self.http.browse(&issue.key),
            key: issue.key,
            title: issue.fields.summary,
            status: issue.fields.status.name,
        }
    }
}

/// What the last line of a comment starts with; the number of the last timeline entry follows.
fn reference(incident: IncidentId) -> String {
    format!("Firebreak {incident}, timeline up to entry ")
}

/// The label by which an incident's ticket is found. Holds only letters, digits, `-` and `_`, so
/// it stands inside JQL quotes as it is.
fn incident_label(incident: IncidentId) -> String {
    format!("firebreak-{incident}")
}

fn decode<T: DeserializeOwned>(operation: &'static str, answer: Value) -> Result<T> {
    serde_json::from_value(answer)
        .map_err(|error| TrackerError::BadAnswer { operation, reason: error.to_string() })
}
