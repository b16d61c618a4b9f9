//! The whole machine at once: every state that events can lead to is reached, every event is put to
//! each of them, and what changes the phase is exactly what the table says. Shown by
//! `cargo test -p incident --test transitions -- --nocapture`.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

mod transitions {
    mod explore;
    mod table;

    use std::collections::BTreeSet;

    use incident::{Effect, HandOff, Incident, Phase};

    use explore::{LIMITS, Step, at, explore};
    use table::TABLE;

    #[test]
    fn the_phase_changes_as_the_table_says_and_in_no_other_way() {
        let steps = explore();
        let seen: BTreeSet<(&str, &str, &str)> = steps
            .iter()
            .map(|step| (step.before.phase.name(), step.event, step.after.phase.name()))
            .filter(|(from, _, to)| from != to)
            .collect();
        let table: BTreeSet<(&str, &str, &str)> = TABLE
            .iter()
            .flat_map(|(from, event, to)| from.iter().map(move |from| (*from, *event, *to)))
            .collect();
        println!("{} transitions of an incident:", seen.len());
        for (from, event, to) in &seen {
            println!("  {from:<18} {event:<42} {to}");
        }
        let unknown: Vec<_> = seen.difference(&table).collect();
        assert!(unknown.is_empty(), "not in the table: {unknown:#?}");
        let untaken: Vec<_> = table.difference(&seen).collect();
        assert!(untaken.is_empty(), "never taken: {untaken:#?}");
    }

    #[test]
    fn every_phase_but_suppressed_is_reached() {
        let phases: BTreeSet<&str> = explore().iter().map(|step| step.after.phase.name()).collect();
        assert_eq!(phases.len(), 10, "{phases:?}");
        let open = explore::opened();
        assert!(open.deadline.is_some() && open.phase.next_step().is_some(), "open");
    }

    #[test]
    fn whatever_is_not_over_has_an_owner_a_next_step_and_a_deadline_that_moves_it_on() {
        for Step { before, event, after, effects } in explore() {
            let place = format!("{} after {event}", after.phase.name());
            let is_final = after.phase.is_final();
            assert_eq!(after.phase.next_step().is_none(), is_final, "{place}: next step");
            assert_eq!(after.deadline.is_none(), is_final, "{place}: deadline");
            if handoff(&before).is_none() && handoff(&after).is_some() {
                assert_eq!(handoff(&after), Some(HandOff::Pending), "{place}");
                assert!(effects.contains(&Effect::SyncTicket), "{place}: nobody is told");
            }
            if !is_final {
                is_moved_on_at_its_deadline(&after, &place);
            }
        }
    }

    fn is_moved_on_at_its_deadline(incident: &Incident, place: &str) {
        let due = incident.deadline.unwrap();
        let mut late = incident.clone();
        let effects = late.handle(incident::Event::DeadlineReached, due, &LIMITS).unwrap();
        assert!(effects.contains(&Effect::SyncTicket), "{place}: its end is told");
        if incident.phase.name() == late.phase.name() {
            assert_eq!(late.phase.name(), "needs_human", "{place}: only a person is waited for");
            assert!(late.deadline.unwrap() > due, "{place}: reminded once only");
        }
        assert_ne!(handoff(&late), Some(HandOff::Failed), "{place}: given up for good");
        assert!(late.deadline.is_none_or(|deadline| deadline > at(0)), "{place}");
    }

    fn handoff(incident: &Incident) -> Option<HandOff> {
        match incident.phase {
            Phase::NeedsHuman { handoff, .. } => Some(handoff),
            _ => None,
        }
    }
}
