use std::collections::VecDeque;

use proptest::prelude::*;
use xxhash_rust::xxh64::xxh64;

use super::*;
use crate::{
    discovery::DiscoveredEndpoint,
    pool::{EndpointMetrics, Process, Signal},
    time::Timestamp,
};

/// Every endpoint's blocks, the least recently used first, written plainly.
#[derive(Debug)]
struct Naive {
    share: usize,
    endpoints: Vec<(usize, VecDeque<BlockHash>)>,
}

impl Naive {
    fn of(index: &PrefixIndex) -> Self {
        Self {
            share: index.share,
            endpoints: vec![(index.share, VecDeque::new()); index.endpoints.len()],
        }
    }

    fn insert(&mut self, position: usize, blocks: &[BlockHash]) {
        let (capacity, held) = &mut self.endpoints[position];
        for block in blocks[..blocks.len().min(*capacity)].iter().rev() {
            held.retain(|known| known != block);
            held.push_back(*block);
        }
        self.shrink(position);
    }

    fn set_capacity(&mut self, position: usize, blocks: Option<usize>) {
        self.endpoints[position].0 = blocks.unwrap_or(self.share).min(self.share);
        self.shrink(position);
    }

    fn remove(&mut self, position: usize, blocks: &[BlockHash]) {
        let (_, held) = &mut self.endpoints[position];
        held.retain(|known| !blocks.contains(known));
    }

    fn shrink(&mut self, position: usize) {
        let (capacity, held) = &mut self.endpoints[position];
        held.drain(..held.len().saturating_sub(*capacity));
    }

    fn matched(&self, blocks: &[BlockHash]) -> Vec<u32> {
        let matched = self.endpoints.iter().map(|(_, held)| {
            let matched = blocks.iter().take_while(|block| held.contains(block));
            matched.count() as u32
        });
        matched.collect()
    }
}

fn matched(index: &PrefixIndex, blocks: &[BlockHash]) -> Vec<u32> {
    let mut matched = vec![7; 3];
    index.matched(blocks, &mut matched);
    matched
}

/// The blocks of a prompt, one for each of its words.
fn chain(words: &[u8]) -> Vec<BlockHash> {
    let blocks = words.iter().scan(0, |before, word| {
        *before = xxh64(&[*word], *before);
        Some(BlockHash(*before))
    });
    blocks.collect()
}

/// A prompt that begins like no other.
fn distinct(prompt: u32, blocks: u8) -> Vec<BlockHash> {
    let root = prompt.to_le_bytes().into_iter();
    let mut chain = chain(&root.chain(0..blocks).collect::<Vec<_>>());
    chain.split_off(4)
}

#[derive(Debug, Clone)]
enum Event {
    Insert(prop::sample::Index, Vec<BlockHash>),
    /// The same prompt to every so manieth endpoint.
    InsertEvery(usize, Vec<BlockHash>),
    /// As many of the first blocks of the prompt stay.
    Remove(prop::sample::Index, Vec<BlockHash>, prop::sample::Index),
    SetCapacity(prop::sample::Index, Option<usize>),
    Forget(prop::sample::Index),
}

