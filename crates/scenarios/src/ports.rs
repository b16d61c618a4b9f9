//! A block of free ports for one world. They lie below the range from which the kernel serves
//! outgoing connections, so that a program which was killed finds its port free again.

use std::net::TcpListener;

use crate::Program;

/// Ports of one world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    first: u16,
}

const COUNT: u16 = 13;
const LOWEST: u16 = 20_000;
const BLOCKS: u16 = 700;
const STRIDE: u16 = 16;

impl Ports {
    /// A block that nobody listens on.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // Two test runs at the same time begin their search at different places.
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        let blocks = (0..BLOCKS).map(|index| LOWEST + (start + index) % BLOCKS * STRIDE);
        let free = blocks.map(|first| Self { first }).find(Self::is_free);
        free.ok_or_else(|| anyhow::anyhow!("no block of {COUNT} free ports from {LOWEST} on"))
    }

    fn is_free(&self) -> bool {
        (0..COUNT).all(|offset| TcpListener::bind(("127.0.0.1", self.first + offset)).is_ok())
    }

    /// Where a program's main listener answers.
    pub(crate) fn of(self, program: Program) -> String {
        self.at(match program {
            Program::FaultSimulator => 0,
            Program::DiagnosticAgent => 3,
            Program::ResolutionAgent => 4,
            Program::TicketingAgent => 5,
            Program::LogAnalyzer => 6,
            Program::SystemMonitor => 7,
            Program::DeploymentSystem => 8,
            Program::Ingress => 9,
            Program::Prometheus => 11,
            Program::Alertmanager => 12,
        })
    }

    /// The three servers of the simulated fleet: database, app, gateway.
    pub(crate) fn fleet(self) -> [String; 3] {
        [self.at(0), self.at(1), self.at(2)]
    }

    pub(crate) fn console(self) -> String {
        self.at(10)
    }

    fn at(self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.first + offset)
    }
}
