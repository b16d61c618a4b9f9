//! Ends everything that an executor started: its process group, and what left the group but carries
//! the executor's mark in its environment. What is reported as ended is proven to be, also by a later
//! process than the one that started it. A process that also cleared its environment, or that runs
//! as another user, is not found.

use std::io;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal,
    test_kill_process_group,
};
use tokio::time::Instant;

use super::identity::{Identity, Place, pids, stat};

/// Holds the id of a change in the environment of everything that its executor starts.
pub(super) const MARK: &str = "FIREBREAK_CHANGE";
/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// Ends the group of `leader` and every process with the mark of `change`, and names those that had
/// left the group.
///
/// # Errors
/// Something still runs afterwards.
pub(super) async fn end_all(
    leader: Option<&Identity>,
    change: &str,
    grace: Duration,
) -> io::Result<Vec<String>> {
    if let Some(leader) = leader {
        leader.end(grace).await?;
    }
    end_marked(change).await
}

/// Kills what carries the mark of `change` until nothing does.
async fn end_marked(change: &str) -> io::Result<Vec<String>> {
    let mark = format!("{MARK}={change}");
    let mut ended: Vec<String> = Vec::new();
    let mut quiet = 0;
    let until = Instant::now() + KILLED;
    // A process that is just being replaced by another program shows no environment: look twice.
    while quiet < 2 {
        let found = marked(&mark)?;
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if Instant::now() >= until && quiet == 0 {
            return Err(io::Error::other(format!("{} does not end", name_of(found[0]))));
        }
        for pid in found {
            let name = name_of(pid);
            if kill_marked(pid, &mark) && !ended.contains(&name) {
                ended.push(name);
            }
        }
        if quiet < 2 {
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(ended)
}

/// Live processes with this line in their environment, as far as it can be read.
fn marked(mark: &str) -> io::Result<Vec<i32>> {
    Ok(pids()?
        .filter(|&pid| has_mark(pid, mark))
        .filter(|&pid| stat(pid).is_ok_and(|stat| !stat.has_ended))
        .collect())
}

fn has_mark(pid: i32, mark: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
        environment.split(|&byte| byte == 0).any(|it| it == mark.as_bytes())
    })
}

/// The mark is looked at again once the process is held: its pid cannot become another's then.
fn kill_marked(pid: i32, mark: &str) -> bool {
    let Some(held) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return false;
    };
    has_mark(pid, mark) && pidfd_send_signal(held, Signal::KILL).is_ok()
}

fn name_of(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{:?} (pid {pid})", name.trim())
}

/// As the leader of a process group.
impl Identity {
    /// Ends the group: SIGTERM, then SIGKILL after `grace`.
    ///
    /// # Errors
    /// It still runs afterwards.
    pub(super) async fn end(&self, grace: Duration) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        self.signal(Signal::TERM);
        // Otherwise one that is stopped would never see it.
        self.signal(Signal::CONT);
        if self.ended_within(grace).await {
            return Ok(());
        }
        self.signal(Signal::KILL);
        if self.ended_within(KILLED).await {
            return Ok(());
        }
        Err(io::Error::other(format!("process group {} does not end", self.pid)))
    }

    /// Ends the group at once, without waiting.
    pub(super) fn kill(&self) {
        if self.is_ours() {
            self.signal(Signal::KILL);
        }
    }

    /// The pid may be someone else's by now. While any member of the group lives, the kernel does
    /// not give its number to another process, so a foreign leader means our group is gone.
    fn is_ours(&self) -> bool {
        self.place() == Place::Here
            && stat(self.pid).map_or(true, |stat| stat.start_time == self.start_time)
            && self.has_members()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // Fails when the group is gone already, which is what was wanted.
            let _ = kill_process_group(pid, signal);
        }
    }

    fn has_members(&self) -> bool {
        Pid::from_raw(self.pid).is_some_and(|pid| test_kill_process_group(pid).is_ok())
    }

    async fn ended_within(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            if !self.has_live_members() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Members that ended and wait to be reaped by their parent do not count.
    fn has_live_members(&self) -> bool {
        if !self.has_members() {
            return false;
        }
        let Ok(mut pids) = pids() else { return true };
        pids.any(|pid| stat(pid).is_ok_and(|stat| stat.group == self.pid && !stat.has_ended))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::process::Command;

    use super::*;

    fn spawn(script: &str, change: &str) -> tokio::process::Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env(MARK, change).process_group(0).spawn().unwrap()
    }

    fn leader_of(child: &tokio::process::Child) -> io::Result<Identity> {
        Identity::of(child.id().unwrap().cast_signed())
    }

    async fn pid_in(path: &Path) -> i32 {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if let Some(Ok(pid)) = text.strip_suffix('\n').map(str::parse) {
                return pid;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_group_is_ended_with_its_children_and_after_its_leader() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        // The leader leaves a child behind that ignores SIGTERM.
        let script = format!(
            "(trap '' TERM; echo 1 > {}; while :; do sleep 1; done) & exit 0",
            mark.display()
        );
        let mut child = spawn(&script, "chg_group");
        let leader = leader_of(&child).unwrap();
        child.wait().await.unwrap();
        pid_in(&mark).await;
        assert!(!leader.is_alive() && leader.has_live_members());
        leader.end(Duration::from_millis(100)).await.unwrap();
        assert!(!leader.has_live_members());
    }

    #[tokio::test]
    async fn what_left_the_group_is_found_by_its_mark_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let script = format!("setsid sh -c 'echo $$ > {0}; exec sleep 600' &", path.display());
        let mut child = spawn(&script, "chg_daemon");
        let other = spawn("exec sleep 600", "chg_other");
        let leader = leader_of(&child).unwrap();
        child.wait().await.unwrap();
        let daemon = Identity::of(pid_in(&path).await).unwrap();
        let ended = end_all(Some(&leader), "chg_daemon", Duration::ZERO).await.unwrap();
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert!(ended[0].contains(&daemon.pid.to_string()), "{ended:?}");
        assert!(!daemon.is_alive());
        let other = leader_of(&other).unwrap();
        assert!(other.is_alive(), "another change's process is left alone");
        other.end(Duration::ZERO).await.unwrap();
    }

    #[tokio::test]
    async fn a_frozen_group_is_ended_too() {
        let mut child = spawn("exec sleep 600", "chg_frozen");
        let leader = leader_of(&child).unwrap();
        leader.signal(Signal::STOP);
        leader.end(Duration::from_secs(5)).await.unwrap();
        child.wait().await.unwrap();
        assert!(!leader.is_alive());
    }

    #[tokio::test]
    async fn a_pid_with_another_start_time_is_left_alone() {
        let mut child = spawn("exec sleep 600", "chg_pid");
        let leader = leader_of(&child).unwrap();
        let other = Identity { start_time: leader.start_time + 1, ..leader.clone() };
        assert!(leader.is_alive() && !other.is_alive());
        other.end(Duration::from_millis(50)).await.unwrap();
        assert!(leader.is_alive());
        leader.end(Duration::from_secs(5)).await.unwrap();
        child.wait().await.unwrap();
        assert!(!leader.is_alive());
    }
}
