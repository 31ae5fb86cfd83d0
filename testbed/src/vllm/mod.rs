//! Real vLLM servers on the CPU, on free loopback ports, and always stopped.
//!
//! `scripts/setup --vllm` installs them. The scheduler, the KV cache, the HTTP interface and
//! `/metrics` are those of vLLM; the model is a [tiny Llama](MODEL) with random weights, which
//! answers nonsense at a speed that says nothing about any GPU.

mod command;
mod load;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use hyper::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::{
    client::{self, Body, Connection, Protocol, Reply},
    envoy::repository,
    poll,
    process::{self, Process},
};

pub use command::{KV_CACHE_TOKENS, MAX_NUM_SEQS, MODEL};
pub use load::HeldLoad;

/// How long a server may take to start. Alone on an idle machine it is half a minute, most of which
/// is Python importing; three at a time share two cores, perhaps with a compiler.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long requests that nobody waits for any more may take to end.
const CLEARING: Duration = Duration::from_secs(30);

/// A vLLM server with an empty KV cache, stopped when it is dropped.
#[derive(Debug)]
pub struct Vllm {
    // Dropped in this order: the process is gone before its folder and its port.
    process: Process,
    folder: TempDir,
    address: SocketAddr,
    /// Bound but not listening: keeps the port from everybody but a socket that, as vLLM's, sets
    /// `SO_REUSEADDR` and asks for just this one. vLLM can take any free port, but does not tell
    /// which.
    _port: TcpSocket,
}

impl Vllm {
    /// Starts `count` servers side by side, and waits until all are ready.
    ///
    /// # Errors
    ///
    /// When vLLM is not installed, or a server ends or is not ready in time. The error shows the
    /// end of its log.
    pub async fn start(count: usize) -> Result<Vec<Self>> {
        let mut servers = (0..count)
            .map(|_| Self::launch())
            .collect::<Result<Vec<_>>>()?;
        for server in &mut servers {
            server.ready().await.with_context(|| {
                format!(
                    "vLLM did not start; its log ends with\n{}",
                    process::tail(&log_file(server.folder.path()))
                )
            })?;
        }
        Ok(servers)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Empties its prefix cache, as soon as the requests that use it have ended.
    ///
    /// # Errors
    ///
    /// When that is not done in time.
    pub async fn forget(&self) -> Result<()> {
        let what = format!("the prefix cache of {} to be empty", self.address);
        poll::until(&what, CLEARING, async || {
            let request = Request::post("/reset_prefix_cache").body(client::empty())?;
            let reply = send(self.address, request).await?;
            Ok((reply.json::<Value>()? == json!({ "success": true })).then_some(()))
        })
        .await
    }

    fn launch() -> Result<Self> {
        let port = TcpSocket::new_v4()?;
        port.set_reuseaddr(true)?;
        port.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = port.local_addr()?;
        let folder = tempfile::Builder::new()
            .prefix("endpoint-picker-vllm-")
            .tempdir()?;
        let command = command::serve(&repository().join(".tools"), address, folder.path())?;
        let process = Process::start(&command, folder.path(), &log_file(folder.path()))?;
        Ok(Self {
            process,
            folder,
            address,
            _port: port,
        })
    }

    async fn ready(&mut self) -> Result<()> {
        poll::until("vLLM to be ready", PATIENCE, async || {
            ensure!(!self.process.has_ended()?, "vLLM has ended");
            let request = Request::get("/health").body(client::empty())?;
            let health = send(self.address, request).await;
            Ok(health
                .is_ok_and(|reply| reply.status.is_success())
                .then_some(()))
        })
        .await
    }
}

async fn send(address: SocketAddr, request: Request<Body>) -> Result<Reply> {
    Connection::open(address, Protocol::Http1)
        .await?
        .send(request)
        .await
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("vllm.log")
}
