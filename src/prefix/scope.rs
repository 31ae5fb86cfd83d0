//! Which prompts may share a cache at all.

use xxhash_rust::xxh64::Xxh64;

use super::BlockHash;

/// What two prompts must have in common before their bytes are compared: a KV cache belongs to
/// the weights that computed it, and a cache salt keeps tenants apart who must not learn from
/// timing what others asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scope<'a> {
    /// The model asked for.
    pub model: Option<&'a str>,
    /// The LoRA adapter, where it is not named as the model.
    pub adapter: Option<&'a str>,
    /// The request's `cache_salt`.
    pub cache_salt: Option<&'a str>,
}

impl Scope<'_> {
    /// The hash that a chain of blocks starts from: `h_0` of the [formula](super).
    #[must_use]
    pub fn root(&self) -> BlockHash {
        let mut state = Xxh64::new(0);
        for part in [self.model, self.adapter, self.cache_salt] {
            match part {
                None => state.update(&[0]),
                Some(text) => {
                    state.update(&[1]);
                    // usize is 32 or 64 bits wide here; the hash must not tell which.
                    state.update(&(text.len() as u64).to_le_bytes());
                    state.update(text.as_bytes());
                }
            }
        }
        BlockHash(state.digest())
    }
}
