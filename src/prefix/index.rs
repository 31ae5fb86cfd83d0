//! Which endpoint has read which prompts.

use super::{
    BlockHash,
    holders::{self, Holders},
    lru::Lru,
};
use crate::pool::Pool;

/// What an index takes unless it is told otherwise: half of what a VM may take in all. Of 100 endpoints
/// each has 2,097 blocks then, which are 134,000 tokens.
pub const DEFAULT_MAX_BYTES: usize = 8 << 20;

/// Words of a set of endpoints that are walked at once: 1024 endpoints on the stack.
const WORDS_AT_ONCE: usize = 16;

/// Which endpoints hold which blocks in their caches, as far as this gateway's own decisions tell.
///
/// An endpoint that was sent a prompt holds its blocks until more others have come than it has space
/// for: each has an order of use of its own. The blocks of a prompt are used from its last to its
/// first, as model servers free them, so that an endpoint which holds a block holds all before it,
/// unless those were [removed](Self::remove).
#[derive(Debug, Clone, Default)]
pub struct PrefixIndex {
    endpoints: Vec<Held>,
    /// Blocks that one endpoint may have at most.
    share: usize,
    /// Allocated with the first block: a VM that gets no requests needs none.
    holders: Option<Holders>,
    /// Counts the prompts of which nobody held anything.
    cold: u64,
    /// Tokens in a block, as last followed.
    block_tokens: Option<u32>,
}

/// What one endpoint holds.
#[derive(Debug, Clone)]
struct Held {
    blocks: Option<Lru>,
    /// How many there may be.
    capacity: usize,
    last_cold: Option<u64>,
    incarnation: Option<u32>,
}

impl PrefixIndex {
    /// An index of nothing, for this many endpoints, that takes at most `max_bytes`, though never less
    /// than it takes to hold nothing.
    #[must_use]
    pub fn new(endpoints: usize, max_bytes: usize) -> Self {
        let endpoints = endpoints.min(Holders::MAX_ENDPOINTS);
        let share = share(endpoints, max_bytes);
        let held = Held {
            blocks: None,
            capacity: share,
            last_cold: None,
            incarnation: None,
        };
        Self {
            endpoints: vec![held; endpoints],
            share,
            ..Self::default()
        }
    }

    /// Puts how many of the first of `blocks` each endpoint holds into `matched`, by position.
    pub fn matched(&self, blocks: &[BlockHash], matched: &mut Vec<u32>) {
        matched.clear();
        matched.resize(self.endpoints.len(), 0);
        let Some(holders) = &self.holders else { return };
        for (nth, matched) in matched
            .chunks_mut(WORDS_AT_ONCE * u64::BITS as usize)
            .enumerate()
        {
            matched_of(holders, blocks, nth * WORDS_AT_ONCE, matched);
        }
    }

    /// The endpoint at `position` reads a prompt of these `blocks`, a `cold` one if nobody held any of
    /// it. Of more blocks than it has space for the first count.
    pub fn insert(&mut self, position: usize, blocks: &[BlockHash], cold: bool) {
        let endpoints = self.endpoints.len();
        let Some(held) = self.endpoints.get_mut(position) else {
            return;
        };
        if cold {
            self.cold += 1;
            held.last_cold = Some(self.cold);
        }
        let first = blocks.get(..held.capacity).unwrap_or(blocks);
        let (Ok(endpoint), [_, ..]) = (u16::try_from(position), first) else {
            return;
        };
        let holders = self
            .holders
            .get_or_insert_with(|| Holders::new(self.share * endpoints, endpoints));
        let lru = held.blocks.get_or_insert_with(|| Lru::new(self.share));
        for hash in first.iter().rev() {
            let found = holders.find(*hash);
            if let Some(block) = found
                && holders.holds(block, endpoint)
            {
                lru.touch(block);
                continue;
            }
            // Before another is held, so that neither table is ever asked for more than it has.
            if lru.len() >= held.capacity
                && let Some(oldest) = lru.pop_oldest()
            {
                holders.remove(oldest, endpoint);
            }
            if let Some(block) = found.or_else(|| holders.insert(*hash)) {
                holders.add(block, endpoint);
                lru.insert(block);
            }
        }
    }

    /// The endpoint at `position` does not hold these `blocks`: what was entered was not read there.
    pub fn remove(&mut self, position: usize, blocks: &[BlockHash]) {
        let lru = self.endpoints.get_mut(position);
        let (Some(lru), Some(holders), Ok(endpoint)) = (
            lru.and_then(|held| held.blocks.as_mut()),
            &mut self.holders,
            u16::try_from(position),
        ) else {
            return;
        };
        for hash in blocks {
            if let Some(block) = holders.find(*hash)
                && lru.remove(block)
            {
                holders.remove(block, endpoint);
            }
        }
    }

