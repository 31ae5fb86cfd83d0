//! Runs a profile over a pool.

use fastrand::Rng;

use super::{Candidates, Decision, Profile, Terms, WeightedScorer};
use crate::pool::Pool;

/// Decides by one profile. It keeps the memory of its last decision for the next one, so a
/// decision allocates nothing once the pool's size has been seen.
#[derive(Debug, Clone)]
pub struct Scheduler {
    profile: Profile,
    positions: Vec<usize>,
    /// The candidates' scores by the first scorer, then those by the second, and so on.
    scores: Vec<f64>,
    totals: Vec<f64>,
    /// Candidates by their indexes, the best first.
    ranking: Vec<usize>,
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
            ranking: Vec::new(),
        }
    }

    /// Ranks the endpoints for a request that has a model at work; `None` if there is no endpoint
    /// to choose.
    pub fn schedule<'a, 't>(
        &'a mut self,
        pool: &'a Pool,
        terms: impl Into<Terms<'t>>,
        rng: &mut Rng,
    ) -> Option<Decision<'a>> {
        self.decide(pool, terms.into(), rng, true)
    }

    /// Ranks any healthy endpoints, for a request that costs none of them much; `None` if there is
    /// no endpoint to choose.
    pub fn any_healthy<'a, 't>(
        &'a mut self,
        pool: &'a Pool,
        terms: impl Into<Terms<'t>>,
        rng: &mut Rng,
    ) -> Option<Decision<'a>> {
        self.decide(pool, terms.into(), rng, false)
    }

    fn decide<'a>(
        &'a mut self,
        pool: &'a Pool,
        terms: Terms<'_>,
        rng: &mut Rng,
        scored: bool,
    ) -> Option<Decision<'a>> {
        let candidates = Candidates::healthy(pool, terms, &mut self.positions);
        // Without a scorer all are alike.
        let scorers: &[WeightedScorer] = if scored { &self.profile.scorers } else { &[] };
        self.scores.clear();
        self.totals.clear();
        self.totals.resize(candidates.len(), 0.0);
        for weighted in scorers {
            let start = self.scores.len();
            weighted.scorer.score(candidates, &mut self.scores);
            let scores = self.scores.get(start..).unwrap_or_default();
            for (total, score) in self.totals.iter_mut().zip(scores) {
                *total += score * weighted.weight;
            }
        }
        let (picker, count) = (self.profile.picker, terms.ranked.max(1));
        picker.rank(&self.totals, count, rng, &mut self.ranking);
        Decision::new(
            candidates,
            scorers,
            &self.scores,
            &self.totals,
            &self.ranking,
        )
    }
}
