//! The effect log: what was really done to each target, written by the target itself and by nobody
//! else. Append-only: a line when an effect begins and a line when it ends.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::json;

use super::now;

/// One effect on one target.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) target: String,
    /// What deployment-system calls the change, as far as whoever acts told the target.
    pub(crate) change: Option<String>,
    pub(crate) began: Timestamp,
    /// `None`: it is going on.
    pub(crate) ended: Option<Timestamp>,
    /// Whether whoever acted went away before it was done.
    pub(crate) is_cut_short: bool,
}

#[derive(Debug)]
pub(crate) struct EffectLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    effects: BTreeMap<usize, Effect>,
}

/// An effect that goes on. Dropped before it is `done`, it is recorded as cut short.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    log: &'a EffectLog,
    number: usize,
    is_done: bool,
}

impl EffectLog {
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        Ok(Self { inner: Mutex::new(Inner { file, effects: BTreeMap::new() }) })
    }

    pub(crate) fn begin(&self, target: &str, change: Option<&str>) -> Running<'_> {
        let began = now();
        let mut inner = self.inner.lock().expect("no panic while held");
        let number = inner.effects.len() + 1;
        let effect = Effect {
            target: target.to_owned(),
            change: change.map(str::to_owned),
            began,
            ended: None,
            is_cut_short: false,
        };
        inner.write(json!({"effect": number, "begin": began, "target": target, "change": change}));
        inner.effects.insert(number, effect);
        Running { log: self, number, is_done: false }
    }

    /// Every effect so far, in the order in which they began.
    pub(crate) fn effects(&self) -> Vec<Effect> {
        let inner = self.inner.lock().expect("no panic while held");
        inner.effects.values().cloned().collect()
    }

    fn end(&self, number: usize, is_cut_short: bool) {
        let ended = now();
        let mut inner = self.inner.lock().expect("no panic while held");
        inner.write(json!({"effect": number, "end": ended, "cut_short": is_cut_short}));
        if let Some(effect) = inner.effects.get_mut(&number) {
            effect.ended = Some(ended);
            effect.is_cut_short = is_cut_short;
        }
    }
}

impl Inner {
    /// The log of a run that cannot be written is no evidence: the run ends.
    fn write(&mut self, line: serde_json::Value) {
        writeln!(self.file, "{line}").expect("the effect log can be written");
    }
}

impl Running<'_> {
    pub(crate) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.log.end(self.number, !self.is_done);
    }
}
