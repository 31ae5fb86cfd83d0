//! From whole expositions to signals.

use endpoint_picker::{
    exposition::{Selector, SelectorError},
    model_server::{Engine, Mapping, SignalSelectors},
    pool::{Observation, Signal},
    time::Timestamp,
};
use wasm_bindgen_test::wasm_bindgen_test;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const MISSING: Observation = Observation::Missing;
const NOT_FINITE: Observation = Observation::NotFinite;

const fn value(value: f64) -> Observation {
    Observation::Value { value, at: NOW }
}

/// Waiting, running and KV-cache usage, as read with `overrides`.
fn read(exposition: &str, overrides: &[(Signal, &str)]) -> Result<[Observation; 3], SelectorError> {
    let selectors = SignalSelectors::new(Engine::Vllm, |signal| {
        let (_, text) = overrides.iter().find(|(of, _)| *of == signal)?;
        text.parse::<Selector>().ok()
    })?;
    let metrics = Mapping::new(&selectors).read(exposition.as_bytes(), NOW);
    Ok(Signal::ALL.map(|signal| metrics.observation(signal)))
}

#[wasm_bindgen_test(unsupported = test)]
fn real_expositions_are_read() {
    for (name, exposition, expected) in [
        (
            "idle",
            include_str!("../../fixtures/metrics/vllm-0.32-idle.prom"),
            [value(0.0), value(0.0), value(0.0)],
        ),
        (
            "busy",
            include_str!("../../fixtures/metrics/vllm-0.32-busy.prom"),
            [value(0.0), value(2.0), value(0.000_732_511_292_882_431_8)],
        ),
        (
            "lora",
            include_str!("../../fixtures/metrics/vllm-0.32-lora.prom"),
            [value(8.0), value(4.0), value(0.000_976_681_723_843_242_4)],
        ),
    ] {
        assert_eq!(read(exposition, &[]), Ok(expected), "{name}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn expositions_are_read_for_what_they_say() {
    for (case, exposition, expected) in [
        ("nothing", "", [MISSING; 3]),
        (
            "comments only",
            "# HELP a b\n# TYPE a gauge\n",
            [MISSING; 3],
        ),
        ("not an exposition", "<html>404 {oops}</html>", [MISSING; 3]),
        (
            "one signal of three",
            "vllm:num_requests_waiting 3\n",
            [value(3.0), MISSING, MISSING],
        ),
        (
            "a family whose name only starts alike",
            "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9\n",
            [MISSING; 3],
        ),
        (
            "data-parallel engines: counts are summed, of usages the fullest counts",
            "vllm:num_requests_waiting{engine=\"0\"} 3\nvllm:num_requests_waiting{engine=\"1\"} 4\n\
             vllm:num_requests_running{engine=\"0\"} 1\nvllm:num_requests_running{engine=\"1\"} 2\n\
             vllm:kv_cache_usage_perc{engine=\"0\"} 0.9\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.2\n",
            [value(7.0), value(3.0), value(0.9)],
        ),
        (
            "an engine that says NaN, in either order",
            "vllm:num_requests_waiting{engine=\"0\"} NaN\nvllm:num_requests_waiting{engine=\"1\"} 4\n\
             vllm:num_requests_running NaN\n\
             vllm:kv_cache_usage_perc{engine=\"0\"} 0.9\nvllm:kv_cache_usage_perc{engine=\"1\"} NaN\n",
            [NOT_FINITE; 3],
        ),
        (
            "infinite",
            "vllm:num_requests_waiting +Inf\nvllm:num_requests_running -Inf\n\
             vllm:kv_cache_usage_perc +Inf\n",
            [NOT_FINITE; 3],
        ),
        (
            "empty braces, large values, timestamps, no line end at the end",
            "vllm:num_requests_waiting{} 5.0\nvllm:num_requests_running 1.8e+09 1700000000000\n\
             vllm:kv_cache_usage_perc{model_name=\"a\\\"b\\\\\"} 0.25",
            [value(5.0), value(1.8e9), value(0.25)],
        ),
        (
            "broken lines between whole ones, and Windows line ends",
            "vllm:num_requests_waiting{engine= 3\r\nvllm:num_requests_waiting 2\r\n\
             vllm:num_requests_running\r\nvllm:kv_cache_usage_perc 0.5\r\n",
            [value(2.0), MISSING, value(0.5)],
        ),
    ] {
        assert_eq!(read(exposition, &[]), Ok(expected), "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn selectors_of_the_configuration_replace_the_engines_own() {
    let triton = "nv_trt_llm_request_metrics{model=\"m\",request_type=\"waiting\"} 2\n\
                  nv_trt_llm_request_metrics{model=\"m\",request_type=\"active\"} 7\n\
                  nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.4875\n\
                  nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 6239\n\
                  vllm:num_requests_waiting 100\n";
    let overrides = [
        (
            Signal::WaitingRequests,
            "nv_trt_llm_request_metrics{request_type=waiting}",
        ),
        (
            Signal::RunningRequests,
            "nv_trt_llm_request_metrics{request_type=\"active\"}",
        ),
        (
            Signal::KvCacheUsage,
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"}",
        ),
    ];
    assert_eq!(
        read(triton, &overrides),
        Ok([value(2.0), value(7.0), value(0.4875)])
    );
    // Metric by metric: what is not replaced keeps the engine's.
    assert_eq!(
        read(triton, &overrides[1..]),
        Ok([value(100.0), value(7.0), value(0.4875)])
    );
}
