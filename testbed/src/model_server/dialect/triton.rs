//! TensorRT-LLM in Triton: its batch manager's statistics, and Triton's own counters.

use super::{super::engine::BLOCK_TOKENS, State, text::Text};

/// The name under which TensorRT-LLM's backend is deployed, whatever model it runs.
const MODEL: &str = "tensorrt_llm";

const MICROSECONDS: f64 = 1e6;

pub(super) fn render(State { gauges, statistics }: State<'_>, max_num_seqs: usize) -> String {
    let mut text = Text::new(&[("model", MODEL), ("version", "1")]);
    let completed = statistics.stopped + statistics.ended_by_length;
    let counters = [
        (
            "nv_inference_request_success",
            "Number of successful inference requests",
            completed,
        ),
        (
            "nv_inference_count",
            "Number of inferences performed",
            completed,
        ),
        (
            "nv_inference_exec_count",
            "Number of model executions performed",
            statistics.steps,
        ),
        (
            "nv_inference_request_duration_us",
            "Cumulative inference request duration in microseconds",
            (statistics.end_to_end.sum() * MICROSECONDS) as u64,
        ),
        (
            "nv_inference_queue_duration_us",
            "Cumulative inference queuing duration in microseconds",
            (statistics.queue_time.sum() * MICROSECONDS) as u64,
        ),
    ];
    for (name, help, value) in counters {
        text.single(name, "counter", help, value);
    }
    let name = "nv_inference_request_failure";
    text.family(name, "counter", "Number of failed inference requests");
    text.sample(name, "reason=\"CANCELED\"", statistics.aborted);
    text.single(
        "nv_inference_pending_request_count",
        "gauge",
        "Instantaneous number of pending requests awaiting execution",
        gauges.waiting,
    );

    let name = "nv_trt_llm_request_metrics";
    text.family(name, "gauge", "TRT LLM request metrics");
    for (kind, value) in [
        ("waiting", gauges.waiting),
        ("context", gauges.prefilling),
        ("scheduled", gauges.running),
        ("max", max_num_seqs),
        ("active", gauges.waiting + gauges.running),
    ] {
        text.sample(name, &format!("request_type=\"{kind}\""), value);
    }

    let name = "nv_trt_llm_kv_cache_block_metrics";
    text.family(name, "gauge", "TRT LLM KV cache block metrics");
    for (kind, value) in [
        ("fraction", gauges.kv_usage()),
        ("tokens_per", BLOCK_TOKENS as f64),
        ("used", gauges.kv_used as f64),
        ("free", (gauges.kv_blocks - gauges.kv_used) as f64),
        ("max", gauges.kv_blocks as f64),
    ] {
        text.sample(name, &format!("kv_cache_block_type=\"{kind}\""), value);
    }

    let name = "nv_trt_llm_inflight_batcher_metrics";
    text.family(name, "gauge", "TRT LLM inflight_batcher-specific metrics");
    text.sample(
        name,
        "inflight_batcher_specific_metric=\"generation_requests\"",
        gauges.running - gauges.prefilling,
    );

    let name = "nv_trt_llm_general_metrics";
    text.family(name, "gauge", "General TRT LLM metrics");
    text.sample(name, "general_type=\"iteration_counter\"", statistics.steps);
    text.finish()
}
