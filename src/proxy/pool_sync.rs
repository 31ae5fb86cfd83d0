//! Keeps one pool of this VM fresh: by scraping, or by what the VM that scrapes has published.

use core::time::Duration;
use std::rc::Rc;

use fastrand::Rng;

use super::{
    host::HostError,
    metrics::FilterMetrics,
    scraper::{Scraper, scrape_settings},
    shared_state::{Holder, SharedState},
    worker::WorkerPool,
};
use crate::{
    config::{MetricsSettings, PoolSettings},
    scraping::Claim,
    time::Timestamp,
};

/// What keeps one pool fresh. Each has a lease of its own, so different VMs may scrape different pools.
#[derive(Debug)]
pub(super) struct PoolSync {
    settings: Rc<MetricsSettings>,
    metrics: Rc<FilterMetrics>,
    shared: SharedState,
    /// While this VM has the lease.
    scraper: Option<Scraper>,
    /// Whether the pool has changed since it was published.
    unpublished: bool,
}

impl PoolSync {
    pub(super) fn new(settings: &PoolSettings) -> Result<Self, HostError> {
        let shared = SharedState::new(&settings.name);
        shared.prepare()?;
        let metrics = FilterMetrics::define(&settings.name, &settings.metrics.engines)?;
        Ok(Self {
            settings: Rc::new(settings.metrics.clone()),
            metrics: Rc::new(metrics),
            shared,
            scraper: None,
            unpublished: false,
        })
    }

    /// The VM with the lease scrapes and publishes; every other takes over what was published. All
    /// exchange what they have decided.
    pub(super) fn tick(
        &mut self,
        worker: &mut WorkerPool,
        claim: Claim,
        tick: Duration,
        now: Timestamp,
        rng: &mut Rng,
    ) -> Result<(), HostError> {
        // What the others have routed first: an endpoint that has restarted since has lost that too.
        worker.exchange(now);
        let custom_metrics = self.settings.engines.custom_metrics();
        if self.scraper.is_none() && self.shared.refresh(&mut worker.pool, custom_metrics)? {
            worker.has_learned = true;
        }
        let configuration = claim.configuration;
        let successor = match self.shared.hold_lease(claim, now, tick)? {
            Holder::This { successor } => successor,
            Holder::Another => {
                if let Some(scraper) = self.scraper.take() {
                    log::info!("pool '{}': another VM scrapes", worker.name);
                    worker.routed.extend(scraper.busy());
                }
                return self.shared.tell_traffic(configuration, &mut worker.routed);
            }
        };
        let scraper = self.scraper.get_or_insert_with(|| {
            log::info!(
                "pool '{}': this VM scrapes {} endpoints",
                worker.name,
                worker.pool.endpoints().len(),
            );
            Scraper::new(
                Rc::clone(&self.settings),
                Rc::clone(&self.metrics),
                &worker.pool,
                successor,
                rng.fork(),
            )
        });
        scraper.routed(&self.shared.take_traffic(configuration)?, now);
        scraper.routed(&worker.routed, now);
        worker.routed.clear();
        scraper.scrape_due(&worker.pool, now);
        if self.unpublished {
            worker.has_learned = true;
            scraper.tell_lacks(&worker.pool);
            self.shared.publish(&worker.pool, custom_metrics)?;
            self.unpublished = false;
        }
        Ok(())
    }

    /// Whether this pool's scraper awaits the answer to the call `token`.
    pub(super) fn awaits(&self, token: u32) -> bool {
        let scraper = self.scraper.as_ref();
        scraper.is_some_and(|scraper| scraper.awaits(token))
    }

    /// Takes the answer to the call `token` into the pool.
    pub(super) fn answered(
        &mut self,
        worker: &mut WorkerPool,
        token: u32,
        num_headers: usize,
        body_size: usize,
        now: Timestamp,
    ) {
        if let Some(scraper) = &mut self.scraper {
            worker.hear(now);
            let (pool, load) = (&mut worker.pool, &worker.load);
            self.unpublished |= scraper.answered(pool, load, token, num_headers, body_size, now);
        }
    }
}

/// The shortest interval of any endpoint of a pool.
pub(super) fn shortest_interval(pool: &PoolSettings) -> Duration {
    let endpoints = pool.endpoints.iter();
    let intervals = endpoints.map(|endpoint| scrape_settings(&pool.metrics, endpoint).interval);
    intervals.min().unwrap_or(pool.metrics.scrape.interval)
}
