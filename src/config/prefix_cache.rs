//! What is remembered of prompts, checked.

use serde::Deserialize;

use super::settings::{ConfigError, refused};
use crate::prefix::DEFAULT_MAX_BYTES;

/// From a thousand blocks to less than half of the 1 GiB that Envoy lets a VM have, which fails beyond
/// that: while Envoy changes from one configuration to the next, both are in one VM.
const MAX_BYTES: core::ops::RangeInclusive<usize> = 64 << 10..=384 << 20;

/// What is remembered of prompts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrefixCache {
    /// Bytes of each worker that it takes at most.
    pub max_bytes: Option<usize>,
}

impl PrefixCache {
    /// The bytes that it takes at most.
    pub(super) fn max_bytes(&self) -> Result<usize, ConfigError> {
        let max_bytes = self.max_bytes.unwrap_or(DEFAULT_MAX_BYTES);
        if MAX_BYTES.contains(&max_bytes) {
            return Ok(max_bytes);
        }
        let (from, to) = (MAX_BYTES.start(), MAX_BYTES.end());
        let expected = format!("{from} to {to}");
        Err(refused("prefixCache.maxBytes", expected, max_bytes))
    }
}

/// Refuses the bytes of a pool that are too many with those of the pools `before` it, all of which are
/// in one VM. Tells how many there are with them.
pub(super) fn with_others(before: usize, max_bytes: usize) -> Result<usize, ConfigError> {
    let (sum, most) = (before.saturating_add(max_bytes), MAX_BYTES.end());
    if sum <= *most {
        return Ok(sum);
    }
    let expected = format!("at most {most} in all pools together");
    Err(refused("prefixCache.maxBytes", expected, sum))
}
