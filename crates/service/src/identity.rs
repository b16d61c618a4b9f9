//! Which process this is, for certain: boot, pid namespace, pid and start time together are never
//! reused. So another process of the same machine can tell whether this one is dead.

use std::path::Path;

/// A process of some machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The boot and the pid namespace in which `pid` means something; empty: not known.
    pub host: String,
    pub pid: i32,
    /// Clock ticks since boot.
    pub start_time: u64,
}

impl ProcessIdentity {
    /// This process. Where there is no `/proc`, its host is empty and it is never proven dead.
    pub fn current() -> Self {
        let pid = std::process::id().cast_signed();
        let start_time = start_time(pid);
        match (host(), start_time) {
            (Some(host), Some((start_time, _))) => Self { host, pid, start_time },
            _ => Self { pid, ..Self::default() },
        }
    }

    /// Whether this process is proven dead: it ran under this very boot and in this pid namespace, and
    /// its pid is free, a zombie's, or another process's by now.
    pub fn is_dead(&self) -> bool {
        let is_here = !self.host.is_empty() && host().is_some_and(|host| host == self.host);
        is_here
            && match start_time(self.pid) {
                Some((start_time, has_ended)) => has_ended || start_time != self.start_time,
                None => !Path::new("/proc").join(self.pid.to_string()).exists(),
            }
    }
}

fn host() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.display()))
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>: start time, and whether the process
/// has ended. The name may hold anything, so fields are counted from its closing parenthesis.
fn start_time(pid: i32) -> Option<(u64, bool)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    Some((fields.nth(18)?.parse().ok()?, has_ended))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_dead_when_it_has_ended_and_not_before() {
        let this = ProcessIdentity::current();
        assert!(!this.host.is_empty() && !this.is_dead());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id().cast_signed();
        let (start_time, _) = start_time(pid).unwrap();
        let identity = ProcessIdentity { host: this.host.clone(), pid, start_time };
        assert!(!identity.is_dead());
        let successor = ProcessIdentity { start_time: start_time + 1, ..identity.clone() };
        assert!(successor.is_dead(), "the pid is another process's");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(identity.is_dead());
    }

    #[test]
    fn nothing_is_proven_of_another_machine() {
        let gone = ProcessIdentity { host: "elsewhere".into(), pid: i32::MAX, start_time: 1 };
        assert!(!gone.is_dead());
        assert!(!ProcessIdentity { host: String::new(), ..gone }.is_dead());
    }
}
