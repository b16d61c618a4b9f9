//! What happened to a monitor, by its own word or by the prefix of a title such as
//! `[P2] [Re-Triggered on {host:db-1}] Disk is full`.

use incident::Severity;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Triggered,
    Warn,
    NoData,
    Recovered,
}

impl Transition {
    /// By its name, in whatever case; what is said once more is the same.
    pub(super) fn named(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let text = text.strip_prefix("re-").unwrap_or(&text);
        match text {
            "triggered" | "retriggered" | "renotify" | "renotified" | "alert" => {
                Some(Self::Triggered)
            }
            "warn" | "warning" => Some(Self::Warn),
            "no data" | "no-data" | "nodata" => Some(Self::NoData),
            "recovered" | "resolved" | "ok" => Some(Self::Recovered),
            _ => None,
        }
    }

    /// By the type of the event, which says less.
    pub(super) fn of_type(text: &str) -> Option<Self> {
        match text.trim().to_lowercase().as_str() {
            "error" => Some(Self::Triggered),
            "warning" => Some(Self::Warn),
            "success" => Some(Self::Recovered),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Triggered => "Triggered",
            Self::Warn => "Warn",
            Self::NoData => "No Data",
            Self::Recovered => "Recovered",
        }
    }
}

/// What a priority of Datadog means where the settings do not say it.
pub(super) fn severity_of(priority: &str) -> Option<Severity> {
    match priority.trim() {
        "P1" | "P2" => Some(Severity::Critical),
        "P3" => Some(Severity::Warning),
        "P4" | "P5" => Some(Severity::Info),
        _ => None,
    }
}

/// A title taken apart.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Title {
    pub(super) transition: Option<Transition>,
    pub(super) priority: Option<String>,
    /// What stands in braces: `host:db-1,env:prod`.
    pub(super) scope: Option<String>,
    /// The rest: the monitor's own title.
    pub(super) name: String,
}

impl Title {
    pub(super) fn of(text: &str) -> Self {
        let mut title = Self::default();
        let mut rest = text.trim();
        while let Some((prefix, after)) = prefix(rest) {
            if !title.take(prefix) {
                break;
            }
            rest = after.trim_start();
        }
        title.name = rest.to_owned();
        title
    }

    /// Takes a prefix in; false where it is part of the monitor's own title.
    fn take(&mut self, prefix: &str) -> bool {
        if severity_of(prefix).is_some() && self.priority.is_none() {
            self.priority = Some(prefix.trim().to_owned());
            return true;
        }
        if prefix.eq_ignore_ascii_case("test") {
            return true;
        }
        let (state, scope) = match prefix.split_once(" on {") {
            Some((state, scope)) => (state, Some(scope.trim_end_matches('}'))),
            None => (prefix, None),
        };
        let transition = Transition::named(state).filter(|_| self.transition.is_none());
        if transition.is_none() {
            return false;
        }
        self.transition = transition;
        self.scope = scope.filter(|scope| !scope.is_empty()).map(str::to_owned);
        true
    }
}

/// The text in brackets at the start, and what follows. A scope in braces may hold brackets.
fn prefix(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('[')?;
    let braced = inside.find(" on {").filter(|at| inside.find(']').is_none_or(|end| *at < end));
    let end = match braced {
        Some(at) => at + inside[at..].find("}]")? + 1,
        None => inside.find(']')?,
    };
    Some((&inside[..end], &inside[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title(text: &str) -> (Option<Transition>, Option<String>, Option<String>, String) {
        let Title { transition, priority, scope, name } = Title::of(text);
        (transition, priority, scope, name)
    }

    #[test]
    fn the_state_stands_before_the_title() {
        use Transition::{NoData, Recovered, Triggered, Warn};
        for (text, expected) in [
            ("[Triggered] Disk", Triggered),
            ("[Triggered on {host:db-1}] Disk", Triggered),
            ("[Re-Triggered on {host:db-1}] Disk", Triggered),
            ("[Renotify] Disk", Triggered),
            ("[P2] [Warn] Disk", Warn),
            ("[Re-Warn on {host:db-1}] Disk", Warn),
            ("[No Data] Disk", NoData),
            ("[Re-No Data on {host:db-1}] Disk", NoData),
            ("[Recovered on {host:db-1}] Disk", Recovered),
            ("[TEST] [P1] [Recovered] Disk", Recovered),
        ] {
            let (transition, _, _, name) = title(text);
            assert_eq!((transition, name.as_str()), (Some(expected), "Disk"), "{text}");
        }
    }

    #[test]
    fn brackets_of_the_monitors_own_title_stay() {
        assert_eq!(title("[payments] Disk"), (None, None, None, "[payments] Disk".into()));
        let (transition, priority, scope, name) = title("[P1] [Warn on {q:a[0],b:{c}}] [eu] Disk");
        assert_eq!(transition, Some(Transition::Warn));
        assert_eq!((priority.as_deref(), scope.as_deref()), (Some("P1"), Some("q:a[0],b:{c")));
        assert_eq!(name, "[eu] Disk");
        assert_eq!(title("[Triggered on {a").3, "[Triggered on {a");
        assert_eq!(title("").3, "");
    }
}
