//! `cargo xtask test`: everything that must hold before a change is merged, on a bare machine.
//!
//! Installs what the tests need where it may, runs every stage even after one failed, prints the
//! wall time of each, and closes with the tests that failed and one line `N passed, N failed`: every
//! test counts, and so does every other stage.

mod install;
mod tally;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::children::Children;
use crate::{demo, interrupt, monitoring, programs, tidy};
use tally::Tally;

/// No stage may take longer; the whole run stays below 45 minutes on two cores.
const STAGE_LIMIT: Duration = Duration::from_secs(40 * 60);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out what needs other programs: the demo and the checks by other SDKs
    #[arg(long)]
    quick: bool,
    /// Run these stages only: install, fmt, tidy, monitoring, clippy, tests, demo
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    only: Vec<String>,
}

const STAGES: [&str; 7] = ["install", "fmt", "tidy", "monitoring", "clippy", "tests", "demo"];

/// What is run, and what it needs.
#[derive(Debug)]
struct Runner<'a> {
    root: &'a Path,
    children: Children,
    /// Where the other SDKs are installed, by the variable that tells the tests.
    environments: Vec<(&'static str, PathBuf)>,
    /// Stages that were asked for; none is all.
    only: &'a [String],
    report: Vec<Line>,
    tally: Tally,
    /// Tests that failed.
    failed: BTreeSet<String>,
}

#[derive(Debug)]
struct Line {
    stage: &'static str,
    took: Duration,
    is_good: bool,
}

/// Runs every stage.
///
/// # Errors
/// A signal came; what was started is ended.
pub(crate) fn run(root: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(unknown) = args.only.iter().find(|name| !STAGES.contains(&name.as_str())) {
        bail!("no stage {unknown:?}: there are {}", STAGES.join(", "));
    }
    let scratch = tempfile::Builder::new().prefix("firebreak-test-").tempdir()?;
    let mut runner = Runner {
        root,
        children: Children::new(scratch.path()),
        environments: Vec::new(),
        only: &args.only,
        report: Vec::new(),
        tally: Tally::default(),
        failed: BTreeSet::new(),
    };
    let started = Instant::now();
    runner.all_stages(args.quick)?;
    runner.print(started.elapsed());
    Ok(if runner.tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Runner<'_> {
    fn all_stages(&mut self, is_quick: bool) -> anyhow::Result<()> {
        if !is_quick {
            self.stage("install", Self::install)?;
        }
        self.stage("fmt", |run| run.cargo(&["fmt", "--all", "--check"]))?;
        self.stage("tidy", |run| {
            ensure!(tidy::run(run.root)? == ExitCode::SUCCESS, "the workspace breaks its rules");
            Ok(())
        })?;
        self.stage("monitoring", |run| {
            monitoring::check_committed(run.root)?;
            let missing = monitoring::check_with_tools(run.root)?;
            ensure!(is_quick || missing.is_empty(), "not installed: {}", missing.join(", "));
            Ok(())
        })?;
        self.stage("clippy", |run| {
            run.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
        })?;
        self.stage("tests", Self::tests)?;
        if !is_quick {
            self.stage("demo", |run| demo::run_all(run.root))?;
        }
        Ok(())
    }

    /// Runs one stage and notes how it went. Only a signal ends the run.
    fn stage(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if !self.only.is_empty() && !self.only.iter().any(|only| only == name) {
            return Ok(());
        }
        println!("\n== {name}");
        let started = Instant::now();
        let before = self.tally;
        let outcome = work(self);
        interrupt::check()?;
        if let Err(error) = &outcome {
            println!("{name} failed: {error:#}");
        }
        // The stage that counts its own tests is not counted besides, unless it failed otherwise.
        let has_counted = self.tally.failed > before.failed
            || (outcome.is_ok() && self.tally.passed > before.passed);
        match outcome.is_ok() {
            _ if has_counted => {}
            true => self.tally.passed += 1,
            false => self.tally.failed += 1,
        }
        let took = started.elapsed();
        self.report.push(Line { stage: name, took, is_good: outcome.is_ok() });
        Ok(())
    }

    fn print(&self, total: Duration) {
        println!();
        for Line { stage, took, is_good } in &self.report {
            let verdict = if *is_good { "ok" } else { "FAILED" };
            println!("{stage:<12}{verdict:<8}{:>8.1} s", took.as_secs_f64());
        }
        println!("{:<20}{:>8.1} s", "total", total.as_secs_f64());
        for test in &self.failed {
            println!("failed: {test}");
        }
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
    }

    fn tests(&mut self) -> anyhow::Result<()> {
        if programs::find("cargo-nextest").is_some() {
            let nextest = self.cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
            let docs = self.cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
            // Once more, to be read: every transition of the machines.
            let lists = "test(every_transition_is_taken) | test(the_phase_changes_as_the_table)";
            let lists = ["nextest", "run", "--workspace", "--no-capture", "-E", lists];
            return nextest.and(docs).and(self.cargo(&lists));
        }
        self.cargo(&["test", "--workspace", "--no-fail-fast"])
    }

    fn cargo(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(self.root);
        cargo.envs(self.environments.iter().cloned());
        self.command("cargo", &cargo)
    }

    /// Runs one program, showing its output and counting the tests it reports.
    fn command(&mut self, name: &str, command: &Command) -> anyhow::Result<()> {
        let child = self.children.spawn(name, command, Stdio::piped(), Stdio::piped())?;
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
            child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>),
        ];
        let readers: Vec<_> = streams
            .into_iter()
            .flatten()
            .map(|stream| std::thread::spawn(move || show_and_count(stream)))
            .collect();
        let started = Instant::now();
        let outcome = loop {
            if let Some(ended) = self.children.ended() {
                break Ok(ended.status);
            }
            if started.elapsed() > STAGE_LIMIT {
                break Err(anyhow::anyhow!("not finished after {} s", STAGE_LIMIT.as_secs()));
            }
            if let Err(interrupted) = interrupt::pause(Duration::from_millis(50)) {
                break Err(interrupted.into());
            }
        };
        // What the program left behind must go before its output can end.
        self.children.stop();
        for reader in readers {
            let (tally, failed) = reader.join().unwrap_or_default();
            self.tally.add(tally);
            self.failed.extend(failed);
        }
        let status = outcome?;
        let shown: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        ensure!(status.success(), "{name} {} ended with {status}", shown.join(" "));
        Ok(())
    }
}

