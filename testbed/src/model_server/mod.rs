//! A simulated model server: the HTTP interface of vLLM without a model behind it.
//!
//! **This is a simulation.** It runs no model, its answers are canned words, and its load is what
//! the test says. What is real is what others see of a model server: the OpenAI API (chat
//! completions and completions, streamed or not, with `usage`), the list of models, the health
//! check, and `/metrics` in the shape of a real vLLM, from which only the load differs.
//!
//! ```
//! # async fn example() -> anyhow::Result<()> {
//! use testbed::model_server::{Load, ModelServer};
//!
//! let server = ModelServer::start().await?;
//! server.set_load(Load { waiting: 3, running: 8, kv_cache_usage: 0.6 });
//! println!("curl http://{}/metrics", server.address());
//! assert!(server.requests().is_empty());
//! # Ok(())
//! # }
//! ```

mod engine;
mod exposition;
mod journal;
mod openai;
mod service;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use engine::Engine;
use journal::Journal;

pub use engine::Load;
pub use journal::Received;

/// The response header in which every simulated model server names itself, as `ip:port`.
pub const MODEL_SERVER_HEADER: &str = "x-model-server";

/// Header fields a request may have. hyper's own limit is 100, less than what Envoy lets through.
const MAX_HEADERS: usize = 1000;

/// How `/metrics` fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFault {
    /// The request is taken and never answered.
    Hang,
    /// The answer is 200 with bytes that are no exposition.
    Garbage,
    /// The answer has this status and no exposition.
    Status(u16),
}

/// A simulated model server on a free loopback port, which stops when it is dropped: it then
/// listens no more, and its connections are closed.
#[derive(Debug)]
pub struct ModelServer {
    state: Arc<State>,
    serving: JoinHandle<()>,
}

/// What the handlers of a server share with its handle.
#[derive(Debug)]
struct State {
    address: SocketAddr,
    engine: Engine,
    metrics_fault: watch::Sender<Option<MetricsFault>>,
    journal: Journal,
}

impl ModelServer {
    /// Starts an idle server.
    ///
    /// # Errors
    ///
    /// When no loopback port can be had.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("cannot listen for a simulated model server")?;
        let state = Arc::new(State {
            address: listener.local_addr()?,
            engine: Engine::default(),
            metrics_fault: watch::Sender::new(None),
            journal: Journal::default(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { state, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// The load that `/metrics` reports.
    #[must_use]
    pub fn load(&self) -> Load {
        self.state.engine.load()
    }

    /// Sets the load that `/metrics` reports.
    pub fn set_load(&self, load: Load) {
        self.state.engine.set_load(load);
    }

    /// Sets the time between two tokens of an answer; zero at the start.
    pub fn set_token_interval(&self, interval: Duration) {
        self.state.engine.set_token_interval(interval);
    }

    /// Lets `/metrics` fail, or work again.
    pub fn set_metrics_fault(&self, fault: Option<MetricsFault>) {
        self.state.metrics_fault.send_replace(fault);
    }

    /// When each `GET /metrics` arrived, in that order, whatever it was answered.
    #[must_use]
    pub fn scrapes(&self) -> Vec<Instant> {
        self.state.journal.scrapes()
    }

    /// Every request but the scrapes, in the order in which their bodies were complete.
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

/// Accepts until it is aborted. The connections end with it, since they are owned by this future;
/// `axum::serve` would leave them running.
async fn serve(listener: TcpListener, state: Arc<State>) {
    let service = TowerToHyperService::new(service::router(state));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that is gone before it was accepted is its client's affair.
                let Ok((stream, _)) = accepted else { continue };
                let service = service.clone();
                connections.spawn(async move {
                    // How a connection ends is its client's affair too.
                    let _ = http1::Builder::new()
                        .max_headers(MAX_HEADERS)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            // Forgets the connections that have ended.
            Some(_) = connections.join_next() => {}
        }
    }
}
