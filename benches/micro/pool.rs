//! The snapshot by which VMs share a pool, and the pools that decisions are measured on.

use core::{net::SocketAddr, time::Duration};
use std::{error::Error, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::{
    discovery::DiscoveredEndpoint,
    pool::{EndpointMetrics, Freshness, Pool, Signal, Snapshot, encode_snapshot},
    time::Timestamp,
};
use fastrand::Rng;

/// A wall clock of today's size, since the encoding of small numbers is shorter.
const NOW: u64 = 1_750_000_000_000;
/// The age past which the default configuration distrusts a metric.
const STALE_AFTER: u64 = 2_000;

pub(crate) const FRESHNESS: Freshness = Freshness {
    now: Timestamp::from_millis(NOW),
    stale_after: Duration::from_millis(STALE_AFTER),
};

/// A fleet at work: most endpoints scraped within the last interval, half of them with a queue;
/// one in fifty has stopped answering, one in fifty lacks a signal.
pub(crate) fn pool(endpoints: u16) -> Pool {
    let addresses: Vec<_> = (0..endpoints)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            SocketAddr::from(([10, 0, high, low], 8000))
        })
        .collect();
    let discovered: Vec<_> = addresses
        .iter()
        .copied()
        .map(DiscoveredEndpoint::at)
        .collect();
    let mut pool = Pool::new(&discovered);
    let mut rng = Rng::with_seed(7);
    for address in addresses {
        let age = match rng.u8(0..50) {
            0 => STALE_AFTER + 1,
            _ => rng.u64(0..200),
        };
        let at = Timestamp::from_millis(NOW - age);
        let waiting = rng.u8(0..20).saturating_sub(10);
        let mut metrics = EndpointMetrics::default();
        metrics.observe(Signal::WaitingRequests, waiting.into(), at);
        metrics.observe(Signal::RunningRequests, rng.u8(0..=128).into(), at);
        if rng.u8(0..50) != 0 {
            metrics.observe(Signal::KvCacheUsage, rng.f64(), at);
        }
        pool.record(address, metrics, at);
    }
    pool
}

pub(crate) fn bench(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("snapshot");
    for endpoints in [100, 1000] {
        let mut pool = pool(endpoints);
        let encoded = encode_snapshot(&pool, &[], 1)?;
        group.throughput(Throughput::Bytes(encoded.len() as u64));
        group.bench_function(BenchmarkId::new("encode", endpoints), |bencher| {
            bencher.iter(|| encode_snapshot(black_box(&pool), &[], 1).is_ok());
        });
        group.bench_function(BenchmarkId::new("decode and apply", endpoints), |bencher| {
            bencher.iter(|| {
                Snapshot::decode(black_box(&encoded))
                    .map(|snapshot| pool.apply(snapshot))
                    .is_ok()
            });
        });
    }
    Ok(())
}
