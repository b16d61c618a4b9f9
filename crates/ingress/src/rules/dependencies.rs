//! What depends on what. The root of a member is what everything below it comes down to: the members it
//! depends on, over any number of steps, that depend on nothing themselves. Alerts of members with the
//! same roots are one incident, whichever came first: the key is made of the file and the labels.
//!
//! A member with several roots shares its key with members of the very same roots, and with none of
//! the roots themselves: the file does not say which of them is at fault, and an incident of one
//! root must hold nothing that another may have caused.

use std::collections::HashMap;
use std::fmt::Write;

use incident::Alert;
use serde::Deserialize;
use service::ConfigError;

use super::pairs::{Entry, Pairs};

/// Most members of a file.
const MEMBERS: usize = 10_000;

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Labels that may name a member, the first that does counts.
    #[serde(default = "target_labels")]
    labels: Vec<String>,
    /// Labels whose values keep what they are in apart, such as clusters with the same services.
    #[serde(default)]
    within: Vec<String>,
    services: Pairs<Option<Member>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Member {
    depends_on: Vec<String>,
}

impl Entry<'_> for Option<Member> {
    fn check_name(name: &str) -> Result<(), String> {
        if name.is_empty() { Err("a member needs a name".to_owned()) } else { Ok(()) }
    }
}

fn target_labels() -> Vec<String> {
    ["server", "service", "instance"].map(str::to_owned).into()
}

#[derive(Debug)]
pub(super) struct Dependencies {
    labels: Vec<String>,
    within: Vec<String>,
    /// The beginning of each member's key.
    keys: HashMap<String, String>,
}

impl Dependencies {
    /// # Errors
    /// The text makes no sense: a member that is not there, a circle, which is named.
    pub(super) fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let File { labels, within, services } = service::parse_yaml(text, origin)?;
        let graph = Graph::of(&services.0).map_err(|wrong| wrong.at(text, origin))?;
        let roots = graph.roots().map_err(|wrong| wrong.at(text, origin))?;
        let key = |roots: &[usize]| {
            let mut names: Vec<&str> = roots.iter().map(|root| graph.names[*root]).collect();
            names.sort_unstable();
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("root {}", names.join("+"))
        };
        let named = graph.names.iter().map(|name| (*name).to_owned());
        let keys = named.zip(roots.iter().map(|roots| key(roots))).collect();
        Ok(Self { labels, within, keys })
    }

    /// The key of an alert of a member.
    pub(super) fn key(&self, alert: &Alert) -> Option<String> {
        let mut members = self.labels.iter().filter_map(|name| alert.label(name));
        let mut key = members.find_map(|member| self.keys.get(member))?.clone();
        for name in &self.within {
            if let Some(value) = alert.label(name) {
                write!(key, ",{name}={value:?}").expect("a text takes what is written to it");
            }
        }
        Some(key)
    }
}

/// The members by number, in the order of the file.
struct Graph<'a> {
    names: Vec<&'a str>,
    depends_on: Vec<Vec<usize>>,
}

/// What is wrong with a member.
struct Wrong {
    member: String,
    message: String,
}

impl<'a> Graph<'a> {
    fn of(services: &'a [(String, Option<Member>)]) -> Result<Self, Wrong> {
        if let Some((member, _)) = services.get(MEMBERS) {
            let message = format!("there are more than {MEMBERS} members");
            return Err(Wrong { member: member.clone(), message });
        }
        let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
        let numbers: HashMap<&str, usize> =
            names.iter().enumerate().map(|(number, name)| (*name, number)).collect();
        let needs = |(name, member): &(String, Option<Member>)| {
            let number = |other: &String| {
                let message = format!("depends on {other:?}, which is no member of `services`");
                let wrong = Wrong { member: name.clone(), message };
                numbers.get(other.as_str()).copied().ok_or(wrong)
            };
            member.iter().flat_map(|member| &member.depends_on).map(number).collect()
        };
        Ok(Self { depends_on: services.iter().map(needs).collect::<Result<_, _>>()?, names })
    }

    /// The roots of each member, itself where it depends on nothing.
    fn roots(&self) -> Result<Vec<Vec<usize>>, Wrong> {
        let mut dependents = vec![Vec::new(); self.names.len()];
        for (member, needs) in self.depends_on.iter().enumerate() {
            needs.iter().for_each(|need| dependents[*need].push(member));
        }
        // Those whose needs all have their roots come next.
        let mut missing: Vec<usize> = self.depends_on.iter().map(Vec::len).collect();
        let mut ready: Vec<usize> = (0..missing.len()).filter(|m| missing[*m] == 0).collect();
        let mut roots: Vec<Option<Vec<usize>>> = vec![None; self.names.len()];
        while let Some(member) = ready.pop() {
            let needs = self.depends_on[member].iter();
            let mut own: Vec<usize> =
                needs.flat_map(|need| roots[*need].clone()).flatten().collect();
            own.sort_unstable();
            own.dedup();
            roots[member] = Some(if own.is_empty() { vec![member] } else { own });
            for dependent in &dependents[member] {
                missing[*dependent] -= 1;
                if missing[*dependent] == 0 {
                    ready.push(*dependent);
                }
            }
        }
        match roots.iter().position(Option::is_none) {
            Some(member) => Err(self.circle(member, &roots)),
            None => Ok(roots.into_iter().flatten().collect()),
        }
    }

