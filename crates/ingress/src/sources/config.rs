//! Who may post alerts, as the settings say. A source is known by its name, which is the path it
//! posts to and part of every alert's identity. How it proves itself is said, or that it need not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use service::ConfigError;
use webhooks::Format;

use crate::Reconciliation;

/// What agents report over A2A has this name.
const RESERVED: &str = "a2a";
const NAME_BYTES: usize = 64;
/// One live secret, and another beside it while they are exchanged.
const FILES: std::ops::RangeInclusive<usize> = 1..=2;
/// How long a signature counts at most: what is remembered of it takes memory for as long.
const WINDOW_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;

/// Sources by name.
pub type SourceConfigs = BTreeMap<String, SourceConfig>;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What speaks.
    pub kind: Format,
    /// How it proves that it is the one: by every way of one of these.
    #[serde(default, deserialize_with = "one_or_several")]
    pub authentication: Option<Vec<Authentication>>,
    /// Whoever reaches the port may post. What such a source reports never leads to an act.
    #[serde(default)]
    pub unauthenticated: bool,
    /// The Alertmanagers that post to it, which are asked now and then what is true.
    #[serde(default)]
    pub reconcile: Option<Reconciliation>,
}

/// Ways that must all hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authentication {
    /// `Authorization: Bearer <secret>`.
    pub bearer: Option<SecretFiles>,
    /// `Authorization: Basic <user:secret>`.
    pub basic: Option<Basic>,
    /// The body's HMAC-SHA256 in a header.
    pub hmac: Option<Hmac>,
    /// A client certificate that the listener has verified.
    pub mtls: Option<Mtls>,
    /// The secret in the body's `routing_key`, as PagerDuty's senders have it.
    pub routing_key: Option<SecretFiles>,
}

/// Secrets, each in a file of its own that is read again when it changes. All of them count, so that
/// a new one can be told to the sender before the old one goes. Only the first must be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretFiles {
    pub files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    pub user: String,
    pub files: Vec<PathBuf>,
}

/// A signature over the body, or, with a `timestamp_header`, over `<unix seconds>:<body>`, as Grafana
/// signs. Without a timestamp a copy of a request is as good as the request, for ever.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    pub files: Vec<PathBuf>,
    /// The header that holds the signature.
    #[serde(default = "grafanas_header")]
    pub header: String,
    /// What stands before the signature in its header, such as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub encoding: Encoding,
    /// The header that holds the time of signing, in Unix seconds.
    pub timestamp_header: Option<String>,
    /// How far that time may be from now, in seconds.
    #[serde(default = "usual_window")]
    pub window_seconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// Names in a client certificate, any one of which is the source's: DNS names and URIs of its subject
/// alternative names, or its common name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    pub names: Vec<String>,
}

fn grafanas_header() -> String {
    "X-Grafana-Alerting-Signature".into()
}

fn usual_window() -> u64 {
    300
}

impl SourceConfig {
    /// A source that shows the secret of a file as a bearer token.
    pub fn bearer(kind: Format, file: &Path) -> Self {
        let bearer = Some(SecretFiles { files: vec![file.to_owned()] });
        let authentication = Some(vec![Authentication { bearer, ..Authentication::default() }]);
        Self { kind, authentication, unauthenticated: false, reconcile: None }
    }

    /// A source that anybody may speak for.
    pub fn unauthenticated(kind: Format) -> Self {
        Self { kind, authentication: None, unauthenticated: true, reconcile: None }
    }
}

/// Checks settings; `has_clients` where the listener asks for client certificates.
///
/// # Errors
/// The first setting that cannot be used, by its path.
pub(crate) fn check(sources: &SourceConfigs, has_clients: bool) -> Result<(), ConfigError> {
    for (name, source) in sources {
        check_name(name).map_err(|why| ConfigError::setting(format!("sources.{name}"), why))?;
        source.check(has_clients).map_err(|(field, why)| {
            let field = format!("sources.{name}{field}");
            ConfigError::setting(field, why)
        })?;
        if let Some(reconcile) = &source.reconcile {
            let place = format!("sources.{name}.reconcile");
            if source.kind != Format::Alertmanager {
                return Err(ConfigError::setting(place, "is for sources of kind `alertmanager`"));
            }
            reconcile.check(&place)?;
        }
    }
    Ok(())
}

/// The name stands in paths, labels of metrics and keys of incidents.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(is_plain) {
        let why = "a name is made of lower-case letters, digits, `-` and `_`";
        return Err(format!("{why}, {NAME_BYTES} at most"));
    }
    if name == RESERVED {
        return Err("this name belongs to what agents report".into());
    }
    Ok(())
}

/// A field below a source, and what is wrong with it.
type Wrong = (String, String);

