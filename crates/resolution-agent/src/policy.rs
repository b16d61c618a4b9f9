//! What the types of a policy cannot say. A name that nothing bears is a typing error: it would
//! protect, allow or switch on nothing, and nobody would be told.

use std::collections::BTreeSet;

use a2a_types::mcp::deployment;
use incident::gates::{Policy, Scope};

use crate::Runbooks;

/// What a scope says for "all that are known".
const ALL: &str = "*";

/// Refuses a policy that does not mean what it says.
///
/// # Errors
/// The first field at fault, and why.
pub(crate) fn check(policy: &Policy, runbooks: &Runbooks) -> anyhow::Result<()> {
    for id in policy.runbooks.keys() {
        let is_known = runbooks.get(id).is_some();
        anyhow::ensure!(is_known, "field `runbooks.{id}`: there is no such runbook");
    }
    let mut targets = BTreeSet::new();
    for (name, members) in &policy.environments {
        for target in members {
            let is_first = targets.insert(target.as_str());
            // Which environment's scope counted would depend on the order of their names.
            let why = "stands in another environment too";
            anyhow::ensure!(is_first, "field `environments.{name}`: {target} {why}");
        }
    }
    for target in &policy.protected_targets {
        let is_known = targets.contains(target.as_str());
        anyhow::ensure!(is_known, "field `protected_targets`: {target} is in no environment");
    }
    for (index, scope) in policy.scope.iter().enumerate() {
        if let Some((field, name)) = unknown_in(scope, policy, &targets) {
            anyhow::bail!("field `scope[{index}].{field}`: there is no {name:?}");
        }
    }
    let has_switch = !policy.kill_switch.as_os_str().is_empty();
    anyhow::ensure!(has_switch, "field `kill_switch`: must name a file");
    let percent = policy.min_healthy_percent;
    anyhow::ensure!(percent <= 100, "field `min_healthy_percent`: {percent} is above 100");
    Ok(())
}

/// The first name of a scope that nothing bears, and its field.
fn unknown_in<'a>(
    scope: &'a Scope,
    policy: &Policy,
    targets: &BTreeSet<&str>,
) -> Option<(&'static str, &'a str)> {
    let is_action = |name: &str| deployment::TOOLS.iter().any(|tool| tool.name == name);
    let is_environment = |name: &str| policy.environments.contains_key(name);
    let first = |names: &'a BTreeSet<String>, is_known: &dyn Fn(&str) -> bool| {
        names.iter().map(String::as_str).find(|name| *name != ALL && !is_known(name))
    };
    first(&scope.actions, &is_action)
        .map(|name| ("actions", name))
        .or_else(|| {
            first(&scope.targets, &|name| targets.contains(name)).map(|name| ("targets", name))
        })
        .or_else(|| first(&scope.environments, &is_environment).map(|name| ("environments", name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
environments: {test: [db-1, app-1], production: [db-9]}
scope: [{actions: [scale, '*'], targets: [db-1], environments: [test, '*']}]
protected_targets: [db-9]
min_healthy_percent: 100
";

    fn checked(text: &str) -> Result<(), String> {
        let policy: Policy = service::parse_yaml(text, "policy.yaml").unwrap();
        check(&policy, &Runbooks::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_that_nothing_bears_stops_the_start() {
        assert_eq!(checked(GOOD), Ok(()));
        for (from, to, error) in [
            ("env", "kill_switch: ''\nenv", "field `kill_switch`: must name a file"),
            (
                "[db-9]\nmin",
                "[db-09]\nmin",
                "field `protected_targets`: db-09 is in no environment",
            ),
            ("[scale,", "[scael,", "field `scope[0].actions`: there is no \"scael\""),
            (
                "targets: [db-1]",
                "targets: [db-2]",
                "field `scope[0].targets`: there is no \"db-2\"",
            ),
            (": [test,", ": [tset,", "field `scope[0].environments`: there is no \"tset\""),
            ("percent: 100", "percent: 101", "field `min_healthy_percent`: 101 is above 100"),
            (
                "env",
                "runbooks: {none: auto}\nenv",
                "field `runbooks.none`: there is no such runbook",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(checked(&GOOD.replacen(from, to, 1)), Err(error.to_owned()));
        }
    }

    #[test]
    fn a_target_of_two_environments_is_of_neither() {
        let error = checked(&GOOD.replace("production: [db-9]", "production: [db-1, db-9]"));
        assert_eq!(
            error,
            Err("field `environments.test`: db-1 stands in another environment too".into())
        );
    }
}
