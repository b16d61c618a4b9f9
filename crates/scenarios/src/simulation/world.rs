//! What the simulated hosts share: the fleet, the network's mood, the databases, the record of what
//! was acknowledged, and every breach of a promise that somebody saw.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use jiff::Timestamp;
use rpc::a2a::MemoryTaskDatabase;
use store::{MemoryDatabase, Store, StoreError, StoreFuture};
use tokio::sync::Notify;

use super::chance::Chance;
use super::fleet::{Episode, Fleet};
use super::journal::Journal;
use super::network::Fate;
use super::programs::Program;
use super::time::{Time, Wall, beginning};

/// A clone is the same world.
#[derive(Clone, Debug)]
pub(super) struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    time: Time,
    journal: Journal,
    /// Decides on messages and on what the tools do.
    chance: Chance,
    database: MemoryDatabase,
    /// Sees what the programs have stored, and is no part of them.
    observers: BTreeMap<Program, Arc<dyn Store>>,
    walls: BTreeMap<Program, Wall>,
    tasks: BTreeMap<Program, MemoryTaskDatabase>,
    drains: BTreeMap<Program, Notify>,
    /// Whether a new process can prove that the one before it is dead.
    proves_death: bool,
    directory: PathBuf,
    fleet: Mutex<Fleet>,
    weather: Mutex<Weather>,
    acknowledged: Mutex<Vec<Episode>>,
    violations: Mutex<Vec<String>>,
}

/// How often, of a thousand messages, something happens to one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) slow: u64,
    pub(super) lost: u64,
    pub(super) answer_lost: u64,
    pub(super) twice: u64,
}

impl World {
    pub(super) fn new(
        (time, journal, chance): (Time, Journal, Chance),
        database: MemoryDatabase,
        directory: &Path,
    ) -> Self {
        let observer = |program: Program| (program, program.observe(&database, &time));
        let wall = |program| (program, Wall::new(time.clone()));
        Self(Arc::new(Inner {
            observers: Program::ALL.into_iter().map(observer).collect(),
            walls: Program::ALL.into_iter().map(wall).collect(),
            tasks: Program::ALL.into_iter().map(|program| (program, Default::default())).collect(),
            drains: Program::ALL.into_iter().map(|program| (program, Notify::new())).collect(),
            proves_death: chance.is(0.5),
            time,
            journal,
            chance,
            database,
            directory: directory.to_owned(),
            fleet: Mutex::new(Fleet::new(beginning())),
            weather: Mutex::default(),
            acknowledged: Mutex::default(),
            violations: Mutex::default(),
        }))
    }

    pub(super) fn time(&self) -> &Time {
        &self.0.time
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.time.now()
    }

    pub(super) fn chance(&self) -> &Chance {
        &self.0.chance
    }

    pub(super) fn database(&self) -> &MemoryDatabase {
        &self.0.database
    }

    /// The tables of a program as they are, whatever fails for the program itself.
    pub(super) fn stored(&self, program: Program) -> &dyn Store {
        &*self.0.observers[&program]
    }

    pub(super) fn wall(&self, program: Program) -> &Wall {
        &self.0.walls[&program]
    }

    /// The A2A tasks of a program.
    pub(super) fn tasks(&self, program: Program) -> &MemoryTaskDatabase {
        &self.0.tasks[&program]
    }

    pub(super) fn proves_death(&self) -> bool {
        self.0.proves_death
    }

    /// Asks a program to end; one that does not run is not asked.
    pub(super) fn ask_to_drain(&self, program: Program) {
        self.0.drains[&program].notify_waiters();
    }

    /// Returns when the program of this host is asked to end; a tool never is.
    pub(super) async fn asked_to_drain(&self, host: &str) {
        match Program::of(host) {
            Some(program) => self.0.drains[&program].notified().await,
            None => std::future::pending().await,
        }
    }

    /// Where files of the programs are.
    pub(super) fn directory(&self) -> &Path {
        &self.0.directory
    }

    pub(super) fn tell(&self, line: &str) {
        self.0.journal.write(line);
    }

    /// The fleet as it is at this moment.
    pub(super) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        let now = self.now();
        let mut fleet = locked(&self.0.fleet);
        for news in fleet.advance(now) {
            self.tell(&news);
        }
        fleet
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        *locked(&self.0.weather) = weather;
    }

    pub(super) fn fate_of_message(&self) -> Fate {
        let weather = *locked(&self.0.weather);
        let chance = self.chance();
        let mut drawn = chance.within(0, 1000);
        let mut is = |share: u64| {
            let is = drawn < share;
            drawn = drawn.saturating_sub(share);
            is
        };
        if is(weather.slow) {
            Fate::Slow(chance.millis(200, 8_000))
        } else if is(weather.lost) {
            Fate::Lost
        } else if is(weather.answer_lost) {
            Fate::AnswerLost
        } else if is(weather.twice) {
            Fate::Twice(chance.millis(0, 20_000))
        } else {
            Fate::Delivered
        }
    }

    /// An alert that ingress has answered 2xx for.
    pub(super) fn acknowledge(&self, episode: &Episode) {
        let mut acknowledged = locked(&self.0.acknowledged);
        if !acknowledged.contains(episode) {
            acknowledged.push(episode.clone());
        }
    }

    pub(super) fn acknowledged(&self) -> Vec<Episode> {
        locked(&self.0.acknowledged).clone()
    }

    /// Whether the resolution agent had committed this attempt before it was carried out.
    pub(super) fn is_intended(&self, key: &str) -> bool {
        let attempts = self.stored(Program::Resolution).attempts_since(Timestamp::UNIX_EPOCH);
        let attempts = at_once(attempts).unwrap_or_default();
        attempts.iter().any(|row| row.attempt.id.to_string() == key)
    }

    /// A promise that was broken.
    pub(super) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(&format!("VIOLATION {what}"));
        locked(&self.0.violations).push(what);
    }

    pub(super) fn violations(&self) -> Vec<String> {
        locked(&self.0.violations).clone()
    }
}

/// The answer of the memory database, which lets others go first but waits for nothing.
pub(super) fn at_once<T>(mut asked: StoreFuture<'_, T>) -> Result<T, StoreError> {
    let mut answers = std::iter::repeat_with(|| (&mut asked).now_or_never());
    answers.find_map(|answer| answer).expect("an iterator without an end")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
