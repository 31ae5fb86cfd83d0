//! A request on its way through the engine.

use std::sync::Arc;

use super::{
    Request, RequestId, Work,
    kv_cache::{BlockId, KvCache},
    tokens::{BLOCK_TOKENS, Tokens},
};

#[derive(Debug)]
pub(super) struct Sequence<T> {
    pub(super) id: RequestId,
    pub(super) client: T,
    pub(super) adapter: Option<Arc<str>>,
    /// The prompt, and what was generated.
    pub(super) tokens: Tokens,
    pub(super) prompt_tokens: usize,
    pub(super) max_tokens: usize,
    pub(super) stops: bool,
    pub(super) generated: usize,
    /// Tokens whose keys and values are in `blocks`.
    pub(super) computed: usize,
    /// Tokens that the step under way computes.
    pub(super) computing: usize,
    pub(super) blocks: Vec<BlockId>,
    /// Prompt tokens found in the cache when the request was first scheduled.
    pub(super) cached: usize,
    pub(super) preemptions: u32,
    pub(super) arrived: f64,
    pub(super) scheduled: f64,
    pub(super) first_token: f64,
    pub(super) last_token: f64,
}

impl<T> Sequence<T> {
    pub(super) fn new(id: RequestId, request: Request<T>, now: f64) -> Self {
        Self {
            id,
            client: request.client,
            adapter: request.adapter,
            prompt_tokens: request.prompt.len(),
            tokens: request.prompt,
            max_tokens: request.max_tokens,
            stops: request.stops,
            generated: 0,
            computed: 0,
            computing: 0,
            blocks: Vec::new(),
            cached: 0,
            preemptions: 0,
            arrived: now,
            scheduled: now,
            first_token: now,
            last_token: now,
        }
    }

    /// Whether it was in the batch before.
    pub(super) fn was_scheduled(&self) -> bool {
        self.preemptions > 0
    }

    /// Tokens to be computed before it makes its next one.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Whether it makes tokens already, one a step.
    pub(super) fn is_decoding(&self) -> bool {
        self.generated > 0 && self.pending() == 1
    }

    /// Blocks it lacks to compute `new` more tokens.
    pub(super) fn lacking_blocks(&self, new: usize) -> usize {
        (self.computed + new)
            .div_ceil(BLOCK_TOKENS)
            .saturating_sub(self.blocks.len())
    }

    /// Takes `new` tokens into the step. As in vLLM, a block that the step completes can be found by
    /// others from then on.
    pub(super) fn compute(&mut self, new: usize, kv_cache: &mut KvCache, work: &mut Work) {
        work.add(self.computed as u64, new as u64);
        let (first, end) = (
            self.computed / BLOCK_TOKENS,
            (self.computed + new) / BLOCK_TOKENS,
        );
        let completed = self.blocks.iter().zip(self.tokens.hashes());
        for (block, hash) in completed.take(end).skip(first) {
            kv_cache.publish(*block, *hash);
        }
        self.computing = new;
    }
}
