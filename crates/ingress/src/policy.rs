//! What is not acted upon although it fires: what a maintenance window covers, and what a storm
//! brings. Pure: alerts, settings and the time go in.

mod maintenance;
mod storm;

use incident::{FLAP_CHANGES_MOST, Limits};
use service::ConfigError;

pub(crate) use maintenance::Maintenance;
pub(crate) use storm::{Group, Storms, Summary};

pub use maintenance::{Matcher, Once, Weekly, WindowConfig};
pub use storm::StormConfig;

/// A day: what changes more slowly than that does not flap.
const FLAP_SECONDS_MOST: u64 = 24 * 3_600;

/// The settings of flapping.
pub(crate) fn check_flapping(limits: &Limits) -> Result<(), ConfigError> {
    let wrong = |field: &str, why: &str| Err(ConfigError::setting(format!("limits.{field}"), why));
    let times = [
        ("flap_window_seconds", limits.flap_window_seconds),
        ("flap_quiet_seconds", limits.flap_quiet_seconds),
    ];
    for (field, seconds) in times {
        ConfigError::check_range(format!("limits.{field}"), seconds, 0..=FLAP_SECONDS_MOST)?;
    }
    if limits.flap_changes == 0 {
        return Ok(());
    }
    if !(2..=FLAP_CHANGES_MOST).contains(&limits.flap_changes) {
        return wrong("flap_changes", &format!("must be 0, or from 2 to {FLAP_CHANGES_MOST}"));
    }
    if limits.flap_window_seconds == 0 {
        return wrong("flap_window_seconds", "must not be 0; `flap_changes: 0` switches it off");
    }
    if limits.flap_quiet_seconds == 0 {
        return wrong("flap_quiet_seconds", "must not be 0; `flap_changes: 0` switches it off");
    }
    Ok(())
}