fn wrong(field: &str, why: impl Into<String>) -> Result<(), Wrong> {
    Err((field.to_owned(), why.into()))
}

impl SourceConfig {
    fn check(&self, has_clients: bool) -> Result<(), Wrong> {
        let several = match (&self.authentication, self.unauthenticated) {
            (None, true) => return Ok(()),
            (Some(several), false) => several,
            (Some(_), true) => {
                return wrong(".unauthenticated", "cannot stand beside `authentication`");
            }
            (None, false) => {
                let why = "needs `authentication`, or `unauthenticated: true`: then anybody may \
                           post, and what is posted is never acted upon by itself";
                return wrong("", why);
            }
        };
        if several.is_empty() {
            return wrong(".authentication", "is empty");
        }
        for (index, authentication) in several.iter().enumerate() {
            let place = match several.len() {
                1 => ".authentication".to_owned(),
                _ => format!(".authentication[{index}]"),
            };
            authentication.check(has_clients).map_err(|(field, why)| (place + &field, why))?;
        }
        Ok(())
    }
}

impl Authentication {
    fn check(&self, has_clients: bool) -> Result<(), Wrong> {
        let Self { bearer, basic, hmac, mtls, routing_key } = self;
        if bearer.is_some() && basic.is_some() {
            let why = "`bearer` and `basic` are in the same header: make it a list, each with one";
            return wrong("", why);
        }
        if let Some(bearer) = bearer {
            check_files(".bearer", &bearer.files)?;
        }
        if let Some(Basic { user, files }) = basic {
            if user.is_empty() || user.contains(':') {
                return wrong(".basic.user", "must be a name without a colon");
            }
            check_files(".basic", files)?;
        }
        if let Some(hmac) = hmac {
            hmac.check()?;
        }
        if mtls.as_ref().is_some_and(|mtls| mtls.names.iter().all(String::is_empty)) {
            return wrong(".mtls.names", "must hold a name");
        }
        if mtls.is_some() && !has_clients {
            return wrong(
                ".mtls",
                "needs `tls` with a `client_ca`: nobody would be asked for a certificate",
            );
        }
        if let Some(routing_key) = routing_key {
            check_files(".routing_key", &routing_key.files)?;
        }
        if let (None, None, None, None, None) = (bearer, basic, hmac, mtls, routing_key) {
            return wrong("", "must be `bearer`, `basic`, `hmac`, `mtls` or `routing_key`");
        }
        Ok(())
    }
}

impl Hmac {
    fn check(&self) -> Result<(), Wrong> {
        check_files(".hmac", &self.files)?;
        let is_header = |name: &str| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !is_header(&self.header) {
            return wrong(".hmac.header", "is no name of a header");
        }
        if self.timestamp_header.as_ref().is_some_and(|name| !is_header(name)) {
            return wrong(".hmac.timestamp_header", "is no name of a header");
        }
        if !WINDOW_SECONDS.contains(&self.window_seconds) {
            let (least, most) = (WINDOW_SECONDS.start(), WINDOW_SECONDS.end());
            return wrong(".hmac.window_seconds", format!("must be within {least}..={most}"));
        }
        Ok(())
    }
}

fn check_files(way: &str, files: &[PathBuf]) -> Result<(), Wrong> {
    if !FILES.contains(&files.len()) {
        return wrong(&format!("{way}.files"), "must hold one file or two");
    }
    if files.first() == files.get(1) {
        return wrong(&format!("{way}.files"), "must hold two different files");
    }
    Ok(())
}

