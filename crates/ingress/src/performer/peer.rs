//! The agents that perform, each behind a circuit.

use a2a_types::SendMessageResponse;
use futures::StreamExt;
use rpc::a2a::{Client, ClientError, ClientOptions, PeerConfig, Send, SettingError};

use super::{Failure, Performer, Tried};
use crate::circuit::Circuit;
use crate::engine::{Engine, Work};

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) circuit: Circuit,
    works: &'static [Work],
}

#[derive(Debug)]
pub(super) struct Peers {
    pub(super) diagnostic: Peer,
    pub(super) resolution: Peer,
    pub(super) ticketing: Peer,
}

impl Peers {
    pub(super) fn new(engine: &Engine) -> Result<Self, SettingError> {
        let agents = engine.config.agents.clone();
        // What is repeated, and when, the outbox says.
        let http = engine.process.exchange().into();
        let options = ClientOptions { retries: 0, http, ..ClientOptions::default() };
        let time = engine.process.time_source();
        let peer = |role: &str, peer: PeerConfig, works| {
            let client = Client::of_peer(peer, options.clone(), time.clone());
            let client = client.map_err(|error| error.within(&format!("agents.{role}")))?;
            Ok(Peer { client, circuit: Circuit::default(), works })
        };
        Ok(Self {
            diagnostic: peer("diagnostic", agents.diagnostic, &[Work::Diagnose])?,
            resolution: peer(
                "resolution",
                agents.resolution,
                &[Work::Resolve, Work::CancelResolution],
            )?,
            ticketing: peer("ticketing", agents.ticketing, &[Work::SyncTicket])?,
        })
    }
}

impl Performer {
    /// Sends a message and waits until its task leaves the peer nothing to do without its caller.
    pub(super) async fn ask(
        &self,
        work: Work,
        send: Send,
        within: std::time::Duration,
    ) -> Result<SendMessageResponse, ClientError> {
        let client = &self.peer(work).client;
        let mut answers = client.start(send, within);
        while let Some(answer) = answers.next().await {
            self.heard(work, &answer);
            match answer? {
                SendMessageResponse::Task(task) if !task.status.state.is_settled() => {}
                settled => return Ok(settled),
            }
        }
        let url = client.peer().url.to_string();
        Err(ClientError::Interrupted { url, why: "no answer".into() })
    }

    /// Learns from an answer, or from its absence, whether the peer is there.
    pub(super) fn heard<T>(&self, work: Work, answer: &Result<T, ClientError>) {
        let peer = self.peer(work);
        let url = &peer.client.peer().url;
        match answer {
            Err(error) if is_away(error) => {
                if peer.circuit.missed(self.engine.process.clock().instant()) {
                    tracing::warn!(%url, %error, "away: only probed from now on");
                }
            }
            // It was there, and broke off.
            Err(ClientError::Interrupted { .. }) => {}
            _ => {
                if peer.circuit.reached() {
                    tracing::info!(%url, "back");
                    peer.works.iter().for_each(|work| self.engine.wake.ring(*work));
                }
            }
        }
    }
}

fn is_away(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Deadline { .. } => true,
        ClientError::Status { status, .. } => matches!(status, 502..=504),
        _ => false,
    }
}

/// What an error of a call means to its row.
pub(super) fn failed(error: &ClientError) -> Tried {
    let (why, retry_after) = (describe(error), error.retry_after());
    let counts = match error {
        // It was told again from the start so often, or a secret is being changed.
        ClientError::TaskLost { .. } | ClientError::Unauthorized { .. } => true,
        // A peer that is away gave no answer: only the phase's deadline ends this.
        _ if error.is_transient() => false,
        _ => return Tried::GivenUp { why },
    };
    Tried::Again(Failure { why, counts, retry_after })
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
