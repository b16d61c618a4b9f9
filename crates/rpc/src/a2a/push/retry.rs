//! What follows from an answer to a push notification, or from there being none.

use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::PushConfig;
use super::connector::{Answer, CallError};
use crate::a2a::backoff::backoff;

/// A receiver may put a delivery off so long at most.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    /// Worth another try, which the receiver may want later.
    Again {
        why: String,
        wait: Option<Duration>,
    },
    /// The next try would end the same way.
    Hopeless {
        why: String,
    },
}

impl Outcome {
    pub(super) fn new(answer: Result<Answer, CallError>, now: Timestamp) -> Self {
        match answer {
            Ok(answer) if answer.status.is_success() => Self::Delivered,
            Ok(answer) => {
                let why = format!("the receiver answered {}", answer.status.as_u16());
                match is_passing(answer.status) {
                    true => {
                        let wait = answer.retry_after.and_then(|text| retry_after(&text, now));
                        Self::Again { why, wait }
                    }
                    false => Self::Hopeless { why },
                }
            }
            Err(CallError::Refused(refused)) => Self::Hopeless { why: refused.to_string() },
            Err(error) => Self::Again { why: with_causes(&error), wait: None },
        }
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// When a delivery that failed for the `failures`th time is tried again: twice as long after each,
/// and between half of that and all of it as `chance` (0 to 1) has it, so that what failed together
/// does not come back together.
pub(super) fn next_try(
    options: &PushConfig,
    failures: u32,
    wait: Option<Duration>,
    chance: f64,
    now: Timestamp,
) -> Timestamp {
    let bounds = (options.retry_base(), options.retry_max());
    let pause = backoff(failures.saturating_sub(1), bounds).mul_f64(0.5 + chance / 2.0);
    let pause = pause.max(wait.unwrap_or_default());
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

/// Seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let wait = match text.trim().parse().map(Duration::from_secs) {
        Ok(wait) => wait,
        Err(_) => {
            let at = Timestamp::try_from(httpdate::parse_http_date(text.trim()).ok()?).ok()?;
            Duration::try_from(at.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(found) = cause {
        text = format!("{text}: {found}");
        cause = found.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

    fn answer(status: u16, retry_after: Option<&str>) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        Outcome::new(Ok(Answer { status, retry_after: retry_after.map(str::to_owned) }), NOW)
    }

    fn wait(outcome: Outcome) -> Option<Duration> {
        match outcome {
            Outcome::Again { wait, .. } => wait,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn statuses_tell_what_to_try_again() {
        for status in [200, 201, 202, 204] {
            assert_eq!(answer(status, None), Outcome::Delivered);
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(answer(status, None), Outcome::Again { .. }), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 405, 410, 413, 415, 422] {
            assert!(matches!(answer(status, None), Outcome::Hopeless { .. }), "{status}");
        }
    }

    #[test]
    fn receiver_may_ask_for_a_pause_in_seconds_or_by_date_within_bounds() {
        let seconds = |text: &str| wait(answer(503, Some(text))).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Thu, 01 Jan 2026 00:02:00 GMT"), Some(120));
        assert_eq!(seconds("Thu, 01 Jan 2015 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("999999999"), Some(3600));
        assert_eq!(seconds("Thu, 01 Jan 2099 00:00:00 GMT"), Some(3600));
        for text in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_spread_over_half_of_it() {
        let options = PushConfig::default();
        let pause = |failures, chance| {
            let at = next_try(&options, failures, None, chance, NOW);
            at.duration_since(NOW).as_millis()
        };
        assert_eq!((pause(1, 1.0), pause(2, 1.0), pause(3, 1.0)), (1_000, 2_000, 4_000));
        assert_eq!((pause(1, 0.0), pause(3, 0.5)), (500, 3_000));
        assert_eq!((pause(11, 1.0), pause(4_000_000_000, 1.0)), (600_000, 600_000));
        let asked = next_try(&options, 1, Some(Duration::from_secs(90)), 1.0, NOW);
        assert_eq!(asked.duration_since(NOW).as_secs(), 90);
    }
}
