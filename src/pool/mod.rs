//! The endpoints of a pool and what is known of each: the state a decision is made on.
//!
//! One VM scrapes and [encodes](encode_snapshot) what it learned; every other VM
//! [applies](Pool::apply) that to its own pool.

mod endpoint;
mod metrics;
mod snapshot;

pub use endpoint::Endpoint;
pub use metrics::{
    EndpointMetrics, Freshness, LoraAdapters, Observation, Process, Reading, Signal, UnknownSignal,
};
pub use snapshot::{Scraped, Snapshot, SnapshotError, encode_snapshot};

use std::net::SocketAddr;

use hashbrown::HashMap;

use crate::{discovery::DiscoveredEndpoint, load::Load, time::Timestamp};

/// The model-server endpoints that a decision chooses from.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    endpoints: Vec<Endpoint>,
    positions: HashMap<SocketAddr, usize>,
}

impl Pool {
    /// A pool of `discovered`, of which nothing is known yet. Of endpoints with one address the
    /// first counts.
    #[must_use]
    pub fn new(discovered: &[DiscoveredEndpoint]) -> Self {
        let mut pool = Self::default();
        for endpoint in discovered {
            let next = pool.endpoints.len();
            if let hashbrown::hash_map::Entry::Vacant(vacant) =
                pool.positions.entry(endpoint.address)
            {
                vacant.insert(next);
                pool.endpoints.push(Endpoint::new(endpoint.clone()));
            }
        }
        pool
    }

    /// The endpoints, in the order of their discovery.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint at `address`.
    #[must_use]
    pub fn get(&self, address: SocketAddr) -> Option<&Endpoint> {
        self.endpoints.get(*self.positions.get(&address)?)
    }

    /// Records what a scrape of the endpoint at `address` read that was sent `at` this time; nothing if it
    /// is not of this pool.
    pub fn record(&mut self, address: SocketAddr, metrics: EndpointMetrics, at: Timestamp) {
        if let Some(endpoint) = self.get_mut(address) {
            endpoint.record(metrics, at);
        }
    }

    /// Records what was in flight to the endpoint at `address` when it was last scraped.
    pub fn record_load(&mut self, address: SocketAddr, load: Load) {
        if let Some(endpoint) = self.get_mut(address) {
            endpoint.record_load(load);
        }
    }

    /// Records that nothing can be had from the endpoint at `address`, until it answers a scrape.
    ///
    /// Its metrics would tell of an endpoint with little to do for as long as they are fresh: what it
    /// refuses is no load. So it would be sent whatever comes.
    pub fn record_failure(&mut self, address: SocketAddr, at: Timestamp) {
        if let Some(endpoint) = self.get_mut(address) {
            endpoint.fail(at);
        }
    }

    /// The place of the endpoint at `address` among all.
    #[must_use]
    pub fn position(&self, address: SocketAddr) -> Option<usize> {
        self.positions.get(&address).copied()
    }

    /// Takes over what another VM's scrapes read. Addresses this pool does not have are passed
    /// over, and endpoints the snapshot does not have keep what they had: two configurations may
    /// be live at once while Envoy changes from one to the next.
    pub fn apply(&mut self, snapshot: Snapshot) {
        for (address, scraped) in snapshot.endpoints {
            if let (Some(endpoint), Some(scraped)) = (self.get_mut(address), scraped) {
                endpoint.record(scraped.metrics, scraped.at);
                endpoint.record_load(scraped.load);
                if let Some(at) = scraped.failed_at {
                    endpoint.fail(at);
                }
            }
        }
    }

    fn get_mut(&mut self, address: SocketAddr) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(*self.positions.get(&address)?)
    }
}
