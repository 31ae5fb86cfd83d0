//! What the servers say of themselves while a load runs: their `/metrics`, in vLLM's dialect.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use endpoint_picker::exposition::{FamilyId, FamilySet, samples};
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    client::{self, Http},
    driver::Clock,
};

/// How long a server may take to answer; what it says later is of no use.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a server says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ServerState {
    /// Requests that wait to be taken into a batch.
    pub waiting: f64,
    /// Requests in the running batch.
    pub running: f64,
    /// The used share of the KV cache, 0 to 1.
    pub kv_cache_usage: f64,
    /// Prompt tokens looked up in the prefix cache, since the server's start.
    pub prefix_cache_queries: f64,
    /// Those of them that were there.
    pub prefix_cache_hits: f64,
    /// Requests thrown out of the batch for want of KV cache, since the server's start.
    pub preemptions: f64,
}

impl ServerState {
    /// Requests at the server.
    #[must_use]
    pub fn queue(&self) -> f64 {
        self.waiting + self.running
    }
}

/// The state of every server at a moment; none where it did not answer.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// In simulated seconds since the start of the run.
    pub time: f64,
    /// In the order of the servers.
    pub servers: Vec<Option<ServerState>>,
}

/// Asks servers for their state.
#[derive(Debug)]
pub struct Watch {
    http: Http,
    servers: Vec<SocketAddr>,
    dialect: Dialect,
}

impl Watch {
    /// A watch on these servers.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            http: client::http(),
            servers,
            dialect: Dialect::new(),
        }
    }

    /// Takes a sample every `interval` simulated seconds from the start of the clock to `end`.
    pub async fn follow(&self, clock: Clock, interval: f64, end: f64) -> Vec<Sample> {
        let mut timeline = Vec::new();
        let mut due = 0.0;
        while due <= end {
            sleep_until(clock.at(due)).await;
            timeline.push(self.sample(clock).await);
            // Where sampling is late, what was missed is not made up for.
            due = interval * (clock.read(Instant::now()) / interval + 1.0).floor();
        }
        timeline
    }

    /// Asks all servers at once.
    pub async fn sample(&self, clock: Clock) -> Sample {
        Sample {
            time: clock.read(Instant::now()),
            servers: join_all(self.servers.iter().map(|server| self.state(*server))).await,
        }
    }

    /// Asks one server, of the watch or not.
    pub async fn state(&self, server: SocketAddr) -> Option<ServerState> {
        let request = Request::get(format!("http://{server}/metrics"));
        let request = request.body(Full::<Bytes>::default()).ok()?;
        let exposition = timeout(PATIENCE, async {
            let response = self.http.request(request).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            Some(response.into_body().collect().await.ok()?.to_bytes())
        });
        Some(self.dialect.read(&exposition.await.ok()??))
    }
}

/// What vLLM calls things.
#[derive(Debug)]
struct Dialect {
    families: FamilySet,
    waiting: FamilyId,
    running: FamilyId,
    kv_cache_usage: FamilyId,
    prefix_cache_queries: FamilyId,
    prefix_cache_hits: FamilyId,
    preemptions: FamilyId,
}

impl Dialect {
    fn new() -> Self {
        let mut families = FamilySet::default();
        Self {
            waiting: families.insert("vllm:num_requests_waiting"),
            running: families.insert("vllm:num_requests_running"),
            kv_cache_usage: families.insert("vllm:kv_cache_usage_perc"),
            prefix_cache_queries: families.insert("vllm:prefix_cache_queries_total"),
            prefix_cache_hits: families.insert("vllm:prefix_cache_hits_total"),
            preemptions: families.insert("vllm:num_preemptions_total"),
            families,
        }
    }

    fn read(&self, exposition: &[u8]) -> ServerState {
        let mut state = ServerState::default();
        for (family, sample) in samples(exposition, &self.families).flatten() {
            let value = sample.value;
            match family {
                id if id == self.waiting => state.waiting += value,
                id if id == self.running => state.running += value,
                id if id == self.kv_cache_usage => state.kv_cache_usage = value,
                id if id == self.prefix_cache_queries => state.prefix_cache_queries += value,
                id if id == self.prefix_cache_hits => state.prefix_cache_hits += value,
                id if id == self.preemptions => state.preemptions += value,
                _ => {}
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_exposition_is_read() {
        let busy = include_bytes!("../../../fixtures/metrics/vllm-0.32-busy.prom");
        let state = Dialect::new().read(busy);
        let value = |family: &str| -> f64 {
            let text = String::from_utf8_lossy(busy);
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{family}{{")))
                .expect("the family");
            line.rsplit(' ')
                .next()
                .expect("a value")
                .parse()
                .expect("a number")
        };
        assert_eq!(
            state,
            ServerState {
                waiting: value("vllm:num_requests_waiting"),
                running: value("vllm:num_requests_running"),
                kv_cache_usage: value("vllm:kv_cache_usage_perc"),
                prefix_cache_queries: value("vllm:prefix_cache_queries_total"),
                prefix_cache_hits: value("vllm:prefix_cache_hits_total"),
                preemptions: value("vllm:num_preemptions_total"),
            }
        );
        assert!(state.queue() > 0.0);
    }
}
