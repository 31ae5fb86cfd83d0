//! One run of a profile: from the endpoints of a pool to a ranking of some.

use fastrand::Rng;

use super::{
    ActiveRequest, Candidates, Filter, NoCandidate, Profile, Scorer, Terms, View, WeightedScorer,
    candidates::allowed,
    turns::{Turns, rendezvous},
};
use crate::pool::{Endpoint, Freshness};

/// Blocks of a prompt that decide where it goes while nobody holds it: enough to tell system prompts
/// apart, and few enough that conversations with one of them meet.
const FIRST_BLOCKS: usize = 4;

/// A profile, and what counts by it where no candidate is healthy.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) profile: Profile,
    /// The scorers that need no metrics, and the requests in flight with the weight of those that do:
    /// load is told by this gateway's own counts as long as nobody else tells.
    unmeasured: Vec<WeightedScorer>,
}

impl From<Profile> for Plan {
    fn from(profile: Profile) -> Self {
        let needs_metrics = |it: &&WeightedScorer| {
            let needed = it.scorer.signals();
            needed.lora || !needed.signals.is_empty()
        };
        let (measured, unmeasured): (Vec<_>, Vec<_>) =
            profile.scorers.iter().partition(needs_metrics);
        let in_flight = (!measured.is_empty()).then(|| WeightedScorer {
            scorer: Scorer::ActiveRequest(ActiveRequest::default()),
            weight: measured.iter().map(|it| it.weight).sum(),
        });
        Self {
            unmeasured: unmeasured.into_iter().cloned().chain(in_flight).collect(),
            profile,
        }
    }
}

/// The memory of the last run, for the next one: a run allocates nothing once the pool's size has been
/// seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    positions: Vec<usize>,
    keep: Vec<bool>,
    /// By the profile's filters.
    left_out: Vec<usize>,
    /// The candidates' scores by the first scorer, then those by the second, and so on.
    scores: Vec<f64>,
    totals: Vec<f64>,
    lots: Vec<f64>,
    /// Candidates by their indexes, the best first.
    ranking: Vec<usize>,
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked<'a> {
    pub(super) profile: &'a Profile,
    /// Whether the candidates answer scrapes.
    pub(super) healthy: bool,
    pub(super) candidates: Candidates<'a>,
    /// By the profile's filters, how many each left out.
    pub(super) left_out: &'a [usize],
    pub(super) scorers: &'a [WeightedScorer],
    pub(super) scores: &'a [f64],
    pub(super) totals: &'a [f64],
    /// Never empty.
    pub(super) ranking: &'a [usize],
}

/// On what a run goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) view: View<'a>,
    pub(super) terms: Terms<'a>,
    pub(super) matched: &'a [u32],
    /// Whether nobody is better than one who does not answer scrapes.
    pub(super) healthy_only: bool,
}

impl<'a> Ground<'a> {
    const fn candidates<'p>(self, positions: &'p [usize]) -> Candidates<'p>
    where
        'a: 'p,
    {
        let Terms {
            freshness, request, ..
        } = self.terms;
        Candidates::new(self.view, positions, self.matched, freshness, request)
    }
}

/// What endpoints must be to be candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Healthy,
    /// Not found to fail.
    Untold,
    Any,
}

impl Health {
    fn is_of(self, endpoint: &Endpoint, freshness: Freshness) -> bool {
        match self {
            Self::Healthy => endpoint.is_healthy(freshness),
            Self::Untold => !endpoint.has_failed(freshness),
            Self::Any => true,
        }
    }
}

impl Run {
    /// Ranks the endpoints by `plan`.
    ///
    /// The candidates are the healthy endpoints of those allowed that the filters leave. Where none
    /// is left of them, the others are candidates too, unless the ground says otherwise: a pool whose
    /// scrapes fail still serves. Those of them that were found to fail come last. That all are too
    /// busy is no such case.
    pub(super) fn rank<'a>(
        &'a mut self,
        plan: &'a Plan,
        ground: Ground<'a>,
        turns: &Turns,
        rng: &mut Rng,
    ) -> Result<Ranked<'a>, NoCandidate> {
        let profile = &plan.profile;
        let (healthy, scorers) = match self.narrow(profile, ground, Health::Healthy, rng) {
            Ok(()) => (true, &profile.scorers),
            Err(no_candidate) if ground.healthy_only || no_candidate.is_saturated() => {
                return Err(no_candidate);
            }
            Err(_) => {
                let untold = self.narrow(profile, ground, Health::Untold, rng);
                untold.or_else(|_| self.narrow(profile, ground, Health::Any, rng))?;
                (false, &plan.unmeasured)
            }
        };
        let candidates = ground.candidates(&self.positions);
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
        let turn = |index| turn(candidates, index, turns);
        let (totals, count) = (&self.totals, ground.terms.ranked.max(1));
        let (lots, ranking) = (&mut self.lots, &mut self.ranking);
        profile.picker.rank(totals, count, turn, rng, lots, ranking);
        Ok(Ranked {
            profile,
            healthy,
            candidates,
            left_out: &self.left_out,
            scorers,
            scores: &self.scores,
            totals: &self.totals,
            ranking: &self.ranking,
        })
    }

    /// Leaves the positions of those that may be chosen, of those with this health alone.
    fn narrow(
        &mut self,
        profile: &Profile,
        ground: Ground<'_>,
        health: Health,
        rng: &mut Rng,
    ) -> Result<(), NoCandidate> {
        let (pool, terms) = (ground.view.pool, ground.terms);
        allowed(pool, terms.subset, &mut self.positions);
        if health != Health::Any {
            let has_it = |at: &usize| {
                let endpoint = pool.endpoints().get(*at);
                endpoint.is_some_and(|endpoint| health.is_of(endpoint, terms.freshness))
            };
            self.positions.retain(has_it);
        }
        if self.positions.is_empty() {
            return Err(NoCandidate::Empty);
        }
        self.left_out.clear();
        for filter in &profile.filters {
            self.keep.clear();
            filter.keep(ground.candidates(&self.positions), rng, &mut self.keep);
            let before = self.positions.len();
            if self.keep.contains(&true) {
                let mut keep = self.keep.iter();
                self.positions.retain(|_| keep.next() == Some(&true));
            } else if !falls_back(filter, health) {
                return Err(NoCandidate::Filtered {
                    filter: filter.name(),
                    saturated: filter.tells_saturation(),
                });
            }
            self.left_out.push(before - self.positions.len());
        }
        Ok(())
    }
}

/// Whether all stay where `filter` leaves none. That nothing is known of what endpoints have to do is
/// no reason to refuse.
fn falls_back(filter: &Filter, health: Health) -> bool {
    filter.falls_back() || (health != Health::Healthy && filter.tells_saturation())
}

/// Which of equals comes first: for a prompt the one that its beginning belongs to, else the one whose
/// turn it is.
fn turn(candidates: Candidates<'_>, index: usize, turns: &Turns) -> u64 {
    let blocks = candidates.request().blocks;
    let first = blocks.get(..FIRST_BLOCKS).unwrap_or(blocks);
    match (first.last(), candidates.endpoint(index)) {
        (Some(block), Some(endpoint)) => rendezvous(block.as_u64(), endpoint),
        _ => candidates
            .positions()
            .get(index)
            .map_or(0, |&position| turns.of(position)),
    }
}
