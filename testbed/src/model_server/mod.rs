//! A simulated model server: the HTTP interface of a real one without a model behind it.
//!
//! **This is a simulation.** It runs no model, and its answers are canned words. What is real is what
//! others see of a model server: the inference APIs (OpenAI's, Anthropic's, vLLM's and SGLang's own,
//! streamed or not, with `usage`), the list of models, the health check, and `/metrics`. There are two
//! kinds:
//!
//! - [`ModelServer::start`]: its load is what the test says, and it answers at once. For tests of a
//!   decision.
//! - [`ModelServer::simulate`]: an engine with a queue, a batch, a KV cache and LoRA slots, in which
//!   every step takes as long as a GPU would need. Its load is what its requests make it. For
//!   measuring. `docs/simulator.md` says how it is modelled.
//!
//! ```
//! # async fn example() -> anyhow::Result<()> {
//! use testbed::model_server::{Load, ModelServer, SimulatorConfig, SpeedClass};
//!
//! let server = ModelServer::start().await?;
//! server.set_load(Load { waiting: 3, running: 8, kv_cache_usage: 0.6 });
//! println!("curl http://{}/metrics", server.address());
//! assert!(server.requests().is_empty());
//!
//! // Ten simulated seconds pass in a real one.
//! let config = SimulatorConfig { speed: SpeedClass::L4, time_scale: 10.0, ..Default::default() };
//! let server = ModelServer::simulate(config).await?;
//! println!("curl http://{}/metrics", server.address());
//! # Ok(())
//! # }
//! ```

mod api;
mod canned;
mod dialect;
mod engine;
mod faults;
mod journal;
mod metrics;
mod service;
mod simulator;
#[cfg(test)]
mod tests;
mod virtual_server;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use axum::Router;
use hyper::{HeaderMap, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use canned::Engine;
use faults::Share;
use journal::Journal;
use simulator::Simulator;

pub(crate) use engine::Progress;
pub(crate) use virtual_server::{VirtualServer, answer_text};

pub use canned::Load;
pub use dialect::Dialect;
pub use engine::{BLOCK_TOKENS, SpeedClass, Work};
pub use faults::{Faults, MetricsFault};
pub use journal::Received;
pub use metrics::MetricsAccess;
pub use simulator::{SimulatorConfig, Snapshot};

/// The response header in which every simulated model server names itself, as `ip:port`.
pub const MODEL_SERVER_HEADER: &str = "x-model-server";

/// A free port of the loopback interface.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Header fields a request may have. hyper's own limit is 100, less than what Envoy lets through.
const MAX_HEADERS: usize = 1000;

/// How long a connection may take to end what is on it when its server restarts.
const RESTART_GRACE: Duration = Duration::from_millis(100);

/// A simulated model server on a loopback port, which stops when it is dropped: it then listens no
/// more, and its connections are closed. The port may be anybody's then, unless it was
/// [closed](Self::close).
#[derive(Debug)]
pub struct ModelServer {
    state: Arc<State>,
    serving: JoinHandle<()>,
}

/// The port of a model server that is gone: connections to it are refused, and until this is dropped
/// nobody gets it but a [server at its address](ModelServer::simulate_at).
#[derive(Debug)]
pub struct ClosedPort {
    _bound: TcpSocket,
    address: SocketAddr,
}

impl ClosedPort {
    /// A port at which nobody has ever listened.
    ///
    /// # Errors
    ///
    /// When no loopback port can be had.
    pub fn new() -> Result<Self> {
        Self::at(ANY_PORT)
    }

    /// Where connections are refused.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bound and not listening.
    fn at(address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Connections of before may still be closing.
        socket.set_reuseaddr(true)?;
        socket
            .bind(address)
            .with_context(|| format!("the port {address} cannot be kept closed"))?;
        Ok(Self {
            address: socket.local_addr()?,
            _bound: socket,
        })
    }
}

/// What the handlers of a server share with its handle.
#[derive(Debug)]
struct State {
    address: SocketAddr,
    access: MetricsAccess,
    /// Where the metrics are: `address`, if they have no port of their own.
    metrics_address: SocketAddr,
    backend: Backend,
    pieces: watch::Sender<Option<Pieces>>,
    faults: watch::Sender<Faults>,
    failing: Mutex<Share>,
    resetting: Mutex<Share>,
    /// Counts the restarts.
    restarts: watch::Sender<u64>,
    journal: Journal,
}

/// How an answer is cut on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// Bytes of a piece.
    pub size: usize,
    /// The time before each piece, so that no two of them come at once.
    pub pause: Duration,
}

