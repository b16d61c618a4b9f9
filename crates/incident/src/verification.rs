//! Whether a check is proven after an act. Pure: readings in, a verdict out. Only data newer than
//! the end of the act counts; it must pass for the whole hold time with samples seen across it.
//! No data, a failed query, a vanished series or a value that is not a number proves nothing.
//! The hold time must pass twice over, by the times of the samples and by a clock that never jumps:
//! a clock that is set shortens no hold and prolongs no wait.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{Check, CheckReport, CheckRole};

/// Share of its value by which a neighbour may be worse than before the act and still count as no
/// worse: rates over a few scrapes vary by that much by themselves.
pub const TOLERANCE: f64 = 0.25;

/// One answer to a check's query.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The instant the query was evaluated at.
    pub evaluated_at: Timestamp,
    /// How long the verification has been going on, by a clock that never jumps.
    pub elapsed: Duration,
    /// The newest scraped sample behind the value; `None` when it cannot be told.
    pub newest: Option<Timestamp>,
    pub value: Result<f64, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not proven yet, and why.
    Pending(String),
    Held,
    /// Not proven, for good.
    Failed(String),
}

/// Follows one check from the end of the act to its verdict.
#[derive(Clone, Debug)]
pub struct Verifier {
    check: Check,
    act_end: Timestamp,
    /// What a value is compared with: the threshold, or what the check read before the act.
    limit: f64,
    baseline: Option<f64>,
    lookback: SignedDuration,
    longest_gap: SignedDuration,
    passing: Option<Streak>,
    worse: Option<Streak>,
    last: Option<Seen>,
    state: Verdict,
}

/// Samples in a row: by their own times, and for how long they were seen.
#[derive(Clone, Copy, Debug)]
struct Streak {
    first: Timestamp,
    last: Timestamp,
    samples: u32,
    first_seen: Duration,
    last_seen: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    value: f64,
    at: Timestamp,
    elapsed: Duration,
}

impl Verifier {
    /// Follows `check` after an act that ended at `act_end`; the check's time to become true begins
    /// with the verification. Samples further apart than `longest_gap` are no unbroken row.
    ///
    /// # Errors
    /// The check's query looks back in a way that cannot be told.
    pub fn new(
        check: Check,
        baseline: Option<f64>,
        act_end: Timestamp,
        longest_gap: Duration,
    ) -> Result<Self, String> {
        let limit = match (check.role, baseline) {
            (CheckRole::Neighbour, Some(before))
                if !check.comparison.holds(before, check.threshold) =>
            {
                check.comparison.loosened(check.threshold, before, TOLERANCE)
            }
            _ => check.threshold,
        };
        Self::with_limit(check, limit, baseline, act_end, longest_gap)
    }

    /// Follows whether `check` is, after an undo, no worse than it was before the act.
    ///
    /// # Errors
    /// As `new`.
    pub fn of_undo(
        check: Check,
        baseline: Option<f64>,
        act_end: Timestamp,
        longest_gap: Duration,
    ) -> Result<Self, String> {
        let limit = baseline.map_or(check.threshold, |before| {
            check.comparison.loosened(check.threshold, before, TOLERANCE)
        });
        Self::with_limit(check, limit, baseline, act_end, longest_gap)
    }

    fn with_limit(
        check: Check,
        limit: f64,
        baseline: Option<f64>,
        act_end: Timestamp,
        longest_gap: Duration,
    ) -> Result<Self, String> {
        let lookback = signed(lookback(&check.query)?);
        Ok(Self {
            act_end,
            limit,
            baseline,
            lookback,
            longest_gap: signed(longest_gap),
            passing: None,
            worse: None,
            last: None,
            state: Verdict::Pending("no sample newer than the act yet".into()),
            check,
        })
    }

    /// Takes one reading. A failure stays; what has held must go on holding until it is believed.
    pub fn take(&mut self, reading: &Reading) -> &Verdict {
        if !matches!(self.state, Verdict::Failed(_)) {
            self.state = match self.judge(reading) {
                Verdict::Pending(why) if reading.elapsed >= self.check.within => Verdict::Failed(
                    format!("{why}, {} s after the act", self.check.within.as_secs_f64()),
                ),
                judged => judged,
            };
        }
        &self.state
    }

    pub fn verdict(&self) -> &Verdict {
        &self.state
    }

    pub fn report(&self) -> CheckReport {
        let reason = match &self.state {
            Verdict::Held => format!("{}, for {}", self.compared(), self.held()),
            Verdict::Pending(why) | Verdict::Failed(why) => why.clone(),
        };
        CheckReport {
            name: self.check.name.clone(),
            query: self.check.query.clone(),
            passed: self.state == Verdict::Held,
            value: self.last.map(|seen| seen.value),
            sampled_at: self.last.map(|seen| seen.at),
            reason,
        }
    }

