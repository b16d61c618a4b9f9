//! One version of each library whose types cross crates: two of them in one build mean two HTTP or
//! TLS stacks and types that do not fit.

use super::Violation;

const SINGLE: [&str; 6] = ["axum", "tower", "tower-http", "hyper", "reqwest", "rustls"];

pub(super) fn check(lockfile: &str) -> Vec<Violation> {
    SINGLE
        .iter()
        .filter_map(|name| {
            let wanted = format!("name = \"{name}\"");
            let count = lockfile.lines().filter(|line| *line == wanted).count();
            (count > 1).then(|| {
                let message = format!("{count} versions of {name}: see cargo tree -d -i {name}");
                Violation::new("Cargo.lock", None, message)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_version_is_refused() {
        let one = "[[package]]\nname = \"hyper\"\nversion = \"1.0.0\"\n";
        let other = "[[package]]\nname = \"hyper-util\"\nversion = \"0.1.0\"\n";
        assert_eq!(check(&format!("{one}{other}")), []);
        let two = check(&format!("{one}{other}{one}"));
        assert!(two[0].message.contains("2 versions of hyper"), "{two:?}");
    }
}
