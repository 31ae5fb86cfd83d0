//! Why a decision fell as it did.

use core::{iter, mem};
use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use super::{Scorer, WeightedScorer, run::Ranked};
use crate::{load::Load, pool::Endpoint};

/// Why a decision fell as it did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation<'a> {
    /// The name of the profile that decided.
    pub profile: &'a str,
    /// The endpoint chosen, as `ip:port`.
    pub endpoint: &'a str,
    /// It and those that come after it, for attempts to come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranking: Vec<&'a str>,
    /// The endpoint that is to read the prompt, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<&'a str>,
    /// How many each filter left out, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<&'static str, usize>,
    /// What candidates scored, in their order in the pool.
    pub candidates: Vec<CandidateScores<'a>>,
    /// How many more candidates there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_candidates: usize,
}

/// What one candidate scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateScores<'a> {
    /// The candidate, as `ip:port`.
    pub endpoint: &'a str,
    /// The sum of its scores by weight.
    pub total: f64,
    /// What was in flight to it from this gateway.
    pub in_flight: Load,
    /// Its score by each scorer, 0 to 1, before the weight. Of several of one name the second has a
    /// `#2` behind it, and so on.
    pub scores: BTreeMap<Cow<'a, str>, f64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<'a> Explanation<'a> {
    pub(super) fn new(ranked: Ranked<'a>, prefill: Option<&'a str>) -> Self {
        let candidates = ranked.candidates;
        let ranking = ranked.ranking.iter();
        let ranking = ranking.filter_map(|&index| candidates.endpoint(index));
        let ranking: Vec<_> = ranking.map(Endpoint::host_port).collect();
        let mut left_out = BTreeMap::new();
        for (filter, &count) in ranked.profile.filters.iter().zip(ranked.left_out) {
            *left_out.entry(filter.name()).or_default() += count;
        }
        Self {
            profile: &ranked.profile.name,
            endpoint: ranking.first().copied().unwrap_or_default(),
            ranking,
            prefill,
            left_out,
            candidates: scores(ranked),
            more_candidates: 0,
        }
    }

    /// The same with no more than `count` of the candidates: the one that was chosen and those of the
    /// highest totals.
    #[must_use]
    pub fn with_candidates(mut self, count: usize) -> Self {
        let mut shown = self.best_first();
        self.more_candidates += shown.len().saturating_sub(count);
        shown.truncate(count);
        let mut index = 0..;
        self.candidates
            .retain(|_| index.next().is_some_and(|index| shown.contains(&index)));
        self
    }

    /// As JSON of at most `max_bytes`, with as many of the candidates as find room in it.
    #[must_use]
    pub fn to_json(mut self, max_bytes: usize) -> String {
        let whole = json(&self);
        if whole.len() <= max_bytes {
            return whole;
        }
        let order = self.best_first();
        let candidates = mem::take(&mut self.candidates);
        // With the number of all of them, the longest there may be.
        self.more_candidates += candidates.len();
        if json(&self).len() > max_bytes {
            // Who was chosen is said beside.
            self.ranking.clear();
            self.left_out.clear();
        }
        let frame = json(&self);
        self.more_candidates -= candidates.len();
        let Some(mut room) = max_bytes.checked_sub(frame.len()) else {
            return "{}".to_owned();
        };
        let find_room = order.iter().take_while(|&&index| {
            // And a comma.
            let needed = candidates.get(index).map_or(0, |it| json(it).len() + 1);
            let left = room.checked_sub(needed);
            room = left.unwrap_or_default();
            left.is_some()
        });
        let count = find_room.count();
        self.candidates = candidates;
        json(&self.with_candidates(count))
    }

    /// The indexes of the candidates, that of the chosen one first and the others by their totals.
    fn best_first(&self) -> Vec<usize> {
        let mut candidates: Vec<_> = self.candidates.iter().enumerate().collect();
        let is_chosen = |it: &CandidateScores<'_>| it.endpoint == self.endpoint;
        candidates.sort_by(|(_, a), (_, b)| {
            let by_total = || b.total.total_cmp(&a.total);
            is_chosen(b).cmp(&is_chosen(a)).then_with(by_total)
        });
        candidates.into_iter().map(|(index, _)| index).collect()
    }
}

fn json(value: &impl Serialize) -> String {
    // Maps of text and finite numbers have a form in JSON.
    serde_json::to_string(value).unwrap_or_default()
}

fn scores(ranked: Ranked<'_>) -> Vec<CandidateScores<'_>> {
    let candidates = ranked.candidates;
    let totals = candidates
        .endpoints()
        .zip(candidates.load())
        .zip(ranked.totals);
    let mut candidates: Vec<_> = totals
        .map(|((endpoint, in_flight), &total)| CandidateScores {
            endpoint: endpoint.host_port(),
            total,
            in_flight,
            scores: BTreeMap::new(),
        })
        .collect();
    let by_scorer = ranked.scores.chunks_exact(ranked.totals.len().max(1));
    for (label, scores) in labels(ranked.scorers).into_iter().zip(by_scorer) {
        for (candidate, &score) in candidates.iter_mut().zip(scores) {
            // Without the minus that a zero may have.
            candidate.scores.insert(label.clone(), score + 0.0);
        }
    }
    candidates
}

/// What each is called, none as another.
fn labels(scorers: &[WeightedScorer]) -> Vec<Cow<'_, str>> {
    let mut labels: Vec<Cow<'_, str>> = Vec::with_capacity(scorers.len());
    for WeightedScorer { scorer, .. } in scorers {
        let name = label(scorer);
        let numbered = (2..).map(|number| Cow::Owned(format!("{name}#{number}")));
        let mut free = iter::once(Cow::Borrowed(name)).chain(numbered);
        labels.extend(free.find(|label| !labels.contains(label)));
    }
    labels
}

/// What a scorer is called: those of which there may be several by what they look at.
fn label(scorer: &Scorer) -> &str {
    match scorer {
        Scorer::EndpointAttribute(attribute) => &attribute.name,
        _ => scorer.name(),
    }
}
