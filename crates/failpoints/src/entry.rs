//! What `FIREBREAK_FAILPOINTS` says: `after_claim=kill`, `before_commit=stop@3`, with commas between.

use crate::NAMES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Kill,
    Stop,
}

/// What happens at the n-th hit of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) action: Action,
    pub(crate) at: u64,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
        }
    }
}

/// The error names the entry that cannot be read.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(parse_entry).collect()
}

fn parse_entry(entry: &str) -> Result<Entry, String> {
    let wrong = |why: String| format!("{entry:?}: {why}");
    let (name, action) = entry
        .split_once('=')
        .ok_or_else(|| wrong("it reads <name>=kill or <name>=stop, with @<n> after it".into()))?;
    let name = NAMES
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| wrong(format!("no place {name:?}; there are: {}", NAMES.join(", "))))?;
    let (action, at) = match action.split_once('@') {
        Some((action, at)) => (action, at.parse().ok().filter(|at| *at > 0)),
        None => (action, Some(1)),
    };
    let at = at.ok_or_else(|| wrong("after @ stands the number of a hit, from 1".into()))?;
    let action = match action {
        "kill" => Action::Kill,
        "stop" => Action::Stop,
        other => return Err(wrong(format!("no action {other:?}; there are: kill, stop"))),
    };
    Ok(Entry { name, action, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_the_place_the_action_and_the_hit() {
        let entries = parse("after_claim=kill, before_commit=stop@3").unwrap();
        assert_eq!(
            entries,
            [
                Entry { name: crate::AFTER_CLAIM, action: Action::Kill, at: 1 },
                Entry { name: crate::BEFORE_COMMIT, action: Action::Stop, at: 3 },
            ]
        );
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn wrong_entry_is_named() {
        for (text, why) in [
            ("after_claim", "it reads"),
            ("somewhere=kill", "no place \"somewhere\"; there are: after_claim"),
            ("after_claim=freeze", "no action \"freeze\""),
            ("after_claim=kill@0", "from 1"),
            ("after_claim=kill@x", "from 1"),
            ("after_claim=kill,before_effect", "\"before_effect\": it reads"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
