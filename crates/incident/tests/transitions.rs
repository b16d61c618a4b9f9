//! The whole machine at once: every state that events can lead to is reached, every event is put to
//! each of them, and what changes the phase is exactly what the table says. Shown by
//! `cargo test -p incident --test transitions -- --nocapture`.
#![expect(clippy::unwrap_used, reason = "a test stops where something unexpected happens")]

mod transitions {
    mod explore;
    mod table;

    use std::collections::BTreeSet;

    use incident::{Effect, HandOff, Incident, Phase, TrackedAlert};

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
    fn every_step_keeps_what_must_always_hold() {
        let steps = explore();
        every_phase_is_reached(&steps);
        no_source_that_may_be_anybody_leads_to_an_act(&steps);
        for step in &steps {
            a_resolution_is_asked_for_by_a_cause_alone(step);
            a_flip_has_no_effect(step);
            whatever_is_not_over_has_an_owner_and_a_deadline_that_moves_it_on(step);
        }
    }

    fn every_phase_is_reached(steps: &[Step]) {
        let phases: BTreeSet<&str> = steps.iter().map(|step| step.after.phase.name()).collect();
        assert_eq!(phases.len(), 11, "{phases:?}");
        let open = explore::opened();
        assert!(open.deadline.is_some() && open.phase.next_step().is_some(), "open");
    }

    fn no_source_that_may_be_anybody_leads_to_an_act(steps: &[Step]) {
        let (mut count, mut found) = (0, 0);
        for Step { before, event, after, effects } in steps {
            if before.is_authenticated {
                continue;
            }
            let place = format!("{event} in {}", before.phase.name());
            assert!(!effects.contains(&Effect::Resolve), "{place} asks for a resolution");
            assert!(!after.phase.is_resolving() && !after.is_authenticated, "{place}");
            count += 1;
            found += usize::from(*event == "diagnosis_ready with a cause");
        }
        println!("{count} of the events are of a source that may be anybody");
        assert!(count > 1_000 && found > 0, "{count} events, {found} with a cause");
    }

    fn a_resolution_is_asked_for_by_a_cause_alone(step: &Step) {
        let is_cause = step.event == "diagnosis_ready with a cause";
        let is_asked = step.effects.contains(&Effect::Resolve);
        assert!(!is_asked || (is_cause && !step.after.is_storm), "{} asks for it", step.event);
    }

    fn a_flip_has_no_effect(Step { before, event, after, effects }: &Step) {
        let is_flip = |(before, after): (&TrackedAlert, &TrackedAlert)| {
            before.is_flapping && after.is_flapping && before.changes != after.changes
        };
        let of =
            |incident: &'_ Incident| (incident.others.is_flapping, incident.others.changes.clone());
        let ((was, had), (is, has)) = (of(before), of(after));
        let do_others_flip = was && is && had != has;
        if do_others_flip || before.alerts.iter().zip(&after.alerts).any(is_flip) {
            assert!(effects.is_empty(), "{event}: {effects:?}");
            assert_eq!((&before.phase, before.round), (&after.phase, after.round), "{event}");
        }
    }

    fn whatever_is_not_over_has_an_owner_and_a_deadline_that_moves_it_on(
        Step { before, event, after, effects }: &Step,
    ) {
        let place = format!("{} after {event}", after.phase.name());
        let is_final = after.phase.is_final();
        assert_eq!(after.phase.next_step().is_none(), is_final, "{place}: next step");
        assert_eq!(after.deadline.is_none(), is_final, "{place}: deadline");
        if handoff(before).is_none() && handoff(after).is_some() {
            assert_eq!(handoff(after), Some(HandOff::Pending), "{place}");
            assert!(effects.contains(&Effect::SyncTicket), "{place}: nobody is told");
        }
        if !is_final {
            is_moved_on_at_its_deadline(after, &place);
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
