//! The model through its public surface: each fault shows its symptom, only the right repair ends
//! it, and its duration ends it too.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

/// A fleet with its source of chance.
struct World {
    fleet: Fleet,
    rng: StdRng,
}

impl World {
    /// A healthy fleet that has run for ten seconds.
    fn new(seed: u64) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = Self { fleet: Fleet::new(now, 40.0), rng: StdRng::seed_from_u64(seed) };
        world.run(10.0);
        world
    }

    fn with(fault: Fault) -> Self {
        let mut world = Self::new(7);
        world.fleet.trigger(fault, Duration::from_secs(300)).unwrap();
        world
    }

    fn run(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0) as u64 {
            self.fleet.tick(Duration::from_millis(100), &mut self.rng);
        }
    }

    /// Pool timeouts per second over the next ten seconds.
    fn timeout_rate(&mut self) -> f64 {
        let before = self.fleet.connection_timeouts();
        self.run(10.0);
        (self.fleet.connection_timeouts() - before) as f64 / 10.0
    }

    /// The share of `status` among what the gateway answers over the next ten seconds.
    fn gateway_ratio(&mut self, status: u16) -> f64 {
        let read = |fleet: &Fleet| {
            let http = fleet.gateway_http();
            (http.with_status(status) as f64, http.total() as f64)
        };
        let before = read(&self.fleet);
        self.run(10.0);
        let after = read(&self.fleet);
        (after.0 - before.0) / (after.1 - before.1)
    }

    /// CPU of the app as a share of its cores, over the next five seconds.
    fn app_cpu(&mut self) -> f64 {
        let before = self.fleet.host(Server::App).cpu_seconds;
        self.run(5.0);
        let host = self.fleet.host(Server::App);
        (host.cpu_seconds - before) / 5.0 / host.cores()
    }

    fn set_pool(&mut self, size: u64) {
        let wanted = BTreeMap::from([("connection_pool_size".to_owned(), size)]);
        self.fleet.configure(Server::Database, &wanted).unwrap();
    }

    fn restart(&mut self, server: Server) {
        self.fleet.restart(server);
        self.run(1.5);
    }

    fn is_active(&self, fault: Fault) -> bool {
        self.fleet.active_faults().iter().any(|active| active.fault == fault)
    }

    /// Tries every repair on every server except `skip`.
    fn repair_everything_but(&mut self, skip: &[(Server, &str)]) {
        for server in Server::ALL {
            let is_kept = |repair| !skip.contains(&(server, repair));
            if is_kept("cleanup") {
                self.fleet.clean_up(server);
            }
            if is_kept("scale") && server != Server::Database {
                self.fleet.scale(server, 4).unwrap();
            }
            if is_kept("jobs") {
                for job in self.fleet.status(server).jobs.into_keys() {
                    self.fleet.set_job(server, job, false).unwrap();
                }
            }
            if is_kept("restart") {
                self.restart(server);
            }
        }
        self.run(1.5);
    }
}

#[test]
fn a_healthy_fleet_shows_no_symptom_for_ten_minutes() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        world.run(600.0);
        let http = world.fleet.gateway_http();
        assert_eq!((http.with_status(503), http.with_status(502)), (0, 0));
        assert!(http.with_status(200) > 20_000);
        assert!(world.fleet.connection_timeouts() < 5, "{}", world.fleet.connection_timeouts());
        assert!(world.fleet.host(Server::App).memory_ratio() < 0.5);
        assert!(world.app_cpu() < 0.3);
        for server in Server::ALL {
            assert!(world.fleet.host(server).disk.avail_ratio() > 0.4);
        }
    }
}

#[test]
fn a_shrunk_pool_times_out_until_it_is_raised_and_restarted() {
    let mut world = World::with(Fault::DatabaseTimeout);
    assert!(world.timeout_rate() > 8.0);
    assert_eq!(world.gateway_ratio(503), 0.0);
    world.restart(Server::Database);
    assert!(world.timeout_rate() > 8.0, "a restart alone changes nothing");
    world.set_pool(20);
    assert!(world.timeout_rate() > 8.0, "a saved value waits for the restart");
    assert_eq!(world.fleet.status(Server::Database).pending_config["connection_pool_size"], 20);
    world.restart(Server::Database);
    assert!(!world.is_active(Fault::DatabaseTimeout));
    assert!(world.timeout_rate() < 0.2);
    assert!(world.gateway_ratio(500) < 0.01);
}

