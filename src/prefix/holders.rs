//! Who holds a block.

use core::{hash::BuildHasher, ops::Range};
use std::collections::hash_map::RandomState;

use super::BlockHash;

/// No block, and no endpoint.
const NONE: u32 = u32::MAX;
const NOBODY: u16 = u16::MAX;

/// As many endpoints are listed; more have a bit each.
const LISTED: usize = 3;

/// The endpoints that hold each block, by their positions. Of a fixed size: it is allocated once,
/// and never grows or is arranged anew.
#[derive(Debug, Clone)]
pub(super) struct Holders {
    blocks: Box<[Block]>,
    /// The first place that has no block; the next stands in its `next`.
    free: u32,
    /// Sets of endpoints, of `words` words each.
    sets: Vec<u64>,
    words: usize,
    /// The first of the sets that are not in use; the next stands in its first word.
    free_set: u32,
    /// Odd, and a secret: block hashes follow from prompts, and a client that knew the buckets
    /// could fill one of them.
    multiplier: u64,
}

/// A block, and, apart from that, one bucket of the hash table that finds them.
#[derive(Debug, Clone, Copy)]
struct Block {
    hash: BlockHash,
    holders: Set,
    /// The next of the same bucket.
    next: u32,
    /// The first block of the bucket that has this one's index.
    bucket: u32,
}

/// Some endpoints.
#[derive(Debug, Clone, Copy)]
enum Set {
    /// These, in front of [`NOBODY`].
    Few([u16; LISTED]),
    /// Those of the set at this index.
    Many(u32),
}

impl Holders {
    /// The most endpoints that can be told apart.
    pub(super) const MAX_ENDPOINTS: usize = NOBODY as usize;

    /// What a table for `blocks` blocks of `endpoints` takes.
    pub(super) const fn bytes(blocks: usize, endpoints: usize) -> usize {
        blocks * size_of::<Block>() + sets(blocks) * words(endpoints) * size_of::<u64>()
    }

    /// An empty table for up to `blocks` blocks, of each of which any of `endpoints` may be a holder, and
    /// which have no more than `blocks` holders all together.
    pub(super) fn new(blocks: usize, endpoints: usize) -> Self {
        let blocks = u32::try_from(blocks).unwrap_or(NONE);
        let block = |at: u32| Block {
            hash: BlockHash::NEUTRAL,
            holders: Set::Few([NOBODY; LISTED]),
            next: if at + 1 < blocks { at + 1 } else { NONE },
            bucket: NONE,
        };
        let words = words(endpoints);
        Self {
            blocks: (0..blocks).map(block).collect(),
            free: if blocks > 0 { 0 } else { NONE },
            sets: Vec::with_capacity(sets(blocks as usize) * words),
            words,
            free_set: NONE,
            multiplier: RandomState::new().hash_one(()) | 1,
        }
    }

    /// What this one takes.
    pub(super) fn taken(&self) -> usize {
        size_of_val(&*self.blocks) + self.sets.capacity() * size_of::<u64>()
    }

    /// The place of a block that somebody holds.
    pub(super) fn find(&self, hash: BlockHash) -> Option<u32> {
        let mut at = self.block(self.bucket_of(hash))?.bucket;
        while let Some(block) = self.block(at) {
            if block.hash == hash {
                return Some(at);
            }
            at = block.next;
        }
        None
    }

    /// Gives a block that nobody holds a place, if there is one. It must get a holder.
    pub(super) fn insert(&mut self, hash: BlockHash) -> Option<u32> {
        let at = self.free;
        self.free = self.block(at)?.next;
        let bucket = self.bucket_of(hash);
        let next = self.block(bucket).map_or(NONE, |block| block.bucket);
        self.change(bucket, |block| block.bucket = at);
        self.change(at, |block| {
            block.hash = hash;
            block.holders = Set::Few([NOBODY; LISTED]);
            block.next = next;
        });
        Some(at)
    }

    /// Whether an endpoint holds the block at `at`.
    pub(super) fn holds(&self, at: u32, endpoint: u16) -> bool {
        match self.block(at).map(|block| block.holders) {
            None => false,
            Some(Set::Few(few)) => few.contains(&endpoint),
            Some(Set::Many(set)) => {
                let (word, bit) = bit(endpoint);
                self.set(set).get(word).is_some_and(|word| word & bit != 0)
            }
        }
    }

    /// Adds a holder, which was none, to the block at `at`.
    pub(super) fn add(&mut self, at: u32, endpoint: u16) {
        let (word, bit) = bit(endpoint);
        match self.block(at).map(|block| block.holders) {
            None => {}
            Some(Set::Many(set)) => {
                if let Some(word) = self.set_mut(set).get_mut(word) {
                    *word |= bit;
                }
            }
            Some(Set::Few(mut few)) => {
                let holders = match few.iter_mut().find(|holder| **holder == NOBODY) {
                    Some(space) => {
                        *space = endpoint;
                        Set::Few(few)
                    }
                    None => Set::Many(self.new_set(few.into_iter().chain([endpoint]))),
                };
                self.change(at, |block| block.holders = holders);
            }
        }
    }

