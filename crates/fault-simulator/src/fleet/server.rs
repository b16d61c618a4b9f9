//! The three servers by name.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    Database,
    App,
    Gateway,
}

impl Server {
    pub const ALL: [Self; 3] = [Self::Database, Self::App, Self::Gateway];

    /// The host name, as in labels, log files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "db-server-01",
            Self::App => "app-server-01",
            Self::Gateway => "api-gateway-01",
        }
    }

    /// The service this server is part of.
    pub fn service(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::App => "app",
            Self::Gateway => "api-gateway",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
