//! Puts ingress together.

use std::sync::Arc;

use anyhow::Context;
use rpc::a2a::Server;
use service::{Process, Running};
use store::FileStore;
use tokio::sync::Semaphore;

use crate::agent::IngressAgent;
use crate::config::Config;
use crate::engine::Engine;
use crate::performer::Performer;
use crate::reconcile::Reconciler;
use crate::routes::Api;
use crate::{card, console, routes};

/// Starts ingress: its listeners, and the work its database holds.
///
/// # Errors
/// The database is in use, or an address cannot be listened on.
pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
    let store = FileStore::open(&config.database).await.context("open the database")?;
    let card = card::card(&config.address()?);
    let options = config.a2a.open().context("settings of `a2a`")?;
    let waiting = Arc::new(Semaphore::new(config.queue_capacity));
    let (listen, console_listen) = (config.listen.clone(), config.console_listen.clone());
    let task_store = store.task_store();
    let engine = Arc::new(Engine::new(store, process.clone(), config));
    let performer = Arc::new(Performer::new(engine.clone())?);
    let reconciler = Reconciler::new(&engine.config)?;
    let api = Api { engine, performer: performer.clone(), waiting };
    let host = rpc::Host::new(
        process.time_source(),
        process.id_source(),
        process.tracker().clone(),
        process.shutdown_token(),
    );
    let agent = Arc::new(IngressAgent { api: api.clone() });
    let server = Server::new(&card, agent, task_store, &host, options);
    let app = routes::routes(api.clone()).merge(server.router());
    let address = service::serve(&process, &listen, "`listen` of ingress", app).await?;
    let console = console::routes(api.clone());
    service::serve(&process, &console_listen, "`console_listen` of ingress", console).await?;
    server.resume().await?;
    process.spawn_until_shutdown(performer.run());
    if let Some(reconciler) = reconciler {
        process.spawn_until_shutdown(reconciler.run(api.clone()));
    }
    Ok(Running { address })
}