/// Returns the counts, and the tests that failed.
fn show_and_count(stream: impl Read) -> (Tally, Vec<String>) {
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line.context("read output") else { break };
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.add(tally::read(&line));
        failed.extend(tally::failed_test(&line));
    }
    (tally, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(root: &Path) -> Runner<'_> {
        Runner {
            root,
            children: Children::new(root),
            environments: Vec::new(),
            only: &[],
            report: Vec::new(),
            tally: Tally::default(),
            failed: BTreeSet::new(),
        }
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tests_of_a_stage_are_counted_and_other_stages_count_once() {
        let scratch = tempfile::tempdir().unwrap();
        let mut run = runner(scratch.path());
        run.stage("tests", |run| {
            run.command("sh", &shell("echo 'test result: ok. 3 passed; 0 failed; 0 ignored'"))
        })
        .unwrap();
        run.stage("fmt", |run| run.command("sh", &shell("true"))).unwrap();
        run.stage("clippy", |run| run.command("sh", &shell("exit 1"))).unwrap();
        assert_eq!(run.tally, Tally { passed: 4, failed: 1 });
        assert_eq!(
            run.report.iter().map(|line| line.is_good).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn runner_that_fails_without_a_failed_test_is_a_failure() {
        let scratch = tempfile::tempdir().unwrap();
        let mut run = runner(scratch.path());
        let script = "echo 'test result: ok. 3 passed; 0 failed'; exit 101";
        run.stage("tests", |run| run.command("sh", &shell(script))).unwrap();
        assert_eq!(run.tally, Tally { passed: 3, failed: 1 });
    }

    #[test]
    fn failed_tests_are_named_and_not_counted_twice() {
        let scratch = tempfile::tempdir().unwrap();
        let mut run = runner(scratch.path());
        let script = "echo 'test one ... FAILED'; echo 'test two ... FAILED' >&2; \
                      echo 'test result: FAILED. 3 passed; 2 failed'; exit 101";
        run.stage("tests", |run| run.command("sh", &shell(script))).unwrap();
        assert_eq!(run.tally, Tally { passed: 3, failed: 2 });
        assert_eq!(Vec::from_iter(run.failed), ["one", "two"]);
    }
}
