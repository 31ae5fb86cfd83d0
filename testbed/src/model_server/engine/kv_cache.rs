//! The KV cache: blocks with reference counts, prefix caching, and eviction of those used least
//! recently.

use std::collections::{BTreeMap, HashMap};

use super::tokens::BlockHash;

/// A block of the cache; given out by [`KvCache`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockId(usize);

#[derive(Clone, Debug, Default)]
struct Block {
    /// How many sequences use it.
    users: usize,
    /// What is in it, if it can be found by that.
    hash: Option<BlockHash>,
    /// Its place among the free blocks while nobody uses it.
    freed: u64,
}

/// All blocks. A block that nobody uses keeps its contents until it is needed for others.
#[derive(Debug)]
pub(super) struct KvCache {
    blocks: Vec<Block>,
    /// Blocks that nobody uses, in the order in which they are taken.
    free: BTreeMap<u64, BlockId>,
    cached: HashMap<BlockHash, BlockId>,
    next_freed: u64,
}

impl KvCache {
    pub(super) fn new(blocks: usize) -> Self {
        let mut cache = Self {
            blocks: vec![Block::default(); blocks],
            free: BTreeMap::new(),
            cached: HashMap::new(),
            next_freed: 0,
        };
        for index in 0..blocks {
            cache.put_free(BlockId(index));
        }
        cache
    }

    /// How many blocks there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// How many blocks are used.
    pub(super) fn used(&self) -> usize {
        self.blocks.len() - self.free.len()
    }

    /// The blocks that hold the longest cached prefix of a sequence.
    pub(super) fn find(&self, hashes: &[BlockHash]) -> Vec<BlockId> {
        hashes
            .iter()
            .map_while(|hash| self.cached.get(hash).copied())
            .collect()
    }

    /// Gives a sequence the blocks that [`KvCache::find`] has found and `new` more; gives it nothing
    /// when not as many are free.
    pub(super) fn begin(&mut self, found: Vec<BlockId>, new: usize) -> Option<Vec<BlockId>> {
        let found_free = found
            .iter()
            .filter(|id| self.block(**id).users == 0)
            .count();
        if self.free.len() < found_free + new {
            return None;
        }
        for id in &found {
            let block = self.block_mut(*id);
            block.users += 1;
            let freed = block.freed;
            if block.users == 1 {
                self.free.remove(&freed);
            }
        }
        let mut blocks = found;
        self.extend(&mut blocks, new).then_some(blocks)
    }

    /// Gives a sequence `new` more blocks, all or none.
    #[must_use]
    pub(super) fn extend(&mut self, blocks: &mut Vec<BlockId>, new: usize) -> bool {
        if self.free.len() < new {
            return false;
        }
        for _ in 0..new {
            let Some((_, id)) = self.free.pop_first() else {
                return false;
            };
            let block = self.block_mut(id);
            block.users = 1;
            if let Some(evicted) = block.hash.take() {
                self.cached.remove(&evicted);
            }
            blocks.push(id);
        }
        true
    }

    /// Lets a block be found by what is in it, unless another one already is.
    pub(super) fn publish(&mut self, id: BlockId, hash: BlockHash) {
        if self.cached.contains_key(&hash) {
            return;
        }
        self.cached.insert(hash, id);
        self.block_mut(id).hash = Some(hash);
    }

    /// Takes back a sequence's blocks. Its last ones are taken for others first: a prefix is of use
    /// to more sequences than what comes after it.
    pub(super) fn release(&mut self, blocks: Vec<BlockId>) {
        for id in blocks.into_iter().rev() {
            let block = self.block_mut(id);
            block.users -= 1;
            if block.users == 0 {
                self.put_free(id);
            }
        }
    }

    fn put_free(&mut self, id: BlockId) {
        let freed = self.next_freed;
        self.next_freed += 1;
        self.block_mut(id).freed = freed;
        self.free.insert(freed, id);
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "ids are given out by this cache alone"
    )]
    fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "ids are given out by this cache alone"
    )]
    fn block_mut(&mut self, id: BlockId) -> &mut Block {
        &mut self.blocks[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence of blocks with these contents, in the cache and not used any more.
    fn cached(cache: &mut KvCache, hashes: &[BlockHash]) {
        let found = cache.find(hashes);
        let (first_new, new) = (found.len(), hashes.len() - found.len());
        let blocks = cache.begin(found, new).unwrap();
        for (id, hash) in blocks.iter().zip(hashes).skip(first_new) {
            cache.publish(*id, *hash);
        }
        cache.release(blocks);
    }

    #[test]
    fn the_least_recently_used_is_evicted_from_its_end() {
        let mut cache = KvCache::new(6);
        cached(&mut cache, &[1, 2, 3]);
        cached(&mut cache, &[4, 5, 6]);
        cached(&mut cache, &[1, 2, 3]);

        cached(&mut cache, &[7, 8]);
        assert_eq!(cache.find(&[4, 5, 6]).len(), 1);
        assert_eq!(cache.find(&[1, 2, 3]).len(), 3);

        cached(&mut cache, &[9, 10]);
        assert_eq!(cache.find(&[4]).len(), 0);
        assert_eq!(cache.find(&[1, 2, 3]).len(), 2);
        assert_eq!(cache.used(), 0);
    }

    #[test]
    fn what_is_in_use_is_shared_and_never_evicted() {
        let mut cache = KvCache::new(4);
        let first = cache.begin(Vec::new(), 2).unwrap();
        cache.publish(first[0], 1);
        cache.publish(first[1], 2);
        let second = cache.begin(cache.find(&[1, 2, 3]), 1).unwrap();
        assert_eq!(second[..2], first[..]);
        assert_eq!(cache.used(), 3);

        assert!(cache.begin(Vec::new(), 2).is_none());
        assert!(cache.begin(cache.find(&[1, 2]), 2).is_none());
        assert_eq!(cache.used(), 3, "a refusal takes nothing");

        cache.release(first);
        assert_eq!(cache.used(), 3);
        cache.release(second);
        assert_eq!(cache.used(), 0);
    }

    #[test]
    fn all_or_nothing() {
        let mut cache = KvCache::new(3);
        let mut blocks = cache.begin(Vec::new(), 1).unwrap();
        assert!(!cache.extend(&mut blocks, 3));
        assert_eq!(blocks.len(), 1);
        assert!(cache.extend(&mut blocks, 2));
        assert_eq!(cache.used(), cache.len());
    }
}
