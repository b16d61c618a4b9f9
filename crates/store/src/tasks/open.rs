//! What a program's `database` setting names.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Sqlite,
}

/// A password in the setting would be seen wherever settings are shown.
pub(crate) fn check_database(database: &str) -> Result<Kind, &'static str> {
    let Some((scheme, rest)) = database.split_once("://") else {
        let scheme = database.split_once(':').map_or("", |(scheme, _)| scheme);
        return match (database, scheme) {
            ("", _) => Err("is empty"),
            (_, "postgres" | "postgresql") => {
                Err("is no URL of a server, which begins with postgres://, and no path of a file")
            }
            (_, "sqlite") => Err("has a scheme: a SQLite file is named by its path alone"),
            _ => Ok(Kind::Sqlite),
        };
    };
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err("is neither a postgres:// URL nor the path of a SQLite file");
    }
    let (authority, rest) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    if user.contains(':') || rest.contains("password=") {
        return Err("holds a password, which belongs into the file that PGPASSFILE names");
    }
    Ok(Kind::Postgres)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_told_apart() {
        for url in ["postgres://host/tasks", "postgresql://agent@[::1]:5432/tasks?sslmode=require"]
        {
            assert_eq!(check_database(url), Ok(Kind::Postgres), "{url}");
        }
        for path in ["data/tasks.db", "/var/lib/a:b@c.db"] {
            assert_eq!(check_database(path), Ok(Kind::Sqlite), "{path}");
        }
        // So is a file of such a name, by `./`.
        assert_eq!(check_database("./postgres:/x"), Ok(Kind::Sqlite));
        for bad in ["postgres:/x", "postgresql:x", "sqlite:x.db", "sqlite://x.db"] {
            assert!(check_database(bad).is_err(), "{bad}");
        }
        for bad in ["", "mysql://host/tasks", "postgres://a:b@host/x", "postgres:///x?password=b"] {
            assert!(check_database(bad).is_err(), "{bad}");
        }
    }
}
