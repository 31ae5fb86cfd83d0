//! Runs a profile over a pool.

use fastrand::Rng;

use super::{Candidates, Decision, Profile};
use crate::pool::{Endpoint, Freshness, Pool};

/// Decides by one profile. It keeps the memory of its last decision for the next one, so a
/// decision allocates nothing once the pool's size has been seen.
#[derive(Debug, Clone)]
pub struct Scheduler {
    profile: Profile,
    positions: Vec<usize>,
    /// The candidates' scores by the first scorer, then those by the second, and so on.
    scores: Vec<f64>,
    totals: Vec<f64>,
}

impl Scheduler {
    /// A scheduler for `profile`.
    #[must_use]
    pub const fn new(profile: Profile) -> Self {
        Self {
            profile,
            positions: Vec::new(),
            scores: Vec::new(),
            totals: Vec::new(),
        }
    }

    /// Chooses the endpoint for an inference request; `None` from an empty pool.
    pub fn schedule<'a>(
        &'a mut self,
        pool: &'a Pool,
        freshness: Freshness,
        rng: &mut Rng,
    ) -> Option<Decision<'a>> {
        let candidates = Candidates::healthy(pool, freshness, &mut self.positions);
        self.scores.clear();
        self.totals.clear();
        self.totals.resize(candidates.len(), 0.0);
        for weighted in &self.profile.scorers {
            let start = self.scores.len();
            weighted.scorer.score(candidates, &mut self.scores);
            let scores = self.scores.get(start..).unwrap_or_default();
            for (total, score) in self.totals.iter_mut().zip(scores) {
                *total += score * weighted.weight;
            }
        }
        let picked = self.profile.picker.pick(&self.totals, rng)?;
        let endpoint = candidates.endpoint(picked)?;
        Some(Decision::new(
            endpoint,
            candidates,
            &self.profile.scorers,
            &self.scores,
            &self.totals,
        ))
    }

    /// Chooses any healthy endpoint, for a request that is no inference; `None` from an empty
    /// pool.
    pub fn any_healthy<'a>(
        &'a mut self,
        pool: &'a Pool,
        freshness: Freshness,
        rng: &mut Rng,
    ) -> Option<&'a Endpoint> {
        let candidates = Candidates::healthy(pool, freshness, &mut self.positions);
        if candidates.is_empty() {
            return None;
        }
        candidates.endpoint(rng.usize(0..candidates.len()))
    }
}
