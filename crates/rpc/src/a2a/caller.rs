//! Who calls, as far as the server knows.

use std::collections::BTreeSet;

use a2a_types::TaskOwner;

/// The party behind a request. Nobody in particular where the server asks for no authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The authenticated name; empty without authentication.
    pub principal: String,
    /// The scopes its token grants.
    pub scopes: BTreeSet<String>,
    /// The roles its token names.
    pub roles: BTreeSet<String>,
}

impl Caller {
    pub fn is_authenticated(&self) -> bool {
        !self.principal.is_empty()
    }

    /// The owner of the tasks this caller makes for a tenant.
    pub fn owner(&self, tenant: &str) -> TaskOwner {
        TaskOwner { tenant: tenant.to_owned(), principal: self.principal.clone() }
    }
}
