//! A `tck-sut` process that can be killed and started again on its database.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const POLL: Duration = Duration::from_millis(10);

pub(super) struct Sut {
    program: PathBuf,
    listen: String,
    pub(super) http: reqwest::Client,
    process: Child,
    directory: tempfile::TempDir,
}

impl Sut {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("firebreak-sut-").tempdir()?;
        let listen = service::own_loopback_address();
        let program = scenarios::binary("tck-sut")?;
        let process = spawn(&program, &listen, &directory)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut sut = Self { program, listen, http, process, directory };
        sut.wait_until_ready().await?;
        Ok(sut)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/a2a", self.listen)
    }

    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.try_wait()?.is_none(), "it ended by itself");
        self.process.kill().await.context("kill tck-sut")
    }

    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&self.program, &self.listen, &self.directory)?;
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.listen);
        while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(self.directory.path().join("log"))?;
                anyhow::bail!("tck-sut ended with {status}: {log}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub(super) async fn task(&self, id: &str) -> anyhow::Result<Value> {
        let request = call(&self.http, &self.url(), "GetTask", &json!({"id": id}));
        let answer: Value = request.send().await?.json().await?;
        Ok(answer["result"].clone())
    }
}

fn spawn(program: &PathBuf, listen: &str, directory: &tempfile::TempDir) -> anyhow::Result<Child> {
    let log =
        std::fs::File::options().create(true).append(true).open(directory.path().join("log"))?;
    let mut command = Command::new(program);
    command.args(["--listen", listen, "--push-to-loopback", "--database"]);
    command.arg(directory.path().join("tasks.db"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    command.spawn().context("start tck-sut")
}

/// One JSON-RPC request.
pub(super) fn call(
    http: &reqwest::Client,
    url: &str,
    method: &str,
    params: &Value,
) -> reqwest::RequestBuilder {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    http.post(url)
        .header("content-type", "application/json")
        .header("a2a-version", "1.0")
        .body(body.to_string())
}
