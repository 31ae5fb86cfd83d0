//! Servers in every state, and what a scorer says of them.

use core::{net::SocketAddr, time::Duration};

use endpoint_picker::{
    discovery::DiscoveredEndpoint,
    load::{InFlight, Load},
    pool::{EndpointMetrics, Freshness, LoraAdapters, Observation, Pool, Signal},
    prefix::{BlockHash, PrefixIndex},
    scheduling::{Candidates, Request, Scorer, View},
    time::Timestamp,
};

/// The moment of every decision.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(100_000);
/// Before what is stale by then.
pub(crate) const LONG_AGO: Timestamp = Timestamp::from_millis(90_000);
/// What that means.
pub(crate) const FRESHNESS: Freshness = Freshness {
    now: NOW,
    stale_after: Duration::from_secs(2),
};

/// What is known of one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    metrics: EndpointMetrics,
    labels: Vec<(&'static str, &'static str)>,
    in_flight: Load,
    at_scrape: Load,
    matched: u32,
}

impl Server {
    /// Nothing but that it answered.
    pub(crate) fn silent() -> Self {
        Self::default()
    }

    /// It tells of a signal.
    pub(crate) fn told(signal: Signal, value: f64) -> Self {
        Self::silent().tells(signal, value)
    }

    /// It tells of a signal, too.
    pub(crate) fn tells(mut self, signal: Signal, value: f64) -> Self {
        self.metrics.observe(signal, value, NOW);
        self
    }

    /// It told of a signal too long ago.
    pub(crate) fn told_long_ago(mut self, signal: Signal, value: f64) -> Self {
        self.metrics.observe(signal, value, LONG_AGO);
        self
    }

    /// It has a signal that has not measured anything yet.
    pub(crate) fn unmeasured(mut self, signal: Signal) -> Self {
        self.metrics.set(signal, Observation::Unmeasured);
        self
    }

    /// It tells of adapters.
    pub(crate) fn lora(self, max: u32, running: &[&str], waiting: &[&str]) -> Self {
        self.lora_at(max, running, waiting, NOW)
    }

    /// It told of adapters then.
    pub(crate) fn lora_at(
        mut self,
        max: u32,
        running: &[&str],
        waiting: &[&str],
        at: Timestamp,
    ) -> Self {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        self.metrics.set_lora(Some(LoraAdapters {
            max,
            running: names(running),
            waiting: names(waiting),
            at,
        }));
        self
    }

    /// It is labelled.
    pub(crate) fn label(mut self, name: &'static str, value: &'static str) -> Self {
        self.labels.push((name, value));
        self
    }

    /// This gateway has sent it so much that it has not answered.
    pub(crate) fn in_flight(mut self, requests: u32, tokens: u64) -> Self {
        self.in_flight = Load { requests, tokens };
        self
    }

    /// So many requests of this gateway's it had when it was scraped.
    pub(crate) fn at_scrape(mut self, requests: u32) -> Self {
        self.at_scrape.requests = requests;
        self
    }

    /// It holds so many blocks of the prompt.
    pub(crate) fn holds(mut self, blocks: u32) -> Self {
        self.matched = blocks;
        self
    }
}

/// Where the server at `index` serves.
pub(crate) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], u16::try_from(8001 + index).unwrap()))
}

/// A request for a prompt of so many blocks of 64 tokens.
pub(crate) fn prompt(blocks: usize) -> Request<'static> {
    static BLOCKS: [BlockHash; 4096] = [BlockHash::NEUTRAL; 4096];
    Request {
        blocks: &BLOCKS[..blocks],
        block_tokens: 64,
        prompt_tokens: blocks as u64 * 64,
        ..Request::default()
    }
}

/// A request of which nothing is known.
pub(crate) fn unknown() -> Request<'static> {
    Request::default()
}

/// The pool of `servers`, and the load in flight to them.
pub(crate) fn pool(servers: &[Server]) -> (Pool, InFlight) {
    let discovered = |(index, server): (usize, &Server)| DiscoveredEndpoint {
        labels: server
            .labels
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        ..DiscoveredEndpoint::at(address(index))
    };
    let endpoints: Vec<_> = servers.iter().enumerate().map(discovered).collect();
    let (mut pool, mut load) = (Pool::new(&endpoints), InFlight::new(servers.len()));
    for (index, server) in servers.iter().enumerate() {
        pool.record(address(index), server.metrics.clone(), NOW);
        pool.record_load(address(index), server.at_scrape);
        load.begin(index, server.in_flight);
    }
    (pool, load)
}

/// The scores of `servers`, in their order.
pub(crate) fn scores(scorer: &Scorer, servers: &[Server], request: Request<'_>) -> Vec<f64> {
    scores_after(&[], scorer, servers, request)
}

/// The scores of `servers`, after cold prompts went to those with the indexes `cold`.
pub(crate) fn scores_after(
    cold: &[usize],
    scorer: &Scorer,
    servers: &[Server],
    request: Request<'_>,
) -> Vec<f64> {
    let (pool, load) = pool(servers);
    let mut prefixes = PrefixIndex::new(servers.len(), 1 << 20);
    for &index in cold {
        prefixes.insert(index, &[BlockHash::NEUTRAL], true);
    }
    let view = View {
        pool: &pool,
        load: &load,
        prefixes: &prefixes,
    };
    let positions: Vec<_> = (0..servers.len()).collect();
    let matched: Vec<_> = servers.iter().map(|server| server.matched).collect();
    let candidates = Candidates::new(view, &positions, &matched, FRESHNESS, request);
    let mut scores = Vec::new();
    scorer.score(candidates, &mut scores);
    scores
}

/// That both are the same scores but for rounding, which takes none out of its range.
#[track_caller]
pub(crate) fn assert_scores(found: &[f64], expected: &[f64], case: &str) {
    let alike = |(found, expected): (&f64, &f64)| {
        (found - expected).abs() < 1e-12 && (0.0..=1.0).contains(found)
    };
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(alike),
        "{case}: {found:?} instead of {expected:?}"
    );
}
