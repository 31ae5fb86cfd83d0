//! One scrape's answer, from bytes to signals.

use std::{error::Error, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::{
    model_server::{EngineChoice, Engines, MetricsReader},
    pool::{Observation, Signal},
    time::Timestamp,
};

/// What a real vLLM answered under load, 51,966 bytes.
const BUSY: &[u8] = include_bytes!("../../fixtures/metrics/vllm-0.32-busy.prom");
/// What it answered earlier in its life, with adapters at work, 48,863 bytes.
const LORA: &[u8] = include_bytes!("../../fixtures/metrics/vllm-0.32-lora.prom");
/// The most that a scrape may answer.
const LARGEST: usize = 4 << 20;

/// Reads each exposition as one of a row, by the whole preset: signals, what counters grew by since
/// the one before, and adapters.
pub(crate) fn bench(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let engines = Engines::default();
    let vllm = engines.find("vllm").ok_or("vLLM has a preset")?;
    // Nothing but lines that are wanted, which is the most work a byte can be.
    let mut series = (0..).map(|n| format!("vllm:num_requests_running{{engine=\"{n}\"}} 1\n"));
    let mut largest = String::with_capacity(LARGEST);
    while largest.len() < LARGEST {
        largest.extend(series.next());
    }
    let mut group = criterion.benchmark_group("exposition");
    for (name, exposition) in [
        ("vLLM, 52 KB", BUSY),
        ("vLLM with LoRA, 49 KB", LORA),
        ("nothing but wanted series, 4 MB", largest.as_bytes()),
    ] {
        let mut reader = MetricsReader::new(EngineChoice::Named(vllm));
        let at = Timestamp::from_millis;
        reader.read(&engines, LORA, at(1_000), None);
        let mut metrics = reader.read(&engines, exposition, at(2_000), None);
        // An exposition in which nothing is found would be measured as a very fast one.
        let missing = |signal| metrics.observation(signal) == Observation::Missing;
        if exposition.len() < LARGEST && Signal::ALL.into_iter().any(missing) {
            return Err(format!("{name} has every signal").into());
        }
        group
            .throughput(Throughput::Bytes(exposition.len() as u64))
            .bench_function(BenchmarkId::new("parse and map", name), |bencher| {
                bencher.iter(|| {
                    let exposition = black_box(exposition);
                    metrics = reader.read(&engines, exposition, at(3_000), Some(&metrics));
                });
            });
    }
    Ok(())
}