    /// Removes a holder from the block at `at`, and the block if it was the last.
    pub(super) fn remove(&mut self, at: u32, endpoint: u16) {
        let Some(block) = self.block(at) else { return };
        let few = match block.holders {
            Set::Few(few) => few,
            Set::Many(set) => {
                let (word, bit) = bit(endpoint);
                if let Some(word) = self.set_mut(set).get_mut(word) {
                    *word &= !bit;
                }
                let Some(few) = few_of(self.set(set)) else {
                    return;
                };
                self.free_set(set);
                few
            }
        };
        let mut rest = [NOBODY; LISTED];
        let holders = few
            .into_iter()
            .filter(|&holder| holder != endpoint && holder != NOBODY);
        for (space, holder) in rest.iter_mut().zip(holders) {
            *space = holder;
        }
        if rest.first() == Some(&NOBODY) {
            self.free_block(at, block);
        } else {
            self.change(at, |block| block.holders = Set::Few(rest));
        }
    }

    /// Puts those among the holders of the block at `at` whose bits are in words `first..` of all into
    /// `set`, which holds none.
    pub(super) fn put_holders(&self, at: u32, first: usize, set: &mut [u64]) {
        match self.block(at).map(|block| block.holders) {
            None => {}
            Some(Set::Few(few)) => {
                for endpoint in few {
                    let (word, bit) = bit(endpoint);
                    let word = word.checked_sub(first).and_then(|word| set.get_mut(word));
                    if let Some(word) = word {
                        *word |= bit;
                    }
                }
            }
            Some(Set::Many(many)) => {
                let many = self.set(many).get(first..).unwrap_or_default();
                for (to, from) in set.iter_mut().zip(many) {
                    *to = *from;
                }
            }
        }
    }

    fn free_block(&mut self, at: u32, block: Block) {
        let bucket = self.bucket_of(block.hash);
        let mut before = self.block(bucket).map_or(NONE, |block| block.bucket);
        if before == at {
            self.change(bucket, |it| it.bucket = block.next);
        } else {
            while let Some(it) = self.block(before) {
                if it.next == at {
                    self.change(before, |it| it.next = block.next);
                    break;
                }
                before = it.next;
            }
        }
        let free = core::mem::replace(&mut self.free, at);
        self.change(at, |block| block.next = free);
    }

    fn new_set(&mut self, endpoints: impl Iterator<Item = u16>) -> u32 {
        let mut set = self.free_set;
        match self.set(set).first() {
            Some(next) => self.free_set = u32::try_from(*next).unwrap_or(NONE),
            None => {
                set = u32::try_from(self.sets.len() / self.words.max(1)).unwrap_or(NONE);
                self.sets.resize(self.sets.len() + self.words, 0);
            }
        }
        let words = self.set_mut(set);
        words.fill(0);
        for endpoint in endpoints {
            let (word, bit) = bit(endpoint);
            if let Some(word) = words.get_mut(word) {
                *word |= bit;
            }
        }
        set
    }

    fn free_set(&mut self, set: u32) {
        let next = core::mem::replace(&mut self.free_set, set);
        if let Some(word) = self.set_mut(set).first_mut() {
            *word = next.into();
        }
    }

    fn set(&self, set: u32) -> &[u64] {
        let words = self.words_of(set);
        self.sets.get(words).unwrap_or_default()
    }

    fn set_mut(&mut self, set: u32) -> &mut [u64] {
        let words = self.words_of(set);
        self.sets.get_mut(words).unwrap_or_default()
    }

    const fn words_of(&self, set: u32) -> Range<usize> {
        let start = (set as usize).saturating_mul(self.words);
        start..start.saturating_add(self.words)
    }

    /// The upper half of the product chooses, as if it were a fraction of the number of buckets.
    fn bucket_of(&self, hash: BlockHash) -> u32 {
        let fraction = hash.as_u64().wrapping_mul(self.multiplier) >> 32;
        let bucket = (fraction * self.blocks.len() as u64) >> 32;
        u32::try_from(bucket).unwrap_or(NONE)
    }

    fn block(&self, at: u32) -> Option<Block> {
        self.blocks.get(at as usize).copied()
    }

    fn change(&mut self, at: u32, change: impl FnOnce(&mut Block)) {
        if let Some(block) = self.blocks.get_mut(at as usize) {
            change(block);
        }
    }
}

/// Words that have a bit for each of so many endpoints.
pub(super) const fn words(endpoints: usize) -> usize {
    endpoints.div_ceil(u64::BITS as usize)
}

/// How many sets there can be: each has more endpoints than can be listed.
const fn sets(holders: usize) -> usize {
    holders / (LISTED + 1)
}

/// The word with an endpoint's bit, and that bit.
const fn bit(endpoint: u16) -> (usize, u64) {
    let endpoint = endpoint as usize;
    let bits = u64::BITS as usize;
    (endpoint / bits, 1 << (endpoint % bits))
}

/// The endpoints of a set that are few enough to be listed.
fn few_of(set: &[u64]) -> Option<[u16; LISTED]> {
    let count: u32 = set.iter().map(|word| word.count_ones()).sum();
    if count as usize > LISTED {
        return None;
    }
    let mut few = [NOBODY; LISTED];
    for (space, endpoint) in few.iter_mut().zip(endpoints(set)) {
        *space = u16::try_from(endpoint).unwrap_or(NOBODY);
    }
    Some(few)
}

/// The places of the bits that are set.
pub(super) fn endpoints(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        core::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            // Clears the lowest bit; of none nothing is left.
            rest &= rest.checked_sub(1)?;
            Some(at * u64::BITS as usize + bit as usize)
        })
    })
}
