//! One decision.

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::scheduling::{Profile, Scheduler};
use fastrand::Rng;

use crate::pool::{FRESHNESS, pool};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for endpoints in [10, 100, 1000] {
        let pool = pool(endpoints);
        let mut scheduler = Scheduler::new(Profile::default());
        let mut rng = Rng::with_seed(7);
        group.throughput(Throughput::Elements(endpoints.into()));
        group.bench_function(BenchmarkId::new("default profile", endpoints), |bencher| {
            bencher.iter(|| {
                scheduler
                    .schedule(&pool, FRESHNESS, &mut rng)
                    .map(|decision| decision.endpoint().address())
            });
        });
    }
}
