//! The simulated fleet and everything that is done to it. A trouble makes a target ill until the
//! right change ends it. A change is an effect with a beginning and an end in time, which an honest
//! deployment-system keeps a record of: one effect a key, one at a time on a target, none with a
//! fencing token smaller than the greatest that the target has seen.

use std::collections::BTreeMap;
use std::time::Duration;

use a2a_types::mcp::deployment::{RESTART_SERVICE, ROLLBACK, SCALE};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(super) const TARGETS: [&str; 6] = ["db-1", "db-2", "app-1", "app-2", "web-1", "web-2"];

/// How long a target is ill, or well again, before its alert says so.
const NOTICED: Duration = Duration::from_secs(2);
/// Replicas of a target that nobody has scaled.
const REPLICAS: u64 = 1;

/// Why a target is ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A restart ends it.
    Stuck,
    /// More replicas end it.
    Crowded,
    /// It looks stuck, and no restart ends it; a person does, or it passes.
    Stubborn,
    /// It looks crowded, and replicas do not help; a person does, or it passes.
    Overgrown,
    /// No rule knows it; a person ends it, or it passes.
    Odd,
}

impl Trouble {
    /// As often as they come.
    pub(super) const ALL: [Self; 8] = [
        Self::Stuck,
        Self::Stuck,
        Self::Stuck,
        Self::Crowded,
        Self::Crowded,
        Self::Stubborn,
        Self::Overgrown,
        Self::Odd,
    ];

    fn passes(self) -> bool {
        !matches!(self, Self::Stuck | Self::Crowded)
    }

    fn alert(self) -> &'static str {
        match self {
            Self::Stuck | Self::Stubborn => "Stuck",
            Self::Crowded | Self::Overgrown => "Crowded",
            Self::Odd => "Odd",
        }
    }

    fn is_ended_by(self, effect: &Effect) -> bool {
        match self {
            Self::Stuck => effect.action == RESTART_SERVICE,
            Self::Crowded => effect.action == SCALE,
            _ => false,
        }
    }
}

/// One episode of one alert.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Episode {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Option<Timestamp>,
}

impl Episode {
    pub(super) fn fingerprint(&self) -> String {
        format!("{}:{}", self.name, self.target)
    }
}

/// What is asked of deployment-system.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) key: String,
    pub(super) target: String,
    pub(super) action: &'static str,
    pub(super) parameters: Map<String, Value>,
    pub(super) token: Option<i64>,
    /// How long it takes.
    pub(super) takes: Duration,
    /// Whether it is carried to its end if deployment-system goes down meanwhile.
    pub(super) survives: bool,
}

/// Something that was done to a target.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) target: String,
    pub(super) action: &'static str,
    pub(super) token: Option<i64>,
    pub(super) begun: Timestamp,
    pub(super) ends: Timestamp,
    pub(super) state: EffectState,
    survives: bool,
    pub(super) before: u64,
    pub(super) after: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EffectState {
    Running,
    Done,
    /// Deployment-system went down meanwhile: it is over, and how it ended nobody knows.
    Unknown,
}

/// Why deployment-system does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Fenced { seen: i64 },
    Busy,
    Impossible(&'static str),
}

#[derive(Debug)]
struct Target {
    trouble: Option<Trouble>,
    heals_at: Option<Timestamp>,
    replicas: u64,
    /// What it was like since when, oldest first.
    history: Vec<(Timestamp, State)>,
    /// Ended ones, and the present one.
    episodes: Vec<Episode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    is_ill: bool,
    replicas: u64,
}

#[derive(Debug)]
pub(super) struct Fleet {
    began: Timestamp,
    targets: BTreeMap<&'static str, Target>,
    /// In the order they began.
    pub(super) effects: Vec<Effect>,
    fences: BTreeMap<String, i64>,
    /// Deployment-system went down while these ran.
    cut: Vec<String>,
}

impl Fleet {
    pub(super) fn new(now: Timestamp) -> Self {
        let well = State { is_ill: false, replicas: REPLICAS };
        let target = || Target {
            trouble: None,
            heals_at: None,
            replicas: REPLICAS,
            history: vec![(now, well)],
            episodes: Vec::new(),
        };
        Self {
            began: now,
            targets: TARGETS.into_iter().map(|name| (name, target())).collect(),
            effects: Vec::new(),
            fences: BTreeMap::new(),
            cut: Vec::new(),
        }
    }

    /// Makes a target ill; one that is stays as it is.
    pub(super) fn begin_trouble(
        &mut self,
        target: &'static str,
        trouble: Trouble,
        lasts: Duration,
        now: Timestamp,
    ) -> bool {
        self.advance(now);
        let Some(target) = self.targets.get_mut(target) else { return false };
        let is_free = target.trouble.is_none() && target.alert().is_none();
        if is_free {
            target.trouble = Some(trouble);
            target.heals_at = trouble.passes().then(|| now + lasts);
            target.note(now);
        }
        is_free
    }