#[test]
fn other_repairs_do_not_end_a_shrunk_pool() {
    let mut world = World::with(Fault::DatabaseTimeout);
    world.repair_everything_but(&[]);
    assert!(world.is_active(Fault::DatabaseTimeout) && world.timeout_rate() > 8.0);
}

#[test]
fn a_leak_fills_memory_until_the_app_is_restarted() {
    let mut world = World::with(Fault::MemoryLeak);
    world.run(4.0);
    assert!(world.fleet.host(Server::App).memory_ratio() > 0.85);
    world.repair_everything_but(&[(Server::App, "restart")]);
    world.run(30.0);
    assert!(world.is_active(Fault::MemoryLeak));
    assert!((0.9..1.0).contains(&world.fleet.host(Server::App).memory_ratio()));
    assert!(world.app_cpu() < 0.6, "memory pressure is not a CPU fault");
    world.restart(Server::App);
    world.run(30.0);
    assert!(!world.is_active(Fault::MemoryLeak));
    assert!(world.fleet.host(Server::App).memory_ratio() < 0.5);
}

#[test]
fn too_few_replicas_reject_requests_until_scaled_out() {
    let mut world = World::with(Fault::Api503);
    assert!(world.gateway_ratio(503) > 0.15);
    world.repair_everything_but(&[(Server::Gateway, "scale")]);
    let longer = BTreeMap::from([("queue_limit".to_owned(), 64)]);
    world.fleet.configure(Server::Gateway, &longer).unwrap();
    world.run(20.0);
    assert!(world.is_active(Fault::Api503) && world.gateway_ratio(503) > 0.15);
    world.fleet.scale(Server::Gateway, 3).unwrap();
    world.run(1.5);
    assert!(!world.is_active(Fault::Api503));
    assert_eq!(world.gateway_ratio(503), 0.0);
}

#[test]
fn a_full_disk_fails_writes_until_cleaned() {
    let mut world = World::with(Fault::DiskFull);
    world.run(3.0);
    assert!(world.fleet.host(Server::Database).disk.avail_ratio() < 0.02);
    assert!(world.gateway_ratio(500) > 0.1);
    world.repair_everything_but(&[(Server::Database, "cleanup")]);
    assert!(world.is_active(Fault::DiskFull) && world.gateway_ratio(500) > 0.1);
    let cleaned = world.fleet.clean_up(Server::Database);
    assert!(cleaned.deleted_files > 1000);
    assert!(cleaned.avail_bytes.after > cleaned.avail_bytes.before + 10_000_000_000);
    assert!(!world.is_active(Fault::DiskFull));
    world.run(1.0);
    assert_eq!(world.gateway_ratio(500), 0.0);
}

#[test]
fn a_runaway_job_takes_the_cpu_until_it_is_stopped() {
    let mut world = World::with(Fault::HighCpu);
    assert!(world.app_cpu() > 0.9);
    world.fleet.restart(Server::App);
    assert!(world.app_cpu() > 0.9, "a restart does not even interrupt it");
    world.repair_everything_but(&[(Server::App, "jobs")]);
    assert!(world.is_active(Fault::HighCpu), "the supervisor starts the job again");
    assert!(world.app_cpu() > 0.82, "more replicas run the job too");
    let change = world.fleet.set_job(Server::App, "report-generator", false).unwrap();
    assert_eq!(change, Change { before: true, after: false });
    world.run(0.1);
    assert!(!world.is_active(Fault::HighCpu) && world.app_cpu() < 0.3);
}

