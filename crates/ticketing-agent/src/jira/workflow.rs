//! Which transition to take. A project's workflow shows only the next steps from where a ticket
//! is, so a target that is not among them is reached through statuses named in the settings.
//! Pure: what Jira offers in, the step to take out.

use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::JiraSettings;

/// A transition Jira offers, with the fields of its screen.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Transition {
    pub(crate) id: String,
    pub(crate) to: Status,
    #[serde(default)]
    fields: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    #[serde(default, rename = "statusCategory")]
    category: Category,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Category {
    #[serde(default)]
    key: String,
    #[serde(default)]
    name: String,
}

impl Status {
    pub(crate) fn is_named(&self, name: &str) -> bool {
        same(&self.name, name)
    }

    /// Whether the status belongs to the category with this name or key, and does not say the
    /// opposite of what an incident means by it.
    fn is_kind_of(&self, target: &str, settings: &JiraSettings) -> bool {
        let in_category = same(&self.category.name, target)
            || same(&self.category.key, target)
            || category_key(target).is_some_and(|key| self.category.key == key);
        in_category && !is_avoided(&self.name, settings)
    }
}

/// Whether a ticket needs no move: its status has the target's name, or its category and no
/// transition leads to that name.
pub(crate) fn has_arrived(
    status: &Status,
    target: &str,
    offered: &[Transition],
    settings: &JiraSettings,
) -> bool {
    status.is_named(target)
        || (status.is_kind_of(target, settings)
            && !offered.iter().any(|transition| transition.to.is_named(target)))
}

/// The transition to take next: to the target by name, else by category, else to a status on the
/// way that was not `visited` yet.
pub(crate) fn next_step<'a>(
    offered: &'a [Transition],
    target: &str,
    visited: &[String],
    settings: &JiraSettings,
) -> Option<&'a Transition> {
    let by_name = offered.iter().find(|transition| transition.to.is_named(target));
    let by_category =
        || offered.iter().find(|transition| transition.to.is_kind_of(target, settings));
    let on_the_way = || {
        settings
            .via
            .iter()
            .filter(|name| !visited.iter().any(|seen| same(seen, name)))
            .find_map(|name| offered.iter().find(|transition| transition.to.is_named(name)))
    };
    by_name.or_else(by_category).or_else(on_the_way)
}

/// The fields a transition's screen needs: its resolution, where it has one. Other fields that a
/// project demands are Jira's to name in its refusal.
pub(crate) fn fields(transition: &Transition, settings: &JiraSettings) -> Option<Value> {
    let field = transition.fields.get("resolution")?;
    let allowed: Vec<&str> = field["allowedValues"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|value| value["name"].as_str())
        .collect();
    let name = allowed
        .iter()
        .find(|name| same(name, &settings.resolution))
        .or_else(|| allowed.iter().find(|name| !is_avoided(name, settings)))
        .copied()
        .unwrap_or(&settings.resolution);
    Some(json!({ "resolution": { "name": name } }))
}

fn is_avoided(name: &str, settings: &JiraSettings) -> bool {
    let name = name.to_lowercase().replace('\u{2019}', "'");
    settings.avoid.iter().any(|word| name.contains(&word.to_lowercase()))
}

/// Category names are translated with the site; their keys are not.
fn category_key(name: &str) -> Option<&'static str> {
    [("to do", "new"), ("in progress", "indeterminate"), ("done", "done")]
        .into_iter()
        .find_map(|(known, key)| same(known, name).then_some(key))
}

fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(name: &str, category: &str) -> Transition {
        let status = json!({ "name": name, "statusCategory": { "key": category } });
        serde_json::from_value(json!({ "id": name, "to": status })).unwrap()
    }

    fn step<'a>(offered: &'a [Transition], target: &str, visited: &[&str]) -> Option<&'a str> {
        let visited: Vec<String> = visited.iter().map(|name| (*name).to_owned()).collect();
        let step = next_step(offered, target, &visited, &JiraSettings::default());
        step.map(|transition| transition.id.as_str())
    }

    #[test]
    fn a_name_goes_before_a_category_and_a_category_before_a_detour() {
        let offered =
            [to("In Progress", "indeterminate"), to("Closed", "done"), to("DONE", "done")];
        assert_eq!(step(&offered, "Done", &[]), Some("DONE"));
        assert_eq!(step(&offered[..2], "done", &[]), Some("Closed"));
        assert_eq!(step(&offered[..1], "Done", &[]), Some("In Progress"));
        assert_eq!(step(&offered[..1], "Done", &["in progress"]), None);
    }

    #[test]
    fn a_fixed_incident_is_never_moved_to_wont_do() {
        let offered = [to("Won’t Do", "done"), to("In Review", "indeterminate")];
        assert_eq!(step(&offered, "Done", &[]), Some("In Review"));
        assert_eq!(step(&offered[..1], "Done", &[]), None);
    }

    #[test]
    fn the_resolution_comes_from_what_the_screen_allows() {
        let with = |allowed: &[&str]| {
            let values: Vec<Value> = allowed.iter().map(|name| json!({ "name": name })).collect();
            let mut transition = to("Done", "done");
            transition.fields.insert("resolution".into(), json!({ "allowedValues": values }));
            fields(&transition, &JiraSettings::default()).unwrap()["resolution"]["name"].clone()
        };
        assert_eq!(with(&["Won't Do", "done"]), "done");
        assert_eq!(with(&["Won't Do", "Fixed"]), "Fixed");
        assert_eq!(with(&[]), "Done");
        assert!(fields(&to("Done", "done"), &JiraSettings::default()).is_none());
    }
}
