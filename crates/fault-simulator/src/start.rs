//! Starts the fleet: three listeners on it, and one loop that moves it along with the clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use service::{Process, Running};

use crate::Config;
use crate::fleet::{Fleet, Server};
use crate::listen::{Port, listen};
use crate::log_file::LogFiles;

/// Where the three servers answer.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub database: SocketAddr,
    pub app: SocketAddr,
    pub gateway: SocketAddr,
}

/// Starts the simulator; the main address is that of db-server-01.
///
/// # Errors
/// A port that is taken, a log directory that cannot be written, an unreadable token file.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
    let addresses = start_fleet(config, process).await?;
    Ok(Running { address: addresses.database })
}

/// As `start`, and says where each server answers.
///
/// # Errors
/// As `start`.
pub async fn start_fleet(config: Config, process: Process) -> anyhow::Result<Addresses> {
    let admin_token = config.admin_token()?;
    let logs = LogFiles::open(&config.log_directory, config.log_file_bytes)?;
    let fleet = Fleet::new(process.now(), config.requests_per_second);
    let fleet = Arc::new(Mutex::new(fleet));
    let port = |server| Port::new(server, fleet.clone(), admin_token.clone());
    let open = |address, setting, server| listen(&process, address, setting, port(server));
    let database = open(&config.database_address, "database_address", Server::Database).await?;
    let app = open(&config.app_address, "app_address", Server::App).await?;
    let gateway = open(&config.gateway_address, "gateway_address", Server::Gateway).await?;
    let rng = StdRng::seed_from_u64(config.seed);
    let tick = Duration::from_millis(config.tick_ms);
    process.spawn_until_shutdown(drive(process.clone(), fleet.clone(), tick, rng, logs));
    tracing::info!(%database, %app, %gateway, "fleet is up");
    Ok(Addresses { database, app, gateway })
}

/// Moves the fleet along with the clock, and writes down what it logged.
async fn drive(
    process: Process,
    fleet: Arc<Mutex<Fleet>>,
    tick: Duration,
    mut rng: StdRng,
    mut logs: LogFiles,
) {
    loop {
        process.clock().sleep(tick).await;
        let now = process.now();
        let lines = {
            let mut fleet = fleet.lock().expect("no panic while the fleet is held");
            // A clock set back stops the fleet until it is reached again.
            let elapsed = now.duration_since(fleet.now()).try_into().unwrap_or_default();
            fleet.tick(elapsed, &mut rng);
            fleet.drain_log()
        };
        logs.write(&lines);
    }
}
