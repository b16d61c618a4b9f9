//! `status`: what a target is like now, and what is recorded of its changes. Changes no target and
//! needs no grant. With a fencing token it shuts out whoever acts with a smaller one, before it
//! answers: what is not recorded by then never happens.

use std::sync::Arc;

use a2a_types::mcp::deployment::{Change, RUN_PLAYBOOK, StatusInput, StatusOutput, TargetStatus};
use rpc::mcp::server::ToolError;
use serde_json::json;

use super::change::{Deployer, fenced};
use super::quarantine::closed;
use super::record::{read_change, unavailable};

/// Changes of a target that are listed.
const RECENT: u32 = 10;

impl Deployer {
    pub(super) async fn status(
        self: Arc<Self>,
        input: StatusInput,
    ) -> Result<StatusOutput, ToolError> {
        let time = self.process.now();
        if let Some(target) = &input.target {
            self.target(target)?;
            self.shut_out(target, input.fencing_token).await?;
        }
        let row = match (input.change_id, input.idempotency_key, &input.target) {
            (Some(id), ..) => self.store.change(id).await,
            (None, Some(key), _) => self.store.change_by_key(key).await,
            (None, None, Some(target)) => {
                let status = self.target_status(target).await?;
                let changes = self.recent_changes(target).await?;
                return Ok(StatusOutput { time, target: Some(status), changes });
            }
            (None, None, None) => Ok(None),
        };
        let row = row.map_err(|error| unavailable(&error))?;
        Ok(StatusOutput { time, target: None, changes: row.iter().map(read_change).collect() })
    }

    /// Raises the fence of a target, for good.
    async fn shut_out(&self, target: &str, token: Option<i64>) -> Result<(), ToolError> {
        let Some(token) = token else { return Ok(()) };
        let seen = self.store.raise_fence(target.to_owned(), token).await;
        match seen.map_err(|error| unavailable(&error))? {
            seen if seen > token => Err(fenced(target, Some(token), seen)),
            _ => Ok(()),
        }
    }

    /// A target that does not answer is not well; that is an answer, not an error.
    async fn target_status(&self, name: &str) -> Result<TargetStatus, ToolError> {
        let target = self.target(name)?;
        let (state, healthy) = match target.executor.status().await {
            Ok(status) => status,
            Err(error) => (json!({"error": error.to_string()}), false),
        };
        let mut actions: Vec<String> =
            target.executor.actions().iter().map(|&action| action.to_owned()).collect();
        if !target.playbooks.is_empty() {
            actions.push(RUN_PLAYBOOK.to_owned());
        }
        let reason = self.reason(name).await.map_err(|error| unavailable(&error))?;
        Ok(TargetStatus {
            closed: reason.map(|reason| closed(name, &reason)),
            target: name.to_owned(),
            service: target.service.clone(),
            healthy,
            state,
            actions,
        })
    }

    async fn recent_changes(&self, target: &str) -> Result<Vec<Change>, ToolError> {
        let rows = self.store.changes(Some(target.to_owned()), RECENT).await;
        Ok(rows.map_err(|error| unavailable(&error))?.iter().map(read_change).collect())
    }
}
