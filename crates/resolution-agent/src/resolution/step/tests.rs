//! Every transition of the machine, taken once and held against the list of them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::*;

/// State, what came of it, the class of the effect where it decides, and the state after it.
const TRANSITIONS: &str = "
intended     answered done                          -> done
intended     answered already_done                  -> done
intended     answered failed                        -> failed
intended     answered dry_run                       -> untouched
intended     answered running                       -> unanswered
intended     answered ended       pure              -> cut_off
intended     answered ended       idempotent        -> cut_off
intended     answered ended       fenced            -> cut_off
intended     answered ended       probeable         -> interrupted
intended     answered ended       at_most_once      -> unknown
intended     busy                                   -> turned_away
intended     busy too often                         -> untouched
intended     refused                                -> untouched
intended     lost                                   -> unanswered
intended     killed                                 -> untouched
turned_away  rested                                 -> intended
turned_away  killed                                 -> untouched
unanswered   answered done                          -> done
unanswered   answered already_done                  -> done
unanswered   answered failed                        -> failed
unanswered   answered dry_run                       -> untouched
unanswered   answered running                       -> unknown
unanswered   answered ended       pure              -> cut_off
unanswered   answered ended       idempotent        -> cut_off
unanswered   answered ended       fenced            -> cut_off
unanswered   answered ended       probeable         -> interrupted
unanswered   answered ended       at_most_once      -> unknown
unanswered   no record            pure              -> intended
unanswered   no record            idempotent        -> intended
unanswered   no record            fenced            -> intended
unanswered   no record            probeable         -> intended
unanswered   no record            at_most_once      -> unknown
unanswered   no record again                        -> unknown
unanswered   untold                                 -> unknown
interrupted  probed present                         -> done
interrupted  probed absent                          -> cut_off
interrupted  probed unclear                         -> failed
";

const CLASSES: [(EffectClass, &str); 5] = [
    (EffectClass::Pure, "pure"),
    (EffectClass::Idempotent, "idempotent"),
    (EffectClass::Fenced, "fenced"),
    (EffectClass::Probeable, "probeable"),
    (EffectClass::AtMostOnce, "at_most_once"),
];

fn change(state: ChangeState, has_ended: bool) -> Box<Change> {
    Box::new(Change {
        change_id: Some("chg_1".into()),
        target: "db-1".into(),
        action: "scale".into(),
        state,
        diff: Vec::new(),
        before: Value::Null,
        after: Value::Null,
        inverse: None,
        no_inverse: None,
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: has_ended.then_some(Timestamp::UNIX_EPOCH),
        output: String::new(),
        error: None,
    })
}

fn events() -> Vec<(&'static str, Event)> {
    let answered = |state, has_ended| Event::Answered(change(state, has_ended));
    vec![
        ("answered done", answered(ChangeState::Done, true)),
        ("answered already_done", answered(ChangeState::AlreadyDone, true)),
        ("answered failed", answered(ChangeState::Failed, true)),
        ("answered dry_run", answered(ChangeState::DryRun, true)),
        ("answered running", answered(ChangeState::Unknown, false)),
        ("answered ended", answered(ChangeState::Unknown, true)),
        ("busy", Event::Busy("busy".into())),
        ("refused", Event::Refused("no".into())),
        ("lost", Event::Lost("broken".into())),
        ("rested", Event::Rested),
        ("killed", Event::Killed),
        ("no record", Event::NoRecord),
        ("untold", Event::Untold("away".into())),
        ("probed present", Event::Probed(Probe::Present)),
        ("probed absent", Event::Probed(Probe::Absent)),
        ("probed unclear", Event::Probed(Probe::Unclear)),
    ]
}

/// Every state, with what it remembers of the way there.
fn states() -> Vec<(State, u32, bool)> {
    let error = || "error".to_owned();
    let interrupted = change(ChangeState::Unknown, true);
    let ends = [
        End::Done { change: change(ChangeState::Done, true) },
        End::Failed { change: change(ChangeState::Failed, true), error: error() },
        End::Interrupted { change: interrupted.clone(), error: error() },
        End::Untouched { error: error() },
        End::Unknown { error: error() },
    ];
    let mut states = vec![
        (State::Intended, RETRIES, true),
        (State::Intended, 0, true),
        (State::TurnedAway, RETRIES, true),
        (State::Unanswered, RETRIES, true),
        (State::Unanswered, RETRIES, false),
        (State::Interrupted(interrupted), RETRIES, true),
    ];
    states.extend(ends.map(|end| (State::Ended(end), RETRIES, true)));
    states
}

/// A transition in the words of the list.
fn told(from: &State, event: &str, retries: u32, may_repeat: bool, to: &State) -> String {
    let again = match event {
        "busy" if retries == 0 => " too often",
        "no record" if !may_repeat => " again",
        _ => "",
    };
    format!("{} {event}{again} -> {}", from.name(), to.name())
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_transition_is_taken_and_every_other_event_changes_nothing() {
    let listed: BTreeSet<String> =
        TRANSITIONS.lines().map(words).filter(|line| !line.is_empty()).collect();
    let mut taken = BTreeSet::new();
    for (state, retries, may_repeat) in states() {
        for (event_name, event) in events() {
            for (class, class_name) in CLASSES {
                let mut attempted = Attempted { class, state: state.clone(), retries, may_repeat };
                attempted.take(event.clone());
                if attempted.state == state {
                    continue;
                }
                let line = told(&state, event_name, retries, may_repeat, &attempted.state);
                let (left, right) = line.split_once(" -> ").unwrap();
                let of_class = format!("{left} {class_name} -> {right}");
                let known = [&line, &of_class].into_iter().find(|line| listed.contains(*line));
                let known = known.unwrap_or_else(|| panic!("{of_class} is not in the list"));
                taken.insert(known.clone());
            }
        }
    }
    for line in &taken {
        println!("{line}");
    }
    println!("{} transitions, each taken", taken.len());
    assert_eq!(taken, listed);
}

#[test]
fn a_call_that_never_arrived_is_repeated_once_under_its_own_key() {
    let mut attempted = Attempted::found(EffectClass::Idempotent);
    assert!(!attempted.is_repeated());
    attempted.take(Event::NoRecord);
    assert_eq!((attempted.state(), attempted.is_repeated()), (&State::Intended, true));
    attempted.take(Event::Lost("broken".into()));
    attempted.take(Event::NoRecord);
    assert_eq!(attempted.state().name(), "unknown");
}

#[test]
fn a_call_that_is_turned_away_is_made_four_times_at_most() {
    let mut attempted = Attempted::new(EffectClass::Fenced);
    for _ in 0..RETRIES {
        attempted.take(Event::Busy("busy".into()));
        assert_eq!(attempted.state(), &State::TurnedAway);
        attempted.take(Event::Rested);
    }
    attempted.take(Event::Busy("busy".into()));
    assert_eq!(attempted.state(), &State::Ended(End::Untouched { error: "busy".into() }));
}
