//! The endpoints a decision may choose.

use std::net::SocketAddr;

use crate::pool::{Endpoint, Freshness, Pool, Signal};

/// What a decision is made for.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// How old what is known may be.
    pub freshness: Freshness,
    /// The endpoints to choose from; all of the pool if it is not said.
    pub subset: Option<&'a [SocketAddr]>,
    /// How many to rank.
    pub ranked: usize,
}

/// One of the whole pool.
impl From<Freshness> for Terms<'_> {
    fn from(freshness: Freshness) -> Self {
        Self {
            freshness,
            subset: None,
            ranked: 1,
        }
    }
}

/// The endpoints a decision may choose, at the moment of choosing.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    pool: &'a Pool,
    positions: &'a [usize],
    freshness: Freshness,
}

impl<'a> Candidates<'a> {
    /// The healthy ones of the endpoints that `terms` allow, or all of them when none is. Their
    /// positions are left in `positions`, which the caller keeps so that its memory is used again.
    pub(super) fn healthy(pool: &'a Pool, terms: Terms<'_>, positions: &'a mut Vec<usize>) -> Self {
        let endpoints = pool.endpoints();
        let healthy = |at: &usize| {
            endpoints
                .get(*at)
                .is_some_and(|endpoint| endpoint.is_healthy(terms.freshness))
        };
        match terms.subset {
            None => {
                positions.clear();
                positions.extend((0..endpoints.len()).filter(healthy));
                if positions.is_empty() {
                    positions.extend(0..endpoints.len());
                }
            }
            Some(subset) => {
                allowed(pool, subset, positions);
                if positions.iter().any(healthy) {
                    positions.retain(healthy);
                }
            }
        }
        Self {
            pool,
            positions,
            freshness: terms.freshness,
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

/// The positions of those of `subset` that are in `pool`, each once.
fn allowed(pool: &Pool, subset: &[SocketAddr], positions: &mut Vec<usize>) {
    let endpoints = pool.endpoints();
    let position = |address: &SocketAddr| endpoints.element_offset(pool.get(*address)?);
    positions.clear();
    positions.extend(subset.iter().filter_map(position));
    positions.sort_unstable();
    positions.dedup();
}
