//! What the streams of one VM share.

use core::{mem, time::Duration};
use std::net::SocketAddr;

use fastrand::Rng;

use super::{
    host::HostError, peers::SharedData, request_metrics::RequestMetrics, shared_state::root,
};
use crate::{
    config::{
        DestinationSettings, DisaggregationHeaders, ExplanationSettings, HeaderSettings,
        PoolChooser, PoolSettings, RequestSettings, Settings,
    },
    load::{InFlight, Load, Notice, Peers, Ticket, ViewMut},
    models::ModelCatalog,
    pool::{Freshness, Pool},
    prefix::{BlockHash, Blocks, PrefixIndex, block_tokens},
    request::{HeaderRules, HeldRequests, prompt_blocks},
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
    /// What is read of a request's headers, and which of them go no further.
    pub(super) rules: HeaderRules,
    pub(super) explanation: Option<ExplanationSettings>,
    pub(super) destination: DestinationSettings,
    pub(super) rng: Rng,
    /// Tokens in a block of a prompt: of the largest that any pool asks for, since it is not yet known
    /// for which one a prompt is when it is cut.
    block_tokens: u32,
    /// The blocks of the prompt in hand, kept so that their memory is used again.
    pub(super) blocks: Vec<BlockHash>,
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
    /// What is on its way to the endpoints.
    pub(super) load: InFlight,
    /// The prompts that they have read.
    pub(super) prefixes: PrefixIndex,
    /// Whether something was learned of the endpoints that has not been followed.
    pub(super) has_learned: bool,
    /// Tokens in a block of a prompt, by what the endpoints tell of their caches.
    block_tokens: u32,
    pub(super) scheduler: Scheduler,
    pub(super) disaggregation_headers: DisaggregationHeaders,
    /// The endpoints that requests were sent to since the scraper was told.
    pub(super) routed: EndpointSet,
    pub(super) metrics: RequestMetrics,
    peers: Peers,
    stale_after: Duration,
}

