//! SGLang.

use super::{
    super::engine::{BLOCK_TOKENS, Bounds},
    State, bounds as list,
    text::{Python, Text},
};

/// The bounds that its documentation shows.
pub(super) fn bounds(rest: Bounds) -> Bounds {
    Bounds {
        time_to_first_token: list(&[
            0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
            10.0, 15.0, 20.0, 25.0, 30.0,
        ]),
        inter_token_latency: list(&[
            0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4,
            0.5, 0.75, 1.0, 2.5,
        ]),
        request_time: list(&[
            0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
        ]),
        ..rest
    }
}

pub(super) fn render(State { gauges, statistics }: State<'_>, model: &str) -> String {
    let mut text = Text::new(&[
        ("engine_type", "unified"),
        ("model_name", model),
        ("moe_ep_rank", "0"),
        ("pp_rank", "0"),
        ("tp_rank", "0"),
    ]);
    let counters = [
        (
            "prompt_tokens_total",
            "Number of prefill tokens processed.",
            statistics.prompt_tokens,
        ),
        (
            "generation_tokens_total",
            "Number of generation tokens processed.",
            statistics.generation_tokens,
        ),
        (
            "cached_tokens_total",
            "Number of cached prompt tokens.",
            statistics.cached_prompt_tokens,
        ),
        (
            "num_requests_total",
            "Number of requests processed.",
            statistics.stopped + statistics.ended_by_length,
        ),
    ];
    for (name, help, value) in counters {
        let value = Python(value as f64);
        text.single(&format!("sglang:{name}"), "counter", help, value);
    }
    let used_tokens = gauges.kv_used * BLOCK_TOKENS;
    let values = [
        (
            "num_running_reqs",
            "The number of running requests",
            gauges.running as f64,
        ),
        (
            "num_queue_reqs",
            "The number of requests in the waiting queue",
            gauges.waiting as f64,
        ),
        (
            "num_used_tokens",
            "The number of used tokens",
            used_tokens as f64,
        ),
        ("token_usage", "The token usage", gauges.kv_usage()),
        (
            "gen_throughput",
            "The generate throughput (token/s)",
            statistics.generation_throughput,
        ),
        (
            "cache_hit_rate",
            "The cache hit rate",
            statistics.last_hit_ratio,
        ),
    ];
    for (name, help, value) in values {
        text.single(&format!("sglang:{name}"), "gauge", help, Python(value));
    }
    let histograms = [
        (
            "time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            &statistics.time_to_first_token,
        ),
        (
            "time_per_output_token_seconds",
            "Histogram of time per output token in seconds.",
            &statistics.inter_token_latency,
        ),
        (
            "e2e_request_latency_seconds",
            "Histogram of End-to-end request latency in seconds",
            &statistics.end_to_end,
        ),
    ];
    for (name, help, histogram) in histograms {
        text.histogram(&format!("sglang:{name}"), help, histogram);
    }
    let name = "sglang:cache_config_info";
    text.family(name, "gauge", "Information of the cache configuration");
    let pages = gauges.kv_blocks;
    text.sample(
        name,
        &format!("page_size=\"{BLOCK_TOKENS}\",num_pages=\"{pages}\""),
        "1.0",
    );
    text.finish()
}
