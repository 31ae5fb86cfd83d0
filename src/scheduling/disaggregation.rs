//! Prefill and decode on endpoints of their own.

/// Prefill and decode on endpoints of their own: the profile of a request chooses who decodes, and
/// where the split pays off another chooses who prefills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disaggregation {
    /// The index in [`Scheduling::profiles`](super::Scheduling::profiles) of the one that chooses the
    /// prefiller. No request is decoded by it, whatever its condition says, unless there is no other.
    pub prefill: usize,
    /// The split pays off for prompts of which the decoder would have to read more tokens than this.
    pub min_uncached_tokens: u64,
}

impl Disaggregation {
    /// Whether a prompt is worth two endpoints, of which the decoder would have to read
    /// `uncached_tokens`.
    #[must_use]
    pub const fn pays_off(&self, uncached_tokens: u64) -> bool {
        uncached_tokens > self.min_uncached_tokens
    }
}
