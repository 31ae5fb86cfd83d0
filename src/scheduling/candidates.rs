//! The endpoints a decision may choose.

use crate::pool::{Endpoint, Freshness, Pool, Signal};

/// The endpoints a decision may choose, at the moment of choosing.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    pool: &'a Pool,
    positions: &'a [usize],
    freshness: Freshness,
}

impl<'a> Candidates<'a> {
    /// The healthy endpoints of `pool`, or all of them when none is. Their positions are left in
    /// `positions`, which the caller keeps so that its memory is used again.
    pub(super) fn healthy(
        pool: &'a Pool,
        freshness: Freshness,
        positions: &'a mut Vec<usize>,
    ) -> Self {
        let endpoints = pool.endpoints();
        let healthy = |at: &usize| {
            endpoints
                .get(*at)
                .is_some_and(|endpoint| endpoint.is_healthy(freshness))
        };
        positions.clear();
        positions.extend((0..endpoints.len()).filter(healthy));
        if positions.is_empty() {
            positions.extend(0..endpoints.len());
        }
        Self {
            pool,
            positions,
            freshness,
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is none: the pool is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The candidates, in the order in which scores stand.
    pub fn endpoints(&self) -> impl Iterator<Item = &'a Endpoint> {
        self.positions
            .iter()
            .filter_map(|&at| self.pool.endpoints().get(at))
    }

    /// The candidate whose scores stand at `index`.
    pub(super) fn endpoint(&self, index: usize) -> Option<&'a Endpoint> {
        self.pool.endpoints().get(*self.positions.get(index)?)
    }

    /// What each candidate says of `signal`; `None` where that is missing, stale or not a number.
    pub fn fresh(&self, signal: Signal) -> impl Iterator<Item = Option<f64>> {
        let freshness = self.freshness;
        self.endpoints()
            .map(move |endpoint| endpoint.metrics().reading(signal, freshness).fresh())
    }
}
