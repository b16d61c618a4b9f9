//! What the tests of the three servers share: starting one on port 0 and calling it over MCP.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

pub(crate) mod admin;
pub(crate) mod deployment;
pub(crate) mod effects;
pub(crate) mod program;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rpc::mcp::client::{Client, McpError, Options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::{Process, Running};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A started server and a client of it.
pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
}

pub(crate) async fn serve<C, F>(config: C, start: impl FnOnce(C, Process) -> F) -> Served
where
    F: Future<Output = anyhow::Result<Running>>,
{
    serve_as(Process::new("under-test"), config, start).await
}

/// As this process, with its clock.
pub(crate) async fn serve_as<C, F>(
    process: Process,
    config: C,
    start: impl FnOnce(C, Process) -> F,
) -> Served
where
    F: Future<Output = anyhow::Result<Running>>,
{
    let address = start(config, process.clone()).await.unwrap().address;
    let client = client(address, Options::default());
    Served { process, address, client }
}

pub(crate) fn client(address: SocketAddr, options: Options) -> Client {
    Client::new(format!("http://{address}/mcp").parse().unwrap(), options).unwrap()
}

impl Served {
    pub(crate) async fn call<O: DeserializeOwned>(
        &self,
        tool: &str,
        input: &impl Serialize,
    ) -> Result<O, McpError> {
        self.client.call(tool, input, PATIENCE).await
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        self.process.shut_down(Duration::from_secs(10)).await.unwrap();
    }
}

/// The field that a tool said was at fault.
pub(crate) fn refused_field<T: std::fmt::Debug>(result: Result<T, McpError>) -> String {
    match result {
        Err(McpError::InvalidInput { field, .. }) => field,
        Err(error) => {
            let fault = error.fault().unwrap_or_else(|| panic!("not refused: {error}"));
            assert_eq!(fault.kind, a2a_types::mcp::FaultKind::Refused, "{error}");
            fault.field.clone().unwrap_or_default()
        }
        Ok(answer) => panic!("not refused: {answer:?}"),
    }
}

pub(crate) fn deploy_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// The program's path when it is installed; otherwise says that the test is skipped.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {program} is not on PATH");
    }
    found
}