    /// The endpoint at `position` has space for so many blocks, as far as that is known. It gets no more
    /// than its share of the index.
    pub fn set_capacity(&mut self, position: usize, blocks: Option<usize>) {
        let capacity = blocks.map_or(self.share, |blocks| blocks.min(self.share));
        if let Some(held) = self.endpoints.get_mut(position) {
            held.capacity = capacity;
            shrink(position, held, self.holders.as_mut(), capacity);
        }
    }

    /// The endpoint at `position` holds nothing any more. When it last got a cold prompt stays known.
    pub fn forget(&mut self, position: usize) {
        if let Some(held) = self.endpoints.get_mut(position) {
            shrink(position, held, self.holders.as_mut(), 0);
        }
    }

    /// Takes over what a snapshot brought: endpoints that have restarted hold nothing, each has the
    /// [capacity] that it tells, and prompts are cut into blocks of `block_tokens`. Those of another
    /// size are forgotten: no prompt has their hashes any more.
    ///
    /// [capacity]: super::capacity
    pub fn follow(&mut self, pool: &Pool, block_tokens: u32) {
        let cut_otherwise = self
            .block_tokens
            .replace(block_tokens)
            .is_some_and(|before| before != block_tokens);
        for (position, endpoint) in pool.endpoints().iter().enumerate() {
            let Some(held) = self.endpoints.get_mut(position) else {
                return;
            };
            let incarnation = endpoint.incarnation();
            let before = held.incarnation.replace(incarnation);
            if cut_otherwise || before.is_some_and(|before| before != incarnation) {
                self.forget(position);
            }
            self.set_capacity(position, super::capacity(endpoint, block_tokens));
        }
    }

    /// When the endpoint at `position` last got a cold prompt, as a number that grows with every cold
    /// prompt of this index; `None` if it never has.
    #[must_use]
    pub fn last_cold(&self, position: usize) -> Option<u64> {
        self.endpoints.get(position)?.last_cold
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let holders = self.holders.as_ref().map_or(0, Holders::taken);
        let held = self.endpoints.iter().flat_map(|held| &held.blocks);
        fixed_bytes(self.endpoints.len()) + holders + held.map(Lru::taken).sum::<usize>()
    }
}

/// What it takes to hold nothing: the index itself and, an endpoint, an allocation with what the
/// allocator writes beside it.
const fn fixed_bytes(endpoints: usize) -> usize {
    size_of::<PrefixIndex>() + endpoints * (size_of::<Held>() + 16)
}

/// How many blocks each of so many endpoints can hold in `max_bytes`, should no two hold the same.
fn share(endpoints: usize, max_bytes: usize) -> usize {
    // Of four, since a set of endpoints is shared by at least as many.
    let four = 4 * Lru::bytes(1) + Holders::bytes(4, endpoints);
    let fours = max_bytes.saturating_sub(fixed_bytes(endpoints)) / four;
    let blocks = (fours * 4).checked_div(endpoints).unwrap_or_default();
    blocks.min(Lru::MAX)
}

/// Lets go of the blocks of the endpoint at `position` that are too many.
fn shrink(position: usize, held: &mut Held, holders: Option<&mut Holders>, capacity: usize) {
    let (Some(lru), Some(holders), Ok(endpoint)) =
        (&mut held.blocks, holders, u16::try_from(position))
    else {
        return;
    };
    while lru.len() > capacity
        && let Some(oldest) = lru.pop_oldest()
    {
        holders.remove(oldest, endpoint);
    }
}

/// Puts how many of the first of `blocks` each endpoint holds into `matched`, which has those whose bits
/// begin with word `first`.
fn matched_of(holders: &Holders, blocks: &[BlockHash], first: usize, matched: &mut [u32]) {
    let mut sets = [[0; WORDS_AT_ONCE]; 2];
    let words = holders::words(matched.len());
    let [holding, next] = &mut sets;
    let (Some(holding), Some(next)) = (holding.get_mut(..words), next.get_mut(..words)) else {
        return;
    };
    let mut walked = 0;
    for hash in blocks {
        let Some(block) = holders.find(*hash) else {
            break;
        };
        next.fill(0);
        holders.put_holders(block, first, next);
        let mut anybody = 0;
        for (nth, (holding, next)) in holding.iter_mut().zip(&mut *next).enumerate() {
            let left = if walked == 0 { 0 } else { *holding & !*next };
            *holding = if walked == 0 { *next } else { *holding & *next };
            anybody |= *holding;
            note(matched, nth, left, walked);
        }
        if anybody == 0 {
            return;
        }
        walked += 1;
    }
    for (nth, holding) in holding.iter().enumerate() {
        note(matched, nth, *holding, walked);
    }
}

/// Notes the endpoints with bits in `word`, the `nth` of all, as holding so many blocks.
fn note(matched: &mut [u32], nth: usize, word: u64, blocks: u32) {
    for at in holders::endpoints(&[word]) {
        if let Some(matched) = matched.get_mut(nth * u64::BITS as usize + at) {
            *matched = blocks;
        }
    }
}

#[cfg(test)]
mod tests;
