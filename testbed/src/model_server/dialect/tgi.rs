//! Text Generation Inference.

use std::iter::successors;

use super::{
    super::engine::{BLOCK_TOKENS, Bounds},
    State,
    text::Text,
};

/// Its router's bounds: durations from 0.15 ms in 35 steps of a factor of 1.5, and lengths in
/// hundredths of the context.
pub(super) fn bounds(rest: Bounds, max_model_len: usize) -> Bounds {
    let durations: Vec<f64> = successors(Some(0.000_15), |bound| Some(bound * 1.5))
        .take(35)
        .collect();
    let durations = super::bounds(&durations);
    let lengths: Vec<f64> = (1..=100)
        .map(|hundredths| max_model_len as f64 / 100.0 * f64::from(hundredths))
        .collect();
    Bounds {
        time_per_output_token: durations.clone(),
        request_time: durations,
        tokens: super::bounds(&lengths),
        ..rest
    }
}

pub(super) fn render(State { gauges, statistics }: State<'_>) -> String {
    let mut text = Text::new(&[]);
    text.single("tgi_request_count", "counter", "", statistics.received);
    let name = "tgi_request_success";
    text.single(
        name,
        "counter",
        "",
        statistics.stopped + statistics.ended_by_length,
    );
    let name = "tgi_batch_inference_count";
    text.family(name, "counter", "");
    text.sample(name, "method=\"prefill\"", statistics.prefill_steps);
    text.sample(name, "method=\"decode\"", statistics.decode_steps);

    text.single("tgi_queue_size", "gauge", "", gauges.waiting);
    text.single("tgi_batch_current_size", "gauge", "", gauges.running);
    let tokens = gauges.kv_used * BLOCK_TOKENS;
    text.single("tgi_batch_current_max_tokens", "gauge", "", tokens);

    for (name, histogram) in [
        (
            "tgi_request_input_length",
            &statistics.request_prompt_tokens,
        ),
        (
            "tgi_request_generated_tokens",
            &statistics.request_generation_tokens,
        ),
        ("tgi_request_max_new_tokens", &statistics.request_max_tokens),
        ("tgi_request_duration", &statistics.end_to_end),
        ("tgi_request_queue_duration", &statistics.queue_time),
        ("tgi_request_inference_duration", &statistics.inference_time),
        (
            "tgi_request_mean_time_per_token_duration",
            &statistics.time_per_output_token,
        ),
    ] {
        text.histogram(name, "", histogram);
    }
    text.finish()
}
