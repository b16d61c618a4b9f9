//! What ingress knows Alertmanager by.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::http::post;

/// The variable that tells ingress where the token is.
pub const TOKEN_FILE: &str = "ALERTMANAGER_WEBHOOK_TOKEN_FILE";
/// What a webhook shows.
pub const TOKEN: &str = "only-the-benchmark-knows-this";

/// Writes the token that `webhook` shows.
///
/// # Errors
/// The file cannot be written.
pub fn write_token(directory: &Path) -> anyhow::Result<PathBuf> {
    let file = directory.join("webhook-token");
    std::fs::write(&file, TOKEN)?;
    Ok(file)
}

/// A webhook of Alertmanager.
pub fn webhook(ingress: SocketAddr, body: &str) -> Vec<u8> {
    let authorization = format!("Bearer {TOKEN}");
    post(ingress, "/webhooks/alertmanager", &[("Authorization", &authorization)], body)
}
