//! The model servers that are measured.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use testbed::{
    model_server::{ModelServer, SimulatorConfig},
    vllm::{self, Vllm},
};

use super::results::Settings;
use crate::backend::Backend;

/// Adapters that a server holds at a time.
pub(in crate::bench) const MAX_LORAS: usize = 4;

/// Model servers, which stop when this is dropped.
#[derive(Debug)]
pub(super) struct Fleet {
    addresses: Vec<SocketAddr>,
    model: String,
    description: String,
    servers: Servers,
}

#[derive(Debug)]
enum Servers {
    Simulated(Vec<ModelServer>),
    Vllm(Vec<Vllm>),
}

impl Fleet {
    /// Starts what the settings ask for.
    pub(super) async fn start(settings: &Settings) -> Result<Self> {
        match settings.backend {
            Backend::Simulated => Self::simulated(settings).await,
            Backend::Vllm => Self::vllm(settings).await,
        }
    }

    async fn simulated(settings: &Settings) -> Result<Self> {
        let workloads = settings.workloads.iter();
        let loras: Vec<String> = workloads.flat_map(|it| it.adapters()).collect();
        let config = SimulatorConfig {
            speed: settings.speed,
            time_scale: settings.time_scale,
            max_loras: if loras.is_empty() { 0 } else { MAX_LORAS },
            loras,
            ..SimulatorConfig::default()
        };
        let mut servers = Vec::new();
        for _ in 0..settings.servers {
            servers.push(ModelServer::simulate(config.clone()).await?);
        }
        Ok(Self {
            addresses: servers.iter().map(ModelServer::address).collect(),
            description: format!("simulated {:?} with {}", config.speed, config.model),
            model: config.model,
            servers: Servers::Simulated(servers),
        })
    }

    async fn vllm(settings: &Settings) -> Result<Self> {
        // Before a minute is spent on starting them.
        ensure!(
            settings.time_scale == 1.0,
            "real model servers know no time scale but 1"
        );
        ensure!(
            settings.workloads.iter().all(|it| it.adapters().is_empty()),
            "real model servers have no adapters: say --workload without lora"
        );
        println!("Starting {} vLLM servers ...", settings.servers);
        let servers = Vllm::start(settings.servers).await?;
        Ok(Self {
            addresses: servers.iter().map(Vllm::address).collect(),
            description: format!("real vLLM on the CPU with {}", vllm::MODEL),
            model: vllm::MODEL.to_owned(),
            servers: Servers::Vllm(servers),
        })
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The model they serve.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// One of them, in words.
    pub(super) fn description(&self) -> &str {
        &self.description
    }

    /// Forgets everything that the runs before have left: requests, caches, adapters.
    pub(super) async fn reset(&self) -> Result<()> {
        match &self.servers {
            Servers::Simulated(servers) => servers.iter().for_each(ModelServer::restart),
            Servers::Vllm(servers) => {
                for server in servers {
                    server.forget().await?;
                }
            }
        }
        Ok(())
    }

    /// By how much real time the simulation is behind itself, at worst: this machine is too slow
    /// for the time scale when it is more than a few milliseconds. Real servers are never.
    pub(super) fn behind(&self) -> Duration {
        let Servers::Simulated(servers) = &self.servers else {
            return Duration::ZERO;
        };
        let snapshots = servers.iter().filter_map(ModelServer::snapshot);
        snapshots
            .map(|snapshot| snapshot.behind)
            .max()
            .unwrap_or_default()
    }
}
