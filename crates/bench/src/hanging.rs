//! An agent that takes every request and answers none: what stands behind ingress where nothing but
//! ingress is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct HangingAgent {
    pub address: SocketAddr,
    asked: Arc<watch::Sender<(u64, Instant)>>,
    /// Ends with the agent.
    _serving: JoinSet<std::io::Result<()>>,
}

impl HangingAgent {
    /// # Errors
    /// There is no port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(watch::Sender::new((0, Instant::now())));
        let counted = asked.clone();
        let hang = move || {
            counted.send_modify(|(count, at)| (*count, *at) = (*count + 1, Instant::now()));
            std::future::pending::<()>()
        };
        let routes = axum::Router::new().fallback(hang);
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { address, asked, _serving: serving })
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.asked.borrow().0
    }

    /// When it was asked for the first time after so many.
    ///
    /// # Errors
    /// It is not, in half a minute.
    pub async fn asked_again(&self, before: u64) -> anyhow::Result<Instant> {
        let mut asked = self.asked.subscribe();
        let again = asked.wait_for(|(count, _)| *count > before);
        let again = tokio::time::timeout(PATIENCE, again).await;
        Ok(again.context("ingress asks no agent")??.1)
    }
}
