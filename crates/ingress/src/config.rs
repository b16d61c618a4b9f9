//! The settings of ingress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use incident::Limits;
use rpc::a2a::{PeerConfig, ServerConfig, SettingError};
use serde::Deserialize;
use service::{ConfigError, Configuration, ConnectionLimits, Env, Process, TlsConfig};
use url::Url;
use webhooks::Format;

use crate::journal::JournalConfig;
use crate::policy::{self, Maintenance, StormConfig, WindowConfig};
use crate::reconcile::{Reconcilers, check_url};
use crate::rules::{self, CorrelationRule, Enrichment, Rules};
use crate::sources::{SourceConfig, SourceConfigs, Sources};
use crate::{AlertmanagerPeer, Mapping, Reconciliation, sources};

/// The source that the environment speaks of.
const ALERTMANAGER: &str = "alertmanager";

/// Bytes of a body at most: what waits in memory, and one row of a database.
const BODY_MOST: u64 = 256 << 20;
/// Places in the queue at most.
const QUEUE_MOST: u64 = 1 << 20;
/// Bytes that may wait at most.
const QUEUE_BYTES_MOST: u64 = 64 << 30;
/// Seconds after which a replica is found dead at the latest.
const LEASE_MOST: u64 = 3_600;
/// Rounds of one incident at most.
const ROUNDS_MOST: u64 = 100;
const DAY: u64 = 24 * 3_600;
/// Ten of them. A phase that lasts longer ends on no clock.
const YEARS: u64 = 10 * 365 * DAY;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of webhooks, the API and A2A.
    pub listen: String,
    /// Address of the console.
    pub console_listen: String,
    /// The absolute URL under which other agents reach `listen`; default `http://<listen>`, or
    /// `https://<listen>` with `tls`.
    pub public_url: Option<Url>,
    /// The certificate of `listen`, and whose clients may show one; `None`: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// How many connections `listen` keeps open, and how long a client may keep it waiting.
    pub connections: ConnectionLimits,
    /// How this agent is offered to others: who may call, where push notifications may go, the key
    /// that signs its card.
    pub a2a: ServerConfig,
    /// Where incidents live: the path of a SQLite file, which belongs to one process, or a
    /// `postgres://` URL, whose password stands in the file that `PGPASSFILE` names, for any number of
    /// replicas.
    pub database: String,
    /// Seconds after which a replica that gives no sign of life has lost what it was doing to others.
    pub lease_seconds: u64,
    /// Seconds between two signs of life; a lease outlasts a few that are lost.
    pub beat_seconds: u64,
    /// Seconds after which a ticket that could not be written is tried again.
    pub ticket_retry_seconds: u64,
    pub agents: Agents,
    /// Who may post webhooks, by name, which is the path: `/webhooks/<name>`. Nobody else may.
    pub sources: SourceConfigs,
    /// Times and counts that bound every phase of an incident.
    pub limits: Limits,
    /// Tables that add labels to alerts, such as owner, tier and runbook, one after the other.
    pub enrichment: Vec<Enrichment>,
    /// Which alerts are one incident: the first rule that is for an alert gives its key.
    pub correlation: Vec<CorrelationRule>,
    /// File that says which service depends on which: alerts of services with the same root are one
    /// incident.
    pub dependencies: Option<PathBuf>,
    /// Times in which alerts are expected: one that fires is held back, until it ends or they do.
    pub maintenance: Vec<WindowConfig>,
    /// When so many incidents open that what would open more goes into one.
    pub storm: StormConfig,
    /// How an incident is described from its first alert.
    pub mapping: Mapping,
    /// The Alertmanager of the source `alertmanager`, where `sources` does not say how that is
    /// reconciled.
    pub alertmanager_url: Option<Url>,
    /// The receiver whose alerts are ours; others are left alone.
    pub alertmanager_receiver: String,
    /// File with the bearer token for Alertmanager.
    pub alertmanager_token_file: Option<PathBuf>,
    /// Seconds between two such questions.
    pub reconcile_seconds: u64,
    /// Linked in the console.
    pub prometheus_url: Option<Url>,
    /// Linked in the console.
    pub grafana_url: Option<Url>,
    /// Largest webhook body in bytes; a larger one is answered 413.
    pub body_bytes: usize,
    /// Deliveries that may wait for the database. Beyond this, senders receive 503 and retry; the
    /// last tenth is kept for critical alerts and for those that end.
    pub queue_capacity: usize,
    /// Bytes of bodies held in memory, counted from before they are read. Beyond this, senders wait a
    /// little, and then receive 503.
    pub queue_bytes: usize,
    /// How long what came is kept.
    pub journal: JournalConfig,
}

