//! The model: state and `tick`, no socket, no clock, no file. Requests arrive at the gateway, pass
//! to the app and wait there for a database connection; service times and queues decide the rest.
//! A fault only changes the state these dynamics start from, and ends when a repair undoes that.

mod chance;
mod database;
mod fault;
mod gateway;
mod host;
mod journal;
mod repair;
mod server;
mod settings;
mod stats;
mod trigger;

use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;

use database::{Answer, Conditions, Database};
use gateway::Gateway;
use host::{GIB, Host, MIB};

pub use fault::Fault;
pub use journal::{Level, LogLine};
pub use repair::{AdminError, Change, Cleaned, Status};
pub use server::Server;
pub use stats::HttpStats;
pub use trigger::{ActiveFault, EndedFault, FaultError};

pub(crate) use host::START_MS;
pub(crate) use stats::{BUCKETS, Histogram};

/// Milliseconds since the fleet was started.
pub(crate) type Millis = u64;

/// The time one step of the model covers.
const STEP_MS: Millis = 5;
const STEP_SECONDS: f64 = 0.005;
/// App CPU a request costs.
const APP_WORK_MS: f64 = 8.0;
/// Database CPU a query costs.
const QUERY_CPU_SECONDS: f64 = 0.010;
/// Gateway CPU a request costs; the rest of a worker's time is waiting.
const PROXY_CPU_SECONDS: f64 = 0.008;
/// What one request leaks under `memory_leak`.
const LEAK_BYTES: f64 = 2.4 * MIB;
/// How fast `disk_full` writes, per second, until `DISK_LEFT` of the disk is free.
const FILL_RATE: f64 = 8.0 * GIB;
const DISK_LEFT: f64 = 0.008;
/// Below this share of free space writes fail.
const WRITES_FAIL_BELOW: f64 = 0.03;
/// Memory one open database connection takes, and what `fix_that_hurts` takes from the host.
const BACKEND_BYTES: f64 = 48.0 * MIB;
const DATABASE_BASE_BYTES: f64 = 600.0 * MIB;
const HOG_BYTES: f64 = 1250.0 * MIB;
/// The share of all cores a runaway job takes.
const RUNAWAY_SHARE: f64 = 0.85;

/// One request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    arrived: Millis,
    forwarded: Millis,
}

/// The three servers, what is between them, and the faults among them.
#[derive(Clone, Debug)]
pub struct Fleet {
    epoch: Timestamp,
    now: Millis,
    /// Time handed to `tick` that does not fill a step yet.
    left_over: Duration,
    load: f64,
    /// Slow noise of the load, around 1.
    drift: f64,
    hosts: [Host; 3],
    gateway: Gateway,
    app: AppQueue,
    database: Database,
    faults: Vec<ActiveFault>,
    ended: Vec<EndedFault>,
    log: Vec<LogLine>,
}

/// Requests the app computes on, before their query.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppQueue {
    http: HttpStats,
    busy: Vec<(Millis, Request)>,
}

