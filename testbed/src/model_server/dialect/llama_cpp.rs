//! llama.cpp's server, which tells nothing of its KV cache.

use super::{State, text::Text};

pub(super) fn render(State { gauges, statistics }: State<'_>) -> String {
    let mut text = Text::new(&[]);
    let prompt_seconds = statistics.prefill_time.sum();
    let predicted_seconds = statistics.decode_time.sum();
    let computed = statistics.prompt_tokens - statistics.cached_prompt_tokens;
    for (name, help, value) in [
        (
            "prompt_tokens_total",
            "Number of prompt tokens processed.",
            computed as f64,
        ),
        (
            "prompt_seconds_total",
            "Prompt process time",
            prompt_seconds,
        ),
        (
            "tokens_predicted_total",
            "Number of generation tokens processed.",
            statistics.generation_tokens as f64,
        ),
        (
            "tokens_predicted_seconds_total",
            "Predict process time",
            predicted_seconds,
        ),
        (
            "n_decode_total",
            "Total number of llama_decode() calls",
            statistics.steps as f64,
        ),
        (
            "n_tokens_max",
            "Largest observed n_tokens.",
            statistics.longest as f64,
        ),
        (
            "n_busy_slots_per_decode",
            "Average number of busy slots per llama_decode() call",
            ratio(statistics.step_sequences as f64, statistics.steps as f64),
        ),
        (
            "prompt_tokens_cached_total",
            "Number of prompt tokens reused from the cache.",
            statistics.cached_prompt_tokens as f64,
        ),
    ] {
        text.single(&format!("llamacpp:{name}"), "counter", help, value);
    }
    for (name, help, value) in [
        (
            "prompt_tokens_seconds",
            "Average prompt throughput in tokens/s.",
            ratio(computed as f64, prompt_seconds),
        ),
        (
            "predicted_tokens_seconds",
            "Average generation throughput in tokens/s.",
            ratio(statistics.generation_tokens as f64, predicted_seconds),
        ),
        (
            "requests_processing",
            "Number of requests processing.",
            gauges.running as f64,
        ),
        (
            "requests_deferred",
            "Number of requests deferred.",
            gauges.waiting as f64,
        ),
    ] {
        text.single(&format!("llamacpp:{name}"), "gauge", help, value);
    }
    text.finish()
}

/// As it writes one that is not known: 0.
fn ratio(value: f64, by: f64) -> f64 {
    if by == 0.0 { 0.0 } else { value / by }
}