fn one_or_several<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Authentication>>, D::Error> {
    struct OneOrSeveral;
    impl<'de> Visitor<'de> for OneOrSeveral {
        type Value = Vec<Authentication>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a way to authenticate, or a list of alternatives")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Authentication::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }
    deserializer.deserialize_any(OneOrSeveral).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SourceConfigs, String> {
        let read = service::parse_yaml::<SourceConfigs>(text, "f").map_err(|e| e.to_string())?;
        check(&read, text.contains("mtls")).map_err(|error| error.to_string())?;
        Ok(read)
    }

    #[test]
    fn a_source_is_authenticated_by_one_way_by_several_or_by_name_not_at_all() {
        let sources = read(
            "am: {kind: alertmanager, authentication: {bearer: {files: [a, b]}}}\n\
             both: {kind: alertmanager, authentication: {hmac: {files: [a]}, mtls: {names: [x]}}}\n\
             either: {kind: alertmanager, authentication: [{bearer: {files: [a]}}, {basic: {user: u, files: [a]}}]}\n\
             lab: {kind: alertmanager, unauthenticated: true}\n",
        )
        .unwrap();
        assert_eq!(sources["either"].authentication.as_ref().unwrap().len(), 2);
        let both = &sources["both"].authentication.as_ref().unwrap()[0];
        assert!(both.mtls.is_some() && both.hmac.as_ref().unwrap().window_seconds == 300);
        assert!(sources["lab"].unauthenticated);
    }

    #[test]
    fn the_sources_of_the_docs_and_of_the_sample_are_read() {
        #[derive(Deserialize)]
        struct Sample {
            sources: SourceConfigs,
        }
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let docs = ["INGRESS", "WEBHOOKS"]
            .map(|name| std::fs::read_to_string(format!("{root}/docs/{name}.md")).unwrap());
        let docs = docs.concat();
        let blocks = docs.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let of_docs = blocks.filter(|block| block.starts_with("sources:")).map(str::to_owned);
        let sample = std::fs::read_to_string(format!("{root}/deploy/config/ingress.yaml")).unwrap();
        let (_, lines) = sample.split_once("\n# sources:\n").unwrap();
        let lines = lines.lines().map_while(|line| line.strip_prefix("# "));
        let of_sample = format!("sources:\n{}", lines.collect::<Vec<_>>().join("\n"));
        let mut names = Vec::new();
        for text in of_docs.chain([of_sample]) {
            let read: Sample = service::parse_yaml(&text, "sample").unwrap();
            check(&read.sources, true).unwrap();
            names.extend(read.sources.into_keys());
        }
        for name in ["alertmanager", "lab", "grafana", "probes", "pager", "mesh", "datadog"] {
            assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_field() {
        for (source, why) in [
            ("{kind: alertmanager}", "setting `sources.s`: needs `authentication`"),
            ("{kind: alertmanager, unauthenticated: false}", "setting `sources.s`: needs"),
            (
                "{kind: alertmanager, unauthenticated: true, authentication: {bearer: {files: [a]}}}",
                "setting `sources.s.unauthenticated`: cannot stand",
            ),
            (
                "{kind: datadog, unauthenticated: true, reconcile: {alertmanagers: [{url: 'http://a'}]}}",
                "setting `sources.s.reconcile`: is for sources of kind",
            ),
            (
                "{kind: alertmanager, unauthenticated: true, reconcile: {}}",
                "setting `sources.s.reconcile.alertmanagers`: must name one",
            ),
            ("{kind: smoke, unauthenticated: true}", "expected `alertmanager`, `grafana`"),
            ("{kind: alertmanager, unauthenticatd: true}", "unknown field `unauthenticatd`"),
            ("{kind: alertmanager, authentication: {}}", "sources.s.authentication`: must be"),
            ("{kind: alertmanager, authentication: []}", "sources.s.authentication`: is empty"),
            ("{kind: alertmanager, authentication: yes}", "field `s.authentication`"),
            (
                "{kind: alertmanager, authentication: {bearer: {files: []}}}",
                "sources.s.authentication.bearer.files`: must hold one",
            ),
            (
                "{kind: alertmanager, authentication: {bearer: {files: [a, a]}}}",
                "bearer.files`: must hold two different",
            ),
            (
                "{kind: alertmanager, authentication: {bearer: {file: a}}}",
                "field `s.authentication.bearer",
            ),
            (
                "{kind: alertmanager, authentication: {bearer: {files: [a]}, basic: {user: u, files: [a]}}}",
                "sources.s.authentication`: `bearer` and `basic`",
            ),
            (
                "{kind: alertmanager, authentication: [{bearer: {files: [a]}}, {basic: {user: 'a:b', files: [a]}}]}",
                "sources.s.authentication[1].basic.user`",
            ),
            (
                "{kind: alertmanager, authentication: {hmac: {files: [a], header: 'a b'}}}",
                "authentication.hmac.header`",
            ),
            (
                "{kind: alertmanager, authentication: {hmac: {files: [a], window_seconds: 0}}}",
                "authentication.hmac.window_seconds`: must be within",
            ),
            (
                "{kind: alertmanager, authentication: {mtls: {names: []}}}",
                "authentication.mtls.names`",
            ),
        ] {
            let error = read(&format!("s: {source}")).unwrap_err();
            assert!(error.contains(why), "{source}: {error}");
        }
        let mtls = service::parse_yaml::<SourceConfigs>(
            "s: {kind: alertmanager, authentication: {mtls: {names: [x]}}}",
            "f",
        );
        let error = check(&mtls.unwrap(), false).unwrap_err().to_string();
        assert!(error.contains("authentication.mtls`: needs `tls`"), "{error}");
        for name in ["a2a", "A", "a/b", "\"\""] {
            let error = read(&format!("{name}: {{kind: alertmanager, unauthenticated: true}}"));
            assert!(error.unwrap_err().contains("setting `sources."), "{name}");
        }
    }
}
