//! Hashes blocks as their bytes arrive.

use core::num::NonZeroUsize;

use xxhash_rust::xxh64::Xxh64;

/// Names a prompt's beginning up to the end of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub(super) u64);

impl BlockHash {
    /// The hash as a number; the same on every machine.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// How prompts are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Bytes in a block.
    pub size: NonZeroUsize,
    /// How many blocks of a prompt are hashed at most: bounds what the longest prompt costs.
    pub limit: usize,
}

/// Hashes the blocks of one prompt, which it is fed in pieces cut anywhere. Its size is constant:
/// it keeps no byte of the prompt beyond the hash's own state.
///
/// The last block is hashed only if it is full. Model servers cache full blocks only; and the
/// next turn of a conversation goes on where this one stopped, so a hash of half a block would
/// be found again only by the very same prompt.
#[derive(Clone)]
pub struct BlockHasher {
    /// The hash of the block under way, seeded with that of the block before.
    state: Xxh64,
    size: NonZeroUsize,
    /// Bytes that the block under way still lacks; 1 to `size`.
    missing: usize,
    blocks_left: usize,
}

impl BlockHasher {
    /// A hasher for one prompt, whose chain starts from `root`.
    #[must_use]
    pub const fn new(root: BlockHash, blocks: Blocks) -> Self {
        Self {
            state: Xxh64::new(root.0),
            size: blocks.size,
            missing: blocks.size.get(),
            blocks_left: blocks.limit,
        }
    }

    /// Hashes the next bytes of the prompt, and hands every block that they complete to `sink`.
    pub fn update(&mut self, mut bytes: &[u8], mut sink: impl FnMut(BlockHash)) {
        while !self.is_done() {
            let Some((rest_of_block, beyond)) = bytes.split_at_checked(self.missing) else {
                self.state.update(bytes);
                // Fewer than are missing, or the split had succeeded.
                self.missing -= bytes.len();
                return;
            };
            self.state.update(rest_of_block);
            let hash = self.state.digest();
            sink(BlockHash(hash));
            self.state.reset(hash);
            self.missing = self.size.get();
            self.blocks_left -= 1;
            bytes = beyond;
        }
    }

    /// Whether the limit of blocks is reached: further bytes change nothing.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.blocks_left == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh64::xxh64;

    use super::*;
    use crate::prefix::Scope;

    fn blocks(size: usize, limit: usize) -> Blocks {
        Blocks {
            size: NonZeroUsize::new(size).unwrap(),
            limit,
        }
    }

    /// The formula, on the whole prompt at once.
    fn naive(root: BlockHash, prompt: &[u8], blocks: Blocks) -> Vec<BlockHash> {
        prompt
            .chunks_exact(blocks.size.get())
            .take(blocks.limit)
            .scan(root.0, |before, block| {
                *before = xxh64(block, *before);
                Some(BlockHash(*before))
            })
            .collect()
    }

    fn hashed<'a>(
        root: BlockHash,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        blocks: Blocks,
    ) -> Vec<BlockHash> {
        let mut hasher = BlockHasher::new(root, blocks);
        let mut hashes = Vec::new();
        for piece in pieces {
            hasher.update(piece, |hash| hashes.push(hash));
        }
        assert_eq!(hasher.is_done(), hashes.len() == blocks.limit);
        hashes
    }

    proptest! {
        #[test]
        fn agrees_with_the_formula_at_every_split(
            root in any::<u64>().prop_map(BlockHash),
            prompt in prop::collection::vec(any::<u8>(), 0..300),
            size in 1..80_usize,
            limit in 0..40_usize,
        ) {
            let blocks = blocks(size, limit);
            let expected = naive(root, &prompt, blocks);
            for at in 0..=prompt.len() {
                let (start, end) = prompt.split_at(at);
                prop_assert_eq!(&hashed(root, [start, end], blocks), &expected, "split at {}", at);
            }
        }

        #[test]
        fn agrees_with_the_formula_in_any_pieces(
            root in any::<u64>().prop_map(BlockHash),
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..30),
            size in 1..600_usize,
            limit in 0..40_usize,
        ) {
            let blocks = blocks(size, limit);
            let expected = naive(root, &pieces.concat(), blocks);
            prop_assert_eq!(hashed(root, pieces.iter().map(Vec::as_slice), blocks), expected);
        }

        #[test]
        fn prompts_share_hashes_up_to_their_first_difference(
            prompt in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            change in 1..=u8::MAX,
            size in 1..80_usize,
        ) {
            let at = at.index(prompt.len());
            let mut other = prompt.clone();
            other[at] ^= change;
            let [ours, theirs] = [&prompt, &other]
                .map(|prompt| hashed(BlockHash(0), [&prompt[..]], blocks(size, usize::MAX)));
            let shared = (at / size).min(ours.len());
            prop_assert_eq!(&ours[..shared], &theirs[..shared]);
            for (ours, theirs) in ours.iter().zip(&theirs).skip(shared) {
                prop_assert_ne!(ours, theirs);
            }
        }

        #[test]
        fn different_scopes_share_nothing(
            one in prop::array::uniform3(prop::option::of("[ab]{0,3}")),
            other in prop::array::uniform3(prop::option::of("[ab]{0,3}")),
            prompt in prop::collection::vec(any::<u8>(), 16..100),
        ) {
            let [ours, theirs] = [&one, &other].map(|[model, adapter, cache_salt]| {
                let scope = Scope {
                    model: model.as_deref(),
                    adapter: adapter.as_deref(),
                    cache_salt: cache_salt.as_deref(),
                };
                hashed(scope.root(), [&prompt[..]], blocks(16, usize::MAX))
            });
            if one == other {
                prop_assert_eq!(ours, theirs);
            } else {
                prop_assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| ours != theirs));
            }
        }
    }
}
