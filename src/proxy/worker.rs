//! What the streams of one VM share.

use core::time::Duration;

use fastrand::Rng;

use crate::{
    config::{Settings, schema::HandOver},
    pool::{Freshness, Pool},
    scheduling::Scheduler,
    scraping::EndpointSet,
    time::Timestamp,
};

/// The pool as this VM knows it, and the means to choose from it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pool_name: String,
    pub(super) pool: Pool,
    pub(super) scheduler: Scheduler,
    pub(super) rng: Rng,
    pub(super) hand_over: HandOver,
    /// Whether a request has ever come to this VM: the main thread's gets none.
    pub(super) serves_requests: bool,
    /// The endpoints that requests were sent to since the scraper was told.
    pub(super) routed: EndpointSet,
    stale_after: Duration,
}

impl Worker {
    pub(super) fn new(settings: &Settings, rng: Rng) -> Self {
        Self {
            pool_name: settings.pool.clone(),
            pool: Pool::new(&settings.endpoints),
            scheduler: Scheduler::new(settings.profile.clone()),
            rng,
            hand_over: settings.hand_over,
            serves_requests: false,
            routed: EndpointSet::default(),
            stale_after: settings.metrics.stale_after,
        }
    }

    pub(super) const fn freshness(&self, now: Timestamp) -> Freshness {
        Freshness {
            now,
            stale_after: self.stale_after,
        }
    }
}
