//! Benches: what is measured of the filter, and written into a folder of `reports/`.

mod capacity;
mod overhead;
mod profiles;
mod report;
mod routing;
mod table;
mod workers;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::stop::{self, Stop};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How well a fleet of model servers is served by this filter, and by Envoy's own load
    /// balancers.
    Routing(routing::Arguments),
    /// Which scheduling serves a fleet better: the filter's decisions in virtual time, without Envoy.
    Profiles(profiles::Arguments),
    /// Whether several workers of one Envoy decide as one.
    Workers(workers::Arguments),
    /// What the filter costs beside bare Envoy, a filter that does nothing, and an ext_proc server
    /// that does nothing.
    Overhead(overhead::Arguments),
}

/// Measures until it is done, or until a signal stops it.
pub(crate) async fn run(bench: Bench) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    let measuring = async {
        match bench {
            Bench::Routing(arguments) => routing::run(arguments).await,
            Bench::Profiles(arguments) => profiles::run(arguments).await,
            Bench::Workers(arguments) => workers::run(arguments).await,
            Bench::Overhead(arguments) => overhead::run(arguments).await,
        }
    };
    // Whichever way this returns, what was started is dropped, and stops.
    tokio::select! {
        done = measuring => done.map(|()| ExitCode::SUCCESS),
        () = stop.asked() => Ok(ExitCode::from(stop::INTERRUPTED)),
    }
}
