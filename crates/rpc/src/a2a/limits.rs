//! How much one caller may ask: a token bucket, and bounds on what it has going on at a time. A
//! caller is a principal, or an address where nobody is asked for a name. The number of callers
//! kept track of is bounded; those beyond it share one account.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Deserialize;

use super::{Caller, SettingError};

/// Far more of one caller than a process can do.
const COUNT_MOST: u64 = 1_000_000_000;
/// What is kept of a caller takes memory.
const CALLERS_MOST: u64 = 1_000_000;

/// What one caller may ask of an agent. What is over it is answered 429 with `Retry-After`, before
/// anything was done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests a second that one caller may make for as long as it likes.
    pub requests_per_second: u32,
    /// Requests that one caller may make at once after a pause.
    pub burst: u32,
    /// Requests of one caller that are worked on at a time, blocking ones included.
    pub in_flight: u32,
    /// Streams of one caller that are open at a time.
    pub streams: u32,
    /// Refused credentials a minute from one address before the answer is 429. Good credentials
    /// from that address are admitted still.
    pub refusals_per_minute: u32,
    /// Callers kept track of. Further ones share one account until another falls idle.
    pub callers: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_second: 10_000,
            burst: 20_000,
            in_flight: 1024,
            streams: 512,
            refusals_per_minute: 120,
            callers: 10_000,
        }
    }
}

impl LimitsConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first bound that would admit nobody, or bound nothing.
    pub fn check(&self) -> Result<(), SettingError> {
        let bounds = [
            ("requests_per_second", self.requests_per_second),
            ("burst", self.burst),
            ("in_flight", self.in_flight),
            ("streams", self.streams),
            ("refusals_per_minute", self.refusals_per_minute),
        ];
        for (field, bound) in bounds {
            SettingError::check_range(field, bound.into(), 1..=COUNT_MOST)?;
        }
        SettingError::check_range("callers", self.callers as u64, 1..=CALLERS_MOST)
    }
}

/// A limit that is reached, and when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; ask again in {retry_seconds} s")]
pub(crate) struct Exceeded {
    pub(crate) what: &'static str,
    pub(crate) retry_seconds: u64,
}

/// The accounts of all callers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: LimitsConfig,
    accounts: Mutex<HashMap<Account, Usage>>,
}

/// Whose usage it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Account {
    Principal(String),
    Address(Option<IpAddr>),
    /// What an address was refused, apart from what it was granted.
    Refusals(Option<IpAddr>),
    /// Those beyond the number kept track of.
    Others,
}

#[derive(Clone, Debug)]
struct Usage {
    tokens: f64,
    at: Timestamp,
    in_flight: u32,
    streams: u32,
}

/// A request or a stream that counts against its caller until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Limits,
    account: Account,
    is_stream: bool,
}

impl Limits {
    pub(crate) fn new(config: LimitsConfig) -> Self {
        Self(Arc::new(Shared { config, accounts: Mutex::default() }))
    }

