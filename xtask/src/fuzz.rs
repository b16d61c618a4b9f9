//! `cargo xtask fuzz`: bytes that a mutator makes, read by a parser that strangers reach, under
//! libFuzzer. It starts from files that stand beside the target and keeps what it finds under
//! `target/fuzz/`; an input that breaks a rule is kept there too, and printed. Stable Rust and a C++
//! compiler are enough.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use serde_json::Value;

/// What is read, and where its inputs begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// The envelope and every object of A2A
    Wire,
    /// Webhooks, by the kind of their source
    Alertmanager,
    Grafana,
    Datadog,
    #[value(name = "pagerduty")]
    PagerDuty,
    #[value(name = "cloudevents")]
    CloudEvents,
    Json,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Alertmanager => "alertmanager",
            Self::Grafana => "grafana",
            Self::Datadog => "datadog",
            Self::PagerDuty => "pagerduty",
            Self::CloudEvents => "cloudevents",
            Self::Json => "json",
        }
    }

    /// The crate that holds it, apart from the workspace.
    fn folder(self) -> &'static str {
        if self == Self::Wire { "crates/a2a-types/fuzz" } else { "crates/webhooks/fuzz" }
    }

    fn seeds(self) -> PathBuf {
        match self {
            Self::Wire => "crates/a2a-types/tests/golden".into(),
            _ => Path::new(self.folder()).join("seeds").join(self.name()),
        }
    }
}

/// Coverage of edges and comparisons, as libFuzzer reads it; panics where numbers overflow.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 -Cdebug-assertions --cfg=fuzzing";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What is read
    #[arg(long, value_enum, default_value_t = Target::Wire)]
    target: Target,
    /// How long to go on
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Run this input only, such as one that broke a rule before
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Builds the target and runs it; the exit status is the target's.
///
/// # Errors
/// The target cannot be built or started, or its files cannot be read.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let work = root.join("target/fuzz").join(args.target.name());
    let seeds = root.join(args.target.seeds());
    let corpus = work.join("corpus");
    std::fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
    let program = build(root, args.target)?;
    let mut fuzzer = Command::new(program);
    fuzzer.current_dir(&work);
    match &args.input {
        Some(input) => fuzzer.arg(std::path::absolute(input)?),
        None => {
            let dictionary = work.join("words");
            std::fs::write(&dictionary, words(&seeds)?)?;
            fuzzer
                .arg(format!("-max_total_time={}", args.seconds))
                .arg(format!("-dict={}", dictionary.display()))
                .args(["-max_len=8192", "-timeout=10", "-rss_limit_mb=1024"])
                .args(["-print_final_stats=1", "-artifact_prefix=broken-"])
                .arg(corpus)
                .arg(seeds)
        }
    };
    let status = fuzzer.status().context("start the fuzz target")?;
    if !status.success() {
        eprintln!("error: a rule was broken; the input is {}/broken-*", work.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn build(root: &Path, target: Target) -> anyhow::Result<PathBuf> {
    let (host, built) = (host()?, root.join("target/fuzz"));
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bin", target.name(), "--manifest-path"])
        .arg(root.join(target.folder()).join("Cargo.toml"))
        // With a target named, build scripts and macros stay without instrumentation.
        .args(["--target", &host, "--target-dir"])
        .arg(&built)
        .env("RUSTFLAGS", RUSTFLAGS)
        .status()
        .context("start cargo")?;
    ensure!(status.success(), "the fuzz target cannot be built");
    Ok(built.join(host).join("release").join(target.name()))
}

fn host() -> anyhow::Result<String> {
    let rustc = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let about = String::from_utf8(rustc.stdout).context("rustc -vV")?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// The names and short texts of the JSON files, one a line, as libFuzzer reads a dictionary.
fn words(seeds: &Path) -> anyhow::Result<String> {
    let mut words = BTreeSet::new();
    for file in std::fs::read_dir(seeds).with_context(|| seeds.display().to_string())? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        collect(&value, &mut words);
    }
    Ok(words.iter().map(|word| format!("\"\\\"{word}\\\"\"\n")).collect())
}

fn collect(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => keep(text, words),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            keep(name, words);
            collect(field, words);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Only what needs no escape in a dictionary.
fn keep(text: &str, words: &mut BTreeSet<String>) {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-+:./".contains(letter);
    if text.len() <= 40 && text.chars().all(is_plain) {
        words.insert(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_and_short_texts() {
        let golden = tempfile::tempdir().unwrap();
        std::fs::write(golden.path().join("request.txt"), "a: b\n\n{}").unwrap();
        let file = golden.path().join("task.json");
        std::fs::write(file, r#"{"state": "TASK_STATE_FAILED", "text": "two words", "n": [1]}"#)
            .unwrap();
        let words = words(golden.path()).unwrap();
        assert_eq!(
            words,
            "\"\\\"TASK_STATE_FAILED\\\"\"\n\"\\\"n\\\"\"\n\"\\\"state\\\"\"\n\"\\\"text\\\"\"\n"
        );
    }
}
