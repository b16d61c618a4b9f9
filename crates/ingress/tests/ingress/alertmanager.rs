//! A real Alertmanager: alerts and silences are put into it by its API, and it is ended as a machine
//! that fails ends it.

use std::process::Stdio;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::world::{PATIENCE, WEBHOOK_TOKEN};

#[derive(Debug)]
pub(crate) struct Alertmanager {
    pub(crate) address: String,
    arguments: Vec<String>,
    http: reqwest::Client,
    directory: tempfile::TempDir,
    child: Option<tokio::process::Child>,
}

/// One alert to put into Alertmanager; times are seconds from now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alert<'a> {
    pub(crate) name: &'a str,
    pub(crate) server: &'a str,
    pub(crate) team: &'a str,
    pub(crate) starts: i64,
    pub(crate) ends: Option<i64>,
}

impl<'a> Alert<'a> {
    /// It fires from now on.
    pub(crate) fn on(server: &'a str) -> Self {
        Self { name: "DiskFull", server, team: "ours", starts: 0, ends: None }
    }

    pub(crate) fn since(self, starts: i64) -> Self {
        Self { starts, ..self }
    }

    pub(crate) fn until(self, ends: i64) -> Self {
        Self { ends: Some(ends), ..self }
    }

    fn body(&self) -> Value {
        let at = |seconds| now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let mut body = json!({
            "labels": {"alertname": self.name, "server": self.server, "team": self.team},
            "annotations": {"summary": format!("disk of {} is full", self.server)},
            "startsAt": at(self.starts),
        });
        if let Some(ends) = self.ends {
            body["endsAt"] = json!(at(ends));
        }
        body
    }
}

fn now() -> Timestamp {
    service::Clock::System.now()
}

/// What posts to ingress at once, group by group.
pub(crate) fn posting_to(url: &str, settings: &str) -> String {
    format!(
        "route: {{receiver: firebreak, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers:\n  - name: firebreak\n    webhook_configs:\n      - url: '{url}'\n        \
         http_config: {{authorization: {{credentials: {WEBHOOK_TOKEN}}}}}\n        {settings}\n"
    )
}

impl Alertmanager {
    /// Not started yet. `None`, and a word on why, where it is not installed.
    pub(crate) fn prepare() -> Option<Self> {
        if program().is_none() {
            println!("skipped: alertmanager is not installed");
            return None;
        }
        Some(Self {
            address: service::own_loopback_address(),
            arguments: vec!["--cluster.listen-address=".into()],
            http: reqwest::Client::builder().timeout(PATIENCE).build().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            child: None,
        })
    }

    /// A member of a cluster that gossips here, with these others.
    pub(crate) fn gossiping(mut self, here: &str, others: &[&str]) -> Self {
        let peers = others.iter().map(|other| format!("--cluster.peer={other}"));
        let settle = ["--cluster.gossip-interval=20ms", "--cluster.pushpull-interval=500ms"];
        let here = [format!("--cluster.listen-address={here}")];
        self.arguments = here.into_iter().chain(settle.map(str::to_owned)).chain(peers).collect();
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn start(&mut self, config: &str) {
        std::fs::write(self.directory.path().join("alertmanager.yml"), config).unwrap();
        self.run().await;
    }

    /// Ends it as a failing machine does, and starts it on the same data: silences are kept, alerts
    /// are not.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        self.run().await;
    }

    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    async fn run(&mut self) {
        let directory = self.directory.path();
        let child = tokio::process::Command::new(program().unwrap())
            .arg(format!("--config.file={}", directory.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", directory.display()))
            .arg(format!("--web.listen-address={}", self.address))
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.join("log")).unwrap())
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.unwrap());
        let is_ready = async {
            let url = format!("{}/-/ready", self.url());
            while !self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::task::yield_now().await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, is_ready).await;
        let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(ready.is_ok(), "Alertmanager does not start: {log}");
    }

    pub(crate) async fn put(&self, alerts: &[Alert<'_>]) {
        let bodies: Vec<Value> = alerts.iter().map(Alert::body).collect();
        self.post("/api/v2/alerts", &json!(bodies)).await;
    }

    /// Silences every alert of a server, and returns the id of the silence.
    pub(crate) async fn silence(&self, server: &str) -> String {
        let in_an_hour = now().checked_add(SignedDuration::from_hours(1)).unwrap();
        let silence = json!({"createdBy": "a test", "comment": "", "startsAt": now(),
            "endsAt": in_an_hour, "matchers": [
                {"name": "server", "value": server, "isRegex": false, "isEqual": true}]});
        let made: Value = self.post("/api/v2/silences", &silence).await.json().await.unwrap();
        made["silenceID"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn end_silence(&self, id: &str) {
        let url = format!("{}/api/v2/silence/{id}", self.url());
        assert_eq!(self.http.delete(url).send().await.unwrap().status(), 200);
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let answer = self.http.post(self.url() + path).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer
    }

    pub(crate) async fn listed(&self) -> Vec<Value> {
        let url = format!("{}/api/v2/alerts", self.url());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// The webhook that would tell of everything that is listed now.
    pub(crate) async fn as_webhook(&self) -> String {
        let mut alerts = self.listed().await;
        for alert in &mut alerts {
            alert["status"] = json!("firing");
            alert["endsAt"] = json!("0001-01-01T00:00:00Z");
        }
        json!({"version": "4", "status": "firing", "alerts": alerts}).to_string()
    }
}

fn program() -> Option<std::path::PathBuf> {
    let directories = std::env::var_os("PATH")?;
    let directories = std::env::split_paths(&directories);
    let names = ["alertmanager", "prometheus-alertmanager"];
    let mut files = directories.flat_map(|directory| names.map(|name| directory.join(name)));
    files.find(|file| file.is_file())
}