    /// Counts a request of a caller.
    pub(crate) fn admit(
        &self,
        caller: &Caller,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Permit, Exceeded> {
        let account = match caller.is_authenticated() {
            true => Account::Principal(caller.principal.clone()),
            false => Account::Address(peer.map(network)),
        };
        let mut accounts = self.accounts();
        let account = self.make_room(&mut accounts, account, now);
        let (rate, burst) = self.rate(&account);
        let usage = accounts.entry(account.clone()).or_insert_with(|| Usage::new(burst, now));
        if usage.in_flight >= self.0.config.in_flight {
            let what = "too many requests of this caller are in hand";
            return Err(Exceeded { what, retry_seconds: 1 });
        }
        usage.take(rate, burst, now)?;
        usage.in_flight += 1;
        Ok(Permit { limits: self.clone(), account, is_stream: false })
    }

    /// Counts refused credentials from an address.
    pub(crate) fn refuse(&self, peer: Option<IpAddr>, now: Timestamp) -> Result<(), Exceeded> {
        let account = Account::Refusals(peer.map(network));
        let mut accounts = self.accounts();
        let account = self.make_room(&mut accounts, account, now);
        let (rate, burst) = self.rate(&account);
        accounts.entry(account).or_insert_with(|| Usage::new(burst, now)).take(rate, burst, now)
    }

    /// Tokens a second, and the most there can be.
    fn rate(&self, account: &Account) -> (f64, f64) {
        let config = &self.0.config;
        match account {
            Account::Refusals(_) => {
                let minute = f64::from(config.refusals_per_minute);
                (minute / 60.0, minute)
            }
            _ => (f64::from(config.requests_per_second), f64::from(config.burst)),
        }
    }

    /// The account, or that of all others where there is no room for it.
    fn make_room(
        &self,
        accounts: &mut HashMap<Account, Usage>,
        account: Account,
        now: Timestamp,
    ) -> Account {
        if accounts.len() < self.0.config.callers || accounts.contains_key(&account) {
            return account;
        }
        accounts.retain(|account, usage| {
            let (rate, burst) = self.rate(account);
            !usage.is_idle(rate, burst, now)
        });
        match accounts.len() < self.0.config.callers {
            true => account,
            false => Account::Others,
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Account, Usage>> {
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn new(burst: f64, now: Timestamp) -> Self {
        Self { tokens: burst, at: now, in_flight: 0, streams: 0 }
    }

    fn tokens(&self, rate: f64, burst: f64, now: Timestamp) -> f64 {
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.0);
        (self.tokens + seconds * rate).min(burst)
    }

    fn is_idle(&self, rate: f64, burst: f64, now: Timestamp) -> bool {
        self.in_flight == 0 && self.streams == 0 && self.tokens(rate, burst, now) >= burst
    }

    fn take(&mut self, rate: f64, burst: f64, now: Timestamp) -> Result<(), Exceeded> {
        self.tokens = self.tokens(rate, burst, now);
        self.at = self.at.max(now);
        if self.tokens < 1.0 {
            let retry_seconds = ((1.0 - self.tokens) / rate).ceil().max(1.0) as u64;
            return Err(Exceeded { what: "this caller asks too often", retry_seconds });
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

impl Permit {
    /// Counts a stream of the same caller; the request itself goes on counting for itself.
    pub(crate) fn open_stream(&self) -> Result<Self, Exceeded> {
        let mut accounts = self.limits.accounts();
        if let Some(usage) = accounts.get_mut(&self.account) {
            if usage.streams >= self.limits.0.config.streams {
                let what = "too many streams of this caller are open";
                return Err(Exceeded { what, retry_seconds: 1 });
            }
            usage.streams += 1;
        }
        Ok(Self { limits: self.limits.clone(), account: self.account.clone(), is_stream: true })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(usage) = self.limits.accounts().get_mut(&self.account) {
            let count = if self.is_stream { &mut usage.streams } else { &mut usage.in_flight };
            *count = count.saturating_sub(1);
        }
    }
}

/// The address a limit is for: one host has a whole /64 of IPv6 to itself.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn caller(name: &str) -> Caller {
        Caller { principal: name.into(), ..Caller::default() }
    }

    fn limits(change: impl FnOnce(&mut LimitsConfig)) -> Limits {
        let mut config = LimitsConfig { requests_per_second: 1, burst: 2, ..Default::default() };
        change(&mut config);
        Limits::new(config)
    }

    #[test]
    fn a_bucket_fills_again_and_is_of_one_caller() {
        let limits = limits(|_| {});
        let ask = |name: &str, now| limits.admit(&caller(name), None, at(now)).map(drop);
        assert!(ask("ann", 0).is_ok() && ask("ann", 0).is_ok());
        assert_eq!(ask("ann", 0).unwrap_err().retry_seconds, 1);
        assert!(ask("bob", 0).is_ok());
        assert!(ask("ann", 1).is_ok());
        assert!(ask("ann", 1).is_err());
        assert!(ask("ann", 0).is_err(), "a clock set back gives nothing");
    }

    #[test]
    fn what_is_going_on_counts_until_it_is_dropped() {
        let limits = limits(|config| {
            (config.burst, config.in_flight, config.streams) = (100, 1, 1);
        });
        let ask = || limits.admit(&caller("ann"), None, at(0));
        let first = ask().unwrap();
        assert!(ask().is_err());
        let stream = first.open_stream().unwrap();
        assert!(first.open_stream().is_err());
        drop(first);
        let second = ask().unwrap();
        assert!(second.open_stream().is_err());
        drop(stream);
        assert!(second.open_stream().is_ok());
        assert!(ask().is_err());
        drop(second);
        assert!(ask().is_ok());
    }

    #[test]
    fn addresses_are_told_apart_by_network_and_their_number_is_bounded() {
        let limits = limits(|config| config.callers = 2);
        let nobody = Caller::default();
        let ask =
            |peer: &str, now| limits.admit(&nobody, Some(peer.parse().unwrap()), at(now)).map(drop);
        assert!(ask("2001:db8::1", 0).is_ok() && ask("2001:db8::2", 0).is_ok());
        assert!(ask("2001:db8::3", 0).is_err());
        assert!(ask("192.0.2.1", 0).is_ok());
        assert!(ask("192.0.2.2", 0).is_ok() && ask("192.0.2.3", 0).is_ok());
        assert!(ask("192.0.2.4", 0).is_err(), "no room: the account of all others is empty");
        assert!(limits.accounts().len() <= 3);
        assert!(ask("192.0.2.4", 100).is_ok());
        assert!(limits.accounts().len() <= 2, "the idle ones are gone");
    }

    #[test]
    fn refusals_are_counted_apart() {
        let limits = limits(|config| config.refusals_per_minute = 1);
        let peer = Some("192.0.2.1".parse().unwrap());
        assert!(limits.refuse(peer, at(0)).is_ok());
        assert_eq!(limits.refuse(peer, at(0)).unwrap_err().retry_seconds, 60);
        assert!(limits.admit(&caller("ann"), peer, at(0)).is_ok());
        assert!(limits.refuse(peer, at(60)).is_ok());
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let config = LimitsConfig { streams: 0, ..Default::default() };
        assert_eq!(config.check().unwrap_err().field, "streams");
        assert!(LimitsConfig::default().check().is_ok());
    }
}
