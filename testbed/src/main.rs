//! The test bed on the command line.

mod demo;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Simulated model servers behind a real Envoy with the endpoint picker.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send requests to three simulated model servers with different loads, and show how each was
    /// routed and why.
    Demo {
        /// Stop when the requests are answered, instead of waiting for yours; fail if one did not
        /// arrive where the scores said.
        #[arg(long)]
        once: bool,
    },
}

// One thread carries servers, clients and the demo: the cores are for Envoy.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Demo { once } => demo::run(once).await,
    }
}
