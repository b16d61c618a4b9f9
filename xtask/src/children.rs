//! The programs a task starts. Each is the leader of its own process group, so that a whole group
//! ends with it; all carry a mark in their environment, so that what left its group is found too.
//! However the task ends, nothing it started is left.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use crate::interrupt;

/// Time to drain before a group is killed; the programs themselves allow 10 s.
const DRAIN: Duration = Duration::from_secs(12);
const MARK: &str = "FIREBREAK_STARTED_BY";

/// One started program.
#[derive(Debug)]
struct Started {
    name: String,
    child: Child,
    group: Pid,
}

/// All programs of one task; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Children {
    mark: String,
    started: Vec<Started>,
}

/// A program that ended although it was to go on.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) status: ExitStatus,
}

impl Children {
    /// `mark` must belong to this run alone, such as its scratch directory.
    pub(crate) fn new(mark: &Path) -> Self {
        Self { mark: mark.to_string_lossy().into_owned(), started: Vec::new() }
    }

    /// Starts a program whose output goes to `<directory>/<name>.out` and `.err`.
    ///
    /// # Errors
    /// The files cannot be made or the program cannot be started.
    pub(crate) fn start(
        &mut self,
        name: &str,
        command: &Command,
        directory: &Path,
    ) -> anyhow::Result<PathBuf> {
        let output = directory.join(format!("{name}.out"));
        let errors = directory.join(format!("{name}.err"));
        let create = |path: &Path| File::create(path).with_context(|| path.display().to_string());
        let (out, err) = (create(&output)?, create(&errors)?);
        self.spawn(name, command, out.into(), err.into())?;
        Ok(output)
    }

    /// Starts a program with these outputs; what `command` says of them is not used.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn spawn(
        &mut self,
        name: &str,
        command: &Command,
        output: Stdio,
        errors: Stdio,
    ) -> anyhow::Result<&mut Child> {
        let mut command = ending_with_us(command);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        command.env(MARK, &self.mark).process_group(0);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let group = Pid::from_child(&child);
        self.started.push(Started { name: name.into(), child, group });
        let newest = self.started.last_mut().expect("one was pushed just now");
        Ok(&mut newest.child)
    }

    /// A program that ended by itself, if any did.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        self.started.iter_mut().find_map(|started| {
            let status = started.child.try_wait().ok().flatten()?;
            Some(Ended { name: started.name.clone(), status })
        })
    }

    /// Ends every group: asks, waits, then kills.
    pub(crate) fn stop(&mut self) {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        while self.any_left() && asked.elapsed() < DRAIN {
            interrupt::rest(Duration::from_millis(20));
        }
        self.signal(Signal::KILL);
        for started in &mut self.started {
            let _ = started.child.wait();
        }
        self.started.clear();
        for pid in marked(&self.mark) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        for started in &self.started {
            // A group that is gone already needs no signal.
            let _ = kill_process_group(started.group, signal);
        }
    }

    fn any_left(&mut self) -> bool {
        self.started.iter_mut().fold(false, |left, started| {
            let _ = started.child.try_wait();
            test_kill_process_group(started.group).is_ok() || left
        })
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where `setpriv` exists, the kernel ends the program when this process is killed outright.
fn ending_with_us(command: &Command) -> Command {
    let mut wrapped = match crate::programs::find("setpriv") {
        Some(setpriv) => {
            let mut wrapped = Command::new(setpriv);
            wrapped.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program());
            wrapped
        }
        None => Command::new(command.get_program()),
    };
    wrapped.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}

/// Processes that carry the mark, wherever they went.
fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let has_mark =
                environment.split(|byte| *byte == 0).any(|item| item == wanted.as_bytes());
            has_mark.then_some(pid)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_ends_what_left_its_group_too() {
        let scratch = tempfile::tempdir().unwrap();
        let mut children = Children::new(scratch.path());
        let mut shell = Command::new("sh");
        shell.args(["-c", "setsid sleep 300 & sleep 300 & echo up; wait"]);
        let output = children.start("shell", &shell, scratch.path()).unwrap();
        let mark = scratch.path().to_string_lossy().into_owned();
        let until = |what: &str, is_so: &dyn Fn() -> bool| {
            let asked = Instant::now();
            while !is_so() {
                assert!(asked.elapsed() < Duration::from_secs(60), "{what}: {:?}", marked(&mark));
                interrupt::rest(Duration::from_millis(5));
            }
        };
        until("the shell starts", &|| !std::fs::read_to_string(&output).unwrap().is_empty());
        // What is just becoming another program shows no environment.
        until("it is found with its children by their mark", &|| marked(&mark).len() == 3);
        children.stop();
        until("nothing is left", &|| marked(&mark).is_empty());
    }

    #[test]
    fn end_of_a_program_is_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut children = Children::new(scratch.path());
        let mut broken = Command::new("sh");
        broken.args(["-c", "exit 7"]);
        children.start("broken", &broken, scratch.path()).unwrap();
        let ended = loop {
            if let Some(ended) = children.ended() {
                break ended;
            }
        };
        assert_eq!((ended.name.as_str(), ended.status.code()), ("broken", Some(7)));
    }
}
