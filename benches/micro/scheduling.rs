//! One decision.

use core::{hint::black_box, iter};

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::{
    load::{InFlight, Load},
    prefix::{BlockHash, DEFAULT_MAX_BYTES, PrefixIndex, Scope},
    scheduling::{Profile, Request, Scheduler, Terms, View},
};
use fastrand::Rng;

use crate::pool::{FRESHNESS, pool};

/// Blocks of the prompt: of 64 tokens each they are a long conversation.
const BLOCKS: usize = 64;
const BLOCK_TOKENS: u32 = 64;

/// The blocks of the prompt `nth`: half of them are those of one of eight system prompts, the others
/// its own.
fn prompt(nth: u64) -> Vec<BlockHash> {
    let part = |name: String| {
        let root = Scope {
            model: Some(&name),
            ..Scope::default()
        }
        .root();
        iter::successors(Some(root), move |hash| Some(hash.within(root))).take(BLOCKS / 2)
    };
    let (system, own) = (format!("system {}", nth % 8), format!("own {nth}"));
    part(system).chain(part(own)).collect()
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for endpoints in [10, 100, 1000_u16] {
        let pool = pool(endpoints);
        let count = usize::from(endpoints);
        let mut rng = Rng::with_seed(7);
        let (mut load, mut prefixes) = (
            InFlight::new(count),
            PrefixIndex::new(count, DEFAULT_MAX_BYTES),
        );
        for position in 0..count {
            let (requests, tokens) = (rng.u32(..8), rng.u64(..20_000));
            load.begin(position, Load { requests, tokens });
            // Every endpoint has had a few of a hundred conversations.
            for _ in 0..3 {
                prefixes.insert(position, &prompt(rng.u64(..100)), false);
            }
        }
        let view = View {
            pool: &pool,
            load: &load,
            prefixes: &prefixes,
        };
        let known = prompt(7);
        let unknown: Vec<_> = known.iter().map(|hash| hash.within(*hash)).collect();
        group.throughput(Throughput::Elements(endpoints.into()));
        for (name, blocks) in [
            ("default profile", &known[..]),
            ("default profile, cold prompt", &unknown),
            ("default profile, no prompt", &[]),
        ] {
            let mut scheduler = Scheduler::new(Profile::default());
            group.bench_function(BenchmarkId::new(name, endpoints), |bencher| {
                bencher.iter(|| {
                    let terms = Terms {
                        request: Request {
                            blocks: black_box(blocks),
                            block_tokens: BLOCK_TOKENS,
                            prompt_tokens: blocks.len() as u64 * u64::from(BLOCK_TOKENS),
                            model: Some("meta-llama/Llama-3.1-8B-Instruct"),
                            ..Request::default()
                        },
                        ..FRESHNESS.into()
                    };
                    let decision = scheduler.schedule(view, terms, &mut rng);
                    decision.map(|decision| decision.position())
                });
            });
        }
    }
}
