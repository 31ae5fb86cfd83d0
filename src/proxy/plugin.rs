//! The root context: one a VM, configured once, ticking.

use core::{cell::RefCell, time::Duration};
use std::rc::Rc;

use fastrand::Rng;
use proxy_wasm::{
    traits::{Context, HttpContext, RootContext},
    types::ContextType,
};

use super::{
    host::{self, HostError},
    metrics::FilterMetrics,
    scraper::{Scraper, scrape_settings},
    shared_state::{Holder, SharedState},
    stream::Stream,
    worker::Worker,
};
use crate::{
    config::{MetricsSettings, Settings},
    scraping::{Claim, tick_period},
    time::Timestamp,
};

/// The plugin in one VM; nothing until it is configured.
#[derive(Debug, Default)]
pub(super) struct Plugin {
    configured: Option<Configured>,
}

#[derive(Debug)]
struct Configured {
    worker: Rc<RefCell<Worker>>,
    settings: Rc<MetricsSettings>,
    metrics: Rc<FilterMetrics>,
    shared: SharedState,
    claim: Claim,
    tick: Duration,
    /// While this VM has the lease.
    scraper: Option<Scraper>,
    /// Whether the pool has changed since it was published.
    unpublished: bool,
}

impl Configured {
    fn new(settings: &Settings, configured_at: Timestamp) -> Result<Self, HostError> {
        let mut rng = Rng::with_seed(host::random_seed());
        let claim = Claim {
            holder: rng.u64(..),
            configuration: settings.digest,
            configured_at,
            serves_requests: false,
        };
        let shared = SharedState::new(&settings.pool);
        shared.prepare()?;
        Ok(Self {
            worker: Rc::new(RefCell::new(Worker::new(settings, rng))),
            metrics: Rc::new(FilterMetrics::define(
                &settings.pool,
                &settings.metrics.engines,
            )?),
            settings: Rc::new(settings.metrics.clone()),
            shared,
            claim,
            tick: tick_period(shortest_interval(settings)),
            scraper: None,
            unpublished: false,
        })
    }

    /// The VM with the lease scrapes and publishes; every other takes over what was published.
    fn tick(&mut self, now: Timestamp) -> Result<(), HostError> {
        // Streams borrow the worker inside their own callbacks only, so it is free here.
        let Ok(mut worker) = self.worker.try_borrow_mut() else {
            return Ok(());
        };
        let worker = &mut *worker;
        self.claim.serves_requests = worker.serves_requests;
        if self.scraper.is_none() {
            self.shared.refresh(&mut worker.pool)?;
        }
        let configuration = self.claim.configuration;
        let successor = match self.shared.hold_lease(self.claim, now, self.tick)? {
            Holder::This { successor } => successor,
            Holder::Another => {
                if self.scraper.take().is_some() {
                    log::info!("pool '{}': another VM scrapes", worker.pool_name);
                }
                return self.shared.tell_traffic(configuration, &mut worker.routed);
            }
        };
        let scraper = self.scraper.get_or_insert_with(|| {
            log::info!(
                "pool '{}': this VM scrapes {} endpoints",
                worker.pool_name,
                worker.pool.endpoints().len(),
            );
            Scraper::new(
                Rc::clone(&self.settings),
                Rc::clone(&self.metrics),
                &worker.pool,
                successor,
                worker.rng.fork(),
            )
        });
        scraper.routed(&self.shared.take_traffic(configuration)?, now);
        scraper.routed(&worker.routed, now);
        worker.routed.clear();
        scraper.scrape_due(&worker.pool, now);
        if self.unpublished {
            scraper.tell_lacks(&worker.pool);
            self.shared.publish(&worker.pool)?;
            self.unpublished = false;
        }
        Ok(())
    }

    fn on_answer(&mut self, token: u32, num_headers: usize, body_size: usize, now: Timestamp) {
        let (Some(scraper), Ok(mut worker)) = (&mut self.scraper, self.worker.try_borrow_mut())
        else {
            return;
        };
        self.unpublished |= scraper.answered(&mut worker.pool, token, num_headers, body_size, now);
    }
}

/// The shortest interval of any endpoint, which sets the pace of the ticks.
fn shortest_interval(settings: &Settings) -> Duration {
    let endpoints = settings.endpoints.iter();
    let intervals = endpoints.map(|endpoint| scrape_settings(&settings.metrics, endpoint).interval);
    intervals.min().unwrap_or(settings.metrics.scrape.interval)
}

impl Context for Plugin {
    fn on_http_call_response(
        &mut self,
        token: u32,
        num_headers: usize,
        body_size: usize,
        _num_trailers: usize,
    ) {
        match (&mut self.configured, host::now()) {
            (Some(configured), Ok(now)) => {
                configured.on_answer(token, num_headers, body_size, now);
            }
            (_, Err(error)) => log::error!("{error}"),
            (None, _) => {}
        }
    }
}

impl RootContext for Plugin {
    fn on_configure(&mut self, size: usize) -> bool {
        host::sync_log_level();
        let configured = host::plugin_configuration(size)
            .map_err(|error| error.to_string())
            .and_then(|json| Settings::from_json(&json).map_err(|error| error.to_string()))
            .and_then(|settings| {
                host::now()
                    .and_then(|now| Configured::new(&settings, now))
                    .and_then(|configured| {
                        host::set_tick_period(configured.tick).map(|()| configured)
                    })
                    .map_err(|error| error.to_string())
            });
        match configured {
            Ok(configured) => {
                self.configured = Some(configured);
                true
            }
            Err(error) => {
                log::error!("configuration refused: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        host::sync_log_level();
        let Some(configured) = &mut self.configured else {
            return;
        };
        if let Err(error) = host::now().and_then(|now| configured.tick(now)) {
            log::error!("{error}");
        }
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let worker = self
            .configured
            .as_ref()
            .map(|configured| &configured.worker);
        Some(Box::new(Stream::new(worker.cloned())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