impl Fleet {
    /// A healthy fleet under `load` requests per second.
    pub fn new(now: Timestamp, load: f64) -> Self {
        Self {
            epoch: now,
            now: 0,
            left_over: Duration::ZERO,
            load,
            drift: 1.0,
            hosts: Server::ALL.map(Host::new),
            gateway: Gateway::default(),
            app: AppQueue::default(),
            database: Database::default(),
            faults: Vec::new(),
            ended: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Lets `elapsed` pass.
    pub fn tick(&mut self, elapsed: Duration, rng: &mut StdRng) {
        self.left_over += elapsed;
        let step = Duration::from_millis(STEP_MS);
        while self.left_over >= step {
            self.left_over -= step;
            self.step(rng);
        }
    }

    /// The time up to which `tick` was told to go.
    pub fn now(&self) -> Timestamp {
        self.at(self.now) + self.left_over
    }

    /// What the gateway answered to clients.
    pub fn gateway_http(&self) -> &HttpStats {
        &self.gateway.http
    }

    /// What the app answered to the gateway.
    pub fn app_http(&self) -> &HttpStats {
        &self.app.http
    }

    /// Requests that gave up waiting for a database connection.
    pub fn connection_timeouts(&self) -> u64 {
        self.database.timeouts
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn host(&self, server: Server) -> &Host {
        &self.hosts[server as usize]
    }

    fn host_mut(&mut self, server: Server) -> &mut Host {
        &mut self.hosts[server as usize]
    }

    pub(crate) fn at(&self, millis: Millis) -> Timestamp {
        self.epoch + Duration::from_millis(millis)
    }

    fn step(&mut self, rng: &mut StdRng) {
        self.now += STEP_MS;
        self.end_faults();
        self.advance_hosts();
        let arrived = self.arrive(rng);
        let forwarded = self.run_gateway(rng);
        self.run_app(&forwarded, rng);
        let answers = self.run_database(rng);
        let queries = answers.len();
        for answer in answers {
            self.answer(answer);
        }
        self.use_resources(arrived, forwarded.len(), queries);
        self.report();
    }

    fn advance_hosts(&mut self) {
        for server in Server::ALL {
            let now = self.now;
            let was_ready = self.host(server).replicas.ready;
            if self.host_mut(server).advance(now) {
                self.restarted(server);
            }
            let replicas = &self.host(server).replicas;
            if replicas.ready > was_ready {
                let text = format!("{} of {} replicas ready", replicas.ready, replicas.desired);
                self.write(server, Level::Info, "scaler", text);
            }
        }
    }

    fn arrive(&mut self, rng: &mut StdRng) -> usize {
        if self.now.is_multiple_of(100) {
            let noise = rng.random_range(-0.04..0.04);
            self.drift = (1.0 + 0.95 * (self.drift - 1.0) + noise).clamp(0.8, 1.2);
        }
        let count = chance::poisson(rng, self.load * self.drift * STEP_SECONDS);
        let host = self.host(Server::Gateway);
        let places = host.settings.get(settings::QUEUE_LIMIT) as usize * host.serving() as usize;
        for _ in 0..count {
            let request = Request { arrived: self.now, forwarded: self.now };
            if !self.gateway.admit(request, places) {
                self.log_rejected(places);
            }
        }
        count as usize
    }

    fn run_gateway(&mut self, rng: &mut StdRng) -> Vec<Request> {
        let workers = self.host(Server::Gateway).serving() as usize;
        let mut forwarded = self.gateway.work(self.now, workers, rng);
        for request in &mut forwarded {
            request.forwarded = self.now;
        }
        forwarded
    }

    fn run_app(&mut self, forwarded: &[Request], rng: &mut StdRng) {
        let (now, slowdown) = (self.now, self.app_slowdown());
        for &request in forwarded {
            if !self.host(Server::App).is_running() {
                self.finish_at_gateway(request, 502);
                continue;
            }
            let work = APP_WORK_MS * slowdown * rng.random_range(0.5..1.5);
            self.app.busy.push((now + work as u64, request));
        }
        let computed: Vec<Request> = self
            .app
            .busy
            .extract_if(.., |(at, _)| *at <= now)
            .map(|(_, request)| request)
            .collect();
        for request in computed {
            if self.host(Server::Database).is_running() {
                self.database.request(request, now);
            } else {
                let refused = self.database.refuse(request);
                self.answer(refused);
            }
        }
    }

    /// How much longer the app computes: a runaway job takes its CPU, a full heap its time.
    fn app_slowdown(&self) -> f64 {
        let host = self.host(Server::App);
        let contention = if self.is_active(Fault::HighCpu) { 4.0 } else { 1.0 };
        let collection = 1.0 + (host.memory_ratio() - 0.8).max(0.0) * 30.0;
        contention * collection
    }

    fn run_database(&mut self, rng: &mut StdRng) -> Vec<Answer> {
        if !self.host(Server::Database).is_running() {
            return Vec::new();
        }
        let conditions = self.conditions();
        self.database.work(self.now, conditions, rng)
    }

    fn conditions(&self) -> Conditions {
        let host = self.host(Server::Database);
        let pool_size = host.settings.get(settings::POOL_SIZE);
        let needed = pool_size as f64 * BACKEND_BYTES;
        Conditions {
            pool_size: pool_size as usize,
            acquire_timeout: host.settings.get(settings::ACQUIRE_TIMEOUT),
            statement_timeout: host.settings.get(settings::STATEMENT_TIMEOUT),
            out_of_memory: (1.0 - self.free_for_backends() / needed).clamp(0.0, 1.0),
            is_disk_full: host.disk.avail_ratio() < WRITES_FAIL_BELOW,
            is_locked: self.is_active(Fault::FixThatFails),
        }
    }

    /// Host memory that database connections can have.
    fn free_for_backends(&self) -> f64 {
        let hog = if self.is_active(Fault::FixThatHurts) { HOG_BYTES } else { 0.0 };
        self.host(Server::Database).memory_limit - DATABASE_BASE_BYTES - hog
    }

    /// Carries a query's answer back through the app to the client.
    fn answer(&mut self, answer: Answer) {
        let status = if answer.result.is_ok() { 200 } else { 500 };
        let took = self.now - answer.request.forwarded;
        self.app.http.record(status, took);
        self.log_answer(&answer, took);
        self.finish_at_gateway(answer.request, status);
    }

    fn finish_at_gateway(&mut self, request: Request, status: u16) {
        let timeout = self.host(Server::Gateway).settings.get(settings::UPSTREAM_TIMEOUT);
        self.gateway.finish(request, status, self.now, timeout);
        if status == 502 {
            self.write_some(
                Server::Gateway,
                Level::Error,
                "proxy",
                "connect to app-server-01 failed: connection refused status=502",
            );
        }
    }

    fn use_resources(&mut self, arrived: usize, forwarded: usize, queries: usize) {
        let collection = ((self.host(Server::App).memory_ratio() - 0.8) * 2.0).clamp(0.0, 0.3);
        let runaway = if self.is_active(Fault::HighCpu) {
            RUNAWAY_SHARE * self.host(Server::App).cores()
        } else {
            0.0
        };
        let app_work = forwarded as f64 * APP_WORK_MS / 1000.0;
        self.host_mut(Server::App).spend(app_work, collection + runaway, STEP_SECONDS);
        let query_work = queries as f64 * QUERY_CPU_SECONDS;
        self.host_mut(Server::Database).spend(query_work, 0.0, STEP_SECONDS);
        let proxy_work = arrived as f64 * PROXY_CPU_SECONDS;
        self.host_mut(Server::Gateway).spend(proxy_work, 0.0, STEP_SECONDS);
        self.leak(forwarded);
        self.fill_disks();
    }

    /// Leaks per request; near the limit full collections keep some room.
    fn leak(&mut self, requests: usize) {
        if !self.is_active(Fault::MemoryLeak) || !self.host(Server::App).is_running() {
            return;
        }
        let host = self.host_mut(Server::App);
        let room = ((0.97 - host.memory_ratio()) / 0.07).clamp(0.0, 1.0);
        host.leaked += requests as f64 * LEAK_BYTES * room;
    }

    fn fill_disks(&mut self) {
        let is_filling = self.is_active(Fault::DiskFull);
        for host in &mut self.hosts {
            let is_hit = is_filling && host.server == Server::Database;
            let rate = if is_hit { FILL_RATE } else { 0.02 * MIB };
            let room = (host.disk.avail() - DISK_LEFT * host.disk.size).max(0.0);
            host.disk.old_files += (rate * STEP_SECONDS).min(room);
        }
    }

    fn is_active(&self, fault: Fault) -> bool {
        self.faults.iter().any(|active| active.fault == fault)
    }
}

#[cfg(test)]
mod tests;
