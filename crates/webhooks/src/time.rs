//! Times as senders write them.

use jiff::Timestamp;

use crate::reading::quoted;

/// From here on a number counts milliseconds: the year 1973, and 5138 in seconds.
const MILLISECONDS_FROM: f64 = 1e11;

/// A time in RFC 3339, or seconds or milliseconds since 1970.
///
/// # Errors
/// Why the text is no time.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let Ok(number) = text.parse::<f64>() else {
        return text
            .parse()
            .map_err(|error| format!("{} is not an RFC 3339 time: {error}", quoted(text)));
    };
    let is_milliseconds = number.abs() >= MILLISECONDS_FROM;
    let milliseconds = if is_milliseconds { number } else { number * 1e3 };
    let refused = || format!("{} is no time since 1970", quoted(text));
    if !milliseconds.is_finite() {
        return Err(refused());
    }
    // Saturates, beyond what a time can be.
    Timestamp::from_millisecond(milliseconds.round() as i64).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_milliseconds_and_rfc_3339_are_times() {
        let expected: Timestamp = "2024-12-11T15:15:35Z".parse().unwrap();
        for text in ["1733930135", "1733930135000", " 1733930135.0 ", "2024-12-11T16:15:35+01:00"] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        assert_eq!(parse("1733930135.25").unwrap().subsec_millisecond(), 250);
        for text in ["", "noon", "NaN", "inf", "1e308", "-1e300", "99999999999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
