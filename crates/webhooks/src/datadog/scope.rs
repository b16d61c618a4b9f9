//! Tags, and the tags that tell one group of a monitor from another.

/// Which group of a monitor: the same in whatever order its tags come.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scope {
    /// Where it was found.
    pub(super) field: String,
    pub(super) tags: Vec<(String, String)>,
}

impl Scope {
    pub(super) fn of(field: &str, text: &str) -> Self {
        let tags = tags(text).filter(|(name, _)| *name != "*");
        let mut tags: Vec<_> =
            tags.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        tags.sort();
        tags.dedup();
        Self { field: field.to_owned(), tags }
    }

    pub(super) fn text(&self) -> String {
        let tags = self.tags.iter().map(|(name, value)| format!("{name}:{value}"));
        tags.collect::<Vec<_>>().join(",")
    }
}

/// `a:b,c:d,e`: a tag without a value is there, and that is all it says.
pub(super) fn tags(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    tags.map(|tag| match tag.split_once(':') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => (name, value),
        _ => (tag, "true"),
    })
}
