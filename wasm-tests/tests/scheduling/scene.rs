//! Decisions on servers in every state.

use endpoint_picker::{
    load::InFlight,
    pool::{Pool, Signal},
    prefix::{BlockHash, PrefixIndex},
    scheduling::{
        Decision, EndpointAttribute, Filter, LabelSelector, NoCandidate, Profile, Request,
        Scheduler, Scheduling, Scorer, Terms, Utilization, UtilizationCondition, UtilizationMetric,
        View, WeightedScorer,
    },
};
use fastrand::Rng;

use super::support::{self, FRESHNESS, LONG_AGO, Server, address};

/// Tokens of a block.
pub(crate) const BLOCK_TOKENS: u32 = 64;

/// What is known when a decision is made.
pub(crate) struct Scene {
    pool: Pool,
    load: InFlight,
    prefixes: PrefixIndex,
    blocks: Vec<BlockHash>,
}

impl Scene {
    /// These servers, and a prompt of which nobody holds anything.
    pub(crate) fn new(servers: &[Server], blocks: usize) -> Self {
        let (pool, load) = support::pool(servers);
        Self {
            prefixes: PrefixIndex::new(servers.len(), 1 << 20),
            blocks: prompt(7, blocks),
            pool,
            load,
        }
    }

    /// The servers at these indexes last answered a scrape too long ago.
    pub(crate) fn sick(mut self, indexes: &[usize]) -> Self {
        for &index in indexes {
            let metrics = self.pool.get(address(index)).unwrap().metrics().clone();
            self.pool.record(address(index), metrics, LONG_AGO);
        }
        self
    }

    /// The servers at these indexes were found to fail since they last answered a scrape.
    pub(crate) fn failed(mut self, indexes: &[usize]) -> Self {
        for &index in indexes {
            self.pool.record_failure(address(index), FRESHNESS.now);
        }
        self
    }

    /// The server at `index` holds so many of the prompt's blocks.
    pub(crate) fn holds(mut self, index: usize, blocks: usize) -> Self {
        self.prefixes.insert(index, &self.blocks[..blocks], false);
        self
    }

    /// Another prompt.
    pub(crate) fn asks(mut self, blocks: Vec<BlockHash>) -> Self {
        self.blocks = blocks;
        self
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            blocks: &self.blocks,
            block_tokens: BLOCK_TOKENS,
            prompt_tokens: self.blocks.len() as u64 * u64::from(BLOCK_TOKENS),
            ..Request::default()
        }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            pool: &self.pool,
            load: &self.load,
            prefixes: &self.prefixes,
        }
    }

    pub(crate) fn terms(&self) -> Terms<'_> {
        Terms {
            request: self.request(),
            ..FRESHNESS.into()
        }
    }

    /// Decides and looks at the decision.
    pub(crate) fn decide<T>(
        &self,
        scheduling: impl Into<Scheduling>,
        look: impl FnOnce(Result<Decision<'_>, NoCandidate>) -> T,
    ) -> T {
        self.decide_on(scheduling, self.terms(), look)
    }

    /// Decides on `terms` and looks at the decision.
    pub(crate) fn decide_on<T>(
        &self,
        scheduling: impl Into<Scheduling>,
        terms: Terms<'_>,
        look: impl FnOnce(Result<Decision<'_>, NoCandidate>) -> T,
    ) -> T {
        let mut scheduler = Scheduler::new(scheduling);
        look(scheduler.schedule(self.view(), terms, &mut Rng::with_seed(1)))
    }

    /// The index of the server chosen.
    pub(crate) fn choice(&self, scheduling: impl Into<Scheduling>) -> Result<usize, NoCandidate> {
        self.decide(scheduling, |decision| decision.map(|it| it.position()))
    }

    /// The indexes of the servers ranked, by default all.
    pub(crate) fn ranking(&self, scheduling: impl Into<Scheduling>) -> Vec<usize> {
        let terms = Terms {
            ranked: usize::MAX,
            ..self.terms()
        };
        self.decide_on(scheduling, terms, |decision| {
            indexes(self, &decision.unwrap())
        })
    }
}

/// The indexes of the servers that a decision ranks.
pub(crate) fn indexes(scene: &Scene, decision: &Decision<'_>) -> Vec<usize> {
    let endpoints = decision.ranking();
    let index = endpoints.map(|endpoint| scene.pool.position(endpoint.address()));
    index.map(Option::unwrap).collect()
}

/// The hashes of a prompt's blocks, which are those of a `kind` of prompts.
pub(crate) fn prompt(kind: u32, blocks: usize) -> Vec<BlockHash> {
    let kind = (0..=kind).fold(BlockHash::NEUTRAL, |hash, _| {
        BlockHash::NEUTRAL.within(hash)
    });
    let next = |hash: &BlockHash| Some(hash.within(*hash));
    core::iter::successors(Some(kind.within(kind)), next)
        .take(blocks)
        .collect()
}

/// A profile without filters and scorers.
pub(crate) fn bare() -> Profile {
    Profile {
        scorers: Vec::new(),
        ..Profile::default()
    }
}

/// A profile by which every server's total is what it tells of [`TOTAL`].
pub(crate) fn by_total() -> Profile {
    let scorer = Scorer::EndpointAttribute(EndpointAttribute {
        name: "total".to_owned(),
        signal: TOTAL,
        range: Some((0.0, 1.0)),
        higher_is_better: true,
    });
    Profile {
        scorers: vec![WeightedScorer {
            scorer,
            weight: 1.0,
        }],
        ..Profile::default()
    }
}

/// The signal for [`by_total`].
pub(crate) const TOTAL: Signal = Signal::Custom(0);

/// A server by its total, for [`by_total`].
pub(crate) fn server(total: f64) -> Server {
    Server::told(TOTAL, total)
}

/// A server that tells of its queue and its cache.
pub(crate) fn told(waiting: f64, usage: f64) -> Server {
    Server::told(Signal::WaitingRequests, waiting).tells(Signal::KvCacheUsage, usage)
}

/// A profile of these scorers, by their weights.
pub(crate) fn scored<const N: usize>(scorers: [(Scorer, f64); N]) -> Profile {
    let weighted = |(scorer, weight)| WeightedScorer { scorer, weight };
    Profile {
        scorers: scorers.map(weighted).into(),
        ..bare()
    }
}

/// The profile [`by_total`] with filters.
pub(crate) fn filtered<const N: usize>(filters: [Filter; N]) -> Profile {
    Profile {
        filters: filters.into(),
        ..by_total()
    }
}

/// Those of this zone.
pub(crate) fn zone(zone: &str) -> Filter {
    Filter::LabelSelector(LabelSelector {
        match_labels: vec![("zone".to_owned(), zone.to_owned())],
        ..LabelSelector::default()
    })
}

/// Those with no more requests waiting.
pub(crate) fn waiting(max_value: f64, fallback_on_empty: bool) -> Filter {
    let metric = UtilizationMetric::WaitingQueue;
    Filter::Utilization(Utilization {
        conditions: vec![UtilizationCondition { metric, max_value }],
        fallback_on_empty,
    })
}
