//! The three MCP servers: `log-analyzer` and `system-monitor` read, `deployment-system` changes.
//! Each is a program of its own with its own credentials; they share only how they listen.

pub mod access;
pub mod deployment_system;
pub mod log_analyzer;
pub mod system_monitor;

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use service::{Configuration, Env};

    use super::*;

    fn sample_is_the_default<C: Configuration + Default + Debug>(program: &str) {
        let path = format!("{}/../../deploy/config/{program}.yaml", env!("CARGO_MANIFEST_DIR"));
        let sample: C = service::load_config(Some(path.as_ref()), &Env::fixed([])).unwrap();
        assert_eq!(format!("{sample:?}"), format!("{:?}", C::default()), "{program}");
    }

    #[test]
    fn the_sample_configurations_are_the_defaults() {
        sample_is_the_default::<log_analyzer::Config>("log-analyzer");
        sample_is_the_default::<system_monitor::Config>("system-monitor");
        sample_is_the_default::<deployment_system::Config>("deployment-system");
    }
}