/// Who holds the three roles: any A2A agent, by the URL under which it publishes its card.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agents {
    pub diagnostic: PeerConfig,
    pub resolution: PeerConfig,
    pub ticketing: PeerConfig,
}

impl Default for Agents {
    fn default() -> Self {
        let local = |port: u16| -> PeerConfig {
            Url::parse(&format!("http://127.0.0.1:{port}")).expect("a literal URL parses").into()
        };
        Self { diagnostic: local(5010), resolution: local(5020), ticketing: local(5030) }
    }
}

impl Agents {
    fn named(&self) -> [(&'static str, &PeerConfig); 3] {
        let Self { diagnostic, resolution, ticketing } = self;
        [("diagnostic", diagnostic), ("resolution", resolution), ("ticketing", ticketing)]
    }

    fn named_mut(&mut self) -> [(&'static str, &mut PeerConfig); 3] {
        let Self { diagnostic, resolution, ticketing } = self;
        [("diagnostic", diagnostic), ("resolution", resolution), ("ticketing", ticketing)]
    }
}

impl Default for Config {
    fn default() -> Self {
        let rule = CorrelationRule::of_labels;
        Self {
            listen: "127.0.0.1:5000".into(),
            console_listen: "127.0.0.1:5001".into(),
            public_url: None,
            tls: None,
            connections: ConnectionLimits::default(),
            a2a: ServerConfig::default(),
            database: "data/ingress.db".into(),
            lease_seconds: 10,
            beat_seconds: 3,
            ticket_retry_seconds: 300,
            agents: Agents::default(),
            sources: SourceConfigs::new(),
            limits: Limits::default(),
            enrichment: Vec::new(),
            correlation: vec![
                rule(&["cluster", "server"]),
                rule(&["server"]),
                rule(&["service", "instance"]),
                rule(&["instance"]),
                rule(&["service"]),
            ],
            dependencies: None,
            maintenance: Vec::new(),
            storm: StormConfig::default(),
            mapping: Mapping::default(),
            alertmanager_url: None,
            alertmanager_receiver: "firebreak".into(),
            alertmanager_token_file: None,
            reconcile_seconds: 30,
            prometheus_url: None,
            grafana_url: None,
            body_bytes: 8 << 20,
            queue_capacity: 4096,
            queue_bytes: 64 << 20,
            journal: JournalConfig::default(),
        }
    }
}

impl Config {
    /// The address callers use.
    ///
    /// # Errors
    /// Neither setting makes an http(s) address.
    pub(crate) fn address(&self) -> Result<Url, ConfigError> {
        service::advertised_url(&self.listen, self.public_url.as_ref(), self.tls.as_ref())
    }

    /// Which Alertmanagers are asked, by the source that they post to.
    pub(crate) fn reconciliations(&self) -> BTreeMap<String, Reconciliation> {
        let of_source = |(name, source): (&String, &SourceConfig)| {
            source.reconcile.clone().map(|reconcile| (name.clone(), reconcile))
        };
        let mut all: BTreeMap<_, _> = self.sources.iter().filter_map(of_source).collect();
        if let Some(url) = self.alertmanager_url.clone() {
            let token_file = self.alertmanager_token_file.clone();
            all.entry(ALERTMANAGER.into()).or_insert_with(|| Reconciliation {
                alertmanagers: vec![AlertmanagerPeer { url, token_file, basic: None }],
                receiver: self.alertmanager_receiver.clone(),
                reconcile_seconds: self.reconcile_seconds,
                ..Reconciliation::default()
            });
        }
        all
    }

    /// No number is one that a clock, a queue or the machine cannot hold.
    fn check_numbers(&self) -> Result<(), ConfigError> {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let limits = &self.limits;
        let numbers = [
            ("body_bytes", number(self.body_bytes), 1..=BODY_MOST),
            ("queue_capacity", number(self.queue_capacity), 1..=QUEUE_MOST),
            ("queue_bytes", number(self.queue_bytes), 1..=QUEUE_BYTES_MOST),
            ("beat_seconds", self.beat_seconds, 1..=LEASE_MOST),
            ("lease_seconds", self.lease_seconds, 1..=LEASE_MOST),
            ("ticket_retry_seconds", self.ticket_retry_seconds, 1..=DAY),
            ("reconcile_seconds", self.reconcile_seconds, 1..=DAY),
            ("limits.diagnosis_seconds", limits.diagnosis_seconds, 0..=YEARS),
            ("limits.resolution_seconds", limits.resolution_seconds, 0..=YEARS),
            ("limits.approval_seconds", limits.approval_seconds, 0..=YEARS),
            ("limits.quiet_seconds", limits.quiet_seconds, 0..=YEARS),
            ("limits.reopen_seconds", limits.reopen_seconds, 0..=YEARS),
            ("limits.reminder_seconds", limits.reminder_seconds, 0..=YEARS),
            ("limits.rounds", limits.rounds.into(), 1..=ROUNDS_MOST),
        ];
        let check = |(field, number, range)| ConfigError::check_range(field, number, range);
        numbers.into_iter().try_for_each(check)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    pub(crate) fn beat(&self) -> Duration {
        Duration::from_secs(self.beat_seconds)
    }
}

impl Configuration for Config {
    fn apply_env(&mut self, env: &Env) -> Result<(), ConfigError> {
        env.apply("FIREBREAK_LISTEN", &mut self.listen)?;
        env.apply("FIREBREAK_CONSOLE_LISTEN", &mut self.console_listen)?;
        env.apply_some("FIREBREAK_PUBLIC_URL", &mut self.public_url)?;
        env.apply("FIREBREAK_DATABASE", &mut self.database)?;
        for (name, peer) in self.agents.named_mut() {
            let prefix = format!("{}_AGENT", name.to_uppercase());
            env.apply(&format!("{prefix}_URL"), &mut peer.url)?;
            env.apply_some(&format!("{prefix}_TOKEN_FILE"), &mut peer.token_file)?;
        }
        env.apply_some("ALERTMANAGER_URL", &mut self.alertmanager_url)?;
        env.apply_some("ALERTMANAGER_TOKEN_FILE", &mut self.alertmanager_token_file)?;
        let mut webhook_token_file: Option<PathBuf> = None;
        env.apply_some("ALERTMANAGER_WEBHOOK_TOKEN_FILE", &mut webhook_token_file)?;
        if let Some(file) = webhook_token_file {
            let source = SourceConfig::bearer(Format::Alertmanager, &file);
            let known = self.sources.remove(ALERTMANAGER);
            let reconcile = known.and_then(|known| known.reconcile);
            self.sources.insert(ALERTMANAGER.into(), SourceConfig { reconcile, ..source });
        }
        env.apply_some("PROMETHEUS_URL", &mut self.prometheus_url)?;
        env.apply_some("GRAFANA_URL", &mut self.grafana_url)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_numbers()?;
        self.journal.validate()?;
        if self.lease_seconds < self.beat_seconds.saturating_mul(2) {
            let why = "must be at least twice `beat_seconds`";
            return Err(ConfigError::setting("lease_seconds", why));
        }
        for (name, peer) in self.agents.named() {
            let named = |error: SettingError| {
                ConfigError::setting(format!("agents.{name}.{}", error.field), error.message)
            };
            peer.check().map_err(named)?;
        }
        self.a2a
            .check()
            .map_err(|error| ConfigError::setting(format!("a2a.{}", error.field), error.message))?;
        self.connections.check("connections")?;
        let has_clients = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        sources::check(&self.sources, has_clients)?;
        if let Some(url) = &self.alertmanager_url {
            check_url("alertmanager_url", url)?;
        }
        if self.alertmanager_receiver.is_empty() {
            return Err(ConfigError::setting("alertmanager_receiver", "must not be empty"));
        }
        self.address()?;
        policy::check_flapping(&self.limits)?;
        Maintenance::new(&self.maintenance)?;
        self.storm.check()?;
        rules::check(&self.correlation)?;
        self.mapping.validate()
    }

    fn check_files(&self, process: &Process) -> anyhow::Result<()> {
        if let Some(tls) = &self.tls {
            tls.check().context("setting `tls`")?;
        }
        self.a2a.open().context("settings of `a2a`")?;
        Rules::open(self)?;
        let sources = Sources::open(process, &self.sources)?;
        Reconcilers::open(process, self.reconciliations(), &sources)?;
        for (name, peer) in self.agents.named() {
            peer.check_files().with_context(|| format!("settings of `agents.{name}`"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_agents_and_services_outside() {
        let env = Env::fixed([("DIAGNOSTIC_AGENT_URL", "http://diagnostic-agent:5010")]);
        let config: Config = service::load_config(None, &env).unwrap();
        assert_eq!(config.agents.diagnostic.url.as_str(), "http://diagnostic-agent:5010/");
        let outside = [
            ("ALERTMANAGER_URL", "https://am.example:9093"),
            ("ALERTMANAGER_TOKEN_FILE", "/run/secrets/am"),
            ("PROMETHEUS_URL", "https://prom.example"),
            ("GRAFANA_URL", "https://grafana.example"),
        ];
        let config: Config = service::load_config(None, &Env::fixed(outside)).unwrap();
        let urls = [config.alertmanager_url, config.prometheus_url, config.grafana_url];
        let urls = urls.map(|url| url.unwrap().to_string());
        assert_eq!(
            urls,
            ["https://am.example:9093/", "https://prom.example/", "https://grafana.example/"]
        );
        assert_eq!(config.alertmanager_token_file.unwrap(), PathBuf::from("/run/secrets/am"));
        let env = Env::fixed([("DIAGNOSTIC_AGENT_URL", "nowhere")]);
        assert!(service::load_config::<Config>(None, &env).is_err());
    }

    #[test]
    fn a_token_from_outside_leaves_the_reconciliation_of_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ingress.yaml");
        let source = "sources:\n  alertmanager:\n    kind: alertmanager\n    \
            unauthenticated: true\n    reconcile: {alertmanagers: [{url: 'http://am-1:9093'}]}\n";
        std::fs::write(&path, source).unwrap();
        let env = Env::fixed([("ALERTMANAGER_WEBHOOK_TOKEN_FILE", "/run/secrets/am")]);
        let config: Config = service::load_config(Some(&path), &env).unwrap();
        assert!(!config.sources["alertmanager"].unauthenticated);
        assert_eq!(config.reconciliations()["alertmanager"].alertmanagers.len(), 1);
    }

    #[test]
    fn an_agent_is_a_url_or_a_mapping_and_a_wrong_address_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ingress.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let env = Env::fixed([("TICKETING_AGENT_TOKEN_FILE", "/run/secrets/ticketing")]);
            service::load_config::<Config>(Some(&path), &env)
        };
        let config = read(
            "agents:\n  diagnostic:\n    url: https://agents.example/sre\n    token_file: t\n    \
             allowed_origins: [https://rpc.example]\n  resolution: http://r:1\n",
        );
        let agents = config.unwrap().agents;
        assert_eq!(agents.diagnostic.token_file, Some(PathBuf::from("t")));
        assert_eq!(agents.resolution, PeerConfig::from(Url::parse("http://r:1").unwrap()));
        assert_eq!(agents.ticketing.url, Agents::default().ticketing.url);
        assert_eq!(agents.ticketing.token_file, Some("/run/secrets/ticketing".into()));
        for (text, why) in [
            ("agents: {diagnostic: {url: 'http://a', tokn_file: x}}", "agents.diagnostic"),
            ("agents: {diagnostik: 'http://a'}", "diagnostik"),
            ("agents: {ticketing: {url: 'ftp://a'}}", "setting `agents.ticketing.url`"),
            ("alertmanager_url: 'ftp://a'", "setting `alertmanager_url`: must be an http"),
            ("alertmanager_url: 'http://u:p@a'", "setting `alertmanager_url`: must hold no"),
            ("alertmanager_receiver: ''", "setting `alertmanager_receiver`: must not be empty"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_no_clock_no_queue_and_no_machine_can_hold_is_refused_by_name_and_range() {
        let asked = |setting: &str| {
            let asked = format!("{{alertmanagers: [{{url: 'http://am'}}], {setting}}}");
            format!(
                "sources: {{am: {{kind: alertmanager, unauthenticated: true, reconcile: {asked}}}}}"
            )
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ingress.yaml");
        for (text, field) in [
            ("queue_capacity: 18446744073709551615", "queue_capacity"),
            ("queue_capacity: 0", "queue_capacity"),
            ("queue_bytes: 18446744073709551615", "queue_bytes"),
            ("body_bytes: 18446744073709551615", "body_bytes"),
            ("lease_seconds: 3601", "lease_seconds"),
            ("beat_seconds: 0", "beat_seconds"),
            ("reconcile_seconds: 86401", "reconcile_seconds"),
            ("ticket_retry_seconds: 0", "ticket_retry_seconds"),
            ("limits: {rounds: 4294967295}", "limits.rounds"),
            ("limits: {flap_changes: 65}", "limits.flap_changes"),
            ("limits: {flap_window_seconds: 18446744073709551615}", "limits.flap_window_seconds"),
            ("storm: {incidents: 100001}", "storm.incidents"),
            ("journal: {days: 4294967295}", "journal.days"),
            ("journal: {bytes: 18446744073709551615}", "journal.bytes"),
            ("connections: {open: 18446744073709551615}", "connections.open"),
            ("connections: {idle_seconds: 18446744073709551615}", "connections.idle_seconds"),
            ("a2a: {limits: {callers: 18446744073709551615}}", "a2a.limits.callers"),
            ("a2a: {push: {timeout_ms: 18446744073709551615}}", "a2a.push.timeout_ms"),
            ("a2a: {push: {concurrent: 18446744073709551615}}", "a2a.push.concurrent"),
            (&asked("reconcile_seconds: 86401"), "sources.am.reconcile.reconcile_seconds"),
            (&asked("settled_seconds: 86401"), "sources.am.reconcile.settled_seconds"),
            ("limits: {diagnosis_seconds: 18446744073709551615}", "limits.diagnosis_seconds"),
            ("limits: {flap_quiet_seconds: 315360001}", "limits.flap_quiet_seconds"),
            ("storm: {seconds: 18446744073709551615}", "storm.seconds"),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = service::load_config::<Config>(Some(&path), &Env::fixed([]));
            let error = read.unwrap_err().to_string();
            assert!(error.starts_with(&format!("setting `{field}`: must be ")), "{text}: {error}");
        }
    }

    #[test]
    fn an_address_nobody_can_reach_is_not_advertised() {
        let env = Env::fixed([("FIREBREAK_LISTEN", "0.0.0.0:5000")]);
        let error = service::load_config::<Config>(None, &env).unwrap_err().to_string();
        assert!(error.starts_with("setting `public_url`"), "{error}");
    }

    #[test]
    fn the_sample_configuration_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/config/ingress.yaml");
        service::load_config::<Config>(Some(path.as_ref()), &Env::fixed([])).unwrap();
    }

    #[test]
    fn what_the_samples_say_of_a2a_exists_and_is_the_default() {
        for program in ["ingress", "diagnostic-agent", "resolution-agent", "ticketing-agent"] {
            let root = env!("CARGO_MANIFEST_DIR");
            let path = format!("{root}/../../deploy/config/{program}.yaml");
            let text = std::fs::read_to_string(&path).unwrap();
            let (_, lines) = text.split_once("\n# a2a:\n").unwrap();
            let lines: Vec<&str> =
                lines.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
            let sample: ServerConfig = service::parse_yaml(&lines.join("\n"), &path).unwrap();
            let default = ServerConfig::default();
            assert_eq!(sample.limits, default.limits, "{program}");
            let days = (sample.retention_days, sample.waiting_days, sample.v0_3);
            assert_eq!(days, (default.retention_days, default.waiting_days, default.v0_3));
            let mut push = default.push;
            push.allow_hosts.clone_from(&sample.push.allow_hosts);
            push.allow_addresses.clone_from(&sample.push.allow_addresses);
            assert_eq!(sample.push, push, "{program}");
        }
    }
}
