//! The Prometheus and Alertmanager files, from one source. `monitoring/templates` holds what the
//! profiles share; here stand the few values in which they differ. The rendered files under
//! `monitoring/` are committed, and a check keeps them equal to their source.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// How fast everything is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Seconds, for the demo and tests.
    Fast,
    /// As production usually has it.
    Real,
}

/// Where the parts answer, each `host:port`.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    pub(crate) database: String,
    pub(crate) app: String,
    pub(crate) gateway: String,
    pub(crate) alertmanager: String,
    /// The ingress, which receives the webhooks.
    pub(crate) ingress: String,
    /// A file that Alertmanager reads the webhook's bearer token from.
    pub(crate) webhook_token_file: String,
}

impl Targets {
    /// Everything on this machine, on the default ports.
    pub(crate) fn local() -> Self {
        // Beside the database, from where Alertmanager's file stands.
        Self::on(["127.0.0.1"; 3], "../../data/webhook-token")
    }

    /// Everything under its name in `docker-compose.yml`.
    pub(crate) fn compose() -> Self {
        Self::on(["fault-simulator", "alertmanager", "ingress"], "/run/webhook/token")
    }

    fn on([fleet, alertmanager, ingress]: [&str; 3], webhook_token_file: &str) -> Self {
        Self {
            database: format!("{fleet}:8000"),
            app: format!("{fleet}:8001"),
            gateway: format!("{fleet}:8002"),
            alertmanager: format!("{alertmanager}:9093"),
            ingress: format!("{ingress}:5000"),
            webhook_token_file: webhook_token_file.to_owned(),
        }
    }
}

/// A file by name, as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Rendered {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// Renders `prometheus.yml`, `rules.yml`, `alertmanager.yml` and `rules_test.yml`.
pub(crate) fn render(profile: Profile, targets: &Targets) -> Vec<Rendered> {
    let values = values(profile, targets);
    let fill = |(name, template): &(&'static str, &str)| Rendered {
        name,
        text: fill(template, &values, pace(profile).scrape),
    };
    TEMPLATES.iter().map(fill).collect()
}

/// Writes the rendered files into `directory`, creating it.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write(directory: &Path, profile: Profile, targets: &Targets) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("create {}", directory.display()))?;
    for file in render(profile, targets) {
        let path = directory.join(file.name);
        std::fs::write(&path, file.text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Renders the committed files anew; `root` is the workspace's.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write_committed(root: &Path) -> anyhow::Result<()> {
    for (directory, profile, targets) in committed(root) {
        write(&directory, profile, &targets)?;
    }
    Ok(())
}

/// Checks that the committed files equal their source.
///
/// # Errors
/// The files that do not.
pub(crate) fn check_committed(root: &Path) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (directory, profile, targets) in committed(root) {
        for file in render(profile, &targets) {
            let path = directory.join(file.name);
            if std::fs::read_to_string(&path).ok().as_deref() != Some(file.text.as_str()) {
                stale.push(path.display().to_string());
            }
        }
    }
    ensure!(stale.is_empty(), "not as monitoring/templates would make them: {}", stale.join(", "));
    Ok(())
}

/// Lets `promtool` and `amtool` judge the committed files. Returns the tools that are not installed.
///
/// # Errors
/// What a tool found, in its own words.
pub(crate) fn check_with_tools(root: &Path) -> anyhow::Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for (directory, _, _) in committed(root) {
        for (tool, arguments) in [
            ("promtool", ["check", "config", "prometheus.yml"].as_slice()),
            ("promtool", &["check", "rules", "rules.yml"]),
            ("promtool", &["test", "rules", "rules_test.yml"]),
            ("amtool", &["check-config", "alertmanager.yml"]),
        ] {
            if !run_tool(&directory, tool, arguments)? && !missing.contains(&tool) {
                missing.push(tool);
            }
        }
    }
    Ok(missing)
}

