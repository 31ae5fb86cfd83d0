//! A prompt's blocks, hashed as its bytes arrive.

use core::num::NonZeroUsize;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::prefix::{BlockHasher, Blocks, Scope};

use crate::chat::{SIZES, Talk, text};

/// 64 tokens of about four bytes, the Endpoint Picker's default; every byte is hashed, however
/// long the prompt.
const BLOCKS: Blocks = Blocks {
    size: NonZeroUsize::MIN.saturating_add(255),
    limit: usize::MAX,
};
/// Envoy reads a connection, and so hands over a body, 16 KiB at a time.
const PIECE: usize = 16 * 1024;

pub(crate) fn bench(criterion: &mut Criterion) {
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
