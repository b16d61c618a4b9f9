//! What carries out an action: an admin API, a process of this machine, or Ansible. Each can say
//! what the action touches before it acts, so that every change knows its inverse.

mod ansible;
mod http_admin;
mod output;
mod process;

use a2a_types::mcp::deployment::Inverse;
use rpc::mcp::server::ToolError;
use serde_json::{Map, Value};

pub(super) use ansible::{Ansible, Ran, Run, read_record};
pub(super) use http_admin::HttpAdmin;
pub(super) use output::redact;
pub(super) use process::LocalProcess;

use super::action::Action;
use super::deadline::Deadline;

/// How a target's service is changed. Playbooks run beside it.
#[derive(Debug)]
pub(super) enum Executor {
    HttpAdmin(HttpAdmin),
    Process(LocalProcess),
}

/// How an executor fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecutorError {
    /// Nothing was done: the target or the executor does not accept this.
    #[error("{message}")]
    Refused { field: String, message: String },
    /// Nothing was done: what would do it does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It was tried and went wrong; some of it may be done.
    #[error("{0}")]
    Failed(String),
    /// Whether it was done is not known.
    #[error("{0}")]
    Unknown(String),
}

/// What is left to tell after an action was carried out.
#[derive(Debug, Default)]
pub(super) struct Effect {
    pub(super) output: String,
    /// Known only from the action itself.
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
    /// Why it found that it must not act.
    pub(super) refused: Option<String>,
}

/// What undoes an action, or why nothing does.
pub(super) type Undo = Result<Inverse, String>;

impl Executor {
    /// The state that `action` touches, as it is now.
    pub(super) async fn observe(&self, action: &Action) -> Result<Value, ExecutorError> {
        match self {
            Self::HttpAdmin(admin) => admin.observe(action).await,
            Self::Process(process) => process.observe(action),
        }
    }

    /// Acts, until the deadline at most.
    pub(super) async fn carry_out(
        &self,
        action: &Action,
        deadline: &Deadline,
    ) -> Result<Effect, ExecutorError> {
        match self {
            Self::HttpAdmin(admin) => admin.carry_out(action, deadline).await,
            Self::Process(process) => process.carry_out(action, deadline).await,
        }
    }

    /// What `observe` should answer after `action`, for a dry run.
    pub(super) fn expected(&self, action: &Action, before: &Value) -> Value {
        match self {
            Self::HttpAdmin(_) => http_admin::expected(action, before),
            Self::Process(_) => Value::Null,
        }
    }

    pub(super) fn undo(&self, target: &str, action: &Action, before: &Value) -> Undo {
        match self {
            Self::HttpAdmin(_) => http_admin::undo(target, action, before),
            Self::Process(_) => Err("a restart leaves nothing to restore".to_owned()),
        }
    }

    /// Of an observed `state`, the values that `action` sets; `null` when they are not known.
    pub(super) fn settings(&self, action: &Action, state: &Value) -> Value {
        match self {
            Self::HttpAdmin(_) => http_admin::settings(action, state),
            Self::Process(_) => Value::Null,
        }
    }

    /// Whether `action` has left the target as it is now, and nothing else can have. `false`: not known.
    pub(super) fn shows(&self, action: &Action, before: &Value, now: &Value) -> bool {
        match self {
            Self::HttpAdmin(_) => http_admin::shows(action, before, now),
            Self::Process(_) => false,
        }
    }

    /// The service's state for people, and whether it is well.
    pub(super) async fn status(&self) -> Result<(Value, bool), ExecutorError> {
        match self {
            Self::HttpAdmin(admin) => admin.status().await,
            Self::Process(process) => Ok(process.status()),
        }
    }

    pub(super) fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::HttpAdmin(_) => http_admin::ACTIONS,
            Self::Process(_) => process::ACTIONS,
        }
    }
}

impl ExecutorError {
    pub(super) fn did_nothing(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unreachable(_))
    }

    /// As an answer when nothing was begun.
    pub(super) fn into_tool_error(self) -> ToolError {
        match self {
            Self::Refused { field, message } => ToolError::refused(field, message),
            Self::Unreachable(message) => ToolError::Unavailable(message),
            Self::Failed(message) => ToolError::Failed(message),
            Self::Unknown(message) => ToolError::Unknown(message),
        }
    }
}

fn inverse(action: &str, target: &str, parameters: Value) -> Inverse {
    let parameters = match parameters {
        Value::Object(parameters) => parameters,
        _ => Map::new(),
    };
    Inverse { action: action.to_owned(), target: target.to_owned(), parameters }
}

fn not_offered(action: &Action) -> ExecutorError {
    ExecutorError::Refused {
        field: "target".to_owned(),
        message: format!("its executor has no {}", action.name()),
    }
}
