//! Maintenance windows: times in which alerts of certain labels are expected, and held back. A weekly
//! window begins and ends by the clock on the wall of its time zone: over midnight it belongs to the
//! day on which it begins, a time that the clock skips is the same time by the old offset, and of a
//! time that it shows twice the first begins a window and the second ends it.

use std::collections::BTreeMap;

use incident::Alert;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use serde::Deserialize;
use service::ConfigError;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// One window as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// What people see as the reason.
    pub name: String,
    /// What the labels of an alert must be, all of them. A label that an alert lacks is empty.
    #[serde(rename = "match")]
    pub labels: BTreeMap<String, Matcher>,
    /// When it is. Either this or `weekly`.
    pub once: Option<Once>,
    pub weekly: Option<Weekly>,
}

/// A value, or an expression that the whole value must match.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Matcher {
    Value(String),
    Regex { regex: String },
}

/// A window that never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Once {
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weekly {
    /// The days on which it begins: `mon` to `sun`.
    pub days: Vec<String>,
    /// `HH:MM`.
    pub from: String,
    /// `HH:MM`, up to `24:00`. Not after `from`: it is on the next day.
    pub until: String,
    /// A name of the IANA time zone database, such as `Europe/Berlin`.
    pub timezone: String,
}

/// Every window, ready to be asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maintenance {
    windows: Vec<Window>,
}

#[derive(Clone, Debug)]
struct Window {
    name: String,
    labels: Vec<(String, Test)>,
    when: When,
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    Matches(Regex),
}

#[derive(Clone, Debug)]
enum When {
    Once(Once),
    Weekly { days: Vec<Weekday>, from: u16, until: u16, zone: TimeZone },
}

impl Maintenance {
    /// Reads the windows of the settings.
    ///
    /// # Errors
    /// The first setting that means nothing, by name.
    pub(crate) fn new(windows: &[WindowConfig]) -> Result<Self, ConfigError> {
        let window = |(index, config)| Window::read(config, &format!("maintenance[{index}]"));
        let windows = windows.iter().enumerate().map(window).collect::<Result<_, _>>()?;
        Ok(Self { windows })
    }

    /// The window that an alert is in.
    pub(crate) fn window(&self, alert: &Alert, now: Timestamp) -> Option<&str> {
        let covers = |window: &&Window| window.is_for(alert) && window.when.end(now).is_some();
        self.windows.iter().find(covers).map(|window| window.name.as_str())
    }

    /// When the first of the windows that are open now ends.
    pub(crate) fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.windows.iter().filter_map(|window| window.when.end(now)).min()
    }
}

impl Window {
    fn read(config: &WindowConfig, place: &str) -> Result<Self, ConfigError> {
        let wrong = |field: &str, why: &str| ConfigError::setting(format!("{place}.{field}"), why);
        if config.name.trim().is_empty() {
            return Err(wrong("name", "must not be empty"));
        }
        if config.labels.is_empty() {
            return Err(wrong(
                "match",
                "must name a label; `alertname: {regex: .+}` is every alert",
            ));
        }
        let test = |(label, matcher): (&String, &Matcher)| {
            let test = Test::read(matcher).map_err(|why| wrong(&format!("match.{label}"), &why))?;
            Ok((label.clone(), test))
        };
        let labels = config.labels.iter().map(test).collect::<Result<_, ConfigError>>()?;
        let when = match (&config.once, &config.weekly) {
            (Some(once), None) if once.from < once.until => When::Once(*once),
            (Some(_), None) => return Err(wrong("once.until", "must be after `from`")),
            (None, Some(weekly)) => When::weekly(weekly)
                .map_err(|(field, why)| wrong(&format!("weekly.{field}"), &why))?,
            _ => return Err(wrong("once", "exactly one of `once` and `weekly` says when it is")),
        };
        Ok(Self { name: config.name.clone(), labels, when })
    }

    fn is_for(&self, alert: &Alert) -> bool {
        self.labels.iter().all(|(label, test)| {
            let value = alert.labels.get(label).map_or("", String::as_str);
            match test {
                Test::Is(wanted) => value == wanted,
                Test::Matches(regex) => regex.is_match(value),
            }
        })
    }
}

impl Test {
    fn read(matcher: &Matcher) -> Result<Self, String> {
        match matcher {
            Matcher::Value(value) => Ok(Self::Is(value.clone())),
            Matcher::Regex { regex } => {
                // On its own first: `a)|(b` must not become part of what anchors it.
                Regex::new(regex).map_err(|error| error.to_string())?;
                let whole = Regex::new(&format!("^(?s:{regex})$"));
                whole.map(Self::Matches).map_err(|error| error.to_string())
            }
        }
    }
}

impl When {
    fn weekly(weekly: &Weekly) -> Result<Self, (&'static str, String)> {
        let days = weekly.days.iter().map(|name| {
            day(name).ok_or_else(|| ("days", format!("{name:?} is none of mon, tue, … sun")))
        });
        let days: Vec<Weekday> = days.collect::<Result<_, _>>()?;
        if days.is_empty() {
            return Err(("days", "must name a day".to_owned()));
        }
        let minutes = |field, text: &str, most: u16| {
            let found = minutes(text).filter(|minutes| *minutes <= most);
            found.ok_or_else(|| (field, format!("{text:?} is no time HH:MM")))
        };
        let from = minutes("from", &weekly.from, DAY - 1)?;
        let until = minutes("until", &weekly.until, DAY)?;
        if from == until {
            return Err(("until", "is `from`; a whole day is 00:00 until 24:00".to_owned()));
        }
        let zone = TimeZone::get(&weekly.timezone).map_err(|error| {
            ("timezone", format!("{:?} is unknown here: {error}", weekly.timezone))
        })?;
        Ok(Self::Weekly { days, from, until, zone })
    }

    /// When it ends, where it is open now.
    fn end(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once(Once { from, until }) => (*from <= now && now < *until).then_some(*until),
            Self::Weekly { days, from, until, zone } => {
                let today = now.to_zoned_datetime(zone.clone()).date();
                // None is longer than a day, and what begins tomorrow is not open.
                [today.yesterday().ok(), Some(today)]
                    .into_iter()
                    .flatten()
                    .filter(|date| days.contains(&date.weekday()))
                    .filter_map(|date| occurrence(date, *from, *until, zone))
                    .find(|(begin, end)| *begin <= now && now < *end)
                    .map(|(_, end)| end)
            }
        }
    }
}

/// The window that begins on a day.
fn occurrence(
    date: Date,
    from: u16,
    until: u16,
    zone: &TimeZone,
) -> Option<(Timestamp, Timestamp)> {
    let last_day = if until <= from { date.tomorrow().ok()? } else { date };
    let begin = zone.to_ambiguous_timestamp(at(date, from)?).compatible().ok()?;
    let end = zone.to_ambiguous_timestamp(at(last_day, until)?).later().ok()?;
    Some((begin, end))
}

fn at(date: Date, minutes: u16) -> Option<DateTime> {
    date.at(0, 0, 0, 0).checked_add(SignedDuration::from_mins(minutes.into())).ok()
}

/// The minutes of a day that `HH:MM` names, up to `24:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_two_digits)
    };
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    Some(hours * 60 + minutes).filter(|all| *all <= DAY)
}

fn day(name: &str) -> Option<Weekday> {
    Some(match name {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
