//! Who may post alerts. Every source has a name, a kind of body and a way to prove that a request is
//! from it; one that needs none is so by name, and what it reports never leads to an act. A request
//! is refused by its headers where they suffice, before its body is read, and nothing in a body is
//! believed before the body is known to be the source's.

pub(crate) mod api;
mod config;
mod hmac;
mod reason;
mod replay;
mod secrets;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use jiff::Timestamp;
use serde::Serialize;
use service::Process;
use webhooks::Format;

pub(crate) use config::check;
pub use config::{
    Authentication, Basic, Encoding, Hmac, Mtls, SecretFiles, SourceConfig, SourceConfigs,
};
pub(crate) use reason::Reason;
pub(crate) use replay::Hold;

use replay::Taking;
use ways::Way;

#[derive(Debug, Default)]
pub(crate) struct Sources(BTreeMap<String, Arc<Source>>);

#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Format,
    /// Each a set of ways that must all hold. Empty: anybody may post.
    alternatives: Vec<Vec<Way>>,
}

/// The alternatives that the headers of a request leave open.
#[derive(Debug)]
pub(crate) struct Admitted(Vec<usize>);

/// Why a request is not worked on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// For good: it is not from its source, or it was taken already.
    Unauthenticated(Reason),
    /// The same request is being worked on.
    InHand,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self::Unauthenticated(reason)
    }
}

/// A source as the API shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SourceView {
    name: Arc<str>,
    kind: &'static str,
    path: String,
    /// Any one of these is enough, each by all its ways.
    authentication: Vec<Vec<&'static str>>,
    unauthenticated: bool,
}

impl Sources {
    /// Reads the secrets of every source, and looks at their files from now on.
    ///
    /// # Errors
    /// A file that cannot be used, by its setting.
    pub(crate) fn open(process: &Process, config: &SourceConfigs) -> anyhow::Result<Self> {
        let open = |(name, config): (&String, &SourceConfig)| {
            let source = Source::open(process, name, config);
            let source = source.with_context(|| format!("setting `sources.{name}`"))?;
            Ok((name.clone(), Arc::new(source)))
        };
        config.iter().map(open).collect::<anyhow::Result<_>>().map(Self)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Source>> {
        self.0.get(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn views(&self) -> Vec<SourceView> {
        self.0.values().map(|source| source.view()).collect()
    }
}

impl Source {
    fn open(process: &Process, name: &str, config: &SourceConfig) -> anyhow::Result<Self> {
        let several = config.authentication.iter().flatten();
        let alternatives = several.map(|config| Way::open_all(process, config));
        let alternatives = alternatives.collect::<anyhow::Result<_>>()?;
        let source = Self { name: name.into(), kind: config.kind.clone(), alternatives };
        if !source.is_authenticated() {
            tracing::warn!(source = name, "anybody may post; its alerts never lead to an act");
        }
        Ok(source)
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        !self.alternatives.is_empty()
    }

    /// Whether a page of another site can make a browser post as this source: then a body must be of
    /// a type that no page can send without asking first.
    pub(crate) fn is_open_to_browsers(&self) -> bool {
        let is_open = |ways: &Vec<Way>| ways.iter().all(Way::is_shown_by_browsers);
        self.alternatives.is_empty() || self.alternatives.iter().any(is_open)
    }

    /// Whether the request may be from this source, as far as its headers tell.
    pub(crate) fn admit(&self, head: &Parts, now: Timestamp) -> Result<Admitted, Reason> {
        let mut nearest = Reason::NoCredentials;
        let mut open = Vec::new();
        for (index, ways) in self.alternatives.iter().enumerate() {
            match ways.iter().try_for_each(|way| way.head(head, now)) {
                Ok(()) => open.push(index),
                Err(reason) => nearest = nearest.max(reason),
            }
        }
        if open.is_empty() && self.is_authenticated() { Err(nearest) } else { Ok(Admitted(open)) }
    }

    /// Whether the headers alone have proven something.
    pub(crate) fn is_proven(&self, admitted: &Admitted) -> bool {
        let mut open = admitted.0.iter().filter_map(|index| self.alternatives.get(*index));
        open.any(|ways| ways.iter().any(Way::is_of_headers))
    }

    /// Whether it is, by its body too. What is held is to be told when the request was taken.
    pub(crate) fn confirm(
        &self,
        admitted: &Admitted,
        head: &Parts,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Hold>, Refused> {
        let mut nearest = Reason::NoCredentials;
        for ways in admitted.0.iter().filter_map(|index| self.alternatives.get(*index)) {
            let signed: Result<Vec<_>, Reason> =
                ways.iter().map(|way| way.body(head, body, now)).collect();
            match signed {
                Ok(signed) => {
                    let taking = signed.into_iter().flatten().map(|signed| signed.take(now));
                    return taking.map(held).collect();
                }
                Err(reason) => nearest = nearest.max(reason),
            }
        }
        if self.is_authenticated() { Err(nearest.into()) } else { Ok(Vec::new()) }
    }

    /// The body as it is kept: without a secret that stands in it.
    pub(crate) fn redact(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let ways = self.alternatives.iter().flatten();
        match ways.filter_map(|way| way.secret_in(body)).next() {
            Some(secret) => text.replace(secret, "***"),
            None => text.into_owned(),
        }
    }

    /// What a refused sender is told to show.
    pub(crate) fn challenges(&self) -> impl Iterator<Item = (header::HeaderName, HeaderValue)> {
        let ways = self.alternatives.iter().flatten().map(Way::challenge);
        ways.map(|challenge| (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
    }

    fn view(&self) -> SourceView {
        let names = |ways: &Vec<Way>| ways.iter().map(Way::name).collect();
        SourceView {
            name: self.name.clone(),
            kind: self.kind.name(),
            path: format!("/webhooks/{}", self.name),
            authentication: self.alternatives.iter().map(names).collect(),
            unauthenticated: !self.is_authenticated(),
        }
    }
}

fn held(taking: Taking) -> Result<Hold, Refused> {
    match taking {
        Taking::Own(hold) => Ok(hold),
        Taking::InHand => Err(Refused::InHand),
        Taking::Taken => Err(Reason::Replayed.into()),
        Taking::TooOld => Err(Reason::StaleTimestamp.into()),
    }
}
