//! `status`: what a target is like now, and what is recorded of its changes. Changes nothing and
//! needs no grant.

use std::sync::Arc;

use a2a_types::mcp::deployment::{Change, RUN_PLAYBOOK, StatusInput, StatusOutput, TargetStatus};
use rpc::mcp::server::ToolError;
use serde_json::json;

use super::change::Deployer;
use super::record::{read_change, unavailable};

impl Deployer {
    pub(super) async fn status(
        self: Arc<Self>,
        input: StatusInput,
    ) -> Result<StatusOutput, ToolError> {
        let time = self.process.now();
        if let Some(target) = &input.target {
            let status = self.target_status(target).await?;
            let changes = self.recent_changes(target).await?;
            return Ok(StatusOutput { time, target: Some(status), changes });
        }
        let row = match (&input.change_id, &input.idempotency_key) {
            (Some(id), _) => self.store.change(id).await,
            (None, Some(key)) => self.store.change_by_key(key).await,
            (None, None) => Ok(None),
        };
        let row = row.map_err(|error| unavailable(&error))?;
        Ok(StatusOutput { time, target: None, changes: row.iter().map(read_change).collect() })
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
        Ok(TargetStatus {
            target: name.to_owned(),
            service: target.service.clone(),
            healthy,
            state,
            actions,
        })
    }

    async fn recent_changes(&self, target: &str) -> Result<Vec<Change>, ToolError> {
        let ids: Vec<String> = {
            let recent = self.target(target)?.recent.lock().expect("no panic while held");
            recent.iter().cloned().collect()
        };
        let mut changes = Vec::new();
        for id in ids {
            let row = self.store.change(&id).await.map_err(|error| unavailable(&error))?;
            changes.extend(row.as_ref().map(read_change));
        }
        Ok(changes)
    }
}
