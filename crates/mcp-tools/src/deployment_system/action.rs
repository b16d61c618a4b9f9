//! What is asked for, with its parameters read into types.

use a2a_types::mcp::deployment::{
    CLEANUP, Job, RESTART_SERVICE, ROLLBACK, RUN_PLAYBOOK, Rollback, RunPlaybook, SCALE, START_JOB,
    STOP_JOB, Scale, UPDATE_CONFIG, UpdateConfig,
};
use rpc::mcp::server::ToolError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    RunPlaybook(RunPlaybook),
    RestartService,
    Scale(Scale),
    UpdateConfig(UpdateConfig),
    Cleanup,
    StopJob(Job),
    StartJob(Job),
}

/// An action, or the undoing of an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    Action(Action),
    Rollback(Rollback),
}

pub(super) fn parse(name: &str, parameters: &Map<String, Value>) -> Result<Asked, ToolError> {
    Ok(Asked::Action(match name {
        RUN_PLAYBOOK => Action::RunPlaybook(read(parameters)?),
        RESTART_SERVICE => Action::RestartService,
        SCALE => Action::Scale(read(parameters)?),
        UPDATE_CONFIG => Action::UpdateConfig(read(parameters)?),
        CLEANUP => Action::Cleanup,
        STOP_JOB => Action::StopJob(read(parameters)?),
        START_JOB => Action::StartJob(read(parameters)?),
        ROLLBACK => return Ok(Asked::Rollback(read(parameters)?)),
        other => {
            return Err(ToolError::refused("action", format!("{other:?} is not an action")));
        }
    }))
}

fn read<T: DeserializeOwned>(parameters: &Map<String, Value>) -> Result<T, ToolError> {
    serde_path_to_error::deserialize(Value::Object(parameters.clone())).map_err(|error| {
        let field = format!("parameters.{}", error.path());
        ToolError::refused(field, error.into_inner().to_string())
    })
}

impl Action {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::RunPlaybook(_) => RUN_PLAYBOOK,
            Self::RestartService => RESTART_SERVICE,
            Self::Scale(_) => SCALE,
            Self::UpdateConfig(_) => UPDATE_CONFIG,
            Self::Cleanup => CLEANUP,
            Self::StopJob(_) => STOP_JOB,
            Self::StartJob(_) => START_JOB,
        }
    }
}
