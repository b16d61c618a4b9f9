//! The processes of one world. Each leads its own process group; all carry a mark in their
//! environment or command line, by which the last is found and ended when the world ends.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::Program;

pub(crate) const MARK: &str = "FIREBREAK_SCENARIO";
/// Programs drain for 10 s at most.
const DRAIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);
/// Lines of each program shown when a scenario fails.
const TAIL: usize = 25;

#[derive(Debug)]
pub(crate) struct Processes {
    scratch: PathBuf,
    running: BTreeMap<Program, Child>,
}

impl Processes {
    pub(crate) fn new(scratch: &Path) -> Self {
        Self { scratch: scratch.to_owned(), running: BTreeMap::new() }
    }

    /// Starts a program; its output is added to `<program>.log`.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub(crate) fn start(&mut self, program: Program, command: &mut Command) -> anyhow::Result<()> {
        ensure!(!self.running.contains_key(&program), "{} runs already", program.name());
        let log = self.log(program)?;
        let mut command = ending_with_us(command);
        command
            .env(MARK, &self.scratch)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("start {}", program.name()))?;
        self.running.insert(program, child);
        Ok(())
    }

    fn log(&self, program: Program) -> anyhow::Result<File> {
        let path = self.log_path(program);
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        opened.with_context(|| format!("open {}", path.display()))
    }

    fn log_path(&self, program: Program) -> PathBuf {
        self.scratch.join(format!("{}.log", program.name()))
    }

    /// `kill -9`: this process alone, with nothing said to it or to what it started.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn kill(&mut self, program: Program) -> anyhow::Result<()> {
        self.signal(program, Signal::KILL)?;
        let mut child = self.running.remove(&program).context("it was there just now")?;
        let status = child.wait()?;
        ensure!(
            status.signal() == Some(Signal::KILL.as_raw()),
            "{} had ended before it was killed: {status}",
            program.name()
        );
        Ok(())
    }

    /// # Errors
    /// It does not run.
    pub(crate) fn signal(&mut self, program: Program, signal: Signal) -> anyhow::Result<()> {
        let child = self.running.get(&program);
        let child = child.with_context(|| format!("{} does not run", program.name()))?;
        kill_process(Pid::from_child(child), signal)
            .with_context(|| format!("signal {}", program.name()))
    }

    /// Asks a program to end and waits until it has.
    ///
    /// # Errors
    /// It does not run, does not end in time, or ends with a failure.
    pub(crate) async fn stop(&mut self, program: Program) -> anyhow::Result<()> {
        self.signal(program, Signal::TERM)?;
        let asked = Instant::now();
        let child = self.running.get_mut(&program).context("it was there just now")?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            ensure!(asked.elapsed() < DRAIN, "{} ignores SIGTERM", program.name());
            tokio::time::sleep(POLL).await;
        };
        self.running.remove(&program);
        ensure!(status.success(), "{} ended with {status} on SIGTERM", program.name());
        Ok(())
    }

    pub(crate) fn is_running(&self, program: Program) -> bool {
        self.running.contains_key(&program)
    }

    /// # Errors
    /// A program ended although nobody asked it to.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for (program, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("{} ended by itself: {status}", program.name());
            }
        }
        Ok(())
    }

    /// The last lines of every program.
    pub(crate) fn tails(&self) -> String {
        let mut text = String::new();
        for program in Program::ALL {
            let log = fs::read_to_string(self.log_path(program)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!("--- {}\n", program.name()));
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                text.push_str(&format!("{line}\n"));
            }
        }
        text
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What a program started, such as a playbook, in a group of its own.
        for pid in marked(&self.scratch) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Where `setpriv` exists, the kernel ends the program when this test is killed outright.
pub(crate) fn ending_with_us(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
    if !Path::new("/usr/bin/setpriv").is_file() {
        wrapped = Command::new(command.get_program());
    }
    wrapped.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}

/// Processes that name this world's directory in their environment or arguments.
pub(crate) fn marked(scratch: &Path) -> Vec<Pid> {
    let scratch = scratch.as_os_str().as_encoded_bytes();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let names_it = ["environ", "cmdline"].iter().any(|file| {
                let text = fs::read(entry.path().join(file)).unwrap_or_default();
                text.windows(scratch.len()).any(|window| window == scratch)
            });
            (names_it && pid != rustix::process::getpid()).then_some(pid)
        })
        .collect()
}
