//! What the filter does with a request, and with a scrape: as one worker of one Envoy does it.

use endpoint_picker::{
    load::{InFlight, Load, Ticket},
    model_server::MetricsReader,
    pool::{Freshness, Pool},
    prefix::{BlockHash, PrefixIndex, block_tokens},
    request::{Api, ModelRoute, Progress, Rejection, RequestReader, prompt_blocks},
    scheduling::{Request, Scheduler, Terms, View},
    time::Timestamp,
};
use fastrand::Rng;

use super::{filter::Filter, unix_time};
use crate::load::client::Failure;

/// The API and the path of every request.
const API: Api = Api::ChatCompletions;
const PATH: &[u8] = b"/v1/chat/completions";

/// The filter's state, and what it is configured with.
#[derive(Debug)]
pub(super) struct Gateway<'a> {
    filter: &'a Filter,
    pool: Pool,
    load: InFlight,
    prefixes: PrefixIndex,
    block_tokens: u32,
    scheduler: Scheduler,
    /// By the endpoints' positions.
    readers: Vec<MetricsReader>,
    rng: Rng,
    /// The blocks of the prompt in hand.
    blocks: Vec<BlockHash>,
}

/// A request that has been sent on.
#[derive(Debug)]
pub(super) struct Routed {
    /// The server's position.
    pub(super) server: usize,
    pub(super) ticket: Ticket,
}

impl<'a> Gateway<'a> {
    pub(super) fn new(filter: &'a Filter, rng: Rng) -> Self {
        let Filter { pool: settings, .. } = filter;
        let pool = Pool::new(&settings.endpoints);
        let servers = pool.endpoints().len();
        let engines = settings.endpoints.iter();
        let engines = engines.map(|endpoint| settings.metrics.engine_of(endpoint).choice);
        Self {
            load: InFlight::new(servers),
            prefixes: PrefixIndex::new(servers, settings.prefix_cache_bytes),
            block_tokens: block_tokens(&pool),
            scheduler: Scheduler::new(settings.scheduling.clone()),
            readers: engines.map(MetricsReader::new).collect(),
            pool,
            filter,
            rng,
            blocks: Vec::new(),
        }
    }

    /// Chooses a server for the request with this body, which sets out to it.
    ///
    /// # Errors
    ///
    /// With the status of the filter's answer, where it answers itself.
    pub(super) fn route(&mut self, body: &[u8], now: f64) -> Result<Routed, Failure> {
        let routed = self.choose(body, now);
        routed.map_err(|rejection| Failure::Status(rejection.reply(Some(API)).status))
    }

    fn choose(&mut self, body: &[u8], now: f64) -> Result<Routed, Rejection> {
        let settings = &self.filter.settings;
        let blocks = prompt_blocks(self.block_tokens, settings.request.prefix_bytes);
        let mut reader = RequestReader::with_blocks(API, blocks);
        if reader.feed(body)? == Progress::More {
            reader.finish()?;
        }
        let inference = reader.request();
        let (models, pools) = (&settings.models, &settings.pool_chooser);
        let route = inference
            .model
            .as_ref()
            .map(|model| ModelRoute::new(&model.name, None, models, pools, &mut self.rng))
            .transpose()?;
        self.blocks.clear();
        if self.scheduler.needs_prefixes() {
            let scope = inference.scope(route.as_ref());
            self.blocks.extend(inference.prompt.block_hashes(scope));
        }
        let terms = Terms {
            freshness: Freshness {
                now: timestamp(now),
                stale_after: self.filter.pool.metrics.stale_after,
            },
            subset: None,
            ranked: settings.destination.ranked,
            request: Request {
                blocks: &self.blocks,
                block_tokens: inference.prompt.block_tokens(),
                // The whole body has come.
                prompt_tokens: inference.prompt.estimated_tokens(0),
                model: route.as_ref().map(|route| route.target),
                path: PATH,
                // No request has any of the headers that a profile may ask about.
                headers: &[],
            },
        };
        let view = View {
            pool: &self.pool,
            load: &self.load,
            prefixes: &self.prefixes,
        };
        let decision = self.scheduler.schedule(view, terms, &mut self.rng);
        let decision = decision.map_err(|none| none.rejection(&self.filter.pool.name))?;
        let (server, is_cold) = (decision.position(), decision.is_cold());
        let load = Load {
            requests: 1,
            tokens: decision.uncached_tokens(),
        };
        if self.scheduler.needs_prefixes() {
            self.prefixes.insert(server, &self.blocks, is_cold);
        }
        Ok(Routed {
            server,
            ticket: Ticket::begin(&mut self.load, &self.pool, server, load),
        })
    }

    /// The first token of an answer has come.
    pub(super) fn prompt_read(&mut self, ticket: &mut Ticket) {
        ticket.prompt_read(&mut self.load, &self.pool);
    }

    /// A request is over, whatever its end.
    pub(super) fn end(&mut self, ticket: Ticket) {
        ticket.end(&mut self.load, &self.pool);
    }

    /// The server at this position was scraped. What is in flight to it is noted at that very
    /// moment.
    pub(super) fn scraped(&mut self, server: usize, exposition: &str, now: f64) {
        let (Some(endpoint), Some(reader)) = (
            self.pool.endpoints().get(server),
            self.readers.get_mut(server),
        ) else {
            return;
        };
        let (at, engines) = (timestamp(now), &self.filter.pool.metrics.engines);
        let before = endpoint.scraped_at().map(|_| endpoint.metrics());
        let metrics = reader.read(engines, exposition.as_bytes(), at, before);
        let address = endpoint.address();
        self.pool.record(address, metrics, at);
        self.pool.record_load(address, self.load.at(server));
        self.block_tokens = block_tokens(&self.pool);
        self.prefixes.follow(&self.pool, self.block_tokens);
    }

    /// The endpoints, and what is known of them.
    #[cfg(test)]
    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether nothing is in flight.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.load.is_idle(&self.pool)
    }
}

fn timestamp(now: f64) -> Timestamp {
    Timestamp::from_millis((unix_time(now) * 1000.0) as u64)
}
