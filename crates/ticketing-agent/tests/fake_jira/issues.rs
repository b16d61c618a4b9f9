//! What the fake does with a request: create, search, read, comment and move issues, with the
//! refusals of the real thing.

use axum::http::Method;
use serde_json::{Value, json};

use super::{Answer, State};

pub(crate) struct Issue {
    pub(crate) key: String,
    pub(crate) fields: Value,
    pub(crate) status: String,
    pub(crate) resolution: Option<String>,
    /// Bodies in the order they came.
    pub(crate) comments: Vec<Value>,
    is_indexed: bool,
}

/// Which status leads where. The first is where issues begin.
pub(crate) struct Workflow {
    /// Name and category key.
    pub(crate) statuses: Vec<(&'static str, &'static str)>,
    /// From, to, and whether the screen demands a resolution.
    pub(crate) transitions: Vec<(&'static str, &'static str, bool)>,
}

impl Workflow {
    /// Every status from every status, as a team-managed project begins.
    pub(crate) fn open() -> Self {
        let statuses = vec![("To Do", "new"), ("In Progress", "indeterminate"), ("Done", "done")];
        let all = |from: &(&'static str, _)| {
            let from = from.0;
            ["To Do", "In Progress", "Done"].map(|to| (from, to, false))
        };
        Self { transitions: statuses.iter().flat_map(all).collect(), statuses }
    }

    /// One way through, with review, and a resolution to give at the end.
    pub(crate) fn strict() -> Self {
        Self {
            statuses: vec![
                ("Backlog", "new"),
                ("In Progress", "indeterminate"),
                ("In Review", "indeterminate"),
                ("Done", "done"),
                ("Won't Do", "done"),
            ],
            transitions: vec![
                ("Backlog", "In Progress", false),
                ("Backlog", "Won't Do", true),
                ("In Progress", "In Review", false),
                ("In Review", "Done", true),
            ],
        }
    }

    fn status(&self, name: &str) -> Value {
        let (id, category) = self
            .statuses
            .iter()
            .enumerate()
            .find_map(|(id, (known, category))| (*known == name).then_some((id, *category)))
            .expect("a workflow names its statuses");
        json!({
            "self": format!("https://jira.example.org/rest/api/3/status/{id}"),
            "id": id.to_string(),
            "name": name,
            "statusCategory": { "id": 2, "key": category, "name": category },
        })
    }
}

