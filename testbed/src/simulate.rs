//! `testbed simulate`: simulated model servers to point one's own Envoy at.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use testbed::model_server::{Dialect, ModelServer, SimulatorConfig, SpeedClass};

use crate::stop::{self, Stop};

/// Which servers to simulate.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// How many servers.
    #[arg(long, default_value_t = 3)]
    servers: u16,
    /// Address to listen on; Envoy in a container reaches 0.0.0.0.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Port of the first server, the others have the ones that follow; free ports if none is given.
    #[arg(long)]
    port: Option<u16>,
    /// The GPU.
    #[arg(long, value_enum, default_value_t)]
    speed: SpeedClass,
    /// Simulated seconds that pass in a real one.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Whose metrics to show.
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// Name under which the model is served.
    #[arg(long, default_value_t = SimulatorConfig::default().model)]
    model: String,
    /// Sequences in a batch.
    #[arg(long, default_value_t = SimulatorConfig::default().max_num_seqs)]
    max_num_seqs: usize,
    /// Tokens in a step.
    #[arg(long, default_value_t = SimulatorConfig::default().max_num_batched_tokens)]
    max_num_batched_tokens: usize,
    /// Tokens of a prompt and its answer together.
    #[arg(long, default_value_t = SimulatorConfig::default().max_model_len)]
    max_model_len: usize,
    /// Blocks of 16 tokens in the KV cache; what fits into the GPU's memory if not given.
    #[arg(long)]
    kv_blocks: Option<usize>,
    /// LoRA adapters on the GPU at a time.
    #[arg(long, default_value_t = 0)]
    max_loras: usize,
    /// Names of LoRA adapters, separated by commas.
    #[arg(long, value_delimiter = ',')]
    loras: Vec<String>,
}

impl Arguments {
    fn address(&self, index: u16) -> Result<SocketAddr> {
        let port = self.port.map_or(Some(0), |first| first.checked_add(index));
        let port = port.context("--port: there are not as many ports after it")?;
        Ok(SocketAddr::new(self.listen, port))
    }

    fn config(&self) -> SimulatorConfig {
        SimulatorConfig {
            speed: self.speed,
            time_scale: self.time_scale,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            kv_blocks: self.kv_blocks,
            max_model_len: self.max_model_len,
            max_loras: self.max_loras,
            loras: self.loras.clone(),
            dialect: self.dialect,
            model: self.model.clone(),
            ..SimulatorConfig::default()
        }
    }
}

/// Simulates until a signal stops it.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    let mut servers = Vec::new();
    for index in 0..arguments.servers {
        let address = arguments.address(index)?;
        let server = ModelServer::simulate_at(address, arguments.config()).await?;
        println!("{}", server.address());
        servers.push(server);
    }
    println!("# Simulated model servers; Ctrl-C stops them.");
    stop.asked().await;
    Ok(ExitCode::from(stop::INTERRUPTED))
}
