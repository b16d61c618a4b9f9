//! The ports of the demo, checked before anything starts: a taken port is named with its flag.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::bail;

/// What `firebreak up` listens on, before the offset.
const FIREBREAK: [(u16, &str); 11] = [
    (5000, "ingress"),
    (5001, "console"),
    (5010, "diagnostic-agent"),
    (5020, "resolution-agent"),
    (5030, "ticketing-agent"),
    (5110, "log-analyzer"),
    (5120, "system-monitor"),
    (5130, "deployment-system"),
    (8000, "fault-simulator db-server-01"),
    (8001, "fault-simulator app-server-01"),
    (8002, "fault-simulator api-gateway-01"),
];

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Ports {
    /// Added to every port of Firebreak's own programs (5000 and up, 8000 and up)
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(..=50_000))]
    port_offset: u16,
    /// Port of Prometheus
    #[arg(long, default_value_t = 9090, value_name = "PORT")]
    prometheus_port: u16,
    /// Port of Alertmanager
    #[arg(long, default_value_t = 9093, value_name = "PORT")]
    alertmanager_port: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { port_offset: 0, prometheus_port: 9090, alertmanager_port: 9093 }
    }
}

impl Ports {
    pub(super) fn offset(&self) -> u16 {
        self.port_offset
    }

    pub(super) fn ingress(&self) -> SocketAddr {
        self.shifted(5000)
    }

    pub(super) fn console(&self) -> SocketAddr {
        self.shifted(5001)
    }

    /// The simulator's database server; each of its ports takes every trigger.
    pub(super) fn simulator(&self) -> SocketAddr {
        self.shifted(8000)
    }

    pub(super) fn fleet(&self) -> [SocketAddr; 3] {
        [self.shifted(8000), self.shifted(8001), self.shifted(8002)]
    }

    pub(super) fn prometheus(&self) -> SocketAddr {
        local(self.prometheus_port)
    }

    pub(super) fn alertmanager(&self) -> SocketAddr {
        local(self.alertmanager_port)
    }

    /// # Errors
    /// Every port that is taken, with what needs it and the flag that moves it.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let own = FIREBREAK.map(|(port, name)| (port + self.port_offset, name, "--port-offset"));
        let others = [
            (self.prometheus_port, "prometheus", "--prometheus-port"),
            (self.alertmanager_port, "alertmanager", "--alertmanager-port"),
        ];
        let taken: Vec<String> = own
            .into_iter()
            .chain(others)
            .filter(|(port, _, _)| is_taken(local(*port)))
            .map(|(port, name, flag)| {
                format!("port {port} ({name}) is in use: free it, or choose another with {flag}")
            })
            .collect();
        if taken.is_empty() { Ok(()) } else { bail!("{}", taken.join("\n")) }
    }

    fn shifted(&self, port: u16) -> SocketAddr {
        local(port + self.port_offset)
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn is_taken(address: SocketAddr) -> bool {
    // Some systems let a narrower address be bound beside a wider one, so the answer counts too.
    TcpListener::bind(address).is_err()
        || TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_port_is_named_with_its_flag() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let ports = Ports { prometheus_port: port, ..Ports::default() };
        let error = ports.check().unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} (prometheus) is in use")), "{error}");
        assert!(error.contains("--prometheus-port"), "{error}");
    }

    #[test]
    fn offset_moves_firebreak_only() {
        let ports = Ports { port_offset: 1000, ..Ports::default() };
        assert_eq!(ports.ingress().port(), 6000);
        assert_eq!(ports.fleet().map(|address| address.port()), [9000, 9001, 9002]);
        assert_eq!(ports.prometheus().port(), 9090);
    }
}
