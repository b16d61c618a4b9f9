//! Effects that wait to be performed. A row leaves when its effect is confirmed, or becomes a dead
//! letter when it is given up.

use incident::IncidentId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    pub id: i64,
    pub incident_id: IncidentId,
    pub kind: String,
    /// The round of the incident that asked for it.
    pub round: u32,
    /// Definite failures so far.
    pub attempt: u32,
    /// Failures of any kind so far, such as a peer that was away.
    pub tries: u32,
    /// The newest row of this incident and kind when this one was claimed. Rows of one incident are
    /// numbered in the order of its versions: what is read from now on is not older than any of them.
    pub last: i64,
}
