//! The catalogue of faults: what each is called, where it strikes, what ends it.

use std::fmt;

use super::Server;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    DatabaseTimeout,
    MemoryLeak,
    Api503,
    DiskFull,
    HighCpu,
    FixThatFails,
    FixThatHurts,
}

impl Fault {
    pub const ALL: [Self; 7] = [
        Self::DatabaseTimeout,
        Self::MemoryLeak,
        Self::Api503,
        Self::DiskFull,
        Self::HighCpu,
        Self::FixThatFails,
        Self::FixThatHurts,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::DatabaseTimeout => "database_timeout",
            Self::MemoryLeak => "memory_leak",
            Self::Api503 => "api_503",
            Self::DiskFull => "disk_full",
            Self::HighCpu => "high_cpu",
            Self::FixThatFails => "fix_that_fails",
            Self::FixThatHurts => "fix_that_hurts",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    pub fn server(self) -> Server {
        match self {
            Self::MemoryLeak | Self::HighCpu => Server::App,
            Self::Api503 => Server::Gateway,
            Self::DatabaseTimeout | Self::DiskFull | Self::FixThatFails | Self::FixThatHurts => {
                Server::Database
            }
        }
    }

    pub fn summary(self) -> &'static str {
        match self {
            Self::DatabaseTimeout => "a rollout shrinks the connection pool below demand",
            Self::MemoryLeak => "every request leaks memory",
            Self::Api503 => "the gateway is scaled in below its load",
            Self::DiskFull => "old archive logs fill the disk and writes fail",
            Self::HighCpu => "the job report-generator runs away",
            Self::FixThatFails => "looks like database_timeout; all queries wait for one lock",
            Self::FixThatHurts => "looks like database_timeout; a large pool exhausts host memory",
        }
    }

    pub fn repair(self) -> &'static str {
        match self {
            Self::DatabaseTimeout => "raise connection_pool_size to 6 or more, then restart",
            Self::MemoryLeak => "restart",
            Self::Api503 => "scale out to 2 replicas or more",
            Self::DiskFull => "clean up old files",
            Self::HighCpu => "stop the job report-generator",
            Self::FixThatFails | Self::FixThatHurts => "none: lasts its whole duration",
        }
    }

    /// Whether this fault works by shrinking the connection pool; only one such fault at a time.
    pub(crate) fn holds_pool(self) -> bool {
        matches!(self, Self::DatabaseTimeout | Self::FixThatFails | Self::FixThatHurts)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
