//! What goes wrong in the first phase, drawn from the seed before the run begins.

use std::time::Duration;

use super::chance::Chance;
use super::fleet::{TARGETS, Trouble};
use super::programs::Program;
use super::world::Weather;

/// How long things go wrong.
pub(super) const PHASE: Duration = Duration::from_secs(80);

/// The hosts of the simulated network.
pub(super) const HOSTS: [&str; 7] = [
    "ingress",
    "diagnostic-agent",
    "resolution-agent",
    "ticketing-agent",
    "system-monitor",
    "deployment-system",
    "alertmanager",
];

/// Who talks to whom.
const LINKS: [(&str, &str); 7] = [
    ("alertmanager", "ingress"),
    ("ingress", "diagnostic-agent"),
    ("ingress", "resolution-agent"),
    ("ingress", "ticketing-agent"),
    ("diagnostic-agent", "system-monitor"),
    ("resolution-agent", "system-monitor"),
    ("resolution-agent", "deployment-system"),
];

#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Not a fault of ours: what the system is there for.
    Trouble {
        target: &'static str,
        trouble: Trouble,
        lasts: Duration,
    },
    /// Nothing passes between two hosts.
    Cut {
        a: &'static str,
        b: &'static str,
    },
    /// Nothing passes from one host to another; the other way all is well.
    CutOneWay {
        from: &'static str,
        to: &'static str,
    },
    Mend {
        a: &'static str,
        b: &'static str,
    },
    /// Messages between two hosts take so long.
    Slow {
        a: &'static str,
        b: &'static str,
        latency: Duration,
    },
    /// A process is gone from one moment to the next.
    Crash {
        host: &'static str,
    },
    /// A process is asked to end, and ends what is in hand.
    Drain {
        program: Program,
    },
    Start {
        host: &'static str,
    },
    /// A process is gone so soon after the next change of a target has begun, and for so long.
    Ambush {
        host: &'static str,
        after: Duration,
        lasts: Duration,
    },
    /// The clock on the wall of a program jumps.
    Jump {
        program: Program,
        ahead_seconds: i64,
    },
    /// One of so many calls of a program's database fails.
    Failing {
        program: Program,
        one_of: u64,
    },
    Weather(Weather),
}

/// Faults with their times.
pub(super) type Plan = Vec<(Duration, Fault)>;

/// Every fault with its time, in order.
pub(super) fn plan(chance: &Chance) -> Plan {
    let mut plan = Vec::new();
    troubles(chance, &mut plan);
    // A third of the runs is calm in each way, so that what one fault does is not hidden by another.
    if chance.is(0.7) {
        plan.push((Duration::ZERO, Fault::Weather(weather(chance))));
    }
    let kinds: [fn(&Chance, &mut Plan); 6] =
        [partitions, crashes, ambushes, slow_links, jumps, failing_stores];
    for kind in kinds {
        if chance.is(0.6) {
            kind(chance, &mut plan);
        }
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

fn moment(chance: &Chance) -> Duration {
    chance.millis(2_000, PHASE.as_millis() as u64)
}

fn troubles(chance: &Chance, plan: &mut Plan) {
    for _ in 0..chance.within(4, 11) {
        let trouble = *chance.of(&Trouble::ALL);
        let (target, lasts) = (*chance.of(&TARGETS), chance.millis(3_000, 40_000));
        let at = chance.millis(1_000, PHASE.as_millis() as u64 * 9 / 10);
        plan.push((at, Fault::Trouble { target, trouble, lasts }));
    }
}

fn weather(chance: &Chance) -> Weather {
    Weather {
        slow: chance.within(0, 60),
        lost: chance.within(0, 60),
        answer_lost: chance.within(0, 60),
        twice: chance.within(0, 60),
    }
}

fn partitions(chance: &Chance, plan: &mut Plan) {
    for _ in 0..chance.within(1, 5) {
        let (a, b) = pair(chance);
        let (at, lasts) = (moment(chance), chance.millis(500, 30_000));
        let cut = match chance.is(0.5) {
            true => Fault::Cut { a, b },
            false => Fault::CutOneWay { from: a, to: b },
        };
        plan.push((at, cut));
        plan.push((at + lasts, Fault::Mend { a, b }));
    }
}

/// The two ends of a link, in either order.
fn pair(chance: &Chance) -> (&'static str, &'static str) {
    let (a, b) = *chance.of(&LINKS);
    if chance.is(0.5) { (a, b) } else { (b, a) }
}

fn crashes(chance: &Chance, plan: &mut Plan) {
    for _ in 0..chance.within(1, 6) {
        let (at, lasts) = (moment(chance), chance.millis(100, 20_000));
        // Alertmanager keeps what it has told in memory here: it does not crash.
        let host = *chance.of(&HOSTS[..6]);
        match Program::of(host) {
            Some(program) if chance.is(0.25) => plan.push((at, Fault::Drain { program })),
            _ => {
                plan.push((at, Fault::Crash { host }));
                plan.push((at + lasts, Fault::Start { host }));
            }
        }
    }
}

fn ambushes(chance: &Chance, plan: &mut Plan) {
    for _ in 0..chance.within(1, 4) {
        let host =
            *chance.of(&["resolution-agent", "resolution-agent", "deployment-system", "ingress"]);
        let (after, lasts) = (chance.millis(0, 4_000), chance.millis(100, 20_000));
        plan.push((moment(chance), Fault::Ambush { host, after, lasts }));
    }
}

fn slow_links(chance: &Chance, plan: &mut Plan) {
    for _ in 0..chance.within(1, 4) {
        let (a, b) = pair(chance);
        plan.push((moment(chance), Fault::Slow { a, b, latency: chance.millis(100, 3_000) }));
    }
}

fn jumps(chance: &Chance, plan: &mut Plan) {
    for _ in 0..chance.within(1, 3) {
        let ahead_seconds = *chance.of(&[3_600, -3_600, 30, -30]);
        let (at, lasts) = (moment(chance), chance.millis(1_000, 40_000));
        let program = *chance.of(&Program::ALL);
        plan.push((at, Fault::Jump { program, ahead_seconds }));
        plan.push((at + lasts, Fault::Jump { program, ahead_seconds: 0 }));
    }
}

fn failing_stores(chance: &Chance, plan: &mut Plan) {
    for _ in 0..chance.within(1, 4) {
        let (at, lasts) = (moment(chance), chance.millis(500, 15_000));
        let (program, one_of) = (*chance.of(&Program::ALL), *chance.of(&[1, 2, 5, 20]));
        plan.push((at, Fault::Failing { program, one_of }));
        plan.push((at + lasts, Fault::Failing { program, one_of: 0 }));
    }
}
