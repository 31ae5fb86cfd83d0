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
    pool_sync::{PoolSync, shortest_interval},
    stream::{self, Stream},
    worker::{Worker, WorkerPool},
};
use crate::{
    config::Settings,
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
    /// One for each of the worker's pools, in their order.
    syncs: Vec<PoolSync>,
    claim: Claim,
    tick: Duration,
}

impl Configured {
    fn new(settings: Settings, configured_at: Timestamp) -> Result<Self, HostError> {
        let mut rng = Rng::with_seed(host::random_seed());
        let claim = Claim {
            holder: rng.u64(..),
            configuration: settings.digest,
            configured_at,
            serves_requests: false,
        };
        let intervals = settings.pools.iter().map(shortest_interval);
        Ok(Self {
            tick: tick_period(intervals.min().unwrap_or_default()),
            syncs: settings
                .pools
                .iter()
                .map(PoolSync::new)
                .collect::<Result<_, _>>()?,
            worker: Rc::new(RefCell::new(Worker::new(settings, rng)?)),
            claim,
        })
    }

    fn tick(&mut self, now: Timestamp) {
        // Streams borrow the worker inside their own callbacks only, so it is free here.
        let Ok(mut worker) = self.worker.try_borrow_mut() else {
            return;
        };
        let worker = &mut *worker;
        self.claim.serves_requests = worker.serves_requests;
        for (sync, pool) in self.syncs.iter_mut().zip(&mut worker.pools) {
            // What goes wrong for one pool stops no other.
            if let Err(error) = sync.tick(pool, self.claim, self.tick, now, &mut worker.rng) {
                log::error!("pool '{}': {error}", pool.name);
            }
        }
        worker.follow_endpoints();
        // The last, since its calls are made for other contexts than this one.
        stream::answer_overdue(worker, now);
    }

    fn on_answer(&mut self, token: u32, num_headers: usize, body_size: usize, now: Timestamp) {
        let Ok(mut worker) = self.worker.try_borrow_mut() else {
            return;
        };
        let mut pools = self.syncs.iter_mut().zip(&mut worker.pools);
        if let Some((sync, pool)) = pools.find(|(sync, _)| sync.awaits(token)) {
            sync.answered(pool, token, num_headers, body_size, now);
        }
    }
}

impl Context for Plugin {
    /// The last call to a plugin that is no longer configured; a VM that fails gets none.
    fn on_done(&mut self) -> bool {
        if let Some(configured) = &self.configured
            && let Ok(mut worker) = configured.worker.try_borrow_mut()
        {
            worker.pools.iter_mut().for_each(WorkerPool::leave);
        }
        true
    }

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
                    .and_then(|now| Configured::new(settings, now))
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
        match host::now() {
            Ok(now) => configured.tick(now),
            Err(error) => log::error!("{error}"),
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        let worker = self
            .configured
            .as_ref()
            .map(|configured| &configured.worker);
        Some(Box::new(Stream::new(context_id, worker.cloned())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
