//! The filter's decisions over simulated engines, on a clock that jumps from one event to the next.
//!
//! What decides is the filter's core: its configuration, its reading of bodies and of metrics, its
//! scheduler, its load in flight and its index of prefixes. What serves are the engines of
//! [`model_server`](crate::model_server), and who asks are the conversations of
//! [`load`](crate::load). There is no Envoy between them, no HTTP and no real time, so that a run is
//! the same each time and takes a fraction of a second: two profiles that differ by a few percent can
//! be told apart.
//!
//! - [`Filter`]: how the filter is configured.
//! - `events`: what happens next.
//! - `gateway`: what the filter does with a request and with a scrape.
//! - `world`: users, gateway and servers, and what happens among them.
//!
//! # What it leaves out
//!
//! Networks, Envoy and the filter take no time: a request is at its server when it is due, a token at
//! its user when its step ends, and a scrape is answered, and known, at the moment at which it is
//! sent. There is one gateway with one worker, and every decision sees all earlier ones. Scrapes never
//! fail, servers never restart, and an idle server is scraped as often as a busy one. Requests have
//! the path of chat completions and no headers.
//!
//! ```
//! # fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use testbed::{
//!     load::{driver::Limits, workload::{Plan, Workload}},
//!     model_server::SimulatorConfig,
//!     virtual_time::{Filter, Run, run},
//! };
//!
//! let scheduling = serde_json::json!({ "scorers": [{ "type": "queue" }] });
//! let filter = Filter::new(2, Duration::from_millis(200), Some(&scheduling))?;
//! let server = SimulatorConfig::default();
//! let conversations = Workload::Uniform.conversations(&Plan {
//!     seed: 1,
//!     rate: 4.0,
//!     burstiness: 1.0,
//!     duration: 5.0,
//!     answer_time: 5.0,
//!     model: server.model.clone(),
//! })?;
//! let limits = Limits { duration: 5.0, end: 60.0 };
//! let ended = run(&Run { filter: &filter, server: &server, limits, seed: 1 }, conversations)?;
//! assert!(ended.outcomes.iter().all(|outcome| outcome.result.is_ok()));
//! # Ok(())
//! # }
//! # example().unwrap();
//! ```

mod events;
mod filter;
mod gateway;
#[cfg(test)]
mod tests;
mod world;

use anyhow::Result;

use crate::{
    load::{
        conversation::Conversation,
        driver::{Limits, Outcome},
    },
    model_server::SimulatorConfig,
};

pub use filter::Filter;
use world::World;

/// What decides, and what serves.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The filter.
    pub filter: &'a Filter,
    /// What each of its servers is like. The time scale does not matter here.
    pub server: &'a SimulatorConfig,
    /// The end of the load, and of the run. An answer that comes later has not come.
    pub limits: Limits,
    /// Seeds the filter's dice.
    pub seed: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Of every request, in the order in which they were due.
    pub outcomes: Vec<Outcome>,
    /// How often a server was scraped, all servers together.
    pub scrapes: usize,
}

/// Lets the users hold their conversations.
///
/// # Errors
///
/// When the servers' configuration is not possible.
pub fn run(run: &Run<'_>, conversations: Vec<Conversation>) -> Result<Ended> {
    let mut world = World::new(run, conversations)?;
    world.go_on()?;
    Ok(world.end())
}

/// The time at which a run begins, in seconds since 1970. Any would do.
const EPOCH: f64 = 1.0e9;

/// A time of a run in seconds since 1970, as servers and filter tell it.
fn unix_time(now: f64) -> f64 {
    EPOCH + now
}
