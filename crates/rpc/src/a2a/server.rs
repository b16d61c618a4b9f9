//! The server: one set of operations behind two bindings, JSON-RPC and HTTP+JSON. Whatever both
//! have to say alike stands in `operations` and `admission`; a binding only reads and writes.

mod admission;
mod check;
mod fields;
mod json_rpc;
mod list;
mod operations;
mod refusal;
mod rest;
mod stream;
mod v0_3;

use std::sync::Arc;
use std::time::Duration;

use a2a_types::{AgentCard, AgentProvider, CARD_PATH, TaskStore};
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{any, get};
use jsonrpsee::RpcModule;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::admission::Admission;
use self::operations::Operations;
use super::auth::{Authentication, Gate};
use super::card;
use super::limits::LimitsConfig;
use super::published::Published;
use super::push::{Push, PushConfig};
use super::signature::CardSigner;
use super::tasks::{Agent, TaskOptions, Tasks};
use crate::Host;

/// Where the JSON-RPC binding is served.
pub const RPC_PATH: &str = "/a2a";
/// Where callers that still speak 0.3 are served, if at all.
pub const V0_3_PATH: &str = "/a2a/v0.3";
/// The base of the HTTP+JSON binding: `/message:send` and the others follow it.
pub const REST_PATH: &str = "/a2a/v1";

/// How a server is offered: its bounds, its callers, and what its cards say beside the agent's own.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Largest request body; beyond it the answer is 413.
    pub body_bytes: usize,
    /// How long a request body may take to arrive; beyond it the answer is 408.
    pub body_deadline: Duration,
    /// Longest path and query of a request; beyond it the answer is 414.
    pub url_bytes: usize,
    /// Most parts of one message.
    pub parts: usize,
    /// Streams open at once, over both bindings; beyond it the answer is 503.
    pub streams: usize,
    /// Pause after which a silent stream says that it is still there.
    pub keep_alive: Duration,
    /// What authenticated callers see instead of the published card. Without one, and where callers
    /// are authenticated, it is that card with the limits they are held to.
    pub extended_card: Option<AgentCard>,
    /// Who may call.
    pub authentication: Authentication,
    /// What one caller may ask.
    pub limits: LimitsConfig,
    /// Signs both cards.
    pub signer: Option<CardSigner>,
    /// Who runs the agent, where its card does not say so itself.
    pub provider: Option<AgentProvider>,
    /// Where people read about the agent, where its card does not say so itself.
    pub documentation_url: Option<Url>,
    pub tasks: TaskOptions,
    pub push: PushConfig,
    /// Whether callers that still speak 0.3 are served, at an address of their own.
    pub v0_3: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            body_deadline: Duration::from_secs(30),
            url_bytes: 8 << 10,
            parts: 256,
            streams: 1024,
            keep_alive: Duration::from_secs(15),
            extended_card: None,
            authentication: Authentication::none(),
            limits: LimitsConfig::default(),
            signer: None,
            provider: None,
            documentation_url: None,
            tasks: TaskOptions::default(),
            push: PushConfig::default(),
            v0_3: false,
        }
    }
}

/// An agent behind A2A.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    card: Published,
    tasks: Tasks,
    operations: Operations,
    methods: RpcModule<Operations>,
    admission: Admission,
    options: ServerOptions,
    shutdown: CancellationToken,
}

impl Server {
    pub fn new(
        card: &AgentCard,
        agent: Arc<dyn Agent>,
        store: Arc<dyn TaskStore>,
        host: &Host,
        options: ServerOptions,
    ) -> Self {
        let card = if options.v0_3 { v0_3::offered_by(card) } else { card.clone() };
        let (card, extended_card) = card::complete(&card, &options);
        let push = Push::new(options.push.clone());
        let deliveries = push.start(store.clone(), host);
        let tasks = Tasks::new(agent, store, host.clone(), options.tasks.clone(), deliveries);
        let operations = Operations::new(tasks.clone(), push, &card, extended_card, &options);
        let (authentication, limits) = (options.authentication.clone(), options.limits.clone());
        let gate = Gate::new(authentication, limits, host.clone());
        Self(Arc::new(Inner {
            card: Published::new(&v0_3::document(&card), host.now()),
            tasks,
            methods: json_rpc::methods(operations.clone()),
            operations,
            admission: Admission::new(&card, gate),
            options,
            shutdown: host.shutdown().clone(),
        }))
    }

    /// Takes up tasks that a former process left unfinished; returns how many.
    ///
    /// # Errors
    /// The task store cannot be read.
    pub async fn resume(&self) -> Result<usize, a2a_types::TaskStoreError> {
        self.0.tasks.resume().await
    }

    /// Tasks in memory: those at work, and those that somebody waits for or listens to.
    pub fn live_tasks(&self) -> usize {
        self.0.tasks.live_count()
    }

    /// Other routes of the same program, for callers that may use the agent.
    pub fn guard(&self, routes: Router) -> Router {
        routes.layer(axum::middleware::from_fn_with_state(self.clone(), admission::guard))
    }

    /// The card and both bindings.
    pub fn router(&self) -> Router {
        let mut routes = Router::new();
        if self.0.options.v0_3 {
            routes = routes.route(V0_3_PATH, any(v0_3::serve));
            routes = routes.route(&format!("{V0_3_PATH}/"), any(v0_3::serve));
        }
        routes
            .route(CARD_PATH, get(serve_card))
            .route(RPC_PATH, any(json_rpc::serve))
            .route(&format!("{RPC_PATH}/"), any(json_rpc::serve))
            .route(REST_PATH, any(rest::serve))
            .route(&format!("{REST_PATH}/"), any(rest::serve))
            .route(&format!("{REST_PATH}/{{*path}}"), any(rest::serve))
            .layer(DefaultBodyLimit::max(self.0.options.body_bytes))
            .with_state(self.clone())
    }
}

async fn serve_card(State(server): State<Server>, headers: HeaderMap) -> Response {
    server.0.card.answer(&headers)
}