/// What makes the answers.
#[derive(Debug)]
enum Backend {
    Canned(Engine),
    Simulated(Arc<Simulator>),
}

impl State {
    /// Whether the next request is to be answered 500.
    fn fails(&self) -> bool {
        pick(&self.failing, self.faults.borrow().errors)
    }

    /// Whether the next answer is to break off.
    fn resets(&self) -> bool {
        pick(&self.resetting, self.faults.borrow().resets)
    }

    fn restart(&self) {
        if let Backend::Simulated(simulator) = &self.backend {
            simulator.restart();
        }
        self.restarts.send_modify(|restarts| *restarts += 1);
    }
}

fn pick(picks: &Mutex<Share>, share: f64) -> bool {
    share > 0.0
        && picks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .picks(share)
}

impl ModelServer {
    /// Starts an idle server on a free port, whose load is set by hand, and which shows it as vLLM
    /// does.
    ///
    /// # Errors
    ///
    /// When no loopback port can be had.
    pub async fn start() -> Result<Self> {
        Self::start_as(Dialect::Vllm).await
    }

    /// As [`ModelServer::start`], with the metrics of this kind of model server.
    ///
    /// # Errors
    ///
    /// When no loopback port can be had.
    pub async fn start_as(dialect: Dialect) -> Result<Self> {
        Self::start_with(dialect, MetricsAccess::default()).await
    }

    /// As [`ModelServer::start_as`], with the metrics where `access` says.
    ///
    /// # Errors
    ///
    /// When no loopback port can be had.
    pub async fn start_with(dialect: Dialect, access: MetricsAccess) -> Result<Self> {
        Self::serve(ANY_PORT, access, Backend::Canned(Engine::new(dialect))).await
    }

    /// Starts a server on a free port, whose load is what its requests make it.
    ///
    /// # Errors
    ///
    /// When the configuration is not possible, or no loopback port can be had.
    pub async fn simulate(config: SimulatorConfig) -> Result<Self> {
        Self::simulate_at(ANY_PORT, config).await
    }

    /// As [`ModelServer::simulate`], on a given address.
    ///
    /// # Errors
    ///
    /// When the configuration is not possible, or the address cannot be had.
    pub async fn simulate_at(address: SocketAddr, config: SimulatorConfig) -> Result<Self> {
        let simulator = Arc::new(Simulator::new(config)?);
        let access = MetricsAccess::default();
        Self::serve(address, access, Backend::Simulated(simulator)).await
    }

    async fn serve(address: SocketAddr, access: MetricsAccess, backend: Backend) -> Result<Self> {
        let listener = listen(address).await?;
        let metrics_listener = if access.own_port {
            Some(listen(ANY_PORT).await?)
        } else {
            None
        };
        let state = Arc::new(State {
            address: listener.local_addr()?,
            access,
            metrics_address: metrics_listener
                .as_ref()
                .unwrap_or(&listener)
                .local_addr()?,
            backend,
            pieces: watch::Sender::default(),
            faults: watch::Sender::default(),
            failing: Mutex::default(),
            resetting: Mutex::default(),
            restarts: watch::Sender::default(),
            journal: Journal::default(),
        });
        let serving = tokio::spawn(serve(listener, metrics_listener, Arc::clone(&state)));
        Ok(Self { state, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// Where its metrics are.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.state.metrics_address
    }

    /// The load that its metrics report.
    #[must_use]
    pub fn load(&self) -> Load {
        match &self.state.backend {
            Backend::Canned(engine) => engine.load(),
            Backend::Simulated(simulator) => simulator.load(),
        }
    }

    /// Sets the load that its metrics report; of no effect on a server that simulates its own.
    pub fn set_load(&self, load: Load) {
        if let Backend::Canned(engine) = &self.state.backend {
            engine.set_load(load);
        }
    }

    /// Lets no answer have more tokens than so many, until more are allowed; no limit at the start; of no
    /// effect on a server that simulates its own load.
    pub fn set_token_limit(&self, limit: Option<usize>) {
        if let Backend::Canned(engine) = &self.state.backend {
            engine.set_token_limit(limit);
        }
    }

    /// Cuts answers into pieces, whichever they are; `None`, as at the start, sends each as it is made.
    pub fn set_pieces(&self, pieces: Option<Pieces>) {
        self.state.pieces.send_replace(pieces);
    }

    /// The counters and gauges of a simulated engine; none when the load is set by hand.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        match &self.state.backend {
            Backend::Canned(_) => None,
            Backend::Simulated(simulator) => Some(simulator.snapshot()),
        }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state.faults.borrow().clone()
    }

