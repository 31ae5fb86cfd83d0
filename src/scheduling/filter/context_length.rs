//! Endpoints that are meant for prompts of this length.

use crate::scheduling::{Candidates, ContextLengthAware, scorer::ContextLengths};

impl ContextLengthAware {
    /// Appends of each candidate whether its range has the prompt's length. One without a range takes
    /// any, one whose label is no range none.
    pub(super) fn keep(&self, candidates: Candidates<'_>, keep: &mut Vec<bool>) {
        let tokens = candidates.request().prompt_tokens;
        let takes = |endpoint| match self.lengths(endpoint) {
            ContextLengths::Unlabelled => true,
            ContextLengths::Range(range) => range.contains(&tokens),
            ContextLengths::Invalid => false,
        };
        keep.extend(candidates.endpoints().map(takes));
    }
}
