//! How much of their prompts users find in the servers' prefix caches.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    bed,
    envoy::{Envoy, Options},
    load::{
        client::Client,
        driver::{self, Clock, Limits},
        workload::{Plan, Workload},
    },
    model_server::{ModelServer, SimulatorConfig, SpeedClass},
};

use super::{configuration, connections_of_workers};

/// The default interval of scraping, in simulated time.
const INTERVAL: Duration = Duration::from_millis(200);

/// The shortest that the filter takes, in real time.
const MIN_INTERVAL: Duration = Duration::from_millis(20);

/// About how long an answer takes, in simulated seconds.
const ANSWER_TIME: f64 = 5.0;

/// How long answers are waited for after the last request, in simulated seconds.
const DRAIN: f64 = 60.0;

/// Between the moment all is ready and time zero, in real time.
const LEAD: Duration = Duration::from_millis(50);

/// Who asks what of how many. Durations in simulated seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Users {
    /// What they ask.
    pub workload: Workload,
    /// Draws them.
    pub seed: u64,
    /// Requests a second.
    pub rate: f64,
    /// For how long they come.
    pub duration: f64,
    /// The servers that serve them.
    pub servers: usize,
    /// The GPU that each stands for.
    #[serde(skip)]
    pub speed: SpeedClass,
    /// Simulated seconds in a real one.
    pub time_scale: f64,
    /// A change of the filter's configuration.
    pub patch: Value,
}

/// What they found.
#[derive(Clone, Debug, Serialize)]
pub struct Hits {
    /// Prompt tokens that were looked up.
    pub queries: u64,
    /// Those of them that were in the server's prefix cache.
    pub hits: u64,
    /// Requests that were answered, and that were not.
    pub answered: usize,
    /// Requests without a whole answer.
    pub failed: usize,
    /// Connections that each worker has accepted, of which each carries one request.
    pub connections: Vec<u64>,
}

impl Hits {
    /// The share of the prompts that was in a prefix cache, 0 to 1.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.hits as f64 / (self.queries as f64).max(1.0)
    }
}

/// Sends `users` through an Envoy with so many workers to servers that have seen nobody yet. Every
/// request comes on a connection of its own, so that each turn of a chat may be another worker's.
///
/// # Errors
///
/// When Envoy or a server does not start, or nobody scrapes the servers.
pub async fn measure(users: &Users, workers: u64) -> Result<Hits> {
    let config = SimulatorConfig {
        speed: users.speed,
        time_scale: users.time_scale,
        ..SimulatorConfig::default()
    };
    let model = config.model.clone();
    let mut servers = Vec::new();
    for _ in 0..users.servers {
        servers.push(ModelServer::simulate(config.clone()).await?);
    }
    let pool: Vec<SocketAddr> = servers.iter().map(ModelServer::address).collect();
    let interval = INTERVAL.div_f64(users.time_scale).max(MIN_INTERVAL);
    let options = Options {
        workers,
        log_decisions: false,
    };
    let configuration = configuration(interval, &users.patch)?.with_pool(&json!(pool))?;
    let envoy = Envoy::start_with(configuration, options).await?;
    bed::loads_known(&servers).await?;

    let conversations = users.workload.conversations(&Plan {
        seed: users.seed,
        rate: users.rate,
        burstiness: 1.0,
        duration: users.duration,
        answer_time: ANSWER_TIME,
        model,
    })?;
    let client = Client::with_fresh_connections(envoy.address());
    // The servers' clocks run since they were made; what counts here is only how far apart
    // requests are.
    let clock = Clock::new(Instant::now() + LEAD, users.time_scale);
    let limits = Limits {
        duration: users.duration,
        end: users.duration + DRAIN,
    };
    let outcomes = driver::drive(conversations, &client, clock, limits).await;
    // What is counted on a connection's end may come a moment later.
    sleep(LEAD).await;
    let (mut queries, mut hits) = (0, 0);
    for snapshot in servers.iter().filter_map(ModelServer::snapshot) {
        queries += snapshot.prefix_cache_queries;
        hits += snapshot.prefix_cache_hits;
    }
    let failed = outcomes.iter().filter(|it| it.result.is_err()).count();
    Ok(Hits {
        queries,
        hits,
        answered: outcomes.len() - failed,
        failed,
        connections: connections_of_workers(&envoy).await?,
    })
}
