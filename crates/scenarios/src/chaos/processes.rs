//! The processes of a run: started, killed, frozen, thawed, restarted at once, and counted.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::site::{Instance, Site};
use crate::processes::{MARK, ending_with_us, marked};

const DRAIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// How long a process with a failpoint is left alone.
const GRACE: Duration = Duration::from_secs(5);

/// What was done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    Kill,
    Freeze,
    /// SIGTERM.
    Stop,
}

#[derive(Debug)]
struct Running {
    child: Child,
    started: Instant,
    /// What its failpoints say; empty: it has none.
    armed: String,
    frozen_until: Option<Instant>,
}

/// A process that ended although nothing here ended it.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) instance: Instance,
    pub(crate) status: String,
    pub(crate) age: Duration,
}

#[derive(Debug)]
pub(crate) struct Processes {
    site: Arc<Site>,
    running: BTreeMap<Instance, Running>,
    others: Vec<Child>,
    /// Every process there was.
    by_pid: BTreeMap<i32, Instance>,
    /// How often each blow met each program, and where: at a failpoint or at random.
    pub(crate) blows: BTreeMap<(Blow, Instance, String), u32>,
    /// Lines of the failpoints' file that were read.
    hits_read: usize,
    /// Failpoint kills that were read before the process was seen to be gone, by pid.
    killed_at: BTreeMap<i32, String>,
    pub(crate) most_kilobytes: BTreeMap<Instance, u64>,
}

impl Processes {
    pub(crate) fn new(site: Arc<Site>) -> Self {
        Self {
            site,
            running: BTreeMap::new(),
            others: Vec::new(),
            by_pid: BTreeMap::new(),
            blows: BTreeMap::new(),
            hits_read: 0,
            killed_at: BTreeMap::new(),
            most_kilobytes: BTreeMap::new(),
        }
    }

