//! Tables of readings and what they prove. Times are seconds after the end of the act.

use super::*;
use crate::Comparison;

fn at(seconds: f64) -> Timestamp {
    let act_end: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    act_end + SignedDuration::try_from_secs_f64(seconds).unwrap()
}

fn check(query: &str, role: CheckRole) -> Check {
    Check {
        name: "timeouts".into(),
        role,
        query: query.into(),
        comparison: Comparison::Below,
        threshold: 1.0,
        hold: Duration::from_secs(2),
        within: Duration::from_secs(10),
    }
}

fn verifier(query: &str) -> Verifier {
    let check = check(query, CheckRole::Symptom);
    Verifier::new(check, Some(4.0), at(0.0), Duration::from_secs(3)).unwrap()
}

/// Evaluated at, newest sample, value.
type Row = (f64, Option<f64>, f64);

fn reading((evaluated, newest, value): Row) -> Reading {
    let elapsed = Duration::from_secs_f64(evaluated.max(0.0));
    Reading { evaluated_at: at(evaluated), elapsed, newest: newest.map(at), value: Ok(value) }
}

fn after(mut verifier: Verifier, rows: &[Row]) -> Verifier {
    for row in rows {
        verifier.take(&reading(*row));
    }
    verifier
}

fn is_pending(verifier: &Verifier) -> bool {
    matches!(verifier.verdict(), Verdict::Pending(_))
}

#[test]
fn samples_that_pass_across_the_whole_hold_time_are_proof() {
    let row = |n: f64| (n + 0.2, Some(n), 0.5);
    let verifier = after(verifier("gauge"), &[row(1.0), row(2.0)]);
    assert!(is_pending(&verifier), "one second is not two");
    let verifier = after(verifier, &[row(3.0)]);
    assert_eq!(verifier.verdict(), &Verdict::Held);
    let report = verifier.report();
    assert!(report.passed);
    assert_eq!((report.value, report.sampled_at), (Some(0.5), Some(at(3.0))));
    assert_eq!(report.reason, "0.5 is < 1, for 2.0 s over 3 samples");
}

#[test]
fn a_query_that_looks_back_beyond_time_proves_nothing_and_does_not_panic() {
    let verifier = after(verifier("rate(a[9000000w])"), &[(5.0, Some(5.0), 0.5)]);
    assert!(is_pending(&verifier));
}

#[test]
fn one_sample_asked_for_again_and_again_proves_nothing() {
    let rows: Vec<Row> = (4..16).map(|i| (f64::from(i) * 0.25, Some(1.0), 0.0)).collect();
    assert!(is_pending(&after(verifier("gauge"), &rows)));
}

#[test]
fn samples_from_before_the_act_are_ignored() {
    let rows = [(0.5, Some(-2.0), 0.0), (1.0, Some(-1.0), 0.0), (1.5, Some(0.0), 0.0)];
    let verifier = after(verifier("gauge"), &rows);
    assert!(is_pending(&verifier));
    assert_eq!(verifier.report().value, None);
}

#[test]
fn a_window_that_begins_before_the_end_of_the_act_is_ignored() {
    let query = "rate(timeouts_total[5s])";
    let early = [(1.0, Some(0.9), 0.0), (3.0, Some(2.9), 0.0), (4.9, Some(4.8), 0.0)];
    let verifier = after(verifier(query), &early);
    assert_eq!(verifier.report().value, None);
    let late = [(5.1, Some(5.0), 0.0), (6.1, Some(6.0), 0.0), (7.1, Some(7.0), 0.0)];
    assert_eq!(after(verifier, &late).verdict(), &Verdict::Held);
}

#[test]
fn whatever_is_not_a_fresh_passing_value_starts_the_hold_time_again() {
    let bad: [(&str, Reading); 6] = [
        ("failing", reading((2.1, Some(2.0), 1.0))),
        ("not a number", reading((2.1, Some(2.0), f64::NAN))),
        ("no data", Reading { value: Err("no data".into()), ..reading((2.1, None, 0.0)) }),
        ("unknown age", reading((2.1, None, 0.0))),
        ("stale", reading((5.0, Some(1.5), 0.0))),
        (
            "failed query",
            Reading { value: Err("unavailable".into()), ..reading((2.1, Some(2.0), 0.0)) },
        ),
    ];
    for (name, bad) in bad {
        let mut verifier =
            after(verifier("gauge"), &[(1.1, Some(1.0), 0.0), (1.9, Some(1.9), 0.0)]);
        verifier.take(&bad);
        let verifier = after(verifier, &[(5.1, Some(5.0), 0.0), (6.1, Some(6.0), 0.0)]);
        assert!(is_pending(&verifier), "{name}");
        assert_eq!(after(verifier, &[(7.1, Some(7.0), 0.0)]).verdict(), &Verdict::Held, "{name}");
    }
}

#[test]
fn a_gap_between_samples_breaks_the_row() {
    let verifier = after(verifier("gauge"), &[(1.1, Some(1.0), 0.0), (4.6, Some(4.5), 0.0)]);
    assert!(is_pending(&verifier));
}