#[test]
fn no_pool_size_cures_the_fix_that_fails() {
    let mut world = World::with(Fault::FixThatFails);
    let before = world.timeout_rate();
    world.set_pool(20);
    world.restart(Server::Database);
    let after = world.timeout_rate();
    assert!(before > 8.0 && after > 8.0, "{before} {after}");
    assert!(world.is_active(Fault::FixThatFails));
    assert!(
        world.fleet.drain_log().iter().any(|line| line.message.starts_with("lock wait of")),
        "after the repair the log shows the true cause"
    );
}

#[test]
fn the_fix_that_hurts_stops_timeouts_but_fails_more_requests_until_undone() {
    let mut world = World::with(Fault::FixThatHurts);
    let (timeouts, failing) = (world.timeout_rate(), world.gateway_ratio(500));
    assert!(timeouts > 8.0 && failing > 0.2);
    world.set_pool(20);
    world.restart(Server::Database);
    assert!(world.timeout_rate() < 0.5, "the symptom is gone");
    let hurt = world.gateway_ratio(500);
    assert!(hurt > 1.5 * failing, "but the neighbour is worse: {hurt} after {failing}");
    world.set_pool(2);
    world.restart(Server::Database);
    let undone = world.gateway_ratio(500);
    assert!((undone - failing).abs() < 0.15, "as before the fix: {undone} and {failing}");
    assert!(world.timeout_rate() > 8.0 && world.is_active(Fault::FixThatHurts));
}

#[test]
fn every_fault_lasts_its_duration_and_then_heals_by_itself() {
    for fault in Fault::ALL {
        let mut world = World::new(3);
        world.fleet.trigger(fault, Duration::from_secs(20)).unwrap();
        world.run(19.0);
        assert!(world.is_active(fault), "{fault}");
        world.run(4.0);
        assert!(!world.is_active(fault), "{fault}");
        assert!(world.timeout_rate() < 0.5, "{fault}");
        assert!(world.gateway_ratio(200) > 0.99, "{fault}");
        assert!(world.app_cpu() < 0.3, "{fault}");
        assert!(world.fleet.host(Server::App).memory_ratio() < 0.5, "{fault}");
        assert!(world.fleet.host(Server::Database).disk.avail_ratio() > 0.4, "{fault}");
    }
}

#[test]
fn a_fault_cannot_be_triggered_twice_nor_share_the_pool() {
    let mut world = World::with(Fault::DatabaseTimeout);
    let minute = Duration::from_secs(60);
    let again = world.fleet.trigger(Fault::DatabaseTimeout, minute).unwrap_err();
    assert!(matches!(again, FaultError::AlreadyActive { remaining_seconds: 300, .. }), "{again}");
    let other = world.fleet.trigger(Fault::FixThatHurts, minute).unwrap_err();
    assert!(matches!(other, FaultError::PoolHeld { holder: Fault::DatabaseTimeout, .. }));
    world.fleet.heal(Fault::DatabaseTimeout).unwrap();
    assert_eq!(
        world.fleet.heal(Fault::DatabaseTimeout),
        Err(FaultError::NotActive { fault: Fault::DatabaseTimeout })
    );
    world.fleet.trigger(Fault::FixThatHurts, minute).unwrap();
}

#[test]
fn settings_are_changed_all_or_none() {
    let mut world = World::new(1);
    let wanted = BTreeMap::from([
        ("connection_pool_size".to_owned(), 20),
        ("connection_timeout_ms".to_owned(), 1),
    ]);
    let error = world.fleet.configure(Server::Database, &wanted).unwrap_err();
    assert_eq!(error.to_string(), "connection_timeout_ms must be 50 to 2000, not 1");
    assert!(world.fleet.status(Server::Database).pending_config.is_empty());
}

#[test]
fn a_restart_under_way_is_joined_and_resets_the_process() {
    let mut world = World::new(1);
    assert_eq!(world.fleet.restart(Server::App), 2);
    assert_eq!(world.fleet.restart(Server::App), 2);
    assert!(!world.fleet.status(Server::App).is_running);
    world.run(1.0);
    let status = world.fleet.status(Server::App);
    assert!(status.is_running && status.uptime < Duration::from_secs(1));
    assert!(world.fleet.gateway_http().with_status(502) > 10, "a restart is not free");
    assert!(world.fleet.app_http().total() < 20);
}