impl State {
    pub(super) fn act(
        &mut self,
        method: &Method,
        template: &str,
        arguments: &[String],
        query: &[(String, String)],
        body: &Value,
    ) -> Answer {
        let parameter = |name: &str| {
            query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        let template = template.trim_start_matches("/rest/api/3");
        match (method.as_str(), template) {
            ("POST", "/issue") => return self.create(&body["fields"]),
            ("GET", "/search/jql") => return self.search(parameter("jql").unwrap_or_default()),
            _ => {}
        }
        let key = arguments.first().map(String::as_str).unwrap_or_default();
        let Some(index) = self.issues.iter().position(|issue| issue.key == key) else {
            return Answer::error(
                404,
                "Issue does not exist or you do not have permission to see it.",
            );
        };
        match (method.as_str(), template) {
            ("GET", "/issue/{issueIdOrKey}") => Answer::ok(200, self.shown(index)),
            ("GET", "/issue/{issueIdOrKey}/transitions") => self.offered(index),
            ("POST", "/issue/{issueIdOrKey}/transitions") => self.move_issue(index, body),
            ("POST", "/issue/{issueIdOrKey}/comment") => self.comment(index, body),
            ("GET", "/issue/{issueIdOrKey}/comment") => {
                let number = |name| parameter(name).and_then(|value| value.parse().ok());
                let start = number("startAt").unwrap_or(0);
                let limit = number("maxResults").unwrap_or(100).min(100);
                self.comments(index, start, limit, parameter("orderBy") == Some("-created"))
            }
            other => panic!("the fake does not know {other:?}"),
        }
    }

    fn create(&mut self, fields: &Value) -> Answer {
        if let Err(refusal) = self.check_fields(fields) {
            return refusal;
        }
        let number = self.issues.len() + 1;
        let key = format!("OPS-{number}");
        self.issues.push(Issue {
            key: key.clone(),
            fields: fields.clone(),
            status: self.workflow.statuses[0].0.to_owned(),
            resolution: None,
            comments: Vec::new(),
            is_indexed: false,
        });
        let id = (10_000 + number).to_string();
        let link = format!("https://jira.example.org/rest/api/3/issue/{id}");
        Answer::ok(201, json!({ "id": id, "key": key, "self": link }))
    }

    fn check_fields(&self, fields: &Value) -> Result<(), Answer> {
        let refuse = |field: &str, message: &str| Err(Answer::field_error(field, message));
        if fields["project"]["key"] != "OPS" {
            return refuse("project", "Specify a valid project ID or key");
        }
        if fields["issuetype"]["name"] != "Task" {
            return refuse("issuetype", "Specify a valid issue type");
        }
        match fields["summary"].as_str() {
            None | Some("") => {
                return refuse("summary", "You must specify a summary of the issue.");
            }
            Some(text) if text.contains('\n') => {
                return refuse(
                    "summary",
                    "The summary is invalid because it contains newline characters.",
                );
            }
            Some(text) if text.chars().count() > 255 => {
                return refuse("summary", "Summary can't exceed 255 characters.");
            }
            Some(_) => {}
        }
        let mut labels = fields["labels"].as_array().into_iter().flatten();
        if labels.any(|label| label.as_str().is_none_or(|label| label.contains(' '))) {
            return refuse("labels", "The label contains spaces which is invalid.");
        }
        let priorities = ["Highest", "High", "Medium", "Low", "Lowest"];
        match fields["priority"]["name"].as_str() {
            Some(_) if !self.takes_priority => {
                let message = "Field 'priority' cannot be set. It is not on the appropriate screen, or unknown.";
                return refuse("priority", message);
            }
            Some(name) if !priorities.contains(&name) => {
                return refuse("priority", "Specify the Priority (id or name) in string format");
            }
            _ => {}
        }
        check_document(&fields["description"]).or_else(|message| refuse("description", &message))
    }

    fn search(&mut self, jql: &str) -> Answer {
        let label = jql
            .strip_prefix("project = \"OPS\" AND labels = \"")
            .and_then(|rest| rest.strip_suffix("\" ORDER BY created ASC"));
        let Some(label) = label.filter(|label| !label.contains('"')) else {
            return Answer::error(400, "Error in the JQL Query");
        };
        if !self.search_lags {
            self.issues.iter_mut().for_each(|issue| issue.is_indexed = true);
        }
        let has_label = |issue: &Issue| {
            let mut labels = issue.fields["labels"].as_array().into_iter().flatten();
            issue.is_indexed && labels.any(|known| known == label)
        };
        let found: Vec<Value> = (0..self.issues.len())
            .filter(|index| has_label(&self.issues[*index]))
            .map(|index| self.shown(index))
            .collect();
        Answer::ok(200, json!({ "issues": found, "isLast": true }))
    }

    fn shown(&self, index: usize) -> Value {
        let issue = &self.issues[index];
        let id = (10_001 + index).to_string();
        json!({
            "id": id,
            "key": issue.key,
            "self": format!("https://jira.example.org/rest/api/3/issue/{id}"),
            "fields": {
                "summary": issue.fields["summary"],
                "status": self.workflow.status(&issue.status),
            },
        })
    }

    fn transitions(&self, index: usize) -> Vec<(usize, &'static str, bool)> {
        let status = &self.issues[index].status;
        let all = self.workflow.transitions.iter().enumerate();
        all.filter(|(_, (from, _, _))| from == status)
            .map(|(id, (_, to, has_resolution))| (id, *to, *has_resolution))
            .collect()
    }

    fn offered(&self, index: usize) -> Answer {
        let resolution = json!({ "resolution": {
            "key": "resolution", "name": "Resolution", "required": true, "operations": ["set"],
            "schema": { "type": "resolution", "system": "resolution" },
            "allowedValues": [{ "name": "Won't Do" }, { "name": "Fixed" }],
        }});
        let offered: Vec<Value> = self
            .transitions(index)
            .into_iter()
            .map(|(id, to, has_resolution)| {
                json!({
                    "id": id.to_string(),
                    "name": format!("to {to}"),
                    "to": self.workflow.status(to),
                    "hasScreen": has_resolution,
                    "fields": if has_resolution { resolution.clone() } else { json!({}) },
                })
            })
            .collect();
        Answer::ok(200, json!({ "expand": "transitions", "transitions": offered }))
    }

    fn move_issue(&mut self, index: usize, body: &Value) -> Answer {
        let id = body["transition"]["id"].as_str().unwrap_or_default();
        let offered = self.transitions(index);
        let Some((_, to, has_resolution)) =
            offered.into_iter().find(|(known, _, _)| known.to_string() == id)
        else {
            return Answer::error(
                400,
                "It seems that you have tried to perform an illegal workflow operation.",
            );
        };
        let resolution = body["fields"]["resolution"]["name"].as_str();
        if has_resolution && !matches!(resolution, Some("Fixed" | "Won't Do")) {
            return Answer::field_error("resolution", "Resolution is required.");
        }
        if !has_resolution && resolution.is_some() {
            let message = "Field 'resolution' cannot be set. It is not on the appropriate screen, or unknown.";
            return Answer::field_error("resolution", message);
        }
        let issue = &mut self.issues[index];
        issue.status = to.to_owned();
        issue.resolution = resolution.map(str::to_owned);
        Answer { status: 204, body: None }
    }

    fn comment(&mut self, index: usize, body: &Value) -> Answer {
        if let Err(message) = check_document(&body["body"]) {
            return Answer::field_error("comment", &message);
        }
        let comments = &mut self.issues[index].comments;
        comments.push(body["body"].clone());
        Answer::ok(201, shown_comment(comments.len(), &body["body"]))
    }

    fn comments(&self, index: usize, start: usize, limit: usize, newest_first: bool) -> Answer {
        let comments = &self.issues[index].comments;
        let mut shown: Vec<Value> =
            comments.iter().enumerate().map(|(at, body)| shown_comment(at + 1, body)).collect();
        if newest_first {
            shown.reverse();
        }
        let page: Vec<Value> = shown.into_iter().skip(start).take(limit).collect();
        Answer::ok(
            200,
            json!({
                "startAt": start, "maxResults": limit, "total": comments.len(), "comments": page,
            }),
        )
    }
}

fn shown_comment(number: usize, body: &Value) -> Value {
    let link = format!("https://jira.example.org/rest/api/3/issue/10001/comment/{number}");
    json!({ "id": number.to_string(), "self": link, "body": body })
}

/// Jira's rules for a document that its schema leaves open.
fn check_document(document: &Value) -> Result<(), String> {
    let not_a_document =
        "Operation value must be an Atlassian Document (see the Atlassian Document Format)";
    if document["type"] != "doc" || document["version"] != 1 {
        return Err(not_a_document.into());
    }
    if document.to_string().chars().count() > 32_767 {
        return Err("CONTENT_LIMIT_EXCEEDED".into());
    }
    children(document, &["paragraph", "heading", "bulletList", "codeBlock"])
        .map_err(|at| format!("{not_a_document}: {at}"))
}

fn children(node: &Value, allowed: &[&str]) -> Result<(), String> {
    let content = node["content"].as_array().filter(|content| !content.is_empty());
    for child in content.ok_or_else(|| format!("{} without content", node["type"]))? {
        let kind = child["type"].as_str().unwrap_or_default();
        if !allowed.contains(&kind) {
            return Err(format!("{kind} in {}", node["type"]));
        }
        match kind {
            "bulletList" => children(child, &["listItem"])?,
            "listItem" => children(child, &["paragraph"])?,
            "paragraph" | "heading" => children(child, &["text", "hardBreak"])?,
            "codeBlock" => children(child, &["text"])?,
            "text" => check_text(child, node["type"] == "codeBlock")?,
            _ => {}
        }
    }
    Ok(())
}

fn check_text(node: &Value, in_code: bool) -> Result<(), String> {
    let text = node["text"].as_str().filter(|text| !text.is_empty()).ok_or("empty text")?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err("control character".into());
    }
    if text.contains('\n') && !in_code {
        return Err("line end in a text node".into());
    }
    for mark in node["marks"].as_array().into_iter().flatten() {
        let is_link = mark["type"] == "link"
            && mark["attrs"]["href"].as_str().is_some_and(|url| url.starts_with("http"));
        if in_code || !(is_link || mark["type"] == "strong") {
            return Err(format!("mark {mark}"));
        }
    }
    Ok(())
}
