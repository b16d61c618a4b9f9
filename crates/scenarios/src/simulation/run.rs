//! One run: phase one with its faults, phase two in which all is mended, rest, and the verdict.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, anyhow};
use incident::{Incident, Phase};
use store::{Fault as StoreFault, Faults, MemoryDatabase};
use turmoil::Sim;

use super::chance::Chance;
use super::faults::{Fault, HOSTS, PHASE, plan};
use super::journal::Journal;
use super::network::Place;
use super::programs::Program;
use super::time::Time;
use super::world::{Weather, World};
use super::{invariants, programs, source};

/// The shortest simulated time between two things.
const TICK: Duration = Duration::from_millis(20);
/// How often the invariants are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A system that has not come to rest so long after everything was mended never will.
const REST: Duration = Duration::from_secs(420);
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(60));

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// Of everything that happened: the same seed gives the same.
    pub hash: String,
    /// Promises that were broken; none, if all is well.
    pub violations: Vec<String>,
    pub incidents: usize,
    /// Of these, the ones that wait for a person.
    pub handed_over: usize,
    pub effects: usize,
    pub faults: usize,
    /// Simulated seconds.
    pub seconds: u64,
}

/// Where a seed keeps its files. The place is the same every time, since the addresses of tickets say
/// it; two runs of one seed take turns.
struct Directory {
    path: PathBuf,
    _turn: File,
}

impl Directory {
    fn of(seed: u64) -> anyhow::Result<Self> {
        let all = std::env::temp_dir().join("firebreak-simulation");
        std::fs::create_dir_all(&all)?;
        let turn = File::create(all.join(format!("{seed}.lock")))?;
        turn.lock()?;
        let path = all.join(seed.to_string());
        // What a killed run has left.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path)?;
        Ok(Self { path, _turn: turn })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Runs one seed; with `is_printed`, tells what happens.
///
/// # Errors
/// The simulation itself failed.
pub fn run(seed: u64, is_printed: bool) -> anyhow::Result<Report> {
    let directory = Directory::of(seed)?;
    let chance = Chance::seeded(seed);
    let faults = plan(&chance.fork());
    let time = Time::default();
    let journal = Journal::new(time.clone(), is_printed);
    let database = MemoryDatabase::new();
    let world =
        World::new((time, journal.clone(), chance.fork()), database.clone(), &directory.path);
    programs::write_files(&world)?;
    let mut run = Run {
        sim: network(&chance),
        world: world.clone(),
        chance: chance.fork(),
        next_look: Duration::ZERO,
        faults: faults.iter().cloned().collect(),
        ambushes: Vec::new(),
    };
    run.add_hosts();
    run.until(PHASE, |_| false)?;
    run.mend();
    let mended = run.sim.elapsed();
    let is_at_rest = run.until(mended + REST, invariants::is_at_rest)?;
    if !is_at_rest {
        let why = format!("no rest {} s after everything was mended", REST.as_secs());
        world.violated(why);
    }
    invariants::check(&world);
    let seconds = run.sim.elapsed().as_secs();
    journal.write(&format!("database {}", database.journal_hash()));
    let incidents = invariants::incidents(&world);
    let is_handed_over = |one: &&Incident| matches!(one.phase, Phase::NeedsHuman { .. });
    let handed_over = incidents.iter().filter(is_handed_over).count();
    Ok(Report {
        seed,
        hash: journal.hash(),
        violations: world.violations(),
        incidents: incidents.len(),
        handed_over,
        effects: world.fleet().effects.len(),
        faults: faults.len(),
        seconds,
    })
}

fn network(chance: &Chance) -> Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(chance.number())
        .simulation_duration(Duration::MAX)
        .tick_duration(TICK)
        .min_message_latency(LATENCY.0)
        .max_message_latency(LATENCY.1)
        .tcp_capacity(4096)
        .enable_random_order()
        .build()
}

struct Run {
    sim: Sim<'static>,
    world: World,
    chance: Chance,
    next_look: Duration,
    /// Those to come, the next one first.
    faults: VecDeque<(Duration, Fault)>,
    ambushes: Vec<Ambush>,
}

/// A process that goes when an effect after the first so many begins.
#[derive(Clone, Copy, Debug)]
struct Ambush {
    host: &'static str,
    seen: usize,
    after: Duration,
    lasts: Duration,
}

impl Run {
    fn add_hosts(&mut self) {
        for host in HOSTS {
            let (world, ids) = (self.world.clone(), self.chance.number());
            let starts = Arc::new(AtomicU64::new(0));
            self.sim.host(host, move || {
                let (place, starts) = (Place { host, world: world.clone() }, starts.clone());
                async move {
                    match host {
                        "alertmanager" => source::run(place, programs::webhook_url()).await,
                        _ => programs::run(place, ids, starts).await,
                    }
                }
            });
        }
    }

