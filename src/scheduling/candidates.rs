//! The endpoints a decision may choose.

use std::net::SocketAddr;

use super::{Request, View};
use crate::{
    load::Load,
    pool::{Endpoint, Freshness, Pool, Signal},
};

/// The endpoints a decision may choose, at the moment of choosing, and what is known of each. What
/// is told of all of them stands in one order, that of their scores.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    view: View<'a>,
    positions: &'a [usize],
    /// By the endpoints' positions in the pool.
    matched: &'a [u32],
    freshness: Freshness,
    request: Request<'a>,
}

impl<'a> Candidates<'a> {
    /// The endpoints at `positions` of the pool in `view`. How many of the request's blocks each
    /// endpoint of the pool holds stands in `matched`, by its position.
    #[must_use]
    pub const fn new(
        view: View<'a>,
        positions: &'a [usize],
        matched: &'a [u32],
        freshness: Freshness,
        request: Request<'a>,
    ) -> Self {
        Self {
            view,
            positions,
            matched,
            freshness,
            request,
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is none: the pool is empty, or has none of those allowed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// What is asked.
    #[must_use]
    pub const fn request(&self) -> Request<'a> {
        self.request
    }

    /// When, and how old a metric may be.
    #[must_use]
    pub const fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// What is known of the whole pool.
    #[must_use]
    pub const fn view(&self) -> View<'a> {
        self.view
    }

    /// Their positions in the pool.
    #[must_use]
    pub const fn positions(&self) -> &'a [usize] {
        self.positions
    }

    /// The candidates.
    pub fn endpoints(&self) -> impl Iterator<Item = &'a Endpoint> + Clone + use<'a> {
        let pool = self.view.pool;
        let positions = self.positions.iter();
        positions.filter_map(move |&at| pool.endpoints().get(at))
    }

    /// The candidate whose scores stand at `index`.
    #[must_use]
    pub fn endpoint(&self, index: usize) -> Option<&'a Endpoint> {
        self.view.pool.endpoints().get(*self.positions.get(index)?)
    }

    /// What each candidate says of `signal`; `None` where that is missing, stale or not a number.
    pub fn fresh(&self, signal: Signal) -> impl Iterator<Item = Option<f64>> + Clone + use<'a> {
        let freshness = self.freshness;
        self.endpoints()
            .map(move |endpoint| endpoint.metrics().reading(signal, freshness).fresh())
    }

    /// What each candidate says of `signal`, a count of requests, brought up to the present by those
    /// that have set out to it and ended since it was scraped; `None` where it says nothing.
    pub fn current(&self, signal: Signal) -> impl Iterator<Item = Option<f64>> + Clone + use<'a> {
        let freshness = self.freshness;
        self.endpoints()
            .zip(self.load())
            .map(move |(endpoint, load)| {
                let told = endpoint.metrics().reading(signal, freshness).fresh()?;
                let at_scrape = endpoint.load_at_scrape().requests;
                let current = told + f64::from(load.requests) - f64::from(at_scrape);
                // No `f64::max`, which is the call of a function in Wasm.
                Some(if current > 0.0 { current } else { 0.0 })
            })
    }

    /// What is in flight to each candidate from this gateway.
    pub fn load(&self) -> impl Iterator<Item = Load> + Clone + use<'a> {
        let load = self.view.load;
        self.positions.iter().map(move |&at| load.at(at))
    }

    /// How many of the first blocks of the request's prompt each candidate holds.
    pub fn matched(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        let matched = self.matched;
        let positions = self.positions.iter();
        positions.map(move |&at| matched.get(at).copied().unwrap_or_default())
    }

    /// Tokens of the request's prompt that each candidate would have to read, an estimate.
    pub fn uncached_tokens(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let request = self.request;
        self.matched()
            .map(move |matched| request.uncached_tokens(matched))
    }
}

/// Puts the positions of those of `subset` that are in `pool`, each once, into `positions`; of all if
/// there is no subset.
pub(super) fn allowed(pool: &Pool, subset: Option<&[SocketAddr]>, positions: &mut Vec<usize>) {
    positions.clear();
    match subset {
        None => positions.extend(0..pool.endpoints().len()),
        Some(subset) => {
            positions.extend(subset.iter().filter_map(|&address| pool.position(address)));
            positions.sort_unstable();
            positions.dedup();
        }
    }
}