fn prompt() -> impl Strategy<Value = Vec<BlockHash>> {
    prop_oneof![
        9 => prop::collection::vec(0..3_u8, 0..12).prop_map(|words| chain(&words)),
        // What no hasher makes: blocks in any order, and some twice.
        1 => prop::collection::vec((0..20_u64).prop_map(BlockHash), 0..12),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let position = any::<prop::sample::Index>;
    prop_oneof![
        12 => (position(), prompt()).prop_map(|(at, blocks)| Event::Insert(at, blocks)),
        2 => (1..5_usize, prompt()).prop_map(|(every, blocks)| Event::InsertEvery(every, blocks)),
        3 => (position(), prompt(), position())
            .prop_map(|(at, blocks, stay)| Event::Remove(at, blocks, stay)),
        2 => (position(), prop::option::of(0..20_usize))
            .prop_map(|(at, blocks)| Event::SetCapacity(at, blocks)),
        1 => position().prop_map(Event::Forget),
    ]
}

/// The bytes with which each endpoint has so many blocks.
fn bytes_for(endpoints: usize, blocks: usize) -> usize {
    let four = 4 * Lru::bytes(1) + Holders::bytes(4, endpoints);
    fixed_bytes(endpoints) + (endpoints * blocks).div_ceil(4) * four
}

proptest! {
    #[test]
    fn agrees_with_the_naive_one(
        endpoints in prop_oneof![1..6_usize, 60..70_usize, 1020..1030_usize],
        share in 1..16_usize,
        events in prop::collection::vec(event(), 1..40),
        asked in prompt(),
    ) {
        let max_bytes = bytes_for(endpoints, share);
        let mut index = PrefixIndex::new(endpoints, max_bytes);
        prop_assert!(index.share >= share);
        let mut naive = Naive::of(&index);
        for event in events {
            let asked = match event {
                Event::Insert(at, blocks) => {
                    let at = at.index(endpoints);
                    index.insert(at, &blocks, false);
                    naive.insert(at, &blocks);
                    blocks
                }
                Event::InsertEvery(every, blocks) => {
                    for at in (0..endpoints).step_by(every) {
                        index.insert(at, &blocks, false);
                        naive.insert(at, &blocks);
                    }
                    blocks
                }
                Event::Remove(at, blocks, stay) => {
                    let at = at.index(endpoints);
                    let rest = &blocks[stay.index(blocks.len() + 1)..];
                    index.remove(at, rest);
                    naive.remove(at, rest);
                    blocks
                }
                Event::SetCapacity(at, blocks) => {
                    let at = at.index(endpoints);
                    index.set_capacity(at, blocks);
                    naive.set_capacity(at, blocks);
                    asked.clone()
                }
                Event::Forget(at) => {
                    let at = at.index(endpoints);
                    index.forget(at);
                    naive.endpoints[at].1.clear();
                    asked.clone()
                }
            };
            prop_assert_eq!(matched(&index, &asked), naive.matched(&asked));
            prop_assert!(index.bytes() <= max_bytes);
        }
        prop_assert_eq!(matched(&index, &asked), naive.matched(&asked));
    }

    #[test]
    fn no_number_makes_it_panic(
        endpoints in 0..70_000_usize,
        max_bytes in prop_oneof![0..200_000_usize],
        position in any::<usize>(),
        capacity in any::<Option<usize>>(),
    ) {
        let mut index = PrefixIndex::new(endpoints, max_bytes);
        for position in [position, position % 70_000, endpoints.saturating_sub(1)] {
            index.insert(position, &chain(&[1, 2, 3]), true);
            index.remove(position, &chain(&[1, 2]));
            index.set_capacity(position, capacity);
            index.forget(position);
        }
        matched(&index, &chain(&[1, 2, 3]));
        prop_assert!(index.bytes() <= max_bytes.max(fixed_bytes(endpoints)));
    }
}

#[test]
fn memory_stays_bounded_and_the_least_recently_used_go() {
    let (endpoints, max_bytes, blocks) = (10, 1 << 20, 4);
    let mut index = PrefixIndex::new(endpoints, max_bytes);
    let prompts = 100_000;
    for prompt in 0..prompts {
        let to = prompt as usize % endpoints;
        index.insert(to, &distinct(prompt, blocks), true);
        assert!(index.bytes() <= max_bytes, "after {prompt}");
    }
    // Of the last prompt that is still there in part the first blocks are.
    let kept = index.share / usize::from(blocks) * endpoints;
    assert!((5_000..10_000).contains(&kept), "{kept}");
    for prompt in 0..prompts {
        let to = prompt as usize % endpoints;
        let found = matched(&index, &distinct(prompt, blocks));
        let age = (prompts - prompt) as usize;
        let expected = if age <= kept {
            blocks.into()
        } else if age <= kept + endpoints {
            (index.share % usize::from(blocks)) as u32
        } else {
            0
        };
        assert_eq!(found[to], expected, "{prompt}");
        assert_eq!(found.iter().sum::<u32>(), expected, "{prompt}");
    }
}

#[test]
fn memory_stays_bounded_where_everybody_holds_the_same() {
    let (endpoints, max_bytes) = (10, 64 << 10);
    let mut index = PrefixIndex::new(endpoints, max_bytes);
    for prompt in 0..1_000 {
        for to in 0..endpoints {
            index.insert(to, &distinct(prompt, 4), false);
        }
        assert!(index.bytes() <= max_bytes, "after {prompt}");
    }
}

#[test]
fn the_end_of_a_prompt_goes_before_its_beginning() {
    let mut index = PrefixIndex::new(1, 1 << 20);
    index.set_capacity(0, Some(6));
    let (old, young) = (distinct(1, 4), distinct(2, 4));
    index.insert(0, &old, false);
    index.insert(0, &young, false);
    assert_eq!(
        (matched(&index, &old), matched(&index, &young)),
        (vec![2], vec![4])
    );
    // Longer than there is space for.
    let long = distinct(3, 9);
    index.insert(0, &long, false);
    assert_eq!(
        (matched(&index, &long), matched(&index, &young)),
        (vec![6], vec![0])
    );
}

#[test]
fn what_was_not_read_is_held_as_before() {
    let mut index = PrefixIndex::new(2, 1 << 20);
    let (prompt, other) = (distinct(1, 8), distinct(2, 8));
    index.insert(0, &prompt[..3], true);
    index.insert(0, &other, true);
    for to in [0, 1] {
        index.insert(to, &prompt, false);
    }
    assert_eq!(matched(&index, &prompt), [8, 8]);
    index.remove(0, &prompt[3..]);
    assert_eq!(matched(&index, &prompt), [3, 8]);
    assert_eq!(matched(&index, &other), [8, 0]);
    // What it does not hold cannot be taken from it, nor from nobody.
    index.remove(0, &prompt[3..]);
    index.remove(7, &prompt);
    assert_eq!(matched(&index, &prompt), [3, 8]);
    index.insert(0, &prompt, false);
    assert_eq!(matched(&index, &prompt), [8, 8]);
}

#[test]
fn cold_prompts_are_counted_by_endpoint() {
    let mut index = PrefixIndex::new(3, 1 << 20);
    for (to, cold) in [(0, true), (1, true), (0, true), (1, false), (7, true)] {
        index.insert(to, &[], cold);
    }
    let last = [0, 1, 2, 7].map(|position| index.last_cold(position));
    assert_eq!(last, [Some(3), Some(2), None, None]);
    index.forget(0);
    assert_eq!(index.last_cold(0), Some(3));
}

fn pool(endpoints: &[(u32, f64)]) -> Pool {
    let addresses = (1..).map(|port| ([10, 0, 0, 1], port).into());
    let addresses: Vec<_> = addresses.take(endpoints.len()).collect();
    let discovered: Vec<_> = addresses
        .iter()
        .copied()
        .map(DiscoveredEndpoint::at)
        .collect();
    let mut pool = Pool::new(&discovered);
    for (address, (incarnation, tokens)) in addresses.into_iter().zip(endpoints) {
        let at = Timestamp::from_millis(1);
        let mut metrics = EndpointMetrics::default();
        metrics.set_process(Process {
            started: None,
            incarnation: *incarnation,
        });
        metrics.observe(Signal::KvBlocks, tokens / 16.0, at);
        metrics.observe(Signal::KvBlockSize, 16.0, at);
        pool.record(address, metrics, at);
    }
    pool
}

#[test]
fn endpoints_that_have_restarted_hold_nothing() {
    let mut index = PrefixIndex::new(2, 1 << 20);
    let prompt = distinct(1, 8);
    let send = |index: &mut PrefixIndex| {
        for to in [0, 1] {
            index.insert(to, &prompt, false);
        }
    };
    // What was sent before anything is known of the endpoints is no news.
    send(&mut index);
    for (endpoints, block_tokens, expected) in [
        ([(3, 6400.0), (0, 6400.0)], 64, [8, 8]),
        ([(3, 6400.0), (0, 6400.0)], 64, [8, 8]),
        ([(4, 6400.0), (0, 6400.0)], 64, [0, 8]),
        ([(4, 6400.0), (1, 6400.0)], 64, [8, 0]),
        // The KV cache is smaller than it was.
        ([(4, 6400.0), (1, 200.0)], 64, [8, 3]),
        // Prompts are cut otherwise, and what was held has no hash any more.
        ([(4, 6400.0), (1, 6400.0)], 128, [0, 0]),
    ] {
        index.follow(&pool(&endpoints), block_tokens);
        assert_eq!(
            matched(&index, &prompt),
            expected,
            "{endpoints:?}, {block_tokens}"
        );
        send(&mut index);
    }
}

#[test]
fn its_share_of_the_default_is_known() {
    for (endpoints, blocks) in [(1, 65_535), (10, 22_000), (100, 2_090), (1000, 122)] {
        let index = PrefixIndex::new(endpoints, DEFAULT_MAX_BYTES);
        assert!(
            (blocks..blocks + blocks / 50).contains(&index.share),
            "{endpoints}: {}",
            index.share
        );
    }
}
