//! A prompt's blocks: hashed as its bytes arrive, and looked up and entered in the index.

use core::{num::NonZeroUsize, time::Duration};
use std::{error::Error, hint::black_box, time::Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::prefix::{
    BlockHash, BlockHasher, Blocks, DEFAULT_MAX_BYTES, PrefixIndex, Scope,
};
use fastrand::Rng;

use crate::chat::{SIZES, Talk, text};

/// 64 tokens of about four bytes, the Endpoint Picker's default; every byte is hashed, however
/// long the prompt.
const BLOCKS: Blocks = Blocks {
    size: NonZeroUsize::MIN.saturating_add(255),
    limit: usize::MAX,
};
/// Envoy reads a connection, and so hands over a body, 16 KiB at a time.
const PIECE: usize = 16 * 1024;

pub(crate) fn bench(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    bench_hashing(criterion);
    bench_index(criterion)
}

fn bench_hashing(criterion: &mut Criterion) {
    let root = Scope {
        model: Some("meta-llama/Llama-3.1-8B-Instruct"),
        ..Scope::default()
    }
    .root();
    let mut group = criterion.benchmark_group("block hashing");
    for (size, bytes) in SIZES {
        let prompt = text(Talk::Prose, bytes);
        group.throughput(Throughput::Bytes(prompt.len() as u64));
        group.bench_function(BenchmarkId::new("256-byte blocks", size), |bencher| {
            bencher.iter(|| {
                let mut hasher = BlockHasher::new(root, BLOCKS);
                for piece in black_box(prompt.as_bytes()).chunks(PIECE) {
                    hasher.update(piece, |hash| {
                        black_box(hash);
                    });
                }
            });
        });
    }
}

/// Blocks of a long prompt: 16,000 tokens.
const LONG: usize = 256;
/// Blocks of a prompt of 8,000 tokens.
const USUAL: usize = 128;
/// Prompts that a gateway of 100 endpoints may see within days, each of these blocks.
const PROMPTS: u64 = 10_000_000;
const PROMPT_BLOCKS: usize = 4;

/// The blocks of prompts that have nothing in common, one prompt after the other.
struct Prompts {
    hasher: BlockHasher,
    prompt: u64,
    blocks: Vec<BlockHash>,
}

impl Prompts {
    fn new(blocks: usize) -> Self {
        let size = NonZeroUsize::MIN.saturating_add(7);
        let limit = usize::MAX;
        Self {
            hasher: BlockHasher::new(BlockHash::NEUTRAL, Blocks { size, limit }),
            prompt: 0,
            blocks: Vec::with_capacity(blocks),
        }
    }

    /// As many as there is space for.
    fn next(&mut self) -> &[BlockHash] {
        self.prompt += 1;
        self.hasher.restart(BlockHash::NEUTRAL, usize::MAX);
        self.blocks.clear();
        while self.blocks.len() < self.blocks.capacity() {
            let blocks = &mut self.blocks;
            let block = self.prompt.to_le_bytes();
            self.hasher.update(&block, |hash| blocks.push(hash));
        }
        &self.blocks
    }
}

/// An index whose endpoints hold as much as they can, nothing that another one holds.
fn full(endpoints: usize) -> (PrefixIndex, Prompts) {
    let mut index = PrefixIndex::new(endpoints, DEFAULT_MAX_BYTES);
    let mut prompts = Prompts::new(USUAL);
    // A block of the default index takes more than 32 bytes.
    for to in (0..endpoints).cycle().take(DEFAULT_MAX_BYTES / 32 / USUAL) {
        index.insert(to, prompts.next(), true);
    }
    (index, prompts)
}

fn bench_index(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("prefix index");
    let mut rng = Rng::with_seed(7);
    // First, while there is no memory of others to be had.
    let mut aged = None;
    let case = BenchmarkId::new("insert, 4 blocks, after ten million prompts", 100);
    group.bench_function(case, |bencher| {
        let (index, prompts) = aged.get_or_insert_with(aged_index);
        bencher.iter(|| index.insert(rng.usize(0..100), prompts.next(), true));
    });
    if let Some((index, _)) = aged
        && index.bytes() > DEFAULT_MAX_BYTES
    {
        return Err(format!("an index takes {} bytes", index.bytes()).into());
    }
    for endpoints in [10, 100, 1000] {
        let (mut index, mut prompts) = full(endpoints);
        let mut matched = Vec::new();
        let cold = Prompts::new(LONG).next().to_vec();
        let case = |name: &str| BenchmarkId::new(name.to_owned(), endpoints);
        group.bench_function(case("match, 256 blocks, nobody has any"), |bencher| {
            bencher.iter(|| index.matched(black_box(&cold), &mut matched));
        });
        group.bench_function(case("insert, 128 blocks, nobody has any"), |bencher| {
            bencher.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    let (to, blocks) = (rng.usize(0..endpoints), prompts.next());
                    let start = Instant::now();
                    index.insert(to, black_box(blocks), true);
                    spent += start.elapsed();
                }
                spent
            });
        });
        let known = prompts.next().to_vec();
        group.bench_function(case("insert, 128 blocks, all known"), |bencher| {
            bencher.iter(|| index.insert(7, black_box(&known), false));
        });
        // All have the beginning, each to a block of its own, as far as it has space for.
        for to in 0..endpoints {
            let beginning = cold.get(..rng.usize(0..=LONG)).unwrap_or_default();
            index.insert(to, beginning, false);
        }
        group.bench_function(case("match, 256 blocks, all have some"), |bencher| {
            bencher.iter(|| index.matched(black_box(&cold), &mut matched));
        });
    }
    Ok(())
}

/// An index that more prompts have gone through than it can hold, and what that did to the memory.
fn aged_index() -> (PrefixIndex, Prompts) {
    let before = linear_memory();
    let mut index = PrefixIndex::new(100, DEFAULT_MAX_BYTES);
    let mut prompts = Prompts::new(PROMPT_BLOCKS);
    let mut largest = 0;
    for (prompt, to) in (0..PROMPTS).zip((0..100).cycle()) {
        index.insert(to, prompts.next(), true);
        largest = largest.max(index.bytes() * usize::from(prompt % 1000 == 0));
    }
    println!(
        "prefix index: {largest} bytes at most during {PROMPTS} prompts, linear memory grew by {}",
        linear_memory() - before
    );
    (index, prompts)
}

/// Bytes of the VM's memory; none natively.
fn linear_memory() -> usize {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size::<0>() << 16;
    #[cfg(not(target_arch = "wasm32"))]
    0
}