    /// A circle that a member without roots leads into.
    fn circle(&self, from: usize, roots: &[Option<Vec<usize>>]) -> Wrong {
        let mut path = vec![from];
        loop {
            let last = path[path.len() - 1];
            let needs = self.depends_on[last].iter();
            let next =
                *needs.clone().find(|need| roots[**need].is_none()).expect("it has no roots");
            if let Some(start) = path.iter().position(|member| *member == next) {
                path.push(next);
                let names: Vec<&str> = path[start..].iter().map(|m| self.names[*m]).collect();
                let message = format!("depends on itself: {}", names.join(" -> "));
                return Wrong { member: names[0].to_owned(), message };
            }
            path.push(next);
        }
    }
}

impl Wrong {
    /// The same, where the member stands in the file.
    fn at(self, text: &str, origin: &str) -> ConfigError {
        let Self { member, message } = self;
        let is_here = |line: &str| {
            let line = line.trim_start().trim_start_matches(['"', '\'']);
            let rest = line.strip_prefix(&member).map(|rest| rest.trim_start_matches(['"', '\'']));
            rest.is_some_and(|rest| rest.trim_start().starts_with(':'))
        };
        let origin = match text.lines().position(is_here) {
            Some(index) => format!("{origin}:{}", index + 1),
            None => origin.to_owned(),
        };
        ConfigError::Invalid { origin, field: format!("services.{member}.depends_on"), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::alert;

    fn read(text: &str) -> Result<Dependencies, String> {
        Dependencies::parse(text, "services.yaml").map_err(|error| error.to_string())
    }

    const SHOP: &str = "services:\n  web: {depends_on: [api, cache]}\n  api: {depends_on: [db-1]}\n  \
        cache: {depends_on: [db-1]}\n  db-1: {}\n  report: {depends_on: [db-1, files]}\n  \
        export: {depends_on: [report]}\n  files:\n";

    fn key(member: &str) -> Option<String> {
        read(SHOP).unwrap().key(&alert(&[("service", member)]))
    }

    #[test]
    fn members_with_one_root_share_its_key() {
        for member in ["web", "api", "cache", "db-1"] {
            assert_eq!(key(member).as_deref(), Some(r#"root "db-1""#), "{member}");
        }
        assert_eq!(key("files").unwrap(), r#"root "files""#);
        assert_eq!(key("stranger"), None);
    }

    #[test]
    fn members_with_the_same_roots_are_one_incident_apart_from_the_roots() {
        for member in ["report", "export"] {
            assert_eq!(key(member).as_deref(), Some(r#"root "db-1"+"files""#), "{member}");
        }
    }

    #[test]
    fn the_first_label_that_names_a_member_counts() {
        let file = read(SHOP).unwrap();
        let both = alert(&[("server", "node-7"), ("service", "files"), ("instance", "db-1")]);
        assert_eq!(file.key(&both).unwrap(), r#"root "files""#);
        let file = read("labels: [app]\nservices: {a: {}}\n").unwrap();
        assert_eq!(file.key(&alert(&[("service", "a")])), None);
        assert_eq!(file.key(&alert(&[("app", "a")])).unwrap(), r#"root "a""#);
    }

    #[test]
    fn what_is_within_another_cluster_is_another_incident() {
        let file = read("within: [cluster]\nservices: {a: {depends_on: [b]}, b: {}}\n").unwrap();
        let of = |labels: &[(&str, &str)]| file.key(&alert(labels)).unwrap();
        assert_eq!(of(&[("service", "a"), ("cluster", "eu")]), r#"root "b",cluster="eu""#);
        assert_eq!(of(&[("service", "b"), ("cluster", "us")]), r#"root "b",cluster="us""#);
        assert_eq!(of(&[("service", "b")]), r#"root "b""#);
    }

    #[test]
    fn circles_and_strangers_are_refused_by_name() {
        for (text, why) in [
            (
                "services:\n  x: {depends_on: [a]}\n  a: {depends_on: [b]}\n  b: {depends_on: [c]}\n  c: {depends_on: [a]}\n",
                "services.yaml:3: field `services.a.depends_on`: depends on itself: a -> b -> c -> a",
            ),
            ("services:\n  a: {depends_on: [a]}\n", "depends on itself: a -> a"),
            (
                "services:\n  a: {}\n  \"b\": {depends_on: [db]}\n",
                "services.yaml:3: field `services.b.depends_on`: depends on \"db\", which is no member",
            ),
            (
                "services:\n  a: {}\n  a: {}\n",
                "services.yaml:3:3: field `services.a`: services: \"a\" is there twice",
            ),
            ("services:\n  a: {needs: [b]}\n", "unknown field `needs`"),
            ("labels: [a]\n", "missing field `services`"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let many: String = (0..=MEMBERS).map(|number| format!("  m{number}: {{}}\n")).collect();
        assert!(read(&format!("services:\n{many}")).unwrap_err().contains("more than 10000"));
    }

    #[test]
    fn a_long_chain_is_read_at_once() {
        let link = |number: usize| format!("  m{number}: {{depends_on: [m{}]}}\n", number + 1);
        let chain: String = (0..MEMBERS - 1).map(link).collect();
        let file = read(&format!("services:\n{chain}  m{}: {{}}\n", MEMBERS - 1)).unwrap();
        assert_eq!(file.key(&alert(&[("service", "m0")])).unwrap(), r#"root "m9999""#);
    }
}
