//! All rules together: what goes first, and keys that nothing but the named labels and files decide.

use incident::{Alert, AlertStatus, Severity};

use super::*;

pub(super) fn alert(labels: &[(&str, &str)]) -> Alert {
    Alert {
        source: "alertmanager".into(),
        fingerprint: "f1".into(),
        status: AlertStatus::Firing,
        name: "Timeouts".into(),
        severity: Severity::Critical,
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        annotations: [].into(),
        starts_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        is_start_known: true,
        ends_at: None,
        generator_url: String::new(),
    }
}

fn rules(correlation: &str) -> Rules {
    rules_with(correlation, None)
}

fn rules_with(correlation: &str, dependencies: Option<&str>) -> Rules {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config {
        correlation: service::parse_yaml(correlation, "rules").unwrap(),
        ..Config::default()
    };
    if let Some(text) = dependencies {
        let path = directory.path().join("services.yaml");
        std::fs::write(&path, text).unwrap();
        config.dependencies = Some(path);
    }
    Rules::open(&config).unwrap()
}

fn key(rules: &Rules, labels: &[(&str, &str)]) -> String {
    rules.key(&alert(labels), true).as_str().to_owned()
}

#[test]
fn two_alerts_on_one_target_are_one_incident() {
    let rules = Rules::open(&Config::default()).unwrap();
    let timeouts = key(&rules, &[("server", "db-1"), ("severity", "critical")]);
    assert_eq!(timeouts, r#"server="db-1""#);
    assert_eq!(timeouts, key(&rules, &[("server", "db-1")]));
    assert_ne!(timeouts, key(&rules, &[("server", "db-2")]));
    assert_ne!(timeouts, key(&rules, &[("server", "db-1"), ("cluster", "eu")]));
}

#[test]
fn an_alert_without_target_labels_stands_alone() {
    let rules = Rules::open(&Config::default()).unwrap();
    assert_eq!(key(&rules, &[]), "alertmanager:f1");
    assert_eq!(key(&rules, &[("server", "")]), "alertmanager:f1");
}

#[test]
fn the_first_rule_that_is_for_an_alert_decides() {
    let rules = rules(
        "- {name: certificates, when: 'name == \"CertificateExpires\"', key: [domain]}\n\
         - labels: [server]\n- {name: team, when: 'has(labels.team)', key: labels.team}\n",
    );
    let certificate = Alert {
        name: "CertificateExpires".into(),
        ..alert(&[("server", "db-1"), ("domain", "a.example")])
    };
    assert_eq!(rules.key(&certificate, true).as_str(), r#"rule certificates: domain="a.example""#);
    assert_eq!(key(&rules, &[("server", "db-1"), ("team", "a")]), r#"server="db-1""#);
    assert_eq!(key(&rules, &[("team", "a")]), r#"rule team: "a""#);
}

#[test]
fn dependencies_stand_before_the_first_rule_of_labels_alone() {
    let rules = rules_with(
        "- {name: certificates, when: 'name == \"Timeouts\" && has(labels.domain)', key: labels.domain}\n\
         - labels: [server]\n",
        Some("services: {web: {depends_on: [db-1]}, db-1: {}}\n"),
    );
    assert_eq!(key(&rules, &[("server", "web"), ("domain", "a")]), r#"rule certificates: "a""#);
    assert_eq!(key(&rules, &[("server", "web")]), r#"root "db-1""#);
    assert_eq!(key(&rules, &[("server", "mail")]), r#"server="mail""#);
}

#[test]
fn label_values_cannot_imitate_another_key() {
    let rules = rules_with(
        "- {name: a, when: 'has(labels.a)', key: labels.a}\n\
         - {name: b, when: 'has(labels.b)', key: [b]}\n\
         - labels: [service, instance]\n- labels: [service]\n",
        Some(
            "labels: [member]\nservices: {m: {}, \"m\\\"+\\\"n\": {}, n: {}, o: {depends_on: [m, n]}}\n",
        ),
    );
    let long = "x".repeat(2 * KEY_BYTES);
    let honest = [
        key(&rules, &[("service", "db"), ("instance", "i")]),
        key(&rules, &[("service", "db")]),
        key(&rules, &[("a", "x")]),
        key(&rules, &[("b", "x")]),
        key(&rules, &[("member", "m")]),
        key(&rules, &[("member", "o")]),
        key(&rules, &[("a", &long)]),
        rules.key(&alert(&[("a", "x")]), false).as_str().to_owned(),
        key(&rules, &[]),
    ];
    for (index, one) in honest.iter().enumerate() {
        for (other, two) in honest.iter().enumerate() {
            assert_eq!(index == other, one == two, "{one} {two}");
        }
        for hostile in [one.clone(), format!("db\",instance=\"{one}"), one.replace('"', "")] {
            for label in ["service", "a", "b", "member"] {
                let hostile = Alert { fingerprint: "f2".into(), ..alert(&[(label, &hostile)]) };
                let forged = rules.key(&hostile, true).as_str().to_owned();
                assert!(!honest.contains(&forged), "{label}: {forged}");
            }
            let alone = Alert { fingerprint: hostile, ..alert(&[]) };
            let forged = rules.key(&alone, true).as_str().to_owned();
            assert!(!honest.contains(&forged), "{forged}");
        }
    }
    assert_ne!(key(&rules, &[("member", "m\"+\"n")]), key(&rules, &[("member", "o")]));
    assert_ne!(key(&rules, &[("service", "db\",instance=\"i")]), honest[0]);
}

#[test]
fn every_key_is_bounded_and_long_ones_are_told_apart() {
    let rules = rules("- labels: [service]\n");
    let of = |end: &str| key(&rules, &[("service", &format!("{}{end}", "\u{7}".repeat(60_000)))]);
    assert!(of("a").starts_with("sha256 ") && of("a").len() < KEY_BYTES);
    assert_ne!(of("a"), of("b"));
    assert_eq!(of("a"), of("a"));
}

#[test]
fn an_unauthenticated_source_shares_no_incident() {
    let rules = Rules::open(&Config::default()).unwrap();
    let known = alert(&[("server", "db-1")]);
    let other = Alert { source: "other".into(), ..known.clone() };
    let keys = [rules.key(&known, true), rules.key(&known, false), rules.key(&other, false)];
    assert_eq!(keys[1].as_str(), r#"unauthenticated alertmanager: server="db-1""#);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] == rules.key(&other, true));
}

#[test]
fn two_rules_of_one_name_are_refused() {
    let twice = "- {name: a, when: 'true', key: name}\n- {name: a, when: 'true', key: [b]}\n";
    let twice: Vec<CorrelationRule> = service::parse_yaml(twice, "rules").unwrap();
    let said = check(&twice).unwrap_err().to_string();
    assert_eq!(said, "setting `correlation[1].name`: another rule is called `a`");
}

#[test]
fn the_samples_work_as_they_stand() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let text = std::fs::read_to_string(format!("{root}/deploy/config/ingress.yaml")).unwrap();
    let between = |start: &str, end: &str| -> String {
        let (_, rest) = text.split_once(start).unwrap();
        let lines = rest.split_once(end).unwrap().0.lines();
        lines.map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect()
    };
    let files = format!("enrichment:{}", between("\n# enrichment:", "\n\n"));
    let mut config: Config = service::parse_yaml(&files, "sample").unwrap();
    let rule = between("`source`:\n", "correlation:\n");
    config.correlation.splice(..0, service::parse_yaml::<Vec<_>>(&rule, "sample").unwrap());
    for table in &mut config.enrichment {
        table.file = std::path::Path::new(root).join(&table.file);
    }
    config.dependencies = config.dependencies.map(|file| std::path::Path::new(root).join(file));
    let rules = Rules::open(&config).unwrap();
    let mut gateway = alert(&[("server", "api-gateway-01"), ("environment", "production")]);
    rules.enrich(&mut gateway);
    assert_eq!(gateway.label("owner"), Some("platform"));
    assert_eq!(gateway.label("runbook_url"), Some("https://runbooks.example.org/gateway"));
    let root = r#"root "db-server-01",environment="production""#;
    assert_eq!(rules.key(&gateway, true).as_str(), root);
    let certificate =
        Alert { name: "CertificateExpires".into(), ..alert(&[("domain", "a.example")]) };
    let of_certificate = r#"rule certificates: "certificate of a.example""#;
    assert_eq!(rules.key(&certificate, true).as_str(), of_certificate);
}

/// xorshift64*: enough chance for a test, the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }

    /// An alert of a few labels and values, among them hostile ones.
    fn alert(&mut self) -> Alert {
        let names = ["server", "service", "cluster", "disk"];
        let values = ["db-1", "web", "eu", "", "a\",cluster=\"eu", "root \"db-1\""];
        let mut alert = alert(&[]);
        for name in names {
            if self.below(2) == 0 {
                let value = values[self.below(values.len())];
                alert.labels.insert(name.to_owned(), value.to_owned());
            }
        }
        alert.fingerprint = format!("f{}", self.below(5));
        alert
    }

    /// The same alert as to what rules name, otherwise another report.
    fn other_report(&mut self, alert: &Alert) -> Alert {
        let mut other = alert.clone();
        for _ in 0..self.below(5) {
            let name = ["pod", "job", "severity", "zone"][self.below(4)];
            other.labels.insert(name.to_owned(), format!("v{}", self.below(9)));
        }
        other.annotations.insert("summary".to_owned(), format!("{}", self.below(9)));
        other.starts_at = alert.starts_at + jiff::SignedDuration::from_secs(60);
        other.status = AlertStatus::Resolved;
        other
    }
}

/// For 500 seeds: the key of an alert is the same whatever was asked before it, by rules that were
/// opened anew, and with whatever labels no rule names.
#[test]
fn a_key_depends_on_the_named_labels_and_the_files_alone() {
    let open = || {
        rules_with(
            "- {name: disks, when: 'has(labels.disk) && labels.cluster != \"eu\"', key: [server, disk]}\n\
             - {name: eu, when: 'labels.cluster == \"eu\"', key: 'labels.service + \"/\" + labels.disk'}\n\
             - labels: [cluster, server]\n- labels: [server]\n- labels: [service]\n",
            Some("services: {web: {depends_on: [api]}, api: {depends_on: [db-1]}, db-1: }\n"),
        )
    };
    let (first, second) = (open(), open());
    for seed in 1..=500 {
        let mut chance = Chance(seed);
        let alerts: Vec<Alert> = (0..20).map(|_| chance.alert()).collect();
        let in_order: Vec<IncidentKey> = alerts.iter().map(|a| first.key(a, true)).collect();
        let mut shuffled: Vec<usize> = (0..alerts.len()).collect();
        for last in (1..shuffled.len()).rev() {
            shuffled.swap(last, chance.below(last + 1));
        }
        for index in shuffled {
            let report = chance.other_report(&alerts[index]);
            assert_eq!(second.key(&report, true), in_order[index], "seed {seed}: {report:?}");
        }
    }
}