    /// Sets all that is wrong with it. A server whose load is set by hand heeds only
    /// [`Faults::metrics`].
    ///
    /// # Errors
    ///
    /// When a value is out of its range; nothing changes then.
    pub fn set_faults(&self, faults: Faults) -> Result<()> {
        faults.check()?;
        self.state.faults.send_replace(faults);
        Ok(())
    }

    /// Lets its metrics fail, or work again.
    pub fn set_metrics_fault(&self, fault: Option<MetricsFault>) {
        self.state
            .faults
            .send_modify(|faults| faults.metrics = fault);
    }

    /// Stops it, and keeps others from its port.
    ///
    /// # Errors
    ///
    /// When somebody else has the port already.
    pub async fn close(mut self) -> Result<ClosedPort> {
        self.serving.abort();
        // Ends as cancelled, when it has let go of the port and of its connections.
        let _ = (&mut self.serving).await;
        ClosedPort::at(self.address())
    }

    /// Restarts it, in no time: requests, caches and counters are lost, and its connections are
    /// closed. Its faults stay.
    pub fn restart(&self) {
        self.state.restart();
    }

    /// When it was asked for its metrics each time, in that order, whatever it answered.
    #[must_use]
    pub fn scrapes(&self) -> Vec<Instant> {
        self.state.journal.scrapes()
    }

    /// The header fields with which it was asked for its metrics last; none if it never was.
    #[must_use]
    pub fn last_scrape(&self) -> HeaderMap {
        self.state.journal.last_scrape()
    }

    /// Every request but the scrapes, in the order in which their bodies were complete. A server that
    /// simulates its load keeps none, since there may be very many.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.state.journal.requests()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("a simulated model server cannot listen on {address}"))
}

/// Serves until it is aborted. The engine and the port of the metrics end with it, since they are
/// owned by this future.
async fn serve(listener: TcpListener, metrics: Option<TcpListener>, state: Arc<State>) {
    let mut tasks = JoinSet::new();
    if let Backend::Simulated(simulator) = &state.backend {
        let (simulator, faults) = (Arc::clone(simulator), state.faults.subscribe());
        tasks.spawn(async move { simulator.run(faults).await });
    }
    if let Some(metrics) = metrics {
        let router = service::metrics_router(Arc::clone(&state));
        tasks.spawn(accept(metrics, router, Arc::clone(&state)));
    }
    accept(listener, service::router(Arc::clone(&state)), state).await;
}

/// Accepts until it is aborted. The connections end with it, since they are owned by this future;
/// `axum::serve` would leave them running.
async fn accept(listener: TcpListener, router: Router, state: Arc<State>) {
    let mut connections = JoinSet::new();
    let service = TowerToHyperService::new(router);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that is gone before it was accepted is its client's affair.
                let Ok((stream, _)) = accepted else { continue };
                // Otherwise a token waits until the one before it is acknowledged.
                let _ = stream.set_nodelay(true);
                let connection = http1::Builder::new()
                    .max_headers(MAX_HEADERS)
                    .serve_connection(TokioIo::new(stream), service.clone());
                let mut restarts = state.restarts.subscribe();
                connections.spawn(async move {
                    tokio::pin!(connection);
                    // How a connection ends is its client's affair too.
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        Ok(()) = restarts.changed() => {}
                    }
                    // Answers of the engine before break off by themselves.
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(RESTART_GRACE, connection).await;
                });
            }
            // Forgets the connections that have ended.
            Some(_) = connections.join_next() => {}
        }
    }
}
