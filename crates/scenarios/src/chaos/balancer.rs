//! What stands before the replicas of one program, as a Kubernetes service does: a connection goes to
//! a replica that was ready at the last look. A connection to one that freezes stays where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LOOK: Duration = Duration::from_millis(200);
const ANSWER: Duration = Duration::from_millis(500);
/// Connections at a time; further callers wait in the listener's queue.
const CONNECTIONS: usize = 512;

#[derive(Debug)]
struct Balancer {
    backends: Vec<Backend>,
    /// Whether answers are lost on the way.
    lost: Arc<AtomicBool>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Backend {
    address: String,
    is_ready: AtomicBool,
}

/// Serves `front` until `stop`.
///
/// # Errors
/// The address is taken.
pub(crate) async fn serve(
    front: &str,
    backends: Vec<String>,
    lost: Arc<AtomicBool>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(front).await.with_context(|| format!("listen on {front}"))?;
    let backends = backends.into_iter();
    let backends = backends.map(|address| Backend { address, is_ready: AtomicBool::new(false) });
    let backends = backends.collect();
    let balancer = Arc::new(Balancer { backends, lost, turn: AtomicUsize::new(0) });
    let http = reqwest::Client::builder().timeout(ANSWER).pool_max_idle_per_host(0).build()?;
    for index in 0..balancer.backends.len() {
        let watch = balancer.clone().watch(index, http.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(watch));
    }
    let accept = balancer.accept(listener, tasks.clone(), stop.clone());
    tasks.spawn(stop.clone().run_until_cancelled_owned(accept));
    Ok(())
}

impl Balancer {
    async fn watch(self: Arc<Self>, index: usize, http: reqwest::Client) {
        let backend = &self.backends[index];
        let url = format!("http://{}/readyz", backend.address);
        loop {
            let answer = http.get(&url).send().await;
            let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
            backend.is_ready.store(is_ready, Ordering::SeqCst);
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((caller, _)) = listener.accept().await else { continue };
            let balancer = self.clone();
            let carry = async move {
                let _place = place;
                let Some(replica) = balancer.connect().await else { return };
                balancer.carry(caller, replica).await;
            };
            tasks.spawn(stop.clone().run_until_cancelled_owned(carry));
        }
    }

    /// Carries requests one way and answers the other until either ends. An answer that is lost takes
    /// its connection with it, a little later.
    async fn carry(&self, mut caller: TcpStream, mut replica: TcpStream) {
        let _ = (caller.set_nodelay(true), replica.set_nodelay(true));
        let (mut asked, mut told) = caller.split();
        let (mut answered, mut passed_on) = replica.split();
        let requests = async {
            let _ = tokio::io::copy(&mut asked, &mut passed_on).await;
            let _ = passed_on.shutdown().await;
            std::future::pending::<()>().await;
        };
        let answers = async {
            let mut chunk = vec![0; 16 * 1024];
            while let Ok(length @ 1..) = answered.read(&mut chunk).await {
                if self.lost.load(Ordering::SeqCst) {
                    return tokio::time::sleep(ANSWER).await;
                }
                if told.write_all(&chunk[..length]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! { () = requests => {}, () = answers => {} }
    }

    /// A ready replica, in turn; where none is, any that takes a connection.
    async fn connect(&self) -> Option<TcpStream> {
        let count = self.backends.len();
        let first = self.turn.fetch_add(1, Ordering::SeqCst);
        let in_turn = (0..count).map(|offset| &self.backends[(first + offset) % count]);
        let (ready, others): (Vec<&Backend>, Vec<&Backend>) =
            in_turn.partition(|backend| backend.is_ready.load(Ordering::SeqCst));
        for backend in ready.into_iter().chain(others) {
            let connecting = TcpStream::connect(&backend.address);
            if let Ok(Ok(replica)) = tokio::time::timeout(ANSWER, connecting).await {
                return Some(replica);
            }
        }
        None
    }
}
