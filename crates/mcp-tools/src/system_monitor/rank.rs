//! How far a signal moved from its baseline, in robust deviations: medians and the median absolute
//! deviation, so that a few outliers in either range change nothing. Pure.

use a2a_types::mcp::TimeRange;
use a2a_types::mcp::metrics::{Deviation, Point, Suspect};

use super::catalogue::{SignalQuery, Worse};

/// Fewer points than this in a range say nothing about it.
const POINTS: usize = 3;
/// Turns a median absolute deviation into a standard deviation, for a normal distribution.
const MAD_TO_SIGMA: f64 = 1.4826;
/// A baseline is taken to vary by at least this share of its median.
const LEAST_SPREAD: f64 = 0.05;
/// Deviations below this are not worth naming.
pub(super) const NOTABLE: f64 = 3.0;

/// What a signal did, or `None` when either range has too few points.
pub(super) fn deviation(
    name: &str,
    query: &str,
    signal: &SignalQuery,
    points: &[Point],
    baseline: TimeRange,
    window: TimeRange,
) -> Option<Deviation> {
    let before = median(values(points, baseline))?;
    let during = median(values(points, window))?;
    let distances = values(points, baseline).into_iter().map(|value| (value - before).abs());
    let mad = median(distances.collect())?;
    let spread = (MAD_TO_SIGMA * mad).max(LEAST_SPREAD * before.abs()).max(signal.tolerance);
    let moved = (during - before) / spread;
    let score = match signal.worse {
        Worse::Up => moved,
        Worse::Down => -moved,
        Worse::Either => moved.abs(),
    };
    Some(Deviation {
        signal: name.to_owned(),
        query: query.to_owned(),
        unit: signal.unit.clone(),
        score,
        baseline_median: before,
        window_median: during,
    })
}

/// The target as a suspect, when any of its signals moved notably.
pub(super) fn suspect(target: &str, mut deviations: Vec<Deviation>) -> Option<Suspect> {
    deviations.retain(|deviation| deviation.score >= NOTABLE);
    deviations.sort_by(|one, other| other.score.total_cmp(&one.score));
    let worst = deviations.first()?;
    let reason = format!(
        "{} went from {:.4} to {:.4} {} ({:.1} robust deviations)",
        worst.signal, worst.baseline_median, worst.window_median, worst.unit, worst.score
    );
    Some(Suspect { target: target.to_owned(), score: worst.score, reason, deviations })
}

fn values(points: &[Point], range: TimeRange) -> Vec<f64> {
    let is_inside = |point: &&Point| range.start <= point.time && point.time <= range.end;
    points.iter().filter(is_inside).filter_map(|point| point.value).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    if values.len() < POINTS {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    Some(if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn points(values: &[f64]) -> Vec<Point> {
        let value = |value: &f64| value.is_finite().then_some(*value);
        values
            .iter()
            .enumerate()
            .map(|(second, v)| Point { time: at(second as i64), value: value(v) })
            .collect()
    }

    fn signal(worse: Worse) -> SignalQuery {
        SignalQuery {
            query: "up".into(),
            unit: "1".into(),
            description: String::new(),
            worse,
            tolerance: 0.1,
            targets: Vec::new(),
        }
    }

    fn score(worse: Worse, values: &[f64]) -> Option<f64> {
        let ranges =
            (TimeRange { start: at(0), end: at(9) }, TimeRange { start: at(10), end: at(19) });
        deviation("s", "up", &signal(worse), &points(values), ranges.0, ranges.1).map(|d| d.score)
    }

    #[test]
    fn a_step_counts_in_its_bad_direction_only() {
        let mut values = vec![1.0; 10];
        values.extend([2.0; 10]);
        assert!((score(Worse::Up, &values).unwrap() - 10.0).abs() < 1e-9);
        assert!((score(Worse::Down, &values).unwrap() + 10.0).abs() < 1e-9);
        assert!((score(Worse::Either, &values).unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn single_outliers_and_gaps_do_not_count() {
        let mut values = vec![1.0, 1.0, 900.0, 1.0, f64::NAN, 1.0, 1.0, 1.0, 1.0, 1.0];
        values.extend([1.0, 700.0, 1.0, 1.0, 1.0, 1.0, f64::INFINITY, 1.0, 1.0, 1.0]);
        assert_eq!(score(Worse::Up, &values), Some(0.0));
    }

    #[test]
    fn too_few_points_are_no_evidence() {
        assert_eq!(score(Worse::Up, &[1.0; 12]), None);
        assert_eq!(score(Worse::Up, &[]), None);
    }

    #[test]
    fn a_suspect_names_its_worst_signal_first() {
        let make = |name: &str, score| Deviation {
            signal: name.into(),
            query: "q".into(),
            unit: "s".into(),
            score,
            baseline_median: 0.1,
            window_median: 0.9,
        };
        let suspect =
            suspect("db", vec![make("a", 4.0), make("b", 8.0), make("calm", 1.0)]).unwrap();
        assert_eq!(suspect.score, 8.0);
        assert_eq!(suspect.reason, "b went from 0.1000 to 0.9000 s (8.0 robust deviations)");
        assert_eq!(suspect.deviations.len(), 2);
        assert!(super::suspect("db", vec![make("calm", 2.9)]).is_none());
    }
}