impl Worker {
    pub(super) fn new(settings: Settings, mut rng: Rng) -> Result<Self, HostError> {
        let rules = rules(&settings);
        let pools = settings.pools.into_iter();
        let pools = pools.map(|pool| WorkerPool::new(pool, rng.fork()));
        let pools: Vec<_> = pools.collect::<Result<_, _>>()?;
        Ok(Self {
            rules,
            explanation: settings.explanation,
            block_tokens: largest_block(&pools),
            blocks: Vec::new(),
            pools,
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

    /// How prompts are cut.
    pub(super) fn prompt_blocks(&self) -> Blocks {
        prompt_blocks(self.block_tokens, self.request.prefix_bytes)
    }

    /// Follows what was learned of the endpoints.
    pub(super) fn follow_endpoints(&mut self) {
        for pool in self.pools.iter_mut().filter(|pool| pool.has_learned) {
            pool.block_tokens = block_tokens(&pool.pool);
        }
        let block_tokens = largest_block(&self.pools);
        let cut_otherwise = mem::replace(&mut self.block_tokens, block_tokens) != block_tokens;
        for pool in &mut self.pools {
            if mem::take(&mut pool.has_learned) || cut_otherwise {
                pool.prefixes.follow(&pool.pool, block_tokens);
            }
        }
    }
}

fn largest_block(pools: &[WorkerPool]) -> u32 {
    let block_tokens = pools.iter().map(|pool| pool.block_tokens);
    block_tokens.max().unwrap_or_default()
}

/// What `settings` say of headers, put together once.
fn rules(settings: &Settings) -> HeaderRules {
    let destination = &settings.destination;
    let explanation = settings.explanation.as_ref();
    let prefillers = settings
        .pools
        .iter()
        .map(|pool| &pool.disaggregation_headers.prefiller);
    let own = [
        Some(&destination.header),
        destination.served_header.as_ref(),
        explanation.map(|explanation| &explanation.response_header),
    ];
    HeaderRules {
        trusted: settings.headers.trusted,
        own: own
            .into_iter()
            .flatten()
            .chain(prefillers)
            .cloned()
            .collect(),
        watched: settings.watched.all().to_vec(),
        explain: explanation.map(|explanation| explanation.request_header.clone()),
    }
}

impl WorkerPool {
    fn new(settings: PoolSettings, rng: Rng) -> Result<Self, HostError> {
        let peers = Peers::new(root(&settings.name), rng);
        peers.prepare(&SharedData)?;
        let pool = Pool::new(&settings.endpoints);
        let endpoints = pool.endpoints().len();
        Ok(Self {
            metrics: RequestMetrics::define(&settings.name)?,
            peers,
            has_learned: false,
            block_tokens: block_tokens(&pool),
            pool,
            load: InFlight::new(endpoints),
            prefixes: PrefixIndex::new(endpoints, settings.prefix_cache_bytes),
            name: settings.name,
            scheduler: Scheduler::new(settings.scheduling),
            disaggregation_headers: settings.disaggregation_headers,
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

    /// A request sets out to the endpoint at `position`.
    pub(super) fn begin(&mut self, position: usize, load: Load) -> Ticket {
        self.routed.extend([position]);
        Ticket::begin(&mut self.load, &self.pool, position, load)
    }

    /// The endpoint has read the prompt of a request.
    pub(super) fn prompt_read(&mut self, ticket: &mut Ticket) {
        ticket.prompt_read(&mut self.load, &self.pool);
    }

    /// A request is with the endpoint at `address`. Tells the one that it has left for that, if it is
    /// another.
    pub(super) fn moved(&mut self, ticket: &mut Ticket, address: SocketAddr) -> Option<SocketAddr> {
        ticket.moved(&mut self.load, &self.pool, address)
    }

    /// A request could not be brought to the endpoint at `address`.
    pub(super) fn unreachable(&mut self, address: SocketAddr, now: Timestamp) {
        let endpoint = self.pool.get(address);
        if endpoint.is_some_and(|endpoint| endpoint.failed_at().is_none()) {
            log::info!(
                "endpoint {address}: it gave a request no answer; passed over until it answers a scrape"
            );
        }
        self.pool.record_failure(address, now);
    }

    /// A request is over, whatever its end.
    pub(super) fn end(&mut self, ticket: Ticket) {
        ticket.end(&mut self.load, &self.pool);
    }

    /// The endpoint at `position` gets to read a prompt of these `blocks`, which is `cold` if nobody
    /// held any of it.
    pub(super) fn read(&mut self, position: usize, blocks: &[BlockHash], cold: bool) {
        self.prefixes.insert(position, blocks, cold);
        if let Some(endpoint) = self.pool.endpoints().get(position) {
            self.peers.record(endpoint.address(), blocks, cold);
        }
    }

    /// The endpoint at `address` has not read these `blocks`, which were entered for it.
    pub(super) fn unread(&mut self, address: SocketAddr, blocks: &[BlockHash]) {
        if let (Some(position), [_, ..]) = (self.pool.position(address), blocks) {
            self.prefixes.remove(position, blocks);
            self.peers.take_back(address, blocks);
        }
    }

    /// Takes note of a decision, and every few of them exchanges with the other VMs what is under way.
    pub(super) fn after_decision(&mut self, now: Timestamp) {
        let (peers, view) = self.peers();
        let exchanged = peers.after_decision(&SharedData, view, now);
        self.say(exchanged);
    }

    /// Exchanges with the other VMs what has been decided.
    pub(super) fn exchange(&mut self, now: Timestamp) {
        let (peers, view) = self.peers();
        let exchanged = peers.tick(&SharedData, view, now);
        self.say(exchanged);
    }

    /// Learns what the other VMs have under way.
    pub(super) fn hear(&mut self, now: Timestamp) {
        let (peers, view) = self.peers();
        let heard = peers.hear(&SharedData, view.pool, view.load, now);
        self.say(heard.map(|()| None));
    }

    /// Tells the other VMs that this one decides nothing any more.
    pub(super) fn leave(&mut self) {
        let left = self.peers.leave(&SharedData);
        self.say(left.map(|()| None));
    }

    const fn peers(&mut self) -> (&mut Peers, ViewMut<'_>) {
        let view = ViewMut {
            pool: &self.pool,
            load: &mut self.load,
            prefixes: &mut self.prefixes,
        };
        (&mut self.peers, view)
    }

    /// Deciding goes on, by what this VM knows itself.
    fn say(&self, exchanged: Result<Option<Notice>, HostError>) {
        match exchanged {
            Ok(None) => {}
            Ok(Some(notice)) => log::warn!("pool '{}': {notice}", self.name),
            Err(error) => log::error!("pool '{}': {error}", self.name),
        }
    }
}