#[test]
fn what_flaps_is_not_proven_when_the_time_is_over() {
    let rows: Vec<Row> =
        (1..=11).map(|i| (f64::from(i) + 0.1, Some(f64::from(i)), f64::from(i % 2))).collect();
    let verifier = after(verifier("gauge"), &rows);
    assert!(matches!(verifier.verdict(), Verdict::Failed(_)));
    let verifier = after(verifier, &[(12.0, Some(12.0), 0.0), (14.0, Some(14.0), 0.0)]);
    assert!(!verifier.report().passed, "a final verdict stays");
}

#[test]
fn a_clock_that_is_set_cuts_no_hold_time_short_and_prolongs_no_wait() {
    // Elapsed, and what the clock on the wall says: it was set 2 s, then an hour forward.
    let jumped = |elapsed: f64, wall: f64| Reading {
        elapsed: Duration::from_secs_f64(elapsed),
        ..reading((wall, Some(wall), 0.0))
    };
    for ahead in [2.0, 3600.0] {
        let mut verifier = verifier("gauge");
        verifier.take(&jumped(1.0, 1.0));
        verifier.take(&jumped(1.1, 1.1 + ahead));
        assert!(is_pending(&verifier), "{ahead}");
        for tenths in 12..=31 {
            let elapsed = f64::from(tenths) / 10.0;
            verifier.take(&jumped(elapsed, elapsed + ahead));
        }
        assert_eq!(verifier.verdict(), &Verdict::Held, "{ahead}");
    }
    // Set an hour back, samples are older than the act: no proof, and no wait of an hour.
    let mut verifier = verifier("gauge");
    for second in 1..=10 {
        verifier.take(&jumped(f64::from(second), f64::from(second) - 3600.0));
    }
    assert!(matches!(verifier.verdict(), Verdict::Failed(_)), "{:?}", verifier.verdict());
}

#[test]
fn no_data_until_the_end_is_not_proof() {
    let mut verifier = verifier("gauge");
    for second in 1..=10_u32 {
        let no_data = Reading {
            evaluated_at: at(f64::from(second)),
            elapsed: Duration::from_secs(second.into()),
            newest: None,
            value: Err("no data".into()),
        };
        verifier.take(&no_data);
    }
    assert_eq!(verifier.verdict(), &Verdict::Failed("no data, 10 s after the act".into()));
    assert_eq!(verifier.report().value, None);
}

#[test]
fn a_value_that_became_worse_than_before_ends_the_wait() {
    let rows: Vec<Row> = (1..=5).map(|i| (f64::from(i), Some(f64::from(i)), 9.0)).collect();
    let verifier = after(verifier("gauge"), &rows);
    let Verdict::Failed(why) = verifier.verdict() else { panic!("{:?}", verifier.verdict()) };
    assert_eq!(why, "9 is not < 1; it was 4 before the act");
}

#[test]
fn a_neighbour_may_stay_as_ill_as_it_was_but_not_fall_ill() {
    let held = |role, baseline, value| {
        let check = check("gauge", role);
        let verifier = Verifier::new(check, baseline, at(0.0), Duration::from_secs(3)).unwrap();
        let rows: Vec<Row> = (1..=4).map(|i| (f64::from(i), Some(f64::from(i)), value)).collect();
        after(verifier, &rows).report().passed
    };
    assert!(held(CheckRole::Neighbour, Some(4.0), 4.5), "as ill as before");
    assert!(!held(CheckRole::Neighbour, Some(4.0), 5.5), "more ill than before");
    assert!(!held(CheckRole::Neighbour, Some(0.5), 1.1), "was healthy");
    assert!(!held(CheckRole::Neighbour, None, 1.1), "nothing is known of before");
    assert!(!held(CheckRole::Symptom, Some(4.0), 4.0), "a symptom must end");
}

#[test]
fn an_undo_needs_what_was_there_before_and_no_more() {
    let undo = |value| {
        let check = check("gauge", CheckRole::Symptom);
        let verifier =
            Verifier::of_undo(check, Some(4.0), at(0.0), Duration::from_secs(3)).unwrap();
        let rows: Vec<Row> = (1..=3).map(|i| (f64::from(i), Some(f64::from(i)), value)).collect();
        after(verifier, &rows).report().passed
    };
    assert!(undo(4.0) && undo(0.0));
    assert!(!undo(6.0));
}

#[test]
fn the_lookback_of_a_query_is_its_longest_range() {
    let cases = [
        ("up", 0),
        ("sum(rate(a_total{x=\"[9h]\"}[3s])) / sum(rate(b_total[1m30s]))", 90_000),
        ("rate(a_total[2500ms])", 2500),
    ];
    for (query, millis) in cases {
        assert_eq!(lookback(query), Ok(Duration::from_millis(millis)), "{query}");
    }
    let refused = [
        "max_over_time(rate(a[1s])[1m:1s])",
        "a offset 1m",
        "a @ 1",
        "a[",
        "a[1y]",
        "a[0s]",
        "a[x]",
    ];
    for query in refused {
        assert!(lookback(query).is_err(), "{query}");
    }
    assert!(lookback("offset_total{x=\"a offset 1m\"}").is_ok());
}
