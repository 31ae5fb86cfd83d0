//! The test bed on the command line.

mod backend;
mod bench;
mod demo;
mod simulate;
mod stop;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use backend::Backend;

/// Simulated model servers behind a real Envoy with the endpoint picker.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send requests to three model servers with different loads, and show how each was
    /// routed and why.
    Demo {
        /// Stop when the requests are answered, instead of waiting for yours; fail if one did not
        /// arrive where the scores said.
        #[arg(long)]
        once: bool,
        /// What the model servers are.
        #[arg(long, value_enum, default_value_t)]
        backend: Backend,
    },
    /// Measure, and leave a report.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Simulate model servers until Ctrl-C, to point your own Envoy at; prints their addresses.
    Simulate(simulate::Arguments),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        // One thread carries servers, clients and the demo: the cores are for Envoy.
        Command::Demo { once, backend } => Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(demo::run(once, backend)),
        // Load is made, and simulated, on every core that Envoy leaves idle.
        Command::Bench(bench) => Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(bench::run(bench)),
        Command::Simulate(arguments) => Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(simulate::run(arguments)),
    }
}