    /// Starts a program that nothing is done to.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start_other(&mut self, name: &str, command: &Command) -> anyhow::Result<()> {
        let child = self.spawn(name, command)?;
        self.others.push(child);
        Ok(())
    }

    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(&mut self, instance: Instance, armed: String) -> anyhow::Result<()> {
        let mut command = self.site.command(instance)?;
        if !armed.is_empty() {
            command.env("FIREBREAK_FAILPOINTS", &armed);
        }
        let child = self.spawn(&instance.to_string(), &command)?;
        self.by_pid.insert(Pid::from_child(&child).as_raw_nonzero().get(), instance);
        let running = Running { child, started: Instant::now(), armed, frozen_until: None };
        self.running.insert(instance, running);
        Ok(())
    }

    fn spawn(&self, name: &str, command: &Command) -> anyhow::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(self.site.output(name))?;
        let mut command = ending_with_us(command);
        command
            .env(MARK, &self.site.scratch)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        command.spawn().with_context(|| format!("start {name}"))
    }

    /// Those that run, are not frozen, and have had the time to come to their failpoint.
    pub(crate) fn awake(&self) -> Vec<Instance> {
        let is_due =
            |running: &Running| running.armed.is_empty() || running.started.elapsed() > GRACE;
        let awake = self.running.iter().filter(|(_, running)| running.frozen_until.is_none());
        awake.filter(|(_, running)| is_due(running)).map(|(instance, _)| *instance).collect()
    }

    fn signal(&self, instance: Instance, signal: Signal) -> anyhow::Result<()> {
        let running = self.running.get(&instance).context("it runs")?;
        kill_process(Pid::from_child(&running.child), signal)
            .with_context(|| format!("signal {instance}"))
    }

    fn count(&mut self, blow: Blow, instance: Instance, place: &str) {
        *self.blows.entry((blow, instance, place.to_owned())).or_default() += 1;
    }

    /// `kill -9`, and nothing said to what it started.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn kill(&mut self, instance: Instance) -> anyhow::Result<()> {
        self.signal(instance, Signal::KILL)?;
        let mut running = self.running.remove(&instance).context("it was there just now")?;
        running.child.wait()?;
        self.count(Blow::Kill, instance, "random");
        Ok(())
    }

    /// # Errors
    /// It does not run.
    pub(crate) fn freeze(&mut self, instance: Instance, time: Duration) -> anyhow::Result<()> {
        self.signal(instance, Signal::STOP)?;
        if let Some(running) = self.running.get_mut(&instance) {
            running.frozen_until = Some(Instant::now() + time);
        }
        self.count(Blow::Freeze, instance, "random");
        Ok(())
    }

    /// SIGTERM, and the wait for the end; returns how it ended where that is not well. One that has no
    /// handler yet ends by the signal, which is as good.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub(crate) async fn stop(&mut self, instance: Instance) -> anyhow::Result<Option<Ended>> {
        self.signal(instance, Signal::TERM)?;
        self.count(Blow::Stop, instance, "random");
        let mut running = self.running.remove(&instance).context("it was there just now")?;
        let asked = Instant::now();
        let status = loop {
            match running.child.try_wait()? {
                Some(status) => break status,
                None if asked.elapsed() > DRAIN => {
                    running.child.kill()?;
                    break running.child.wait()?;
                }
                None => tokio::time::sleep(POLL).await,
            }
        };
        let age = running.started.elapsed();
        let is_well = status.success()
            || status.signal() == Some(Signal::TERM.as_raw()) && age < Duration::from_secs(2);
        Ok((!is_well).then(|| Ended { instance, status: status.to_string(), age }))
    }

    /// Takes note of what failpoints did: who stopped there stays frozen for `time`.
    pub(crate) fn take_hits(&mut self, time: Duration) {
        let text = fs::read_to_string(self.site.hits()).unwrap_or_default();
        let lines: Vec<String> = text.lines().skip(self.hits_read).map(str::to_owned).collect();
        self.hits_read += lines.len();
        for line in lines {
            let fields: Vec<&str> = line.split(' ').collect();
            let [place, action, pid, _] = fields[..] else { continue };
            let Some(&instance) = pid.parse().ok().and_then(|pid: i32| self.by_pid.get(&pid))
            else {
                continue;
            };
            if action == "kill" {
                self.count(Blow::Kill, instance, place);
                self.killed_at.insert(pid.parse().unwrap_or_default(), place.to_owned());
                continue;
            }
            self.count(Blow::Freeze, instance, place);
            if let Some(running) = self.running.get_mut(&instance) {
                running.frozen_until = Some(Instant::now() + time);
                running.armed.clear();
            }
        }
    }

    /// Wakes those whose time has come; with `all`, everybody.
    pub(crate) fn thaw(&mut self, all: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        let due = |running: &Running| running.frozen_until.is_some_and(|until| all || until <= now);
        let ready: Vec<Instance> = self
            .running
            .iter()
            .filter(|(_, running)| due(running))
            .map(|(instance, _)| *instance)
            .collect();
        for instance in ready {
            self.signal(instance, Signal::CONT)?;
            if let Some(running) = self.running.get_mut(&instance) {
                running.frozen_until = None;
            }
        }
        Ok(())
    }

    /// Those that are gone: killed at a failpoint, or ended by themselves.
    pub(crate) fn reap(&mut self) -> anyhow::Result<(Vec<Instance>, Vec<Ended>)> {
        let (mut gone, mut ended) = (Vec::new(), Vec::new());
        for (instance, running) in &mut self.running {
            let Some(status) = running.child.try_wait()? else { continue };
            gone.push(*instance);
            let pid = Pid::from_child(&running.child).as_raw_nonzero().get();
            let is_ours = self.killed_at.contains_key(&pid) || !running.armed.is_empty();
            if status.signal() != Some(Signal::KILL.as_raw()) || !is_ours {
                let age = running.started.elapsed();
                ended.push(Ended { instance: *instance, status: status.to_string(), age });
            }
        }
        for instance in &gone {
            self.running.remove(instance);
        }
        Ok((gone, ended))
    }

    /// Those whose failpoint was not hit yet.
    pub(crate) fn armed(&self) -> Vec<Instance> {
        let armed = self.running.iter().filter(|(_, running)| !running.armed.is_empty());
        armed.map(|(instance, _)| *instance).collect()
    }

    pub(crate) fn is_running(&self, instance: Instance) -> bool {
        self.running.contains_key(&instance)
    }

    /// Notes how much memory each has now.
    pub(crate) fn weigh(&mut self) {
        for (instance, running) in &self.running {
            let path = format!("/proc/{}/status", running.child.id());
            let status = fs::read_to_string(path).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            let most = self.most_kilobytes.entry(*instance).or_default();
            *most = (*most).max(kilobytes.unwrap_or(0));
        }
    }

    /// Asks every process to end, and returns those that did not end well.
    ///
    /// # Errors
    /// A process cannot be signalled or waited for.
    pub(crate) async fn stop_all(&mut self) -> anyhow::Result<Vec<Ended>> {
        for instance in self.running.keys().copied().collect::<Vec<_>>() {
            self.signal(instance, Signal::TERM)?;
        }
        let asked = Instant::now();
        let mut bad = Vec::new();
        while let Some((&instance, _)) = self.running.first_key_value() {
            let running = self.running.get_mut(&instance).context("it was there just now")?;
            let age = running.started.elapsed();
            let status = match running.child.try_wait()? {
                Some(status) if status.success() => None,
                Some(status) => Some(status.to_string()),
                None if asked.elapsed() > DRAIN => Some("ignores SIGTERM".to_owned()),
                None => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            bad.extend(status.map(|status| Ended { instance, status, age }));
            if let Some(mut running) = self.running.remove(&instance) {
                let _ = running.child.kill();
                let _ = running.child.wait();
            }
        }
        Ok(bad)
    }

    /// # Errors
    /// One of those that nothing is done to has ended.
    pub(crate) fn check_others(&mut self) -> anyhow::Result<()> {
        for child in &mut self.others {
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "Prometheus ended: {ended:?}");
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let running = self.running.values_mut().map(|running| &mut running.child);
        for child in running.chain(&mut self.others) {
            let _ = child.kill();
            let _ = child.wait();
        }
        // What a program started in a group of its own.
        for pid in marked(&self.site.scratch) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
