//! What was measured.

use serde::Serialize;

use super::{body::Shape, statistics::Repeated, variant::Variant};

/// Everything.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    /// Endpoints behind every variant in `bodies`.
    pub(super) pool: usize,
    /// How often each was measured.
    pub(super) repeats: usize,
    /// For how long at a time, in seconds.
    pub(super) window: f64,
    /// All variants with bodies of different sizes.
    pub(super) bodies: Vec<BodyResult>,
    /// This filter with pools of different sizes.
    pub(super) pools: Vec<PoolResult>,
    /// What the filter's VMs grew to, in the order in which the bodies were sent.
    pub(super) memory: Vec<MemoryResult>,
    /// What scraping costs.
    pub(super) scraping: Option<ScrapingResult>,
}

/// All variants with one body.
#[derive(Debug, Serialize)]
pub(super) struct BodyResult {
    pub(super) body: Shape,
    pub(super) saturation: Vec<SaturationResult>,
    /// Requests a second in `latency`: half of what the slowest variant took at saturation.
    pub(super) latency_rate: f64,
    pub(super) latency: Vec<LatencyResult>,
}

/// One variant at saturation.
#[derive(Debug, Serialize)]
pub(super) struct SaturationResult {
    pub(super) variant: Variant,
    /// Requests a second in each repeat.
    pub(super) rates: Vec<f64>,
    pub(super) rate: Repeated,
    /// Of `rate` to that of bare Envoy in the same repeat.
    pub(super) to_bare: Option<Repeated>,
    /// Of `rate` to that with the null ext_proc server in the same repeat.
    pub(super) to_ext_proc: Option<Repeated>,
    /// What a request costs Envoy's worker, in microseconds of processor time. Unlike the throughput
    /// it hardly changes when other programs take the processor away.
    pub(super) worker_micros: Repeated,
    /// What a request costs bare Envoy's worker in the same repeat, of that: the ratio to bare Envoy
    /// that the throughput would have if nothing took the processor from the worker.
    pub(super) to_bare_by_cost: Option<Repeated>,
    pub(super) busy: Busy,
}

/// Processor time as a share of one core; the medians of the repeats.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Busy {
    /// Envoy's only worker thread.
    pub(super) worker: f64,
    /// Envoy's main thread, in which the filter scrapes unless a worker's VM was first.
    pub(super) main: f64,
    /// The ext_proc server.
    pub(super) ext_proc: f64,
    /// The thread that answers for all endpoints.
    pub(super) backend: f64,
    /// The thread that makes the load.
    pub(super) client: f64,
    /// Whatever else runs on the machine.
    pub(super) others: f64,
}

/// One variant at the common rate. Everything in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct LatencyResult {
    pub(super) variant: Variant,
    pub(super) p50: Repeated,
    pub(super) p99: Repeated,
    /// To the latency of bare Envoy in the same repeat.
    pub(super) added_p50: Option<Repeated>,
    pub(super) added_p99: Option<Repeated>,
    /// How late the client sent, which is part of the latencies.
    pub(super) lag_p99: Repeated,
    /// Requests measured in all repeats.
    pub(super) requests: usize,
}

/// One pool, with the smallest body.
#[derive(Debug, Serialize)]
pub(super) struct PoolResult {
    pub(super) endpoints: usize,
    pub(super) saturation: Vec<SaturationResult>,
}

/// After one body.
#[derive(Debug, Serialize)]
pub(super) struct MemoryResult {
    pub(super) body: Shape,
    pub(super) endpoints: usize,
    /// The linear memory of each VM, in bytes, the largest first.
    pub(super) linear_memories: Vec<u64>,
    /// Of the whole Envoy, in bytes.
    pub(super) resident: u64,
}

/// Envoys without requests.
#[derive(Debug, Serialize)]
pub(super) struct ScrapingResult {
    pub(super) endpoints: usize,
    /// Of the measurement, in seconds.
    pub(super) window: f64,
    /// Scrapes a second that the endpoints have counted.
    pub(super) scrapes: f64,
    /// All threads of an Envoy with the filter, as a share of one core.
    pub(super) with: f64,
    /// All threads of an Envoy without it.
    pub(super) without: f64,
}

impl Results {
    /// One variant's part of a body's saturation.
    pub(super) fn at_saturation(&self, body: Shape, variant: Variant) -> Option<&SaturationResult> {
        let body = self.bodies.iter().find(|it| it.body == body)?;
        of(&body.saturation, variant)
    }
}

/// One variant's.
pub(super) fn of(results: &[SaturationResult], variant: Variant) -> Option<&SaturationResult> {
    results.iter().find(|it| it.variant == variant)
}
