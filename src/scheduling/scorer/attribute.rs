//! Scores by a signal of the configuration's own.

use super::scale;
use crate::{pool::Signal, scheduling::Candidates};

/// Parameters of [`Scorer::EndpointAttribute`](super::Scorer::EndpointAttribute).
///
/// The score goes from 0 at the worse end of the range to 1 at the better one; beyond them it is that
/// of the end. Where the range is that of the candidates and they are all alike, it is 1.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointAttribute {
    /// The signal's name in the configuration and in explanations.
    pub name: String,
    /// The signal.
    pub signal: Signal,
    /// The ends, the least first; those of the candidates themselves if it is not said.
    pub range: Option<(f64, f64)>,
    /// Whether more is better.
    pub higher_is_better: bool,
}

impl EndpointAttribute {
    pub(super) fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        let values = || candidates.fresh(self.signal);
        let range = self.range.or_else(|| scale::range(values().flatten()));
        let (min, max) = range.unwrap_or_default();
        let (worst, best) = if self.higher_is_better {
            (min, max)
        } else {
            (max, min)
        };
        let score = |value| scale::between(worst, best, value);
        scores.extend(values().map(|value| value.map_or(0.0, score)));
    }
}
