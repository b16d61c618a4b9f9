//! The admin API of a service: `/admin/config`, `/admin/restart`, `/admin/scale`, `/admin/cleanup`,
//! `/admin/jobs/{name}/…`, `/admin/status`, as the fault-simulator offers it. An action has ended
//! when the service says that it is in effect, not when the request was accepted.

use std::time::Duration;

use a2a_types::mcp::deployment::{
    CLEANUP, Job, RESTART_SERVICE, SCALE, START_JOB, STOP_JOB, Scale, UPDATE_CONFIG, UpdateConfig,
};
use reqwest::Method;
use serde_json::{Map, Value, json};
use service::Secret;

use super::{Effect, ExecutorError, Undo, inverse, not_offered};
use crate::deployment_system::action::Action;
use crate::deployment_system::deadline::Deadline;
use crate::deployment_system::inventory::HttpAdminConfig;

pub(super) const ACTIONS: &[&str] =
    &[RESTART_SERVICE, SCALE, UPDATE_CONFIG, CLEANUP, STOP_JOB, START_JOB];

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(in crate::deployment_system) struct HttpAdmin {
    http: reqwest::Client,
    base: String,
    token: Option<Secret>,
}

impl HttpAdmin {
    pub(in crate::deployment_system) fn new(
        target: &str,
        config: &HttpAdminConfig,
    ) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true);
        if matches!(config.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build()?,
            base: config.url.as_str().trim_end_matches('/').to_owned(),
            token: config.token(target)?,
        })
    }

    /// What a playbook for this target needs to reach it.
    pub(in crate::deployment_system) fn playbook_variables(&self) -> Map<String, Value> {
        let mut variables = Map::new();
        variables.insert("firebreak_admin_url".into(), self.base.clone().into());
        let token = self.token.as_ref().map(|token| format!("Bearer {}", token.reveal()));
        variables.insert("firebreak_authorization".into(), token.unwrap_or_default().into());
        variables
    }

    pub(in crate::deployment_system) fn secrets(&self) -> Vec<Secret> {
        self.token.iter().cloned().collect()
    }

    pub(super) async fn observe(&self, action: &Action) -> Result<Value, ExecutorError> {
        match action {
            Action::UpdateConfig(update) => self.observe_config(update).await,
            Action::RestartService => {
                let status = self.get("/admin/status").await?;
                Ok(json!({"state": status["state"], "generation": status["generation"]}))
            }
            Action::Scale(_) => {
                let status = self.get("/admin/status").await?;
                Ok(json!({"replicas": status["replicas"]}))
            }
            Action::StopJob(Job { job }) | Action::StartJob(Job { job }) => {
                let status = self.get("/admin/status").await?;
                match status["jobs"].get(job) {
                    Some(running) => Ok(json!({"jobs": {job: running}})),
                    None => Err(ExecutorError::Refused {
                        field: "parameters.job".to_owned(),
                        message: format!("no job {job:?}; there are: {}", names(&status["jobs"])),
                    }),
                }
            }
            // The disk is told only by the answer to the cleanup itself.
            Action::Cleanup => Ok(Value::Null),
            Action::RunPlaybook(_) => Err(not_offered(action)),
        }
    }

    async fn observe_config(&self, update: &UpdateConfig) -> Result<Value, ExecutorError> {
        let answer = self.get("/admin/config").await?;
        let (saved, effective) = (&answer["config"], &answer["effective"]);
        let mut before = json!({"config": {}, "effective": {}});
        for key in update.set.keys() {
            let Some(value) = saved.get(key) else {
                return Err(ExecutorError::Refused {
                    field: format!("parameters.set.{key}"),
                    message: format!("no such setting; there are: {}", names(saved)),
                });
            };
            before["config"][key] = value.clone();
            before["effective"][key] = effective.get(key).unwrap_or(value).clone();
        }
        Ok(before)
    }

    pub(super) async fn carry_out(
        &self,
        action: &Action,
        deadline: &Deadline,
    ) -> Result<Effect, ExecutorError> {
        match action {
            Action::UpdateConfig(UpdateConfig { set, restart }) => {
                let answer = self.send(Method::PATCH, "/admin/config", Some(json!(set))).await?;
                if *restart {
                    self.restart(deadline).await.map_err(after_the_first_step)?;
                }
                Ok(Effect { output: answer.to_string(), ..Effect::default() })
            }
            Action::RestartService => {
                let answer = self.restart(deadline).await?;
                Ok(Effect { output: answer.to_string(), ..Effect::default() })
            }
            Action::Scale(Scale { replicas }) => {
                let body = json!({"replicas": replicas});
                let answer = self.send(Method::POST, "/admin/scale", Some(body)).await?;
                let is_ready = |status: &Value| status["replicas"]["ready"] == json!(replicas);
                self.wait(deadline, "the replicas are ready", is_ready).await?;
                Ok(Effect { output: answer.to_string(), ..Effect::default() })
            }
            Action::Cleanup => {
                let answer = self.send(Method::POST, "/admin/cleanup", None).await?;
                Ok(Effect {
                    before: answer.get("before").cloned(),
                    after: answer.get("after").cloned(),
                    output: answer.to_string(),
                    ..Effect::default()
                })
            }
            Action::StopJob(Job { job }) => self.job(job, "stop").await,
            Action::StartJob(Job { job }) => self.job(job, "start").await,
            Action::RunPlaybook(_) => Err(not_offered(action)),
        }
    }

    /// `job` holds no slash: the schema of the tool sees to it.
    async fn job(&self, job: &str, what: &str) -> Result<Effect, ExecutorError> {
        let answer = self.send(Method::POST, &format!("/admin/jobs/{job}/{what}"), None).await?;
        Ok(Effect { output: answer.to_string(), ..Effect::default() })
    }

    async fn restart(&self, deadline: &Deadline) -> Result<Value, ExecutorError> {
        let answer = self.send(Method::POST, "/admin/restart", None).await?;
        let generation = answer["generation"].as_u64().unwrap_or_default();
        let is_back = |status: &Value| {
            status["state"] == "running" && status["generation"].as_u64() >= Some(generation)
        };
        self.wait(deadline, "the service runs again", is_back).await?;
        Ok(answer)
    }

    async fn wait(
        &self,
        deadline: &Deadline,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<(), ExecutorError> {
        loop {
            // A service that restarts may refuse connections for a while.
            if self.get("/admin/status").await.is_ok_and(|status| is_so(&status)) {
                return Ok(());
            }
            if deadline.left() <= POLL {
                return Err(ExecutorError::Failed(format!("the deadline passed before {what}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn status(&self) -> Result<(Value, bool), ExecutorError> {
        let (status, config) =
            tokio::try_join!(self.get("/admin/status"), self.get("/admin/config"))?;
        let is_healthy = status["state"] == "running";
        Ok((json!({"status": status, "config": config}), is_healthy))
    }

    async fn get(&self, path: &str) -> Result<Value, ExecutorError> {
        self.send(Method::GET, path, None).await.map_err(|error| match error {
            // Reading does nothing, so nothing is unknown.
            ExecutorError::Unknown(message) | ExecutorError::Failed(message) => {
                ExecutorError::Unreachable(message)
            }
            other => other,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, ExecutorError> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(|error| unsent(&url, &error))?;
        let status = response.status();
        let answer = response.text().await;
        let answer: Value =
            answer.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let told = answer["error"].as_str().unwrap_or("no reason given");
        let message = format!("{url} answered {status}: {told}");
        if status.is_client_error() {
            let field = answer["field"].as_str().map(|field| format!("parameters.{field}"));
            let field = field.unwrap_or_else(|| "target".to_owned());
            return Err(ExecutorError::Refused { field, message });
        }
        Err(ExecutorError::Failed(message))
    }
}

fn unsent(url: &str, error: &reqwest::Error) -> ExecutorError {
    if error.is_connect() {
        return ExecutorError::Unreachable(format!("{url} cannot be reached"));
    }
    ExecutorError::Unknown(format!("{url} gave no answer"))
}

/// What went wrong in a later step leaves an earlier one done.
fn after_the_first_step(error: ExecutorError) -> ExecutorError {
    match error {
        ExecutorError::Refused { message, .. } | ExecutorError::Unreachable(message) => {
            ExecutorError::Failed(format!("configuration saved, but not restarted: {message}"))
        }
        other => other,
    }
}

pub(super) fn expected(action: &Action, before: &Value) -> Value {
    let mut after = before.clone();
    match action {
        Action::UpdateConfig(UpdateConfig { set, restart }) => {
            for (key, value) in set {
                after["config"][key] = value.clone();
                if *restart {
                    after["effective"][key] = value.clone();
                }
            }
        }
        Action::Scale(Scale { replicas }) => {
            after["replicas"] = json!({"desired": replicas, "ready": replicas});
        }
        Action::StopJob(Job { job }) => after["jobs"][job] = json!(false),
        Action::StartJob(Job { job }) => after["jobs"][job] = json!(true),
        Action::RestartService => {
            let generation = before["generation"].as_u64().unwrap_or_default() + 1;
            after["generation"] = json!(generation);
        }
        Action::Cleanup | Action::RunPlaybook(_) => {}
    }
    after
}

/// What others do not change by themselves: not what is in effect or ready, which lags behind.
pub(super) fn settings(action: &Action, state: &Value) -> Value {
    if state.is_null() {
        return Value::Null;
    }
    match action {
        Action::UpdateConfig(UpdateConfig { set, .. }) => {
            let of = |key: &String| (key.clone(), state["config"][key].clone());
            json!({"config": set.keys().map(of).collect::<Map<_, _>>()})
        }
        Action::Scale(_) => json!({"replicas": {"desired": state["replicas"]["desired"]}}),
        Action::StopJob(Job { job }) | Action::StartJob(Job { job }) => {
            json!({"jobs": {job: state["jobs"][job]}})
        }
        Action::RestartService | Action::Cleanup | Action::RunPlaybook(_) => Value::Null,
    }
}

/// Whether every value that `action` sets is as it sets it, in effect too, and was not so before.
pub(super) fn shows(action: &Action, before: &Value, now: &Value) -> bool {
    let is_set = match action {
        Action::UpdateConfig(UpdateConfig { set, restart }) => set.iter().all(|(key, value)| {
            now["config"][key] == *value && (!restart || now["effective"][key] == *value)
        }),
        Action::Scale(Scale { replicas }) => {
            now["replicas"] == json!({"desired": replicas, "ready": replicas})
        }
        Action::StopJob(Job { job }) => now["jobs"][job] == json!(false),
        Action::StartJob(Job { job }) => now["jobs"][job] == json!(true),
        Action::RestartService | Action::Cleanup | Action::RunPlaybook(_) => false,
    };
    is_set && !before.is_null() && settings(action, before) != settings(action, now)
}

pub(super) fn undo(target: &str, action: &Action, before: &Value) -> Undo {
    match action {
        Action::UpdateConfig(UpdateConfig { restart, .. }) => {
            let parameters = json!({"set": before["config"], "restart": restart});
            Ok(inverse(UPDATE_CONFIG, target, parameters))
        }
        Action::Scale(_) => match before["replicas"]["desired"].as_u64() {
            Some(replicas) => Ok(inverse(SCALE, target, json!({"replicas": replicas}))),
            None => Err("the number of replicas before is not known".to_owned()),
        },
        Action::StopJob(Job { job }) if before["jobs"][job] == json!(true) => {
            Ok(inverse(START_JOB, target, json!({"job": job})))
        }
        Action::StartJob(Job { job }) if before["jobs"][job] == json!(false) => {
            Ok(inverse(STOP_JOB, target, json!({"job": job})))
        }
        Action::StopJob(_) | Action::StartJob(_) => Err("it changes nothing".to_owned()),
        Action::RestartService => Err("a restart leaves nothing to restore".to_owned()),
        Action::Cleanup => Err("deleted files do not come back".to_owned()),
        Action::RunPlaybook(_) => Err("known only to the playbook".to_owned()),
    }
}

fn names(object: &Value) -> String {
    let keys = object.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    keys.unwrap_or_default().join(", ")
}
