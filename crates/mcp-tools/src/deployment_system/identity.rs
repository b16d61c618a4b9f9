//! Who a process is, for certain: boot, pid namespace, pid and start time together are never reused.
//! So a later process can tell whether an earlier one has ended, or that it cannot tell.

use std::io;

use sha2::{Digest, Sha256};

/// A process of some machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Identity {
    /// Name of the machine, and a digest of its id; empty: not known.
    #[serde(default)]
    pub(super) machine: String,
    pub(super) boot_id: String,
    /// In which `pid` means something; empty: not known.
    #[serde(default)]
    pub(super) pid_namespace: String,
    pub(super) pid: i32,
    /// Clock ticks since boot.
    pub(super) start_time: u64,
}

/// Where a process ran, as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Under this kernel, in this pid namespace: it can be looked at.
    Here,
    /// On this machine before it was started again: it has ended.
    EarlierBoot,
    /// Nothing can be said of it; why.
    Elsewhere(String),
}

impl Identity {
    /// A running process of this machine.
    ///
    /// # Errors
    /// There is no such process, or no `/proc`.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self {
            machine: machine().unwrap_or_default(),
            boot_id: boot_id()?,
            pid_namespace: pid_namespace()?,
            pid,
            start_time: stat(pid)?.start_time,
        })
    }

    /// This process. Without `/proc` nothing is known of it but its pid.
    pub(super) fn current() -> Self {
        let pid = std::process::id().cast_signed();
        Self::of(pid).unwrap_or(Self { pid, ..Self::default() })
    }

    pub(super) fn place(&self) -> Place {
        let Ok(boot_id) = boot_id() else {
            return Place::Elsewhere("there is no /proc to look for it".to_owned());
        };
        if boot_id == self.boot_id {
            let is_visible = self.pid_namespace.is_empty()
                || pid_namespace().is_ok_and(|namespace| namespace == self.pid_namespace);
            return match is_visible {
                true => Place::Here,
                false => Place::Elsewhere("it ran in another container".to_owned()),
            };
        }
        if !self.machine.is_empty() && machine().is_ok_and(|machine| machine == self.machine) {
            return Place::EarlierBoot;
        }
        let name = self.machine.split('/').next().unwrap_or_default();
        Place::Elsewhere(format!("it ran on another machine ({name:?})"))
    }

    pub(super) fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|boot_id| boot_id == self.boot_id)
    }

    /// Whether this very process still runs; one that ended and was not reaped does not.
    pub(super) fn is_alive(&self) -> bool {
        self.place() == Place::Here
            && stat(self.pid)
                .is_ok_and(|stat| stat.start_time == self.start_time && !stat.has_ended)
    }
}

#[derive(Debug)]
pub(super) struct Stat {
    pub(super) group: i32,
    pub(super) start_time: u64,
    pub(super) has_ended: bool,
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>; the name may hold anything, so
/// fields are counted from its closing parenthesis.
pub(super) fn stat(pid: i32) -> io::Result<Stat> {
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

/// Every process that can be seen.
pub(super) fn pids() -> io::Result<impl Iterator<Item = i32>> {
    Ok(std::fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn pid_namespace() -> io::Result<String> {
    Ok(std::fs::read_link("/proc/self/ns/pid")?.display().to_string())
}

/// The machine's id is not for others to see, so only a digest of it is kept.
fn machine() -> io::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let id = std::fs::read_to_string("/etc/machine-id")?;
    let id = id.trim();
    if id.is_empty() {
        return Ok(String::new());
    }
    let digest = hex::encode(Sha256::digest(format!("firebreak {id}")));
    Ok(format!("{}/{}", name.trim(), &digest[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_not_called_dead() {
        let this = Identity::current();
        assert!(this.is_alive());
        assert_eq!(this.place(), Place::Here);
        let contained = Identity { pid_namespace: "pid:[1]".into(), ..this.clone() };
        assert!(matches!(contained.place(), Place::Elsewhere(why) if why.contains("container")));
        let other =
            Identity { machine: "db-9/0000".into(), boot_id: "other".into(), ..this.clone() };
        assert!(matches!(other.place(), Place::Elsewhere(why) if why.contains("\"db-9\"")));
        let nowhere = Identity { machine: String::new(), boot_id: String::new(), ..this.clone() };
        assert!(matches!(nowhere.place(), Place::Elsewhere(_)));
        if !this.machine.is_empty() {
            let earlier = Identity { boot_id: "earlier".into(), ..this };
            assert_eq!(earlier.place(), Place::EarlierBoot);
        }
    }
}
