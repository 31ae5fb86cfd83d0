//! What was decided, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Candidates, WeightedScorer};
use crate::pool::Endpoint;

/// The outcome of one decision: a ranking, whose first is the choice.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    endpoint: &'a Endpoint,
    candidates: Candidates<'a>,
    scorers: &'a [WeightedScorer],
    scores: &'a [f64],
    totals: &'a [f64],
    ranking: &'a [usize],
}

/// Why a decision fell as it did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation<'a> {
    /// The endpoint chosen, as `ip:port`.
    pub endpoint: &'a str,
    /// It and those that come after it, for attempts to come.
    pub ranking: Vec<&'a str>,
    /// What every candidate scored.
    pub candidates: Vec<CandidateScores<'a>>,
}

/// What one candidate scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateScores<'a> {
    /// The candidate, as `ip:port`.
    pub endpoint: &'a str,
    /// The sum of its scores by weight.
    pub total: f64,
    /// Its score by each scorer, 0 to 1, before the weight.
    pub scores: BTreeMap<&'static str, f64>,
}

impl<'a> Decision<'a> {
    /// Of `ranking`; `None` if that is empty.
    pub(super) fn new(
        candidates: Candidates<'a>,
        scorers: &'a [WeightedScorer],
        scores: &'a [f64],
        totals: &'a [f64],
        ranking: &'a [usize],
    ) -> Option<Self> {
        Some(Self {
            endpoint: candidates.endpoint(*ranking.first()?)?,
            candidates,
            scorers,
            scores,
            totals,
            ranking,
        })
    }

    /// The endpoint chosen.
    #[must_use]
    pub const fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// The endpoint chosen, and those that come after it.
    pub fn ranking(&self) -> impl Iterator<Item = &'a Endpoint> {
        let candidates = self.candidates;
        let ranking = self.ranking.iter();
        ranking.filter_map(move |&index| candidates.endpoint(index))
    }

    /// The scores behind the choice. Costs an allocation for each candidate: for logs, not for
    /// every request.
    #[must_use]
    pub fn explain(&self) -> Explanation<'a> {
        let by_scorer = self.scores.chunks_exact(self.candidates.len().max(1));
        let mut candidates: Vec<_> = self
            .candidates
            .endpoints()
            .zip(self.totals)
            .map(|(endpoint, &total)| CandidateScores {
                endpoint: endpoint.host_port(),
                total,
                scores: BTreeMap::new(),
            })
            .collect();
        for (weighted, scores) in self.scorers.iter().zip(by_scorer) {
            for (candidate, &score) in candidates.iter_mut().zip(scores) {
                candidate.scores.insert(weighted.scorer.name(), score);
            }
        }
        Explanation {
            endpoint: self.endpoint.host_port(),
            ranking: self.ranking().map(Endpoint::host_port).collect(),
            candidates,
        }
    }
}
