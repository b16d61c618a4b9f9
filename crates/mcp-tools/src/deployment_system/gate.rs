//! The gate: a program that may act is started behind a pipe, its identity is recorded, and only then
//! is it let through. Whoever is killed before that leaves a closed pipe, and nothing ran.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use super::identity::Identity;

/// Waits for one line and becomes the program, as the same process; ends where none comes. The program
/// and its arguments are arguments here too: no shell reads them.
const LAUNCHER: &str = r#"read -r word && [ "$word" = go ] && exec "$@" </dev/null"#;

/// A program that was started and cannot act yet. Dropped, it never does.
#[derive(Debug)]
pub(super) struct Gated {
    child: Child,
    gate: ChildStdin,
    /// The leader of a group of its own, before and after it is let through.
    pub(super) leader: Identity,
}

/// A command that waits at the gate once it is started, then becomes `program`.
pub(super) fn launcher(program: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", LAUNCHER, "gate"]).arg(program).env_clear();
    command
}

impl Gated {
    /// Starts a command made by [`launcher`].
    ///
    /// # Errors
    /// It cannot be started, or there is no `/proc` to tell who it is.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).process_group(0).spawn()?;
        let gone = || io::Error::other("it ended at once");
        let gate = child.stdin.take().ok_or_else(gone)?;
        let pid = child.id().ok_or_else(gone)?;
        Ok(Self { child, gate, leader: Identity::of(pid.cast_signed())? })
    }

    /// Lets it act.
    ///
    /// # Errors
    /// It has ended: somebody else ended it, and nothing ran.
    pub(super) async fn open(mut self) -> io::Result<Child> {
        self.gate.write_all(b"go\n").await?;
        Ok(self.child)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) -> Command {
        let mut command = launcher(Path::new("/usr/bin/touch"));
        command.arg(path);
        command
    }

    #[tokio::test]
    async fn a_program_acts_after_the_gate_is_opened_and_as_the_process_that_was_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let hostile = directory.path().join("$(touch x); `y` \"z\" '");
        let gated = Gated::start(&mut touch(&hostile)).unwrap();
        assert!(gated.leader.is_alive());
        assert!(!hostile.exists());
        let pid = gated.leader.pid;
        let mut child = gated.open().await.unwrap();
        assert_eq!(child.id().unwrap().cast_signed(), pid);
        assert!(child.wait().await.unwrap().success());
        assert!(hostile.exists());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_gate_that_is_closed_lets_nothing_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acted");
        let Gated { mut child, gate, leader } = Gated::start(&mut touch(&path)).unwrap();
        drop(gate);
        assert!(!child.wait().await.unwrap().success());
        assert!(!path.exists() && !leader.is_alive());
    }

    #[tokio::test]
    async fn a_program_that_was_ended_at_the_gate_is_not_let_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acted");
        let mut gated = Gated::start(&mut touch(&path)).unwrap();
        gated.leader.kill();
        gated.child.wait().await.unwrap();
        assert!(gated.open().await.is_err());
        assert!(!path.exists());
    }
}
