//! What each server exports: resources everywhere, the pool on the database server (as its clients
//! see it), requests on the two that answer them.

use crate::exposition::{Exposition, Format, Labels};
use crate::fleet::{Fleet, HttpStats, Server};

/// The metrics page of one server.
pub(crate) fn render(fleet: &Fleet, server: Server, format: Format) -> String {
    let mut page = Exposition::new(format);
    match server {
        Server::Database => database(&mut page, fleet),
        Server::App => http(&mut page, fleet.app_http()),
        Server::Gateway => {
            http(&mut page, fleet.gateway_http());
            gateway(&mut page, fleet);
        }
    }
    process(&mut page, fleet, server);
    machine(&mut page, fleet, server);
    page.finish()
}

fn database(page: &mut Exposition, fleet: &Fleet) {
    let database = fleet.database();
    let host = fleet.host(Server::Database);
    page.gauge("db_up", "Whether the database accepts connections.", u8::from(host.is_running()));
    page.counter(
        "db_connection_timeout",
        "Requests that waited for a connection longer than the acquire timeout.",
        database.timeouts,
    );
    page.gauge("db_connections_active", "Connections in use.", database.active());
    page.gauge(
        "db_connection_pool_size",
        "Connections the pool may open.",
        host.settings.get("connection_pool_size"),
    );
    page.gauge(
        "db_connection_pool_pending",
        "Requests that wait for a connection.",
        database.waiting(),
    );
    page.histogram(
        "db_query_duration_seconds",
        "Time a query held its connection.",
        &database.durations,
    );
    let reasons = ["statement_timeout", "out_of_memory", "disk_full", "unavailable"];
    let labels = reasons.map(|reason| [("reason", reason)]);
    let samples: Vec<(Labels<'_>, u64)> = labels
        .iter()
        .map(|pair| (&pair[..], database.errors.get(pair[0].1).copied().unwrap_or_default()))
        .collect();
    page.counters("db_query_errors", "Queries that failed.", &samples);
}

fn http(page: &mut Exposition, http: &HttpStats) {
    let statuses: Vec<String> = [200, 500, 502, 503, 504].iter().map(u16::to_string).collect();
    let labels: Vec<_> = statuses.iter().map(|status| [("status", status.as_str())]).collect();
    let samples: Vec<(Labels<'_>, u64)> = labels
        .iter()
        .map(|pair| (&pair[..], http.with_status(pair[0].1.parse().unwrap_or_default())))
        .collect();
    page.counters("http_requests", "Requests answered, by status.", &samples);
    page.histogram("http_request_duration_seconds", "Time to answer a request.", &http.duration);
}

fn gateway(page: &mut Exposition, fleet: &Fleet) {
    let gateway = fleet.gateway();
    let workers = fleet.host(Server::Gateway).serving();
    page.gauge("gateway_workers", "Workers of all ready replicas.", workers);
    page.gauge("gateway_workers_busy", "Workers with a request.", gateway.busy());
    page.gauge("gateway_queue_length", "Requests that wait for a worker.", gateway.queued());
}

fn process(page: &mut Exposition, fleet: &Fleet, server: Server) {
    let host = fleet.host(server);
    let started = fleet.at(host.started).as_millisecond() as f64 / 1000.0;
    page.gauge("process_resident_memory_bytes", "Resident memory.", host.resident() as u64);
    page.counter(
        "process_cpu_seconds",
        "CPU time of all replicas, across restarts.",
        host.cpu_seconds,
    );
    page.gauge("process_start_time_seconds", "Start time since the epoch.", started);
    page.gauge("app_generation", "Starts of the service.", host.generation);
    page.gauge("app_replicas", "Replicas that are ready.", host.serving());
    page.gauge("app_replicas_desired", "Replicas wanted.", host.replicas.desired);
    let labels: Vec<_> = host.jobs.keys().map(|job| [("job_name", *job)]).collect();
    let samples: Vec<(Labels<'_>, u8)> = labels
        .iter()
        .zip(host.jobs.values())
        .map(|(pair, running)| (&pair[..], u8::from(*running)))
        .collect();
    page.gauges("job_running", "Whether a job runs.", &samples);
}

fn machine(page: &mut Exposition, fleet: &Fleet, server: Server) {
    let host = fleet.host(server);
    let volume: Labels<'_> = &[("mountpoint", "/var"), ("device", "/dev/vda1")];
    let limit = host.memory_limit as u64;
    page.gauge("container_spec_memory_limit_bytes", "Memory limit of a process.", limit);
    page.gauge("machine_cpu_cores", "Cores of all replicas.", host.cores());
    page.gauges(
        "node_filesystem_avail_bytes",
        "Free space of the volume.",
        &[(volume, host.disk.avail() as u64)],
    );
    page.gauges(
        "node_filesystem_size_bytes",
        "Size of the volume.",
        &[(volume, host.disk.size as u64)],
    );
}
