//! How long a card that was read may be used (RFC 9111): `no-store`, `no-cache`, `max-age` less
//! `Age`, and the validators of a conditional request. Whatever a peer says, a card is looked at
//! again after an hour.

use std::sync::Arc;
use std::time::Duration;

use a2a_types::AgentCard;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

/// The freshness of a card whose answer says nothing of it.
const USUAL: Duration = Duration::from_secs(60);
/// The longest any card is used without asking.
const MOST: Duration = Duration::from_secs(3600);

/// A card as it was read.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    pub(super) card: Arc<AgentCard>,
    asked_at: Timestamp,
    rules: Rules,
    validators: HeaderMap,
}

/// What the answer said of its use.
#[derive(Clone, Copy, Debug)]
struct Rules {
    fresh_for: Duration,
    may_be_kept: bool,
    may_be_stale: bool,
}

impl Cached {
    /// A card that was asked for at `asked_at` and came with these headers.
    pub(super) fn new(card: AgentCard, headers: &HeaderMap, asked_at: Timestamp) -> Self {
        let validators = [
            (header::IF_NONE_MATCH, headers.get(header::ETAG)),
            (header::IF_MODIFIED_SINCE, headers.get(header::LAST_MODIFIED)),
        ];
        let validators = validators.into_iter().filter_map(known).collect();
        Self { card: Arc::new(card), asked_at, rules: Rules::read(headers), validators }
    }

    /// The same card, confirmed by a 304 with these headers.
    pub(super) fn confirmed(&self, headers: &HeaderMap, asked_at: Timestamp) -> Self {
        let says = headers.contains_key(header::CACHE_CONTROL);
        let rules = if says { Rules::read(headers) } else { self.rules };
        Self { asked_at, rules, ..self.clone() }
    }

    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.age(now) < self.rules.fresh_for.min(MOST)
    }

    /// Whether it may be used while its peer cannot be asked.
    pub(super) fn is_usable_when_away(&self, now: Timestamp) -> bool {
        self.rules.may_be_stale && self.age(now) < MOST
    }

    pub(super) fn may_be_kept(&self) -> bool {
        self.rules.may_be_kept
    }

    /// The headers that make the next request a conditional one.
    pub(super) fn validators(&self) -> &HeaderMap {
        &self.validators
    }

    /// Asked for again at the next use.
    pub(super) fn expire(&mut self) {
        self.rules = Rules { fresh_for: Duration::ZERO, may_be_stale: false, ..self.rules };
    }

    /// A clock that was set back makes a card old, not young.
    fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.asked_at)).unwrap_or(Duration::MAX)
    }
}

impl Rules {
    fn read(headers: &HeaderMap) -> Self {
        let all: Vec<String> = headers
            .get_all(header::CACHE_CONTROL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|directive| directive.trim().to_ascii_lowercase())
            .collect();
        let has =
            |name: &str| all.iter().any(|directive| directive.split('=').next() == Some(name));
        let max_age = all.iter().find_map(|directive| directive.strip_prefix("max-age="));
        let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
        let must_ask = has("no-store") || has("no-cache");
        let fresh_for = match max_age.map(|age| age.trim_matches('"').parse().unwrap_or(0)) {
            _ if must_ask => 0,
            Some(seconds) => seconds,
            None => USUAL.as_secs(),
        };
        Self {
            fresh_for: Duration::from_secs(fresh_for.saturating_sub(age.unwrap_or(0))),
            may_be_kept: !has("no-store"),
            may_be_stale: !must_ask && !has("must-revalidate"),
        }
    }
}

fn known(entry: (HeaderName, Option<&HeaderValue>)) -> Option<(HeaderName, HeaderValue)> {
    entry.1.map(|value| (entry.0, value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn cached(headers: &[(HeaderName, &'static str)]) -> Cached {
        let card = serde_json::json!({"name": "a", "description": "", "version": "1",
            "supportedInterfaces": [], "capabilities": {}, "defaultInputModes": [],
            "defaultOutputModes": [], "skills": []});
        Cached::new(serde_json::from_value(card).unwrap(), &map(headers), at(0))
    }

    fn map(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let value = |text| HeaderValue::from_static(text);
        headers.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    #[test]
    fn freshness_is_what_the_answer_says_and_never_more_than_an_hour() {
        let control = header::CACHE_CONTROL;
        for (headers, seconds) in [
            (vec![], 60),
            (vec![(control.clone(), "public, max-age=300")], 300),
            (vec![(control.clone(), "Max-Age=300"), (header::AGE, "100")], 200),
            (vec![(control.clone(), "max-age=99999999")], 3600),
            (vec![(control.clone(), "max-age=nonsense")], 0),
            (vec![(control.clone(), "no-cache, max-age=300")], 0),
            (vec![(control.clone(), "max-age=300, no-store")], 0),
        ] {
            let cached = cached(&headers);
            assert!(!cached.is_fresh(at(seconds)), "{headers:?}");
            assert_eq!(cached.is_fresh(at(seconds - 1)), seconds > 0, "{headers:?}");
            assert!(!cached.is_fresh(at(-1)), "a clock set back");
        }
    }

    #[test]
    fn a_card_serves_while_its_peer_is_away_unless_it_forbids_that() {
        let control = header::CACHE_CONTROL;
        for (value, is_usable) in [
            ("max-age=1", true),
            ("max-age=1, must-revalidate", false),
            ("no-cache", false),
            ("no-store", false),
        ] {
            let cached = cached(&[(control.clone(), value)]);
            assert_eq!(cached.is_usable_when_away(at(10)), is_usable, "{value}");
            assert!(!cached.is_usable_when_away(at(3600)), "{value}");
            assert_eq!(cached.may_be_kept(), value != "no-store");
        }
    }

    #[test]
    fn a_confirmed_card_is_fresh_again() {
        let control = header::CACHE_CONTROL;
        let cached = cached(&[(control.clone(), "max-age=10"), (header::ETAG, "\"1\"")]);
        assert_eq!(cached.validators()[header::IF_NONE_MATCH], "\"1\"");
        let again = cached.confirmed(&map(&[]), at(20));
        assert!(again.is_fresh(at(29)) && !again.is_fresh(at(30)));
        let longer = cached.confirmed(&map(&[(control, "max-age=100")]), at(20));
        assert!(longer.is_fresh(at(119)));
    }
}
