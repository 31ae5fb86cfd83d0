//! Endpoints that hold most of the prompt.

use fastrand::Rng;

use crate::scheduling::Candidates;

/// Parameters of [`Filter::PrefixCacheAffinity`](super::Filter::PrefixCacheAffinity).
///
/// Sticky are the endpoints that hold enough of the prompt. They alone stay, unless the least loaded
/// of them would keep the request waiting for longer than the penalty beyond the least loaded of the
/// others. The time to the first token is estimated by the tokens in flight:
/// `tokens / peak_prefill_throughput * 1000`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrefixCacheAffinity {
    /// The share of the prompt that an endpoint must hold, 0 to 1.
    pub affinity_threshold: f64,
    /// The chance that a request is not bound, 0 to 1.
    pub exploration_probability: f64,
    /// By how much longer the best of those may take to its first token than the best of the others,
    /// in milliseconds.
    pub max_ttft_penalty_ms: f64,
    /// Tokens that an endpoint prefills in a second.
    pub peak_prefill_throughput: f64,
}

/// The Endpoint Picker's.
impl Default for PrefixCacheAffinity {
    fn default() -> Self {
        Self {
            affinity_threshold: 0.8,
            exploration_probability: 0.0,
            max_ttft_penalty_ms: 18_000.0,
            peak_prefill_throughput: 15_928.0,
        }
    }
}

impl PrefixCacheAffinity {
    pub(super) fn keep(&self, candidates: Candidates<'_>, rng: &mut Rng, keep: &mut Vec<bool>) {
        let explores = self.exploration_probability > 0.0;
        let bound = !(explores && rng.f64() < self.exploration_probability)
            && self.is_worth_waiting(candidates);
        keep.extend(self.sticky(candidates).map(|sticky| sticky || !bound));
    }

    /// Whether each candidate holds enough of the prompt. Of one without a block nobody does: nothing of
    /// nothing is no share.
    fn sticky<'a>(&self, candidates: Candidates<'a>) -> impl Iterator<Item = bool> + use<'a> {
        let blocks = candidates.request().blocks.len() as f64;
        let threshold = self.affinity_threshold;
        candidates
            .matched()
            .map(move |matched| f64::from(matched) / blocks >= threshold)
    }

    fn is_worth_waiting(&self, candidates: Candidates<'_>) -> bool {
        // Of those that are not there the wait is infinite: nobody is bound to nobody, and everybody
        // where there is no other.
        let (mut best_sticky, mut best_other) = (f64::INFINITY, f64::INFINITY);
        for (sticky, load) in self.sticky(candidates).zip(candidates.load()) {
            let best = if sticky {
                &mut best_sticky
            } else {
                &mut best_other
            };
            let ttft_ms = load.tokens as f64 / self.peak_prefill_throughput * 1000.0;
            *best = best.min(ttft_ms);
        }
        best_sticky - best_other <= self.max_ttft_penalty_ms
    }
}
