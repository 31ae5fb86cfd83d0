//! How evenly a burst of requests lies on the servers that it comes faster than.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    bed,
    client::{self, Connection, Protocol},
    envoy::{Envoy, Options},
    model_server::{Faults, ModelServer, SimulatorConfig, SpeedClass},
    poll,
};

use super::{configuration, connections_of_workers};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The path of every request.
const PATH: &str = "/v1/chat/completions";

/// A burst. No request of it is answered, since the engines stand still, and each has a prompt of its
/// own, so that no cache attracts it.
#[derive(Clone, Debug, Serialize)]
pub struct Burst {
    /// Its requests, each on a connection of its own.
    pub requests: usize,
    /// In how much time they come; zero is as fast as they can.
    pub over: Duration,
    /// The filter's interval of scraping.
    pub interval: Duration,
    /// Requests that wait at each server before the burst and are none of this Envoy's. That they
    /// differ is what makes the right spread differ from zero, also for a single worker.
    pub before: Vec<u32>,
    /// How often all of it is done, each time on servers and an Envoy that are new.
    pub repeats: usize,
    /// A change of the filter's configuration.
    pub patch: Value,
}

impl Burst {
    /// 200 requests on six servers that have 0 to 20 requests already.
    #[must_use]
    pub fn new(over: Duration, interval: Duration, repeats: usize) -> Self {
        Self {
            requests: 200,
            over,
            interval,
            before: (0..6).map(|number| 4 * number).collect(),
            repeats,
            patch: json!({}),
        }
    }
}

/// Where a burst's requests lie.
#[derive(Clone, Debug, Serialize)]
pub struct Landed {
    /// Requests of the burst at each server, in the order of [`Burst::before`], for each repeat.
    pub in_flight: Vec<Vec<u32>>,
    /// What the servers had before.
    pub before: Vec<u32>,
    /// Connections that each worker has accepted, in the last repeat.
    pub connections: Vec<u64>,
}

impl Landed {
    /// The standard deviation over the servers of the burst's requests there; the mean of the
    /// repeats.
    #[must_use]
    pub fn spread(&self) -> f64 {
        mean(self.in_flight.iter().map(|counts| deviation(counts)))
    }

    /// The largest number of the burst's requests at one server; the mean of the repeats.
    #[must_use]
    pub fn largest(&self) -> f64 {
        let largest = |counts: &Vec<u32>| f64::from(counts.iter().copied().max().unwrap_or(0));
        mean(self.in_flight.iter().map(largest))
    }

