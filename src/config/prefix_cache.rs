//! What is remembered of prompts, checked.

use serde::Deserialize;

use super::settings::{ConfigError, refused};
use crate::prefix::DEFAULT_MAX_BYTES;

/// From a thousand blocks to a quarter of all that a Wasm memory can be.
const MAX_BYTES: core::ops::RangeInclusive<usize> = 64 << 10..=1 << 30;

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
