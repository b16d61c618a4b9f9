//! Groups lines into templates: variable-looking words are masked, then lines of equal length and
//! equal first word join the most alike group (the fixed-depth tree of Drain, He et al. 2017).

use std::collections::HashMap;

/// Two lines of equal length are of one template when at least this share of words is equal.
const ALIKE: f64 = 0.6;
/// More groups than this are counted together as the last one.
const GROUPS: usize = 2000;
/// Words beyond this many are not compared.
const WORDS: usize = 60;
pub(super) const WILDCARD: &str = "<*>";

/// Where a line belongs, besides its words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leaf<K> {
    kind: K,
    length: usize,
    first: String,
}

#[derive(Debug)]
pub(super) struct Miner<K> {
    groups: Vec<Vec<String>>,
    leaves: HashMap<Leaf<K>, Vec<usize>>,
}

impl<K: Clone + Eq + std::hash::Hash> Miner<K> {
    pub(super) fn new() -> Self {
        Self { groups: Vec::new(), leaves: HashMap::new() }
    }

    /// The number of the template of `text`, `None` when there are too many templates. Lines of
    /// different `kind` never share one.
    pub(super) fn add(&mut self, kind: K, text: &str) -> Option<usize> {
        let words: Vec<String> = text.split_whitespace().take(WORDS).map(mask).collect();
        let first = words.first().cloned().unwrap_or_default();
        let leaf = self.leaves.entry(Leaf { kind, length: words.len(), first }).or_default();
        let best = leaf
            .iter()
            .map(|&group| (group, likeness(&self.groups[group], &words)))
            .max_by(|one, other| one.1.total_cmp(&other.1))
            .filter(|(_, likeness)| *likeness >= ALIKE);
        if let Some((group, _)) = best {
            for (known, word) in self.groups[group].iter_mut().zip(&words) {
                if known != word {
                    WILDCARD.clone_into(known);
                }
            }
            return Some(group);
        }
        if self.groups.len() == GROUPS {
            return None;
        }
        self.groups.push(words);
        leaf.push(self.groups.len() - 1);
        Some(self.groups.len() - 1)
    }

    pub(super) fn template(&self, group: usize) -> String {
        self.groups[group].join(" ")
    }
}

fn likeness(known: &[String], words: &[String]) -> f64 {
    let equal = known.iter().zip(words).filter(|(known, word)| known == word).count();
    equal as f64 / words.len().max(1) as f64
}

/// A word with digits is a value; of `name=value` only the value is.
fn mask(word: &str) -> String {
    if let Some((name, value)) = word.split_once('=')
        && !name.is_empty()
        && !has_digit(name)
    {
        return format!("{name}={}", mask(value));
    }
    if has_digit(word) || word.starts_with('/') && word.len() > 1 || word.starts_with('"') {
        return WILDCARD.to_owned();
    }
    word.to_owned()
}

fn has_digit(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_in_values_share_a_template() {
        let mut miner = Miner::new();
        let one = miner.add((), "pool connection acquire timed out after 250 ms (active=2 size=2)");
        let two = miner.add((), "pool connection acquire timed out after 311 ms (active=1 size=2)");
        assert_eq!(one, two);
        assert_eq!(
            miner.template(one.unwrap()),
            "pool connection acquire timed out after <*> ms (active=<*> size=<*>"
        );
        let user = miner.add((), "user alice logged in from console today");
        assert_eq!(user, miner.add((), "user bob logged in from console today"));
        assert_eq!(miner.template(user.unwrap()), "user <*> logged in from console today");
    }

    #[test]
    fn unlike_lines_and_other_kinds_stay_apart() {
        let mut miner = Miner::new();
        let one = miner.add("db", "disk is full");
        assert_ne!(one, miner.add("app", "disk is full"));
        assert_ne!(one, miner.add("db", "disk was replaced"));
        assert_eq!(one, miner.add("db", "disk is full"));
    }

    #[test]
    fn the_number_of_templates_is_bounded() {
        let mut miner = Miner::new();
        let word = |n: usize| -> String {
            n.to_string().bytes().map(|b| char::from(b'a' + (b - b'0'))).collect()
        };
        for n in 0..GROUPS {
            assert!(miner.add((), &format!("{} x", word(n))).is_some());
        }
        assert_eq!(miner.add((), "surely new"), None);
    }
}
