//! A process group, known for certain: boot id, pid and start time together are never reused. So a
//! group can be ended, and proven ended, also by a later process than the one that started it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time::Instant;

/// Of a group that an earlier process left behind.
pub(super) const GROUP_FILE: &str = "group.json";
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// The leader of a process group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Leader {
    pub(super) boot_id: String,
    pub(super) pid: i32,
    /// Clock ticks since boot.
    pub(super) start_time: u64,
}

impl Leader {
    /// The process `pid`, which leads its own group.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        Ok(Self { boot_id: boot_id()?, pid, start_time: stat(pid)?.start_time })
    }

    /// Whether this very process still runs; one that ended and was not reaped does not.
    pub(super) fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot_id| boot_id == self.boot_id)
            && stat(self.pid)
                .is_ok_and(|stat| stat.start_time == self.start_time && !stat.has_ended)
    }

    /// Ends the group: SIGTERM, then SIGKILL after `grace`.
    ///
    /// # Errors
    /// It still runs afterwards.
    pub(super) async fn end(&self, grace: Duration) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        self.signal(Signal::TERM);
        if self.ended_within(grace).await {
            return Ok(());
        }
        self.signal(Signal::KILL);
        if self.ended_within(GRACE).await {
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
        boot_id().is_ok_and(|boot_id| boot_id == self.boot_id)
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
        let Ok(entries) = std::fs::read_dir("/proc") else { return true };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter_map(|pid| stat(pid).ok())
            .any(|stat| stat.group == self.pid && !stat.has_ended)
    }
}

/// Ends the groups that an earlier process recorded in `runs/*/group.json`, and returns the runs.
///
/// # Errors
/// A group does not end: whatever it does would go on beside what is started now.
pub(super) async fn end_leftovers(runs: &Path) -> io::Result<Vec<PathBuf>> {
    let mut interrupted = Vec::new();
    for run in std::fs::read_dir(runs)? {
        let run = run?.path();
        if let Ok(text) = std::fs::read(run.join(GROUP_FILE))
            && let Ok(leader) = serde_json::from_slice::<Leader>(&text)
        {
            if leader.is_alive() {
                tracing::warn!(pid = leader.pid, run = %run.display(), "ending a leftover executor");
            }
            leader.end(GRACE).await?;
        }
        interrupted.push(run);
    }
    Ok(interrupted)
}

struct Stat {
    group: i32,
    start_time: u64,
    has_ended: bool,
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>; the name may hold anything, so
/// fields are counted from its closing parenthesis.
fn stat(pid: i32) -> io::Result<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let unexpected = || io::Error::other(format!("unexpected /proc/{pid}/stat"));
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Ok(Stat {
        has_ended: matches!(fields.first(), Some(&"Z" | &"X")),
        group: fields.get(2).and_then(|field| field.parse().ok()).ok_or_else(unexpected)?,
        start_time: number(19).ok_or_else(unexpected)?,
    })
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::process::Command;

    use super::*;

    fn spawn(script: &str) -> tokio::process::Child {
        Command::new("/bin/sh").args(["-c", script]).process_group(0).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_group_is_ended_with_its_children_and_after_its_leader() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        // The leader leaves a child behind that ignores SIGTERM.
        let script = format!(
            "(trap '' TERM; echo x > {}; while :; do sleep 1; done) & exit 0",
            mark.display()
        );
        let mut child = spawn(&script);
        let leader = Leader::of(child.id().unwrap());
        child.wait().await.unwrap();
        while !mark.exists() {
            tokio::task::yield_now().await;
        }
        let Ok(leader) = leader else { panic!("the leader was gone too soon") };
        assert!(!leader.is_alive() && leader.has_live_members());
        leader.end(Duration::from_millis(100)).await.unwrap();
        assert!(!leader.has_live_members());
    }

    #[tokio::test]
    async fn a_pid_with_another_start_time_is_left_alone() {
        let mut child = spawn("sleep 600");
        let leader = Leader::of(child.id().unwrap()).unwrap();
        assert!(leader.is_alive());
        let other = Leader { start_time: leader.start_time + 1, ..leader.clone() };
        assert!(!other.is_alive());
        other.end(Duration::from_millis(50)).await.unwrap();
        assert!(leader.is_alive());
        leader.end(Duration::from_secs(5)).await.unwrap();
        child.wait().await.unwrap();
        assert!(!leader.is_alive());
    }
}
