//! How large blocks are, and how many of them an endpoint has space for.

use crate::pool::{Endpoint, Observation, Pool, Signal};

/// Smaller blocks would be found more exactly, and the index would hold as many fewer tokens.
const MIN_BLOCK_TOKENS: u32 = 64;
/// Larger ones would leave most prompts without any whole block.
const MAX_BLOCK_TOKENS: u32 = 1024;

/// Tokens of a block into which prompts are cut: the largest block size of the KV caches of `pool`, from
/// 64 to 1024. A server caches whole blocks of its own, so shorter ones say nothing more.
///
/// Whatever its age, what was scraped last counts: it follows from the snapshot alone, so that all VMs
/// cut alike, and a server that does not answer for a while changes nothing.
#[must_use]
pub fn block_tokens(pool: &Pool) -> u32 {
    let sizes = pool.endpoints().iter().filter_map(|endpoint| {
        // A float to an integer saturates.
        observed(endpoint, Signal::KvBlockSize).map(|size| size as u32)
    });
    let largest = sizes.max().unwrap_or_default();
    largest.clamp(MIN_BLOCK_TOKENS, MAX_BLOCK_TOKENS)
}

/// How many blocks of so many tokens the KV cache of an endpoint has space for; `None` if it does not
/// tell.
#[must_use]
pub fn capacity(endpoint: &Endpoint, block_tokens: u32) -> Option<usize> {
    let blocks = observed(endpoint, Signal::KvBlocks)?;
    let tokens = blocks * observed(endpoint, Signal::KvBlockSize)?;
    Some((tokens / f64::from(block_tokens.max(1))) as usize)
}

fn observed(endpoint: &Endpoint, signal: Signal) -> Option<f64> {
    match endpoint.metrics().observation(signal) {
        Observation::Value { value, .. } if value > 0.0 => Some(value),
        _ => None,
    }
}
