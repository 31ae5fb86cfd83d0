//! What the streams of one VM share.

use core::time::Duration;

use fastrand::Rng;

use super::{host::HostError, request_metrics::RequestMetrics};
use crate::{
    config::{
        DestinationSettings, HeaderSettings, PoolChooser, PoolSettings, RequestSettings, Settings,
    },
    models::ModelCatalog,
    pool::{Freshness, Pool},
    request::HeldRequests,
    scheduling::Scheduler,
    scraping::EndpointSet,
    time::Timestamp,
};

/// The pools as this VM knows them, and the means to choose from them.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pools: Vec<WorkerPool>,
    /// Chooses by the index in `pools`.
    pub(super) pool_chooser: PoolChooser,
    pub(super) models: ModelCatalog,
    pub(super) request: RequestSettings,
    pub(super) headers: HeaderSettings,
    pub(super) destination: DestinationSettings,
    pub(super) rng: Rng,
    /// By the ids of their contexts.
    pub(super) held: HeldRequests,
    /// Whether a request has ever come to this VM: the main thread's gets none.
    pub(super) serves_requests: bool,
}

/// One pool as this VM knows it.
#[derive(Debug)]
pub(super) struct WorkerPool {
    pub(super) name: String,
    pub(super) pool: Pool,
    pub(super) scheduler: Scheduler,
    /// The endpoints that requests were sent to since the scraper was told.
    pub(super) routed: EndpointSet,
    pub(super) metrics: RequestMetrics,
    stale_after: Duration,
}

impl Worker {
    pub(super) fn new(settings: Settings, rng: Rng) -> Result<Self, HostError> {
        let pools = settings.pools.into_iter().map(WorkerPool::new);
        Ok(Self {
            pools: pools.collect::<Result<_, _>>()?,
            pool_chooser: settings.pool_chooser,
            models: settings.models,
            request: settings.request,
            headers: settings.headers,
            destination: settings.destination,
            rng,
            held: HeldRequests::default(),
            serves_requests: false,
        })
    }
}

impl WorkerPool {
    fn new(settings: PoolSettings) -> Result<Self, HostError> {
        Ok(Self {
            metrics: RequestMetrics::define(&settings.name)?,
            pool: Pool::new(&settings.endpoints),
            name: settings.name,
            scheduler: Scheduler::new(settings.profile),
            routed: EndpointSet::default(),
            stale_after: settings.metrics.stale_after,
        })
    }

    pub(super) const fn freshness(&self, now: Timestamp) -> Freshness {
        Freshness {
            now,
            stale_after: self.stale_after,
        }
    }
}