    fn judge(&mut self, reading: &Reading) -> Verdict {
        let seen = match self.fresh(reading) {
            Ok(seen) => seen,
            Err(why) => {
                (self.passing, self.worse) = (None, None);
                return Verdict::Pending(why);
            }
        };
        self.last = Some(seen);
        if self.check.comparison.holds(seen.value, self.limit) {
            self.worse = None;
            let passing = extended(self.passing, seen, self.longest_gap);
            self.passing = Some(passing);
            if passing.spans(self.check.hold) {
                return Verdict::Held;
            }
            return Verdict::Pending(format!("{}, for {} so far", self.compared(), self.held()));
        }
        self.passing = None;
        self.judge_harm(seen)
    }

    /// A check that was better before the act and stays worse after it does not need its whole time.
    fn judge_harm(&mut self, seen: Seen) -> Verdict {
        let is_worse = self.baseline.is_some_and(|before| {
            let floor = self.check.comparison.loosened(self.limit, before, TOLERANCE);
            !self.check.comparison.holds(seen.value, floor)
        });
        self.worse = is_worse.then(|| extended(self.worse, seen, self.longest_gap));
        let why = self.compared();
        match (self.worse, self.baseline) {
            (Some(worse), Some(before)) if worse.spans(self.check.hold * 2) => {
                Verdict::Failed(format!("{why}; it was {} before the act", rounded(before)))
            }
            _ => Verdict::Pending(why),
        }
    }

    /// The value, if every sample behind it is newer than the act.
    fn fresh(&self, reading: &Reading) -> Result<Seen, String> {
        let value = reading.value.clone()?;
        if value.is_nan() {
            return Err("the value is not a number".into());
        }
        let newest = reading.newest.ok_or("the age of the data cannot be told")?;
        let oldest = reading.evaluated_at.checked_sub(self.lookback).unwrap_or(Timestamp::MIN);
        if newest <= self.act_end || oldest <= self.act_end {
            return Err("no sample newer than the act yet".into());
        }
        let age = reading.evaluated_at.duration_since(newest);
        if age > self.longest_gap {
            return Err(format!("the newest sample is {:.1} s old", age.as_secs_f64()));
        }
        Ok(Seen { value, at: newest, elapsed: reading.elapsed })
    }

    /// The newest value against its limit, in words.
    fn compared(&self) -> String {
        let value = self.last.map_or("nothing".into(), |seen| rounded(seen.value));
        let sign = self.check.comparison.sign();
        let verb = match self.last {
            Some(seen) if self.check.comparison.holds(seen.value, self.limit) => "is",
            _ => "is not",
        };
        let note = if self.limit == self.check.threshold { "" } else { " (no worse than before)" };
        format!("{value} {verb} {sign} {}{note}", rounded(self.limit))
    }

    fn held(&self) -> String {
        self.passing.map_or("0 s".into(), |streak| {
            let seconds = streak.last.duration_since(streak.first).as_secs_f64();
            format!("{seconds:.1} s over {} samples", streak.samples)
        })
    }
}

impl Streak {
    fn of(seen: Seen) -> Self {
        let Seen { at, elapsed, .. } = seen;
        Self { first: at, last: at, samples: 1, first_seen: elapsed, last_seen: elapsed }
    }

    fn spans(self, hold: Duration) -> bool {
        self.last.duration_since(self.first) >= signed(hold)
            && self.last_seen.saturating_sub(self.first_seen) >= hold
            && (hold.is_zero() || self.samples > 1)
    }
}

fn extended(streak: Option<Streak>, seen: Seen, longest_gap: SignedDuration) -> Streak {
    let Some(streak) = streak else { return Streak::of(seen) };
    let known = Streak { last_seen: seen.elapsed, ..streak };
    if seen.at <= streak.last {
        known
    } else if seen.at.duration_since(streak.last) <= longest_gap {
        Streak { last: seen.at, samples: streak.samples + 1, ..known }
    } else {
        Streak::of(seen)
    }
}

/// How far back of its evaluation a PromQL query looks: its longest range selector.
///
/// # Errors
/// Subqueries, `offset` and `@` look back in ways that cannot be told apart from fresh data.
pub fn lookback(query: &str) -> Result<Duration, String> {
    let bare = without_strings(query);
    if bare.contains('@')
        || bare.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == "offset")
    {
        return Err("`offset` and `@` cannot be proven fresh".into());
    }
    let mut longest = Duration::ZERO;
    let mut rest = bare.as_str();
    while let Some(open) = rest.find('[') {
        let close = rest[open..].find(']').ok_or("a range selector is not closed")? + open;
        let text = rest[open + 1..close].trim();
        if text.contains(':') {
            return Err("subqueries cannot be proven fresh".into());
        }
        longest = longest.max(duration(text).ok_or_else(|| format!("{text:?} is not a duration"))?);
        rest = &rest[close + 1..];
    }
    Ok(longest)
}

/// The query with the content of its string literals left out.
fn without_strings(query: &str) -> String {
    let mut bare = String::with_capacity(query.len());
    let mut quote = None;
    let mut is_escaped = false;
    for c in query.chars() {
        match quote {
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None => bare.push(c),
            Some(_) if is_escaped => is_escaped = false,
            Some('"' | '\'') if c == '\\' => is_escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
        }
    }
    bare
}

/// A PromQL duration such as `1m30s` or `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match &rest[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(millis)?)?;
        rest = &rest[end..];
    }
    (total > 0).then(|| Duration::from_millis(total))
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
