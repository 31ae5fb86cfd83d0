//! One scrape's answer, from bytes to signals.

use std::{error::Error, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::{
    model_server::{Engine, Mapping, SignalSelectors},
    pool::{Observation, Signal},
    time::Timestamp,
};

/// What a real vLLM answered under load, 51,966 bytes.
const VLLM: &[u8] = include_bytes!("../../fixtures/metrics/vllm-0.32-busy.prom");

pub(crate) fn bench(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let selectors = SignalSelectors::new(Engine::Vllm, |_| None)?;
    let mapping = Mapping::new(&selectors);
    // An exposition in which nothing is found would be measured as a very fast one.
    let metrics = mapping.read(VLLM, Timestamp::from_millis(1));
    let found = |signal| matches!(metrics.observation(signal), Observation::Value { .. });
    if !Signal::ALL.into_iter().all(found) {
        return Err("the exposition has every signal".into());
    }
    criterion
        .benchmark_group("exposition")
        .throughput(Throughput::Bytes(VLLM.len() as u64))
        .bench_function(
            BenchmarkId::new("parse and map", "vLLM, 52 KB"),
            |bencher| {
                bencher.iter(|| mapping.read(black_box(VLLM), Timestamp::from_millis(1)));
            },
        );
    Ok(())
}
