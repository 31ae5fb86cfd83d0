//! Means over the time between two scrapes, and the ways in which there is none.

use endpoint_picker::{
    model_server::Engines,
    pool::{Observation, Signal},
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{MISSING, NOT_FINITE, UNMEASURED, read_in_turn, value};

/// The sum and count of the histogram of vLLM's time to first token.
fn ttft(sum: f64, count: f64) -> String {
    engine_ttft("0", sum, count)
}

fn engine_ttft(engine: &str, sum: f64, count: f64) -> String {
    let family = "vllm:time_to_first_token_seconds";
    format!(
        "{family}_bucket{{engine=\"{engine}\",le=\"+Inf\"}} {count}\n\
         {family}_count{{engine=\"{engine}\"}} {count}\n\
         {family}_sum{{engine=\"{engine}\"}} {sum}\n\
         {family}_created{{engine=\"{engine}\"}} 1.8e+09\n"
    )
}

fn assert_read(case: &str, engine: &str, signal: Signal, scrapes: &[(String, Observation)]) {
    let expositions: Vec<_> = scrapes.iter().map(|(text, _)| text.as_str()).collect();
    let read = read_in_turn(&Engines::default(), engine, &expositions);
    let found: Vec<_> = read.iter().map(|m| m.observation(signal)).collect();
    let expected: Vec<_> = scrapes.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(found, expected, "{case}");
}

#[wasm_bindgen_test(unsupported = test)]
fn means_are_of_the_last_interval() {
    let signal = Signal::TimeToFirstToken;
    assert_read(
        "requests end",
        "vllm",
        signal,
        &[
            (ttft(100.0, 10.0), UNMEASURED),
            (ttft(101.0, 14.0), value(0.25, 2)),
            (ttft(107.0, 16.0), value(3.0, 3)),
        ],
    );
    assert_read(
        "none ends: the last mean stays, with its time",
        "vllm",
        signal,
        &[
            (ttft(0.0, 0.0), UNMEASURED),
            (ttft(0.0, 0.0), UNMEASURED),
            (ttft(2.0, 1.0), value(2.0, 3)),
            (ttft(2.0, 1.0), value(2.0, 3)),
            (ttft(2.5, 2.0), value(0.5, 5)),
        ],
    );
    assert_read(
        "the server starts anew, and counts from 0",
        "vllm",
        signal,
        &[
            (ttft(100.0, 10.0), UNMEASURED),
            (ttft(1.5, 3.0), value(0.5, 2)),
            (ttft(0.0, 0.0), value(0.5, 2)),
        ],
    );
    assert_read(
        "the same when its sum has passed what it was before",
        "vllm",
        signal,
        &[
            (ttft(1.0, 10.0), UNMEASURED),
            (ttft(5.0, 2.0), value(2.5, 2)),
            (ttft(6.0, 4.0), value(0.5, 3)),
        ],
    );
    let started = |seconds: f64, sum, count| {
        ttft(sum, count) + &format!("process_start_time_seconds {seconds}\n")
    };
    assert_read(
        "the same when nothing has fallen, and the process tells when it started",
        "vllm",
        signal,
        &[
            (started(1e9, 1.0, 1.0), UNMEASURED),
            (started(1.1e9, 5.0, 2.0), value(2.5, 2)),
            (started(1.1e9, 6.0, 4.0), value(0.5, 3)),
        ],
    );
    assert_read(
        "the family comes and goes",
        "vllm",
        signal,
        &[
            (String::new(), MISSING),
            (ttft(100.0, 10.0), UNMEASURED),
            (ttft(102.0, 11.0), value(2.0, 3)),
            (String::new(), MISSING),
            (ttft(900.0, 90.0), UNMEASURED),
        ],
    );
    assert_read(
        "a number that is none",
        "vllm",
        signal,
        &[
            (ttft(1.0, 1.0), UNMEASURED),
            (ttft(f64::NAN, 2.0), NOT_FINITE),
            (ttft(f64::INFINITY, 3.0), NOT_FINITE),
        ],
    );
    assert_read(
        "data-parallel engines: the mean is of all their requests, and each starts anew alone",
        "vllm",
        signal,
        &[
            (
                engine_ttft("0", 10.0, 10.0) + &engine_ttft("1", 70.0, 7.0),
                UNMEASURED,
            ),
            (
                engine_ttft("0", 13.0, 13.0) + &engine_ttft("1", 75.0, 8.0),
                value(2.0, 2),
            ),
            (
                engine_ttft("0", 4.0, 2.0) + &engine_ttft("1", 77.0, 10.0),
                value(1.5, 3),
            ),
        ],
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn ratios_are_of_the_last_interval() {
    let signal = Signal::PrefixCacheHitRatio;
    let vllm = |prefix: &str, hits: f64, queries: f64| {
        format!(
            "vllm:{prefix}prefix_cache_hits_total {hits}\n\
             vllm:{prefix}prefix_cache_queries_total {queries}\n\
             vllm:{prefix}prefix_cache_hits_created 1.8e+09\n\
             vllm:external_prefix_cache_hits_total 7\nvllm:external_prefix_cache_queries_total 9\n"
        )
    };
    // Of the families' names over the releases, with what they say as counters or at once.
    for prefix in ["", "gpu_"] {
        assert_read(
            "vllm",
            "vllm",
            signal,
            &[
                (vllm(prefix, 5.0, 100.0), UNMEASURED),
                (vllm(prefix, 8.0, 104.0), value(0.75, 2)),
                (vllm(prefix, 8.0, 108.0), value(0.0, 3)),
                (vllm(prefix, 8.0, 108.0), value(0.0, 3)),
            ],
        );
    }
    // Before there were counters, which is below nought where nothing is remembered.
    let gauge = |ratio| format!("vllm:gpu_prefix_cache_hit_rate {ratio}\n");
    assert_read(
        "vllm",
        "vllm",
        signal,
        &[(gauge(0.5), value(0.5, 1)), (gauge(-1.0), NOT_FINITE)],
    );
    assert_read(
        "vllm, started anew: no more hits than queries",
        "vllm",
        signal,
        &[
            (vllm("", 100.0, 200.0), UNMEASURED),
            (vllm("", 84.0, 210.0), value(0.4, 2)),
        ],
    );
    let realtime = |cached: f64, computed: f64| {
        format!(
            "sglang:realtime_tokens_total{{mode=\"prefill_cache\",tp_rank=\"0\"}} {cached}\n\
             sglang:realtime_tokens_total{{mode=\"prefill_compute\",tp_rank=\"0\"}} {computed}\n\
             sglang:realtime_tokens_total{{mode=\"decode\",tp_rank=\"0\"}} 99\n\
             sglang:cache_hit_rate{{tp_rank=\"0\"}} 0.9\n"
        )
    };
    assert_read(
        "sglang without effective tokens",
        "sglang",
        signal,
        &[
            (realtime(1.0, 1.0), UNMEASURED),
            (realtime(2.0, 4.0), value(0.25, 2)),
            (realtime(2.0, 4.0), value(0.25, 2)),
        ],
    );
    let rate = "sglang:cache_hit_rate{tp_rank=\"0\"} 0.9\n".to_owned();
    assert_read(
        "sglang without counters",
        "sglang",
        signal,
        &[(rate, value(0.9, 1))],
    );
}
