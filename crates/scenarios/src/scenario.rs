//! The language of scenarios: steps in order, each a deed or a wait. A wait polls; it never takes
//! longer than its claim needs. A scenario that fails tells what it saw and what the programs said.

use std::time::{Duration, Instant};

use crate::{Condition, Program, Record, Setup, World};

pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[derive(Debug)]
pub struct Scenario {
    name: &'static str,
    setup: Setup,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Trigger { fault: &'static str, duration: Duration },
    Await(Condition),
    Stay { condition: Condition, duration: Duration },
    Kill(Program),
    Stop(Program),
    Start(Program),
    Pause(Program),
    Resume(Program),
}

impl Scenario {
    pub fn new(name: &'static str) -> Self {
        Self { name, setup: Setup::default(), steps: Vec::new() }
    }

    /// Leaves a program out at first; `start` starts it later.
    #[must_use]
    pub fn without(mut self, program: Program) -> Self {
        self.setup.without.push(program);
        self
    }

    /// The configuration file of ingress; without this, its defaults.
    #[must_use]
    pub fn ingress_settings(mut self, yaml: &str) -> Self {
        self.setup.ingress_settings = yaml.to_owned();
        self
    }

    /// Begins a fault that would last for `duration` if nothing repaired it.
    #[must_use]
    pub fn trigger(self, fault: &'static str, duration: Duration) -> Self {
        self.step(Step::Trigger { fault, duration })
    }

    /// Waits for the moment at which the next step is due.
    #[must_use]
    pub fn when(self, condition: Condition) -> Self {
        self.step(Step::Await(condition))
    }

    /// Waits for what must come true.
    #[must_use]
    pub fn expect(self, condition: Condition) -> Self {
        self.step(Step::Await(condition))
    }

    /// Demands that a claim is true now and for so long.
    #[must_use]
    pub fn stays(self, condition: Condition, duration: Duration) -> Self {
        self.step(Step::Stay { condition, duration })
    }

    /// `kill -9`.
    #[must_use]
    pub fn kill(self, program: Program) -> Self {
        self.step(Step::Kill(program))
    }

    /// Asks a program to end, and waits until it has.
    #[must_use]
    pub fn stop(self, program: Program) -> Self {
        self.step(Step::Stop(program))
    }

    #[must_use]
    pub fn start(self, program: Program) -> Self {
        self.step(Step::Start(program))
    }

    /// `kill -9`, and a new start at once.
    #[must_use]
    pub fn restart_killed(self, program: Program) -> Self {
        self.kill(program).start(program)
    }

    /// Power fails: every program of ours dies at once, and all come back.
    #[must_use]
    pub fn power_failure(self) -> Self {
        let ours = Program::OURS;
        let dead = ours.into_iter().fold(self, Self::kill);
        ours.into_iter().fold(dead, Self::start)
    }

    /// Freezes a program, as an overloaded machine would.
    #[must_use]
    pub fn pause(self, program: Program) -> Self {
        self.step(Step::Pause(program))
    }

    #[must_use]
    pub fn resume(self, program: Program) -> Self {
        self.step(Step::Resume(program))
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Plays all steps, stops the programs, and returns what they recorded. `None` where the
    /// scenario was skipped.
    ///
    /// # Panics
    /// A step fails or a claim does not come true: the message tells everything that is known.
    pub async fn run(self) -> Option<Record> {
        let mut world = match World::start(&self.setup).await {
            Ok(world) => world?,
            Err(error) => panic!("{}: {error:#}", self.name),
        };
        let started = Instant::now();
        for step in &self.steps {
            let told = format!("{step:?}");
            if let Err(error) = play(&mut world, step).await {
                let seen = world.look().await;
                let logs = world.account();
                panic!("{}: {told}: {error:#}\n{seen}\n{logs}", self.name);
            }
            println!("{:7.2} s  {told}", started.elapsed().as_secs_f64());
        }
        match Record::read(&mut world).await {
            Ok(record) => {
                println!("{record}");
                Some(record)
            }
            Err(error) => panic!("{}: {error:#}\n{}", self.name, world.account()),
        }
    }
}

async fn play(world: &mut World, step: &Step) -> anyhow::Result<()> {
    match step {
        Step::Trigger { fault, duration } => world.trigger(fault, *duration).await,
        Step::Await(condition) => world.wait_for(condition).await,
        Step::Stay { condition, duration } => world.stays(condition, *duration).await,
        Step::Kill(program) => world.kill(*program),
        Step::Stop(program) => world.stop_program(*program).await,
        Step::Start(program) => world.start_program(*program).await,
        Step::Pause(program) => world.pause(*program),
        Step::Resume(program) => world.resume(*program),
    }
}
