//! The key of an incident: alerts with the same key are one incident. What makes a key of an alert
//! stands in ingress.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentKey(String);

impl IncidentKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for IncidentKey {
    fn from(text: String) -> Self {
        Self(text)
    }
}
