//! Why a decision fell as it did.

use core::iter;
use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;

use super::{Scorer, WeightedScorer, run::Ranked};
use crate::{load::Load, pool::Endpoint};

/// Why a decision fell as it did, or the choice of a prefiller within one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation<'a> {
    /// The name of the profile that decided.
    pub profile: &'a str,
    /// The endpoint chosen, as `ip:port`.
    pub endpoint: &'a str,
    /// It and those that come after it, for attempts to come. Of prefillers none: there is one attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranking: Vec<&'a str>,
    /// How many each filter left out, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<&'static str, usize>,
    /// What each scorer counts, by the names that the candidates' scores have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<Cow<'a, str>, f64>,
    /// What candidates scored, in their order in the pool.
    pub candidates: Vec<CandidateScores<'a>>,
    /// How many more candidates there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_candidates: usize,
    /// Why the endpoint was chosen that is to read the prompt, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill: Option<Box<Self>>,
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
    pub(super) fn new(decoding: Ranked<'a>, prefilling: Option<Ranked<'a>>) -> Self {
        let prefill = prefilling.map(|ranked| Self {
            ranking: Vec::new(),
            ..Self::of(ranked)
        });
        Self {
            prefill: prefill.map(Box::new),
            ..Self::of(decoding)
        }
    }

    fn of(ranked: Ranked<'a>) -> Self {
        let candidates = ranked.candidates;
        let ranking = ranked.ranking.iter();
        let ranking = ranking.filter_map(|&index| candidates.endpoint(index));
        let ranking: Vec<_> = ranking.map(Endpoint::host_port).collect();
        let mut left_out = BTreeMap::new();
        for (filter, &count) in ranked.profile.filters.iter().zip(ranked.left_out) {
            *left_out.entry(filter.name()).or_default() += count;
        }
        let labels = labels(ranked.scorers);
        let weights = ranked.scorers.iter().map(|it| it.weight);
        Self {
            profile: &ranked.profile.name,
            endpoint: ranking.first().copied().unwrap_or_default(),
            ranking,
            left_out,
            weights: labels.iter().cloned().zip(weights).collect(),
            candidates: scores(ranked, &labels),
            more_candidates: 0,
            prefill: None,
        }
    }

    /// The same with no more than `count` of the candidates, and as many of those that may prefill: the
    /// one that was chosen and those of the highest totals.
    #[must_use]
    pub fn with_candidates(mut self, count: usize) -> Self {
        let mut shown = self.best_first();
        self.more_candidates += shown.len().saturating_sub(count);
        shown.truncate(count);
        let mut index = 0..;
        self.candidates
            .retain(|_| index.next().is_some_and(|index| shown.contains(&index)));
        self.map_prefill(|it| it.with_candidates(count))
    }

    /// As JSON of at most `max_bytes`, with as many of the candidates as find room in it: of those that
    /// may prefill as many as of the others, as long as there are. The ranking, the counts left out and
    /// the weights give way to what those chosen scored. It is `{}` where not even who was chosen finds
    /// room.
    #[must_use]
    pub fn to_json(self, max_bytes: usize) -> String {
        let whole = json(&self);
        if whole.len() <= max_bytes {
            return whole;
        }
        let sizes = self.sizes();
        // With the number of all candidates, the longest there may be.
        let frame = self.clone().with_candidates(0);
        let count_beside = |frame: &Self| {
            let mut room = max_bytes.checked_sub(json(frame).len())?;
            let find_room = sizes.iter().take_while(|&&size| {
                let left = room.checked_sub(size);
                room = left.unwrap_or_default();
                left.is_some()
            });
            Some(find_room.count())
        };
        let shown = match count_beside(&frame) {
            Some(count @ 1..) => Some(self.with_candidates(count)),
            _ => count_beside(&frame.bare()).map(|count| self.bare().with_candidates(count)),
        };
        shown.map_or_else(|| "{}".to_owned(), |shown| json(&shown))
    }

    /// What the candidates take as JSON: those chosen, those that come next, and so on.
    fn sizes(&self) -> Vec<usize> {
        let mut sizes = Vec::new();
        for part in iter::successors(Some(self), |it| it.prefill.as_deref()) {
            let order = part.best_first();
            sizes.resize(order.len().max(sizes.len()), 0);
            for (size, index) in sizes.iter_mut().zip(order) {
                // And a comma.
                *size += part
                    .candidates
                    .get(index)
                    .map_or(0, |it| json(it).len() + 1);
            }
        }
        sizes
    }

    /// The same without what gives way.
    fn bare(self) -> Self {
        let bare = Self {
            ranking: Vec::new(),
            left_out: BTreeMap::new(),
            weights: BTreeMap::new(),
            ..self
        };
        bare.map_prefill(Self::bare)
    }

    fn map_prefill(mut self, change: impl FnOnce(Self) -> Self) -> Self {
        self.prefill = self.prefill.map(|it| Box::new(change(*it)));
        self
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

fn scores<'a>(ranked: Ranked<'a>, labels: &[Cow<'a, str>]) -> Vec<CandidateScores<'a>> {
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
    for (label, scores) in labels.iter().zip(by_scorer) {
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
