//! Arrows between crates. A crate uses rows above its own, never its own row or one below, in its
//! tests too; and what stands for one outside thing is used by the crate that hides it, only.

use super::{Package, Violation};

/// The rows, top first. `cli` stands below the programs because it starts them all in one process.
/// `failpoints` knows nothing and does nothing in what ships.
/// `webhooks` reads what monitoring systems send, without a socket. `task-store-suite` and
/// `postgres-server` are for tests only: crates that do not know one another use them.
const ROWS: [&[&str]; 6] = [
    &["a2a-types", "incident", "failpoints"],
    &["webhooks", "task-store-suite", "postgres-server"],
    &["rpc", "store", "service"],
    &[
        "ingress",
        "diagnostic-agent",
        "resolution-agent",
        "ticketing-agent",
        "mcp-tools",
        "fault-simulator",
    ],
    &["cli"],
    &["scenarios", "tck-sut", "bench", "xtask"],
];

/// What only one crate may name, and that crate. The bench keeps a bare server to compare with.
const PLACED: [(&str, &[&str]); 7] = [
    ("sqlx", &["store", "bench"]),
    ("jsonrpsee", &["rpc"]),
    ("rmcp", &["rpc"]),
    ("opentelemetry_sdk", &["service"]),
    ("opentelemetry-otlp", &["service"]),
    ("kube", &["mcp-tools"]),
    ("bollard", &["mcp-tools"]),
];

pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    packages.iter().flat_map(|package| [arrows(package), placement(package)].concat()).collect()
}

fn row(name: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&name))
}

fn arrows(package: &Package) -> Vec<Violation> {
    let Some(own) = row(&package.name) else {
        let message = format!("crate {} has no row in the layer table", package.name);
        return vec![Violation::new(package.manifest(), None, message)];
    };
    let wrong = package
        .dependencies
        .iter()
        .filter(|dependency| row(&dependency.name).is_some_and(|used| used >= own));
    wrong
        .map(|dependency| {
            let kind =
                dependency.kind.as_deref().map(|kind| format!("{kind}-")).unwrap_or_default();
            let (name, used) = (&package.name, &dependency.name);
            let message = format!(
                "{name} may not have the {kind}dependency {used}: a crate uses rows above its own"
            );
            Violation::new(package.manifest(), None, message)
        })
        .collect()
}

fn placement(package: &Package) -> Vec<Violation> {
    let is_misplaced = |used: &str, owners: &[&str]| {
        let family = format!("{used}-");
        !owners.contains(&package.name.as_str())
            && package
                .dependencies
                .iter()
                .any(|dependency| dependency.name == used || dependency.name.starts_with(&family))
    };
    PLACED
        .iter()
        .filter(|(used, owners)| is_misplaced(used, owners))
        .map(|(used, owners)| {
            let owners = owners.join(" and ");
            let message = format!("{} may not use {used}: it belongs to {owners}", package.name);
            Violation::new(package.manifest(), None, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::metadata::package;
    use super::*;

    fn messages(package: Package) -> Vec<String> {
        check(&[package]).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn arrows_upward_are_fine() {
        let fine = [
            package("incident", &["serde"]),
            package("rpc", &["a2a-types", "incident"]),
            package("ingress", &["rpc", "store", "service", "incident"]),
            package("cli", &["ingress", "fault-simulator", "service"]),
            package("scenarios", &["cli", "ingress", "store"]),
        ];
        assert_eq!(check(&fine), []);
    }

    #[test]
    fn arrow_downward_or_sideways_is_refused() {
        assert!(messages(package("incident", &["service"]))[0].contains("service"));
        assert!(
            messages(package("ingress", &["resolution-agent"]))[0].contains("resolution-agent")
        );
        assert!(messages(package("rpc", &["store"]))[0].contains("store"));
    }

    #[test]
    fn arrow_of_a_test_counts() {
        let mut ingress = package("ingress", &["ticketing-agent"]);
        ingress.dependencies[0].kind = Some("dev".into());
        assert!(messages(ingress)[0].contains("dev-dependency ticketing-agent"));
    }

    #[test]
    fn crate_without_a_row_is_refused() {
        assert!(messages(package("helpers", &[]))[0].contains("no row"));
    }

    #[test]
    fn hidden_library_outside_its_owner_is_refused() {
        assert!(messages(package("ingress", &["sqlx"]))[0].contains("belongs to store"));
        assert!(messages(package("ingress", &["jsonrpsee-core"]))[0].contains("belongs to rpc"));
        assert_eq!(messages(package("store", &["sqlx"])), Vec::<String>::new());
    }
}