/// False where the tool is not installed.
fn run_tool(directory: &Path, tool: &str, arguments: &[&str]) -> anyhow::Result<bool> {
    let output = match Command::new(tool).args(arguments).current_dir(directory).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        output => output.with_context(|| format!("run {tool}"))?,
    };
    if output.status.success() {
        return Ok(true);
    }
    bail!(
        "{tool} {} in {}:\n{}{}",
        arguments.join(" "),
        directory.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const TEMPLATES: [(&str, &str); 4] = [
    ("prometheus.yml", include_str!("../../monitoring/templates/prometheus.yml")),
    ("rules.yml", include_str!("../../monitoring/templates/rules.yml")),
    ("alertmanager.yml", include_str!("../../monitoring/templates/alertmanager.yml")),
    ("rules_test.yml", include_str!("../../monitoring/templates/rules_test.yml")),
];

fn committed(root: &Path) -> [(PathBuf, Profile, Targets); 4] {
    let monitoring = root.join("monitoring");
    [
        (monitoring.join("fast"), Profile::Fast, Targets::local()),
        (monitoring.join("real"), Profile::Real, Targets::local()),
        (monitoring.join("compose/fast"), Profile::Fast, Targets::compose()),
        (monitoring.join("compose/real"), Profile::Real, Targets::compose()),
    ]
}

/// In seconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    scrape: u64,
    evaluate: u64,
    hold: u64,
    /// A rate needs two samples in its window, and a few more to be steady.
    window: u64,
    group_wait: u64,
    /// How late Alertmanager may report that an alert resolved.
    group_interval: u64,
    repeat_interval: u64,
}

fn pace(profile: Profile) -> Pace {
    match profile {
        Profile::Fast => Pace {
            scrape: 1,
            evaluate: 1,
            hold: 5,
            window: 5,
            group_wait: 0,
            group_interval: 1,
            repeat_interval: 60,
        },
        Profile::Real => Pace {
            scrape: 10,
            evaluate: 15,
            hold: 60,
            window: 60,
            group_wait: 1,
            group_interval: 10,
            repeat_interval: 300,
        },
    }
}

fn values(profile: Profile, targets: &Targets) -> Vec<(&'static str, String)> {
    let pace = pace(profile);
    let seconds = |count: u64| format!("{count}s");
    vec![
        ("profile", if profile == Profile::Fast { "fast" } else { "real" }.to_owned()),
        ("scrape", seconds(pace.scrape)),
        ("evaluate", seconds(pace.evaluate)),
        ("for", seconds(pace.hold)),
        ("window", seconds(pace.window)),
        ("group_wait", seconds(pace.group_wait)),
        ("group_interval", seconds(pace.group_interval)),
        ("repeat_interval", seconds(pace.repeat_interval)),
        ("database", targets.database.clone()),
        ("app", targets.app.clone()),
        ("gateway", targets.gateway.clone()),
        ("alertmanager", targets.alertmanager.clone()),
        ("webhook", format!("http://{}/webhooks/alertmanager", targets.ingress)),
        // Only in the rules' test: late enough to fire, and early enough not to.
        ("firing_at", seconds(pace.window + pace.hold + 2 * pace.evaluate)),
        ("pending_at", seconds(pace.hold - pace.evaluate)),
        ("webhook_token_file", targets.webhook_token_file.clone()),
    ]
}

/// Replaces `@name@` and `@per_scrape(n)@` (n per second, counted per scrape). Prometheus's own
/// templates keep their braces.
fn fill(template: &str, values: &[(&str, String)], scrape: u64) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    while let Some((before, rest)) = text.split_once("@per_scrape(") {
        let (number, after) = rest.split_once(")@").expect("a template closes what it opens");
        let number: u64 = number.parse().expect("a template counts in whole numbers");
        text = format!("{before}{}{after}", number * scrape);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn committed_files_equal_their_source_and_pass_the_tools() {
        check_committed(&root()).unwrap();
        let missing = check_with_tools(&root()).unwrap();
        if !missing.is_empty() {
            println!("skipped, not installed: {}", missing.join(", "));
        }
    }

    #[test]
    fn no_placeholder_is_left_and_targets_are_used() {
        let targets = Targets {
            database: "10.0.0.1:1".into(),
            webhook_token_file: "/run/token".into(),
            ..Targets::compose()
        };
        let files = render(Profile::Fast, &targets);
        for file in &files {
            assert!(!file.text.contains('@'), "{}", file.name);
        }
        assert!(files[0].text.contains("\"10.0.0.1:1\""));
        assert!(files[0].text.contains("\"alertmanager:9093\""));
        assert!(files[2].text.contains("http://ingress:5000/webhooks/alertmanager"));
        assert!(files[2].text.contains("credentials_file: \"/run/token\""));
    }
}
