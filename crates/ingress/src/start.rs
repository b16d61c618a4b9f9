//! Puts ingress together.

use std::sync::Arc;

use a2a_types::TaskStore;
use anyhow::Context;
use rpc::a2a::Server;
use service::{Listen, Process, ProcessIdentity, Running};
use store::{OpenOptions, Opened, Store};

use crate::agent::IngressAgent;
use crate::config::Config;
use crate::engine::Engine;
use crate::performer::Performer;
use crate::reconcile::Reconcilers;
use crate::refusals::Refusals;
use crate::routes::Api;
use crate::rules::Rules;
use crate::sources::Sources;
use crate::{card, console, journal, routes};

/// Starts ingress: its listeners, and the work its database holds.
///
/// # Errors
/// The database is in use, or an address cannot be listened on.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
    let this = ProcessIdentity::current();
    let options = OpenOptions::of_process(
        process.new_id().to_string(),
        (this.host, this.pid, this.start_time),
        |host, pid, start_time| ProcessIdentity { host, pid, start_time }.is_dead(),
        config.lease(),
        process.time_source(),
    );
    let opened = Box::pin(store::open(&config.database, "ingress", options)).await;
    let Opened { store, tasks } = opened.context("open the database")?;
    Box::pin(start_with(config, process, store, tasks)).await
}

/// The same with a database that is open.
///
/// # Errors
/// An address cannot be listened on, or a file of rules cannot be used.
pub async fn start_with(
    config: Config,
    process: Process,
    store: Arc<dyn Store>,
    tasks: Arc<dyn TaskStore>,
) -> anyhow::Result<Running> {
    let card = card::card(&config.address()?);
    let options = config.a2a.open().context("settings of `a2a`")?;
    let rules = Arc::new(Rules::open(&config)?);
    let sources = Arc::new(Sources::open(&process, &config.sources)?);
    let refusals = Arc::new(Refusals::new(process.metrics()));
    refusals.start(&process, store.clone());
    let (last, counted) = (store.clone(), refusals.clone());
    process.at_end(async move {
        if let Err(error) = counted.flush(&*last).await {
            tracing::error!(?error, "counts of refused requests are lost");
        }
        last.close().await;
    });
    let engine = Arc::new(Engine::new(store, process.clone(), config, rules.clone())?);
    engine.start();
    let performer = Arc::new(Performer::new(engine.clone())?);
    let reconcilers = Reconcilers::open(&process, engine.config.reconciliations(), &sources)?;
    let api = Api {
        engine: engine.clone(),
        performer: performer.clone(),
        sources,
        refusals,
        reconcilers,
    };
    let host = rpc::Host::new(
        process.time_source(),
        process.id_source(),
        process.tracker().clone(),
        process.shutdown_token(),
    );
    let agent = Arc::new(IngressAgent { api: api.clone() });
    let server = Server::new(&card, agent, tasks, &host, options);
    let app = routes::routes(api.clone()).merge(server.router());
    let config = &api.engine.config;
    let listen = Listen {
        limits: config.connections.clone(),
        tls: config.tls.as_ref(),
        ..Listen::new(&config.listen, "`listen` of ingress")
    };
    let address = service::serve_at(&process, listen, app).await?;
    let console = console::routes(api.clone());
    service::serve(&process, &config.console_listen, "`console_listen` of ingress", console)
        .await?;
    server.resume().await?;
    performer.start();
    rules.watch(&process);
    api.reconcilers.start(&engine);
    process.spawn_until_shutdown(journal::keep_short(engine));
    Ok(Running { address })
}