    /// As [`Landed::spread`], of all requests at the servers, those from before the burst too: what a
    /// perfect balance makes less than one.
    #[must_use]
    pub fn spread_of_all(&self) -> f64 {
        mean(self.in_flight.iter().map(|counts| {
            let all: Vec<u32> = counts
                .iter()
                .zip(&self.before)
                .map(|(a, b)| a + b)
                .collect();
            deviation(&all)
        }))
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

/// The standard deviation.
fn deviation(counts: &[u32]) -> f64 {
    let mean_count = mean(counts.iter().map(|count| f64::from(*count)));
    mean(
        counts
            .iter()
            .map(|count| (f64::from(*count) - mean_count).powi(2)),
    )
    .sqrt()
}

/// Sends a burst through an Envoy with so many workers.
///
/// # Errors
///
/// When Envoy or a server does not start, nobody scrapes the servers, or a request gets lost.
pub async fn measure(burst: &Burst, workers: u64) -> Result<Landed> {
    let mut landed = Landed {
        in_flight: Vec::new(),
        before: burst.before.clone(),
        connections: Vec::new(),
    };
    for _ in 0..burst.repeats {
        let (in_flight, connections) = once(burst, workers).await?;
        landed.in_flight.push(in_flight);
        landed.connections = connections;
    }
    Ok(landed)
}

async fn once(burst: &Burst, workers: u64) -> Result<(Vec<u32>, Vec<u64>)> {
    let mut servers = Vec::new();
    // Open until the end: a request whose connection closes is cancelled.
    let mut waiting = JoinSet::new();
    for before in &burst.before {
        let server = standing_still().await?;
        for number in 0..*before {
            let connection = Connection::open(server.address(), Protocol::Http1).await?;
            waiting.spawn(ask(connection, format!("before {number}")));
        }
        servers.push(server);
    }
    arrived(&servers, &burst.before).await?;

    let pool: Vec<SocketAddr> = servers.iter().map(ModelServer::address).collect();
    let configuration = configuration(burst.interval, &burst.patch)?.with_pool(&json!(pool))?;
    let options = Options {
        workers,
        log_decisions: false,
    };
    let envoy = Envoy::start_with(configuration, options).await?;
    let mut connections = Vec::new();
    for _ in 0..burst.requests {
        connections.push(Connection::open(envoy.address(), Protocol::Http1).await?);
    }
    bed::loads_known(&servers).await?;

    let begun = Instant::now();
    let pace = burst.over.div_f64((burst.requests as f64).max(1.0));
    for (number, connection) in connections.into_iter().enumerate() {
        sleep_until(begun + pace.mul_f64(number as f64)).await;
        waiting.spawn(ask(connection, format!("burst {number}")));
    }
    let all = u32::try_from(burst.requests)? + burst.before.iter().sum::<u32>();
    poll::until("the burst to arrive", PATIENCE, async || {
        let at_servers: u32 = servers.iter().map(|server| server.load().waiting).sum();
        Ok((at_servers >= all).then_some(()))
    })
    .await?;
    let counts = servers.iter().zip(&burst.before);
    let in_flight = counts.map(|(server, before)| server.load().waiting.saturating_sub(*before));
    Ok((in_flight.collect(), connections_of_workers(&envoy).await?))
}

/// A server whose engine takes requests and does nothing with them.
async fn standing_still() -> Result<ModelServer> {
    let server = ModelServer::simulate(SimulatorConfig {
        speed: SpeedClass::L4,
        ..SimulatorConfig::default()
    })
    .await?;
    server.set_faults(Faults {
        hang: true,
        ..Faults::default()
    })?;
    // The engine may be in front of its first step.
    sleep(Duration::from_millis(1)).await;
    Ok(server)
}

async fn arrived(servers: &[ModelServer], expected: &[u32]) -> Result<()> {
    poll::until("requests to arrive", PATIENCE, async || {
        let mut servers = servers.iter().zip(expected);
        let all = servers.all(|(server, expected)| server.load().waiting == *expected);
        Ok(all.then_some(()))
    })
    .await
}

/// Asks, and is never answered.
async fn ask(mut connection: Connection, name: String) -> Result<()> {
    // Different from the first byte on.
    let content = format!("{name} {}", "and so on ".repeat(100));
    let model = SimulatorConfig::default().model;
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": content }] });
    let request = hyper::Request::post(PATH)
        .header("content-type", "application/json")
        .body(client::whole(body.to_string()))
        .context("a request")?;
    connection.begin(request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_standard_deviation_over_servers() {
        let landed = Landed {
            in_flight: vec![vec![10, 10, 10], vec![7, 10, 13]],
            before: vec![3, 0, 0],
            connections: Vec::new(),
        };
        // 0 and the root of 6.
        assert!((landed.spread() - 6_f64.sqrt() / 2.0).abs() < 1e-9);
        assert!((landed.largest() - 11.5).abs() < 1e-9);
        // 13, 10, 10 and 10, 10, 13: the root of 2 each.
        assert!((landed.spread_of_all() - 2_f64.sqrt()).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_server_that_stands_still_keeps_what_comes() -> Result<()> {
        let servers = [standing_still().await?];
        let connection = Connection::open(servers[0].address(), Protocol::Http1).await?;
        let asked = tokio::spawn(ask(connection, "one".to_owned()));
        arrived(&servers, &[1]).await?;
        asked.abort();
        arrived(&servers, &[0]).await
    }
}
