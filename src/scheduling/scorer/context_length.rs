//! Scores by the context lengths that endpoints are meant for.

use core::ops::RangeInclusive;

use crate::{pool::Endpoint, scheduling::Candidates};

/// Parameters of [`Scorer::ContextLengthAware`](super::Scorer::ContextLengthAware).
///
/// For a prompt of `tokens` within the range the score is
/// `0.3 + 0.7 * (0.7 / (1 + (max - min) / 10000) + 0.3 * (max - tokens) / (max - min))`, and 1 if the
/// range is one length; at a distance of `d` tokens from it `0.3 / (1 + d / 1000)`. Without the label
/// it is 0.5, with one that is no range 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextLengthAware {
    /// The label with the range of tokens, `min-max`.
    pub label: String,
}

impl Default for ContextLengthAware {
    fn default() -> Self {
        Self {
            label: "llm-d.ai/context-length-range".to_owned(),
        }
    }
}

/// What the label of an endpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::scheduling) enum ContextLengths {
    /// It has no such label.
    Unlabelled,
    /// It is meant for prompts of so many tokens.
    Range(RangeInclusive<u64>),
    /// The label is no range.
    Invalid,
}

impl ContextLengthAware {
    /// The context lengths that `endpoint` is meant for.
    pub(in crate::scheduling) fn lengths(&self, endpoint: &Endpoint) -> ContextLengths {
        let Some(label) = endpoint.labels().get(&self.label) else {
            return ContextLengths::Unlabelled;
        };
        let range = || {
            let (min, max) = label.split_once('-')?;
            let [min, max] = [min, max].map(|bound| bound.trim().parse().ok());
            let (min, max) = (min?, max?);
            (min <= max).then_some(min..=max)
        };
        range().map_or(ContextLengths::Invalid, ContextLengths::Range)
    }

    pub(super) fn score(&self, candidates: Candidates<'_>, scores: &mut Vec<f64>) {
        let tokens = candidates.request().prompt_tokens;
        let score = |endpoint| match self.lengths(endpoint) {
            ContextLengths::Unlabelled => 0.5,
            ContextLengths::Range(range) => fitness(&range, tokens),
            ContextLengths::Invalid => 0.0,
        };
        scores.extend(candidates.endpoints().map(score));
    }
}

/// The narrower the range, and the more of it is left above the prompt, the better.
fn fitness(range: &RangeInclusive<u64>, tokens: u64) -> f64 {
    let (min, max) = (*range.start(), *range.end());
    if !range.contains(&tokens) {
        let distance = min.saturating_sub(tokens).max(tokens.saturating_sub(max));
        return 0.3 / (1.0 + distance as f64 / 1000.0);
    }
    let (width, room) = ((max - min) as f64, (max - tokens) as f64);
    if width == 0.0 {
        return 1.0;
    }
    0.3 + 0.7 * (0.7 / (1.0 + width / 10_000.0) + 0.3 * room / width)
}