    /// Lets time pass until `at`, or until `is_over`; returns whether it was that.
    fn until(&mut self, at: Duration, is_over: fn(&World) -> bool) -> anyhow::Result<bool> {
        while self.sim.elapsed() < at {
            self.spring();
            while self.faults.front().is_some_and(|(due, _)| *due <= self.sim.elapsed()) {
                if let Some((_, fault)) = self.faults.pop_front() {
                    self.befall(&fault);
                }
            }
            self.sim.step().map_err(|error| anyhow!("{error}")).context("a step")?;
            self.world.time().set_passed(self.sim.elapsed());
            if self.sim.elapsed() >= self.next_look {
                self.next_look = self.sim.elapsed() + LOOK;
                invariants::watch(&self.world);
                if is_over(&self.world) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Lets the processes go that an effect has been waited for.
    fn spring(&mut self) {
        if self.ambushes.is_empty() {
            return;
        }
        let (now, begun) = (self.sim.elapsed(), self.world.fleet().effects.len());
        for ambush in self.ambushes.extract_if(.., |ambush| ambush.seen < begun) {
            let Ambush { host, after, lasts, .. } = ambush;
            self.faults.push_back((now + after, Fault::Crash { host }));
            self.faults.push_back((now + after + lasts, Fault::Start { host }));
        }
        self.faults.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    fn befall(&mut self, fault: &Fault) {
        let world = self.world.clone();
        world.tell(&format!("{fault:?}"));
        match *fault {
            Fault::Trouble { target, trouble, lasts } => {
                let now = world.now();
                world.fleet().begin_trouble(target, trouble, lasts, now);
            }
            Fault::Cut { a, b } => self.sim.partition(a, b),
            Fault::CutOneWay { from, to } => self.sim.partition_oneway(from, to),
            Fault::Mend { a, b } => self.sim.repair(a, b),
            Fault::Slow { a, b, latency } => self.sim.set_link_latency(a, b, latency),
            Fault::Crash { host } => self.crash(host),
            Fault::Drain { program } => world.ask_to_drain(program),
            Fault::Start { host } => self.start(host),
            Fault::Ambush { host, after, lasts } => {
                let seen = world.fleet().effects.len();
                self.ambushes.push(Ambush { host, seen, after, lasts });
            }
            Fault::Jump { program, ahead_seconds } => world.wall(program).set_ahead(ahead_seconds),
            Fault::Failing { program, one_of } => fail_store(&world, program, one_of, &self.chance),
            Fault::Weather(weather) => world.set_weather(weather),
        }
    }

    fn crash(&mut self, host: &'static str) {
        if host == "deployment-system" {
            let now = self.world.now();
            self.world.fleet().cut(now);
        }
        self.sim.crash(host);
    }

    fn start(&mut self, host: &'static str) {
        if !self.sim.is_host_running(host) {
            self.sim.bounce(host);
        }
    }

    /// Everything works again.
    fn mend(&mut self) {
        let world = self.world.clone();
        world.tell("everything is mended");
        self.faults.clear();
        self.ambushes.clear();
        world.set_weather(Weather::default());
        world.database().set_faults(Faults::default());
        for program in Program::ALL {
            world.wall(program).set_ahead(0);
        }
        for (index, a) in HOSTS.into_iter().enumerate() {
            for b in &HOSTS[index + 1..] {
                self.sim.repair(a, *b);
                self.sim.set_link_latency(a, *b, LATENCY.1);
            }
            self.start(a);
        }
    }
}

/// Lets one of so many calls of a program's database fail, before or after it has done its work.
fn fail_store(world: &World, program: Program, one_of: u64, chance: &Chance) {
    let chance = chance.fork();
    let decide = move |call: store::Call<'_>| {
        let is_its = call.agent == program.host() && call.replica != programs::OBSERVER;
        if one_of == 0 || !is_its || chance.within(0, one_of) != 0 {
            return None;
        }
        Some(if chance.is(0.5) { StoreFault::Away } else { StoreFault::AnswerLost })
    };
    world.database().set_faults(Faults::new(decide));
}
