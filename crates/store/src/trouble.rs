//! What is wrong with a database, in words, and whether it may pass by itself. A full disk, a server
//! that is stopped, a file that somebody else has locked: the same call works again when the cause is
//! gone.

use std::io::ErrorKind;
use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    ReadOnly,
    Full,
    Busy,
    Unreadable,
    Damaged,
    Disconnected,
    Down,
    Late,
    /// Two transactions that waited for one another: one of them was ended.
    Collided,
    /// No trouble of the database: it understood, and refused.
    Refused,
}

impl Trouble {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => Self::Down,
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
                ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
                _ => Self::Disconnected,
            },
            sqlx::Error::PoolTimedOut => Self::Late,
            sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            | sqlx::Error::InvalidSavePointStatement => Self::Disconnected,
            sqlx::Error::AnyDriverError(error) => {
                error.downcast_ref::<Shared>().map_or(Self::Refused, |shared| Self::of(&shared.0))
            }
            sqlx::Error::Database(error) => of_database(&**error),
            _ => Self::Refused,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::ReadOnly => "the database can only be read, not written",
            Self::Full => "the disk of the database is full",
            Self::Busy => "the database is locked by another connection",
            Self::Unreadable => "the file of the database cannot be read or written",
            Self::Damaged => "the file of the database is damaged or no database",
            Self::Disconnected => "the connection to the database is lost",
            Self::Down => "the database server is not there",
            Self::Late => "the database does not answer in time",
            Self::Collided => "the transaction collided with another one",
            Self::Refused => "the database refuses this",
        }
    }

    pub(crate) fn may_pass(self) -> bool {
        !matches!(self, Self::Refused | Self::Damaged)
    }
}

fn of_database(error: &(dyn DatabaseError + 'static)) -> Trouble {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        of_sqlite(code.parse().unwrap_or(0))
    } else {
        of_postgres(&code)
    }
}

/// <https://www.sqlite.org/rescode.html>; the low byte is the primary code.
fn of_sqlite(code: u32) -> Trouble {
    match code & 0xff {
        5 | 6 => Trouble::Busy,
        7 | 10 | 14 | 15 => Trouble::Unreadable,
        8 => Trouble::ReadOnly,
        9 => Trouble::Late,
        11 | 26 => Trouble::Damaged,
        13 => Trouble::Full,
        _ => Trouble::Refused,
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_postgres(code: &str) -> Trouble {
    match code {
        "25006" => Trouble::ReadOnly,
        "53100" => Trouble::Full,
        "55P03" => Trouble::Busy,
        "57014" | "25P03" => Trouble::Late,
        "57P01" | "57P02" | "57P03" | "57P05" => Trouble::Down,
        "40001" | "40P01" => Trouble::Collided,
        _ => match code.get(..2) {
            Some("08") => Trouble::Disconnected,
            Some("53") => Trouble::Busy,
            Some("58") => Trouble::Unreadable,
            _ => Trouble::Refused,
        },
    }
}

/// One error for several callers.
#[derive(Clone, Debug)]
struct Shared(Arc<sqlx::Error>);

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The same error, as often as it is asked for.
pub(crate) fn copies(error: sqlx::Error) -> impl Fn() -> sqlx::Error {
    let shared = Shared(Arc::new(error));
    move || sqlx::Error::AnyDriverError(Box::new(shared.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_the_same() {
        let refused = sqlx::Error::Io(ErrorKind::ConnectionRefused.into());
        assert_eq!(Trouble::of(&refused), Trouble::Down);
        let words = refused.to_string();
        let copy = copies(refused)();
        assert_eq!(Trouble::of(&copy), Trouble::Down);
        assert!(copy.to_string().ends_with(&words), "{copy}");
    }

    #[test]
    fn what_may_pass_is_told_from_what_never_will() {
        assert_eq!(of_sqlite(13), Trouble::Full);
        assert_eq!(of_sqlite(5 | 1 << 8), Trouble::Busy, "an extended code");
        assert!(!of_sqlite(19).may_pass());
        assert!(of_postgres("08006").may_pass());
        assert!(!of_postgres("42601").may_pass());
    }
}
