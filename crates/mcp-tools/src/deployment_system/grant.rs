//! A grant allows exactly one change with exactly these arguments until it expires. That it was
//! not used before is kept by the record of changes, in one transaction with the intent.

use a2a_types::mcp::deployment::{ChangeRequest, Grant, canonical_arguments};
use jiff::Timestamp;
use rpc::mcp::server::ToolError;
use sha2::{Digest, Sha256};

/// SHA-256, lower-case hex, of what the request would do.
pub(super) fn arguments_sha256(action: &str, request: &ChangeRequest) -> String {
    let arguments = canonical_arguments(action, &request.target, &request.parameters);
    hex::encode(Sha256::digest(arguments))
}

/// The grant, if it is for these arguments; it may have expired, as it has when the answer to a
/// retry is read from the record.
pub(super) fn matching<'a>(
    request: &'a ChangeRequest,
    arguments_sha256: &str,
) -> Result<&'a Grant, ToolError> {
    let Some(grant) = &request.grant else {
        return Err(ToolError::refused("grant", "a change needs a grant"));
    };
    if grant.target != request.target {
        let message = format!("is for {}, not for {}", grant.target, request.target);
        return Err(ToolError::refused("grant.target", message));
    }
    if grant.arguments_sha256 != arguments_sha256 {
        let message = format!("is for other arguments: these have {arguments_sha256}");
        return Err(ToolError::refused("grant.arguments_sha256", message));
    }
    Ok(grant)
}

pub(super) fn check_valid(grant: &Grant, now: Timestamp) -> Result<(), ToolError> {
    if grant.expires_at <= now {
        let message = format!("expired at {}", grant.expires_at);
        return Err(ToolError::refused("grant.expires_at", message));
    }
    Ok(())
}
