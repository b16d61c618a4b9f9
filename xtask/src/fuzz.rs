//! `cargo xtask fuzz`: bytes that a mutator makes, read as the envelope and every object of A2A, under
//! libFuzzer. It starts from the golden files and keeps what it finds under `target/fuzz/`; an input
//! that breaks a rule is kept there too, and printed. Stable Rust and a C++ compiler are enough.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use serde_json::Value;

const TARGET: &str = "wire";
const MANIFEST: &str = "crates/a2a-types/fuzz/Cargo.toml";
const SEEDS: &str = "crates/a2a-types/tests/golden";

/// Coverage of edges and comparisons, as libFuzzer reads it; panics where numbers overflow.
const RUSTFLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 -Cdebug-assertions --cfg=fuzzing";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
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
/// The target cannot be built or started, or the golden files cannot be read.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let work = root.join("target/fuzz");
    let corpus = work.join("corpus");
    std::fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
    let program = build(root, &work)?;
    let mut fuzzer = Command::new(program);
    fuzzer.current_dir(&work);
    match &args.input {
        Some(input) => fuzzer.arg(std::path::absolute(input)?),
        None => {
            let dictionary = work.join("words");
            std::fs::write(&dictionary, words(&root.join(SEEDS))?)?;
            fuzzer
                .arg(format!("-max_total_time={}", args.seconds))
                .arg(format!("-dict={}", dictionary.display()))
                .args(["-max_len=8192", "-timeout=10", "-rss_limit_mb=1024"])
                .args(["-print_final_stats=1", "-artifact_prefix=broken-"])
                .arg(corpus)
                .arg(root.join(SEEDS))
        }
    };
    let status = fuzzer.status().context("start the fuzz target")?;
    if !status.success() {
        eprintln!("error: a rule was broken; the input is {}/broken-*", work.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn build(root: &Path, work: &Path) -> anyhow::Result<PathBuf> {
    let host = host()?;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(root.join(MANIFEST))
        // With a target named, build scripts and macros stay without instrumentation.
        .args(["--target", &host, "--target-dir"])
        .arg(work)
        .env("RUSTFLAGS", RUSTFLAGS)
        .status()
        .context("start cargo")?;
    ensure!(status.success(), "the fuzz target cannot be built");
    Ok(work.join(host).join("release").join(TARGET))
}

fn host() -> anyhow::Result<String> {
    let rustc = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let about = String::from_utf8(rustc.stdout).context("rustc -vV")?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// The names and short texts of the golden files, one a line, as libFuzzer reads a dictionary.
fn words(golden: &Path) -> anyhow::Result<String> {
    let mut words = BTreeSet::new();
    for file in std::fs::read_dir(golden).with_context(|| golden.display().to_string())? {
        let path = file?.path();
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