    /// Lets everything happen that is due by now; returns what has changed, in words.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<String> {
        let mut news = Vec::new();
        for effect in &mut self.effects {
            if effect.state != EffectState::Running || now < effect.ends {
                continue;
            }
            let is_cut = self.cut.contains(&effect.key);
            effect.state = if is_cut { EffectState::Unknown } else { EffectState::Done };
            news.push(format!("effect {} ends {:?}", effect.id, effect.state));
            if (is_cut && !effect.survives) || !self.targets.contains_key(effect.target.as_str()) {
                effect.after = effect.before;
                continue;
            }
            if let Some(target) = self.targets.get_mut(effect.target.as_str()) {
                target.suffer(effect);
            }
        }
        for (name, target) in &mut self.targets {
            if target.heals_at.is_some_and(|heals_at| heals_at <= now) {
                target.heals_at = None;
                target.trouble = None;
                target.note(now);
            }
            news.extend(target.alarm(name, now));
        }
        news
    }

    /// Deployment-system goes down: what it was doing has no record of its end.
    pub(super) fn cut(&mut self, now: Timestamp) {
        self.advance(now);
        let running = self.effects.iter().filter(|effect| effect.state == EffectState::Running);
        self.cut.extend(running.map(|effect| effect.key.clone()));
    }

    /// Begins an effect, or finds the one that the key has begun before.
    pub(super) fn begin(&mut self, wish: Wish, now: Timestamp) -> Result<(Effect, bool), Refusal> {
        self.advance(now);
        if let Some(known) = self.effects.iter().find(|effect| effect.key == wish.key) {
            return Ok((known.clone(), false));
        }
        if let Some(token) = wish.token {
            self.raise_fence(&wish.target, token)?;
        }
        if self.running(&wish.target).is_some() {
            return Err(Refusal::Busy);
        }
        let Some(target) = self.targets.get(wish.target.as_str()) else {
            return Err(Refusal::Impossible("no such target"));
        };
        let before = target.replicas;
        let after = match wish.action {
            SCALE => wish.parameters.get("replicas").and_then(Value::as_u64),
            ROLLBACK => self.undone(&wish.parameters),
            _ => Some(before),
        };
        let effect = Effect {
            id: format!("chg_{}", self.effects.len()),
            key: wish.key,
            target: wish.target,
            action: wish.action,
            token: wish.token,
            begun: now,
            ends: now + wish.takes,
            state: EffectState::Running,
            survives: wish.survives,
            before,
            after: after.ok_or(Refusal::Impossible("there is nothing to undo"))?,
        };
        self.effects.push(effect.clone());
        Ok((effect, true))
    }

    /// What undoing a change leaves.
    fn undone(&self, parameters: &Map<String, Value>) -> Option<u64> {
        let id = parameters.get("change_id")?.as_str()?;
        let change = self.effects.iter().find(|effect| effect.id == id)?;
        (change.action == SCALE).then_some(change.before)
    }

    pub(super) fn running(&self, target: &str) -> Option<&Effect> {
        let mut of_target = self.effects.iter().rev().filter(|effect| effect.target == target);
        of_target.find(|effect| effect.state == EffectState::Running)
    }

    /// Shuts out smaller tokens; one that is smaller is shut out itself.
    pub(super) fn raise_fence(&mut self, target: &str, token: i64) -> Result<(), Refusal> {
        let seen = self.fences.entry(target.to_owned()).or_insert(token);
        if token < *seen && !cfg!(feature = "planted-no-fence") {
            return Err(Refusal::Fenced { seen: *seen });
        }
        *seen = token.max(*seen);
        Ok(())
    }

    /// The greatest token that a target has seen.
    pub(super) fn fence(&self, target: &str) -> Option<i64> {
        self.fences.get(target).copied()
    }

    pub(super) fn is_ill(&self, target: &str) -> bool {
        self.targets.get(target).is_some_and(|target| target.trouble.is_some())
    }

    /// The value of a metric at a time that has come already; `None`: no data.
    pub(super) fn value(&self, metric: &str, target: &str, at: Timestamp) -> Option<f64> {
        let known = self.targets.get(target)?;
        let (_, state) = known.history.iter().rev().find(|(since, _)| *since <= at)?;
        match metric {
            "ill" => Some(f64::from(u8::from(state.is_ill))),
            "errors" => Some(if state.is_ill { 7.5 } else { 0.0 }),
            "replicas" => Some(state.replicas as f64),
            _ => None,
        }
    }

    pub(super) fn began(&self) -> Timestamp {
        self.began
    }

    /// The last episode of every alert.
    pub(super) fn alerts(&self) -> Vec<Episode> {
        let mut last = BTreeMap::new();
        for target in self.targets.values() {
            last.extend(target.episodes.iter().map(|one| (one.fingerprint(), one.clone())));
        }
        last.into_values().collect()
    }
}

impl Target {
    fn state(&self) -> State {
        State { is_ill: self.trouble.is_some(), replicas: self.replicas }
    }

    /// Keeps what it is like from now on.
    fn note(&mut self, now: Timestamp) {
        self.history.push((now, self.state()));
    }

    fn suffer(&mut self, effect: &Effect) {
        self.replicas = effect.after;
        if self.trouble.is_some_and(|trouble| trouble.is_ended_by(effect)) {
            self.trouble = None;
        }
        self.note(effect.ends);
    }

    /// The present episode.
    fn alert(&self) -> Option<&Episode> {
        self.episodes.last().filter(|episode| episode.ends_at.is_none())
    }

    /// Fires or ends its alert.
    fn alarm(&mut self, name: &'static str, now: Timestamp) -> Option<String> {
        let is_ill = self.trouble.is_some();
        let same = self.history.iter().rev().take_while(|(_, state)| state.is_ill == is_ill);
        let since = same.last().map_or(now, |(since, _)| *since);
        if now < since + NOTICED {
            return None;
        }
        match (self.trouble, self.alert().is_some()) {
            (Some(trouble), false) => {
                let name = Episode {
                    name: trouble.alert(),
                    target: name,
                    starts_at: since + NOTICED,
                    ends_at: None,
                };
                let news = format!("alert {} fires", name.fingerprint());
                self.episodes.push(name);
                Some(news)
            }
            (None, true) => {
                let episode = self.episodes.last_mut()?;
                episode.ends_at = Some(since + NOTICED);
                Some(format!("alert {} ends", episode.fingerprint()))
            }
            _ => None,
        }
    }
}
