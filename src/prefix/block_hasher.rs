//! Hashes blocks as their bytes arrive.

use core::num::NonZeroUsize;

use xxhash_rust::xxh64::xxh64;

use crate::bytes::copy;

/// Names a prompt's beginning up to the end of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub(super) u64);

impl BlockHash {
    /// The start of a chain that belongs to no scope yet.
    pub const NEUTRAL: Self = Self(0);

    /// The hash in the scope, or behind the parts of a prompt, of which `root` is the hash.
    #[must_use]
    pub fn within(self, root: Self) -> Self {
        Self(xxh64(&self.0.to_le_bytes(), root.0))
    }

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

/// Hashes the blocks of one prompt, which it is fed in pieces cut anywhere. It keeps one block at
/// most: hashing a whole block at once is faster than adding piece after piece to a hash.
///
/// The last block is hashed only if it is full. Model servers cache full blocks only; and the
/// next turn of a conversation goes on where this one stopped, so a hash of half a block would
/// be found again only by the very same prompt.
#[derive(Clone)]
pub struct BlockHasher {
    /// The hash of the last whole block.
    last: BlockHash,
    /// The block under way, of which `filled` bytes are there: all of them where no block is left.
    block: Box<[u8]>,
    filled: usize,
    blocks_left: usize,
}

impl BlockHasher {
    /// A hasher for one prompt, whose chain starts from `root`.
    #[must_use]
    pub fn new(root: BlockHash, blocks: Blocks) -> Self {
        let mut hasher = Self {
            last: root,
            block: vec![0; blocks.size.get()].into(),
            filled: 0,
            blocks_left: 0,
        };
        hasher.restart(root, blocks.limit);
        hasher
    }

    /// Begins another prompt, whose chain starts from `root`, and of which at most `limit` blocks are
    /// hashed.
    pub const fn restart(&mut self, root: BlockHash, limit: usize) {
        self.last = root;
        self.filled = if limit == 0 { self.block.len() } else { 0 };
        self.blocks_left = limit;
    }

    /// Hashes the next bytes of the prompt, and hands every block that they complete to `sink`.
    /// Tells how many bytes it took: all, as long as the limit of blocks is not reached.
    #[inline]
    pub fn update(&mut self, bytes: &[u8], sink: impl FnMut(BlockHash)) -> usize {
        let space = self.block.get_mut(self.filled..).unwrap_or_default();
        if bytes.len() < space.len() {
            copy(bytes, space);
            self.filled += bytes.len();
            return bytes.len();
        }
        self.complete(bytes, sink)
    }

    /// Hashes bytes that complete the block under way, and perhaps more. Apart from what comes more
    /// often, of which little is left then.
    #[inline(never)]
    fn complete(&mut self, bytes: &[u8], mut sink: impl FnMut(BlockHash)) -> usize {
        if self.is_done() {
            return 0;
        }
        let size = self.block.len();
        let mut rest = bytes;
        if self.filled > 0 {
            let space = self.block.get_mut(self.filled..).unwrap_or_default();
            let (end, beyond) = rest.split_at_checked(space.len()).unwrap_or((rest, &[]));
            copy(end, space);
            rest = beyond;
            self.last = BlockHash(xxh64(&self.block, self.last.0));
            self.blocks_left -= 1;
            sink(self.last);
        }
        // Whole blocks are hashed where they are.
        while self.blocks_left > 0
            && let Some((block, beyond)) = rest.split_at_checked(size)
        {
            rest = beyond;
            self.last = BlockHash(xxh64(block, self.last.0));
            self.blocks_left -= 1;
            sink(self.last);
        }
        if self.is_done() {
            // Without space, so that whether it is done need not be asked of every few bytes.
            self.filled = size;
            return bytes.len() - rest.len();
        }
        copy(rest, &mut self.block);
        self.filled = rest.len();
        bytes.len()
    }

    /// The hash of all that was hashed, the block under way included.
    #[must_use]
    pub fn digest(&self) -> BlockHash {
        let under_way = if self.is_done() { 0 } else { self.filled };
        let rest = self.block.get(..under_way).unwrap_or_default();
        BlockHash(xxh64(rest, self.last.0))
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
