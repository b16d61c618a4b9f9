//! Random sequences of events, seeded: whatever comes in whatever order, the invariants hold.

use super::alerts::suppressed;
use super::*;

/// xorshift64*: enough chance for a test, the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()].clone()
    }

    fn event(&mut self, seconds: i64) -> Event {
        let fingerprint = self.of(&["a", "b"]);
        let starts_at = seconds - i64::try_from(self.below(200)).unwrap();
        let index = usize::try_from(self.below(4)).unwrap();
        let kinds = [
            EntryKind::Approved,
            EntryKind::StepStarted,
            EntryKind::StepFinished,
            EntryKind::VerificationStarted,
            EntryKind::RollbackStarted,
            EntryKind::Note,
        ];
        use OutcomeResult::*;
        let results = [Proven, Proven, Undone, UndoFailed, Refused, StepFailed, Cancelled];
        match self.below(18) {
            16 => Event::OthersReported {
                new: self.below(3),
                fired: self.below(3),
                resolved: self.below(3),
                severity: Severity::Warning,
            },
            17 => suppressed(&[fingerprint]),
            0..=2 => fires(fingerprint, starts_at),
            3 | 4 => ends(fingerprint, starts_at),
            5 => Event::DiagnosisReady(diagnosis(self.of(&[Some("db.pool"), None]))),
            6 => accepted(),
            7..=9 => progress(index, self.of(&kinds)),
            10 => Event::PlanReady(plan()),
            11 => Event::ApprovalAsked { plan_hash: plan().hash() },
            12 => Event::Concluded(outcome(self.of(&results))),
            13 => self.of(&[
                ticket("To Do"),
                ticket("Done"),
                Event::TicketFailed { why: "why".into() },
                Event::EffectReplayed { kind: "sync_ticket".into(), by: "ana".into() },
            ]),
            14 => Event::DeadlineReached,
            _ => self.of(&[
                Event::AgentFailed { agent: "agent".into(), why: "why".into() },
                Event::ClosedByPerson { by: "ana".into(), why: "why".into() },
            ]),
        }
    }
}

fn check(before: &Incident, event: &Event, after: &Incident, effects: &[Effect], seed: u64) {
    let place = format!("seed {seed}: {} took {}", before.phase.name(), event.name());
    assert_eq!(after.deadline.is_none(), after.phase.is_final(), "{place}: deadline");
    let is_new_round = after.round > before.round;
    assert!(after.round == before.round || after.round == before.round + 1, "{place}: round");
    assert!(is_new_round || after.progress_seen >= before.progress_seen, "{place}: progress");
    assert!(after.progress_seen <= before.progress_seen + 1, "{place}: progress jumps");
    let starts = effects.iter().filter(|effect| **effect == Effect::Diagnose).count();
    let is_started =
        after.phase.name() == "diagnosing" && (is_new_round || before.phase.name() == "open");
    assert_eq!(starts == 1, is_started, "{place}: diagnosis");
    if before.phase.name() != after.phase.name() {
        assert!(effects.contains(&Effect::SyncTicket), "{place}: the ticket is not told");
    }
    let is_asked = effects.contains(&Effect::Resolve);
    assert!(before.is_authenticated || !is_asked, "{place}: an act for anybody");
    if let (Phase::Closed { .. }, Phase::Closed { .. }) = (&before.phase, &after.phase) {
        assert_eq!(before.phase, after.phase, "{place}: closed twice");
    }
}

#[test]
fn any_sequence_of_events_keeps_the_invariants() {
    let mut phases = std::collections::BTreeSet::new();
    for seed in 1..=400_u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut incident = opened();
        incident.is_authenticated = seed % 8 != 0;
        let mut seconds = 0;
        for _ in 0..120 {
            seconds += i64::try_from(chance.below(400)).unwrap();
            let event = chance.event(seconds);
            let before = incident.clone();
            match incident.handle(event.clone(), at(seconds), &LIMITS) {
                Ok(effects) => check(&before, &event, &incident, &effects, seed),
                Err(_) => assert_eq!(before, incident, "seed {seed}: a refused event changed it"),
            }
            phases.insert(incident.phase.name());
        }
    }
    assert_eq!(phases.len(), 11, "every phase is reached: {phases:?}");
}
