//! What a stranger's URL may look like. The URL is parsed once, and what was checked is what is
//! called: no second parser reads it another way.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use url::{Host, Url};

use super::PushConfig;
use super::address::refused_range;

const URL_BYTES: usize = 2048;
/// Ports from here on belong to no well-known service.
const FIRST_FREE_PORT: u16 = 1024;
/// Names that mean something on the inside of a network only, and all below them.
const INSIDE: &[&str] = &[
    "alt",
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "svc",
    "test",
];

/// A host name, or with a leading dot every name below one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostPattern(String);

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self.0.starts_with('.') {
            true => host.len() > self.0.len() && host.ends_with(&self.0),
            false => host == self.0,
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (dot, name) = match text.strip_prefix('.') {
            Some(name) => (".", name),
            None => ("", text.as_str()),
        };
        match Host::parse(name) {
            Ok(host) if !name.ends_with('.') && !name.contains('*') => {
                Ok(Self(format!("{dot}{host}")))
            }
            _ => Err(format!("{text:?} is neither a host name nor a dot and the name of a domain")),
        }
    }
}

impl std::str::FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

/// Why a URL, or the address its host has, is not called. Says nothing of addresses that a caller
/// could not read off its own URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("is longer than {URL_BYTES} bytes")]
    TooLong,
    #[error("is not a URL: {0}")]
    NotAUrl(String),
    #[error("must start with https://")]
    Scheme,
    #[error("must not hold a user name or password")]
    UserInfo,
    #[error("must not have a fragment")]
    Fragment,
    #[error("port {0} is not allowed")]
    Port(u16),
    #[error("host {host} {why}")]
    Name { host: String, why: &'static str },
    #[error("host {host} is not a public address ({range})")]
    Literal { host: String, range: &'static str },
    #[error("host {host} has an address that may not be called")]
    Address { host: String, address: IpAddr, range: &'static str },
}

/// The settings, as checks.
#[derive(Debug)]
pub(super) struct Rules {
    allow_http: bool,
    allow_hosts: Vec<HostPattern>,
    only_hosts: Vec<HostPattern>,
    allow_addresses: Vec<IpNet>,
    allow_ports: Vec<u16>,
}

impl Rules {
    pub(super) fn new(options: &PushConfig) -> Self {
        Self {
            allow_http: options.allow_http,
            allow_hosts: options.allow_hosts.clone(),
            only_hosts: options.only_hosts.clone(),
            allow_addresses: options.allow_addresses.clone(),
            allow_ports: options.allow_ports.clone(),
        }
    }

    /// The URL, if its form and what is written in it may be called. A name says nothing of the
    /// addresses it has: `addresses` does.
    pub(super) fn url(&self, text: &str) -> Result<Url, Refused> {
        if text.len() > URL_BYTES {
            return Err(Refused::TooLong);
        }
        // A parser forgives these, each in its own way.
        if text.chars().any(|c| c == '\\' || c.is_whitespace() || c.is_control()) {
            return Err(Refused::NotAUrl("white space and backslashes must be encoded".into()));
        }
        let url = Url::parse(text).map_err(|error| Refused::NotAUrl(error.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(Refused::Scheme),
        }
        if has_user_info(text, &url) {
            return Err(Refused::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(Refused::Fragment);
        }
        self.port(&url)?;
        self.host(&url)?;
        Ok(url)
    }

    /// Addresses a name has now. One that may not be called refuses them all: the others are the
    /// same stranger's word.
    pub(super) fn addresses(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refused> {
        for &address in addresses {
            if let Some(range) = self.refused(address) {
                return Err(Refused::Address { host: host.to_owned(), address, range });
            }
        }
        Ok(())
    }

    fn port(&self, url: &Url) -> Result<(), Refused> {
        match url.port() {
            None => Ok(()),
            Some(port) if port >= FIRST_FREE_PORT || self.allow_ports.contains(&port) => Ok(()),
            Some(port) => Err(Refused::Port(port)),
        }
    }

    fn host(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_named =
            |patterns: &[HostPattern]| patterns.iter().any(|pattern| pattern.matches(&host));
        let is_only = is_named(&self.only_hosts);
        if !self.only_hosts.is_empty() && !is_only {
            return Err(Refused::Name { host, why: "is not among the allowed hosts" });
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) if is_only || is_named(&self.allow_hosts) => return Ok(()),
            Some(Host::Domain(name)) => {
                return match inside(name) {
                    Some(why) => Err(Refused::Name { host, why }),
                    None => Ok(()),
                };
            }
            None => return Err(Refused::NotAUrl("it has no host".into())),
        };
        match self.refused(address) {
            Some(range) => Err(Refused::Literal { host, range }),
            None => Ok(()),
        }
    }

    fn refused(&self, address: IpAddr) -> Option<&'static str> {
        match self.allow_addresses.iter().any(|range| range.contains(&address)) {
            true => None,
            false => refused_range(address),
        }
    }
}

/// The parser drops an empty name before an `@`, so the text is asked too.
fn has_user_info(text: &str, url: &Url) -> bool {
    let rest = text.split_once(':').map(|(_, rest)| rest.trim_start_matches('/'));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let is_empty = url.username().is_empty() && url.password().is_none();
    !is_empty || authority.is_some_and(|authority| authority.contains('@'))
}

/// Why a name is one of the inside of a network.
fn inside(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.') {
        _ if name.ends_with('.') => Some("must not end with a dot"),
        None => Some("is not a full host name"),
        Some((_, last)) if INSIDE.contains(&last) => Some("is not a public name"),
        Some(_) => None,
    }
}
