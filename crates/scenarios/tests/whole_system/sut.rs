//! A `tck-sut` process that can be killed and started again on its database.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const POLL: Duration = Duration::from_millis(10);

pub(crate) struct Sut {
    program: PathBuf,
    listen: String,
    pub(crate) http: reqwest::Client,
    process: Child,
    flags: Vec<String>,
    directory: tempfile::TempDir,
}

impl Sut {
    /// One that everybody may call.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("firebreak-sut-").tempdir()?;
        Self::start_in(directory, Vec::new()).await
    }

    /// One that speaks version 0.3 too, and asks for the token in the file it returns.
    pub(crate) async fn start_with_token() -> anyhow::Result<(Self, PathBuf)> {
        let directory = tempfile::Builder::new().prefix("firebreak-sut-").tempdir()?;
        let (token, callers) = (directory.path().join("token"), directory.path().join("callers"));
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&token)?;
        file.write_all(b"what-only-the-stranger-knows-0123456789")?;
        let caller = json!({"bearer": [{"name": "stranger", "files": [token]}]});
        std::fs::write(&callers, caller.to_string())?;
        let flags = ["--v0.3", "--authentication", &callers.to_string_lossy()].map(str::to_owned);
        Ok((Self::start_in(directory, flags.into()).await?, token))
    }

    async fn start_in(directory: tempfile::TempDir, flags: Vec<String>) -> anyhow::Result<Self> {
        let listen = service::own_loopback_address();
        let program = scenarios::binary("tck-sut")?;
        let process = spawn(&program, &listen, &flags, &directory)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut sut = Self { program, listen, http, process, flags, directory };
        sut.wait_until_ready().await?;
        Ok(sut)
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.listen)
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/a2a", self.base())
    }

    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.try_wait()?.is_none(), "it ended by itself");
        self.process.kill().await.context("kill tck-sut")
    }

    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&self.program, &self.listen, &self.flags, &self.directory)?;
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let url = format!("{}/readyz", self.base());
        while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(self.directory.path().join("log"))?;
                anyhow::bail!("tck-sut ended with {status}: {log}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub(crate) async fn task(&self, id: &str) -> anyhow::Result<Value> {
        let request = call(&self.http, &self.url(), "GetTask", &json!({"id": id}));
        let answer: Value = request.send().await?.json().await?;
        Ok(answer["result"].clone())
    }
}

fn spawn(
    program: &Path,
    listen: &str,
    flags: &[String],
    directory: &tempfile::TempDir,
) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(directory.path().join("log"))?;
    let mut command = Command::new(program);
    command.args(["--listen", listen, "--push-to-loopback", "--database"]);
    command.arg(directory.path().join("tasks.db")).args(flags);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    command.spawn().context("start tck-sut")
}

/// One JSON-RPC request.
pub(crate) fn call(
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
