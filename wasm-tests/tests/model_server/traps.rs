//! What expositions have in store for who reads them carelessly.

use endpoint_picker::pool::{Observation, Signal};
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{MISSING, NOT_FINITE, load, read, value};

#[wasm_bindgen_test(unsupported = test)]
fn expositions_are_read_for_what_they_say() {
    for (case, exposition, expected) in [
        ("nothing", "", [MISSING; 3]),
        (
            "comments only",
            "# HELP a b\n# TYPE a gauge\n",
            [MISSING; 3],
        ),
        (
            "families declared, and no sample",
            "# TYPE vllm:num_requests_waiting gauge\n# TYPE vllm:kv_cache_usage_perc gauge\n",
            [MISSING; 3],
        ),
        ("not an exposition", "<html>404 {oops}</html>", [MISSING; 3]),
        (
            "one signal of three",
            "vllm:num_requests_waiting 3\n",
            [value(3.0, 1), MISSING, MISSING],
        ),
        (
            "families whose names only start or end alike",
            "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9\n\
             vllm:num_requests_waiting_total 9\nvllm:num_requests_waiting_created 1.8e+09\n\
             my_vllm:num_requests_running 9\nnum_requests_running 9\n\
             vllm:kv_cache_usage_perc_bucket{le=\"+Inf\"} 9\n",
            [MISSING; 3],
        ),
        (
            "beside them the family itself, in either order",
            "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9\n\
             vllm:num_requests_waiting 10\nvllm:num_requests_running 5\n\
             vllm:num_requests_running_by_lora{adapter=\"a\"} 2\n",
            [value(10.0, 1), value(5.0, 1), MISSING],
        ),
        (
            "data-parallel engines: counts are summed, of usages the fullest counts",
            "vllm:num_requests_waiting{engine=\"0\"} 3\nvllm:num_requests_waiting{engine=\"1\"} 4\n\
             vllm:num_requests_running{engine=\"0\"} 1\nvllm:num_requests_running{engine=\"1\"} 2\n\
             vllm:kv_cache_usage_perc{engine=\"0\"} 0.9\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.2\n",
            [value(7.0, 1), value(3.0, 1), value(0.9, 1)],
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
            "idle is no lack",
            "vllm:num_requests_waiting 0\nvllm:num_requests_running 0.0\n\
             vllm:kv_cache_usage_perc 0e0\n",
            [value(0.0, 1); 3],
        ),
        (
            "empty braces, large values, timestamps, no line end at the end",
            "vllm:num_requests_waiting{} 5.0\nvllm:num_requests_running 1.8e+09 1700000000000\n\
             vllm:kv_cache_usage_perc{model_name=\"a\\\"b\\\\\"} 0.25",
            [value(5.0, 1), value(1.8e9, 1), value(0.25, 1)],
        ),
        (
            "samples of one series at several times: the latest counts, wherever it stands",
            "vllm:num_requests_waiting{engine=\"0\"} 9 1000\n\
             vllm:num_requests_waiting{engine=\"0\"} 2 3000\n\
             vllm:num_requests_waiting{engine=\"0\"} 9 2000\n\
             vllm:num_requests_waiting{engine=\"1\"} 3 1000\n",
            [value(5.0, 1), MISSING, MISSING],
        ),
        (
            "one series with a time and others without",
            "vllm:num_requests_waiting{engine=\"0\"} 1 1000\n\
             vllm:num_requests_waiting{engine=\"1\"} 2\nvllm:num_requests_waiting{engine=\"2\"} 3\n",
            [value(6.0, 1), MISSING, MISSING],
        ),
        (
            "labels with braces, commas, quotes and line ends inside",
            "vllm:num_requests_waiting{model_name=\"a} 9, {b=\\\"c\\\"\\n\"} 4\n\
             vllm:num_requests_running{model_name=\"größe 日本\",} 2\n",
            [value(4.0, 1), value(2.0, 1), MISSING],
        ),
        (
            "broken lines between whole ones, and Windows line ends",
            "vllm:num_requests_waiting{engine= 3\r\nvllm:num_requests_waiting 2\r\n\
             vllm:num_requests_running\r\nvllm:kv_cache_usage_perc 0.5\r\n\
             vllm:kv_cache_usage_perc{engine=\"1\"} zero\r\n",
            [value(2.0, 1), MISSING, value(0.5, 1)],
        ),
        (
            "a family that was renamed: the old name",
            "vllm:gpu_cache_usage_perc 0.75\n",
            [MISSING, MISSING, value(0.75, 1)],
        ),
        (
            "and both names side by side: the present one",
            "vllm:gpu_cache_usage_perc 0.75\nvllm:kv_cache_usage_perc 0.5\n",
            [MISSING, MISSING, value(0.5, 1)],
        ),
        (
            "the present name without a number is no reason to believe the old one",
            "vllm:gpu_cache_usage_perc 0.75\nvllm:kv_cache_usage_perc NaN\n",
            [MISSING, MISSING, NOT_FINITE],
        ),
    ] {
        assert_eq!(load(&read("vllm", exposition)), expected, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn facts_in_labels_are_read() {
    let size_and_blocks = |engine, exposition| {
        let metrics = read(engine, exposition);
        [Signal::KvBlockSize, Signal::KvBlocks].map(|signal| metrics.observation(signal))
    };
    for (engine, exposition, expected) in [
        (
            "vllm",
            "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"573\"} 1.0\n",
            [value(16.0, 1), value(573.0, 1)],
        ),
        // Not known yet, and beside it a label that is always there.
        (
            "vllm",
            "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\",num_gpu_blocks_override=\"64\"} 1.0\n",
            [value(16.0, 1), MISSING],
        ),
        (
            "vllm",
            "vllm:cache_config_info{block_size=\"\",cache_dtype=\"auto\"} 1.0\n",
            [MISSING; 2],
        ),
        // Data-parallel engines: one of them knows its blocks, and each has its own.
        (
            "vllm",
            "vllm:cache_config_info{engine=\"0\",block_size=\"16\",num_gpu_blocks=\"None\"} 1.0\n\
             vllm:cache_config_info{engine=\"1\",block_size=\"16\",num_gpu_blocks=\"573\"} 1.0\n",
            [value(16.0, 1), value(573.0, 1)],
        ),
        (
            "vllm",
            "vllm:cache_config_info{engine=\"0\",block_size=\"16\",num_gpu_blocks=\"500\"} 1.0\n\
             vllm:cache_config_info{engine=\"1\",block_size=\"16\",num_gpu_blocks=\"600\"} 1.0\n",
            [value(16.0, 1), value(1100.0, 1)],
        ),
        (
            "sglang",
            "sglang:cache_config_info{page_size=\"64\",num_pages=\"2304\"} 1.0\n",
            [value(64.0, 1), value(2304.0, 1)],
        ),
    ] {
        let found = size_and_blocks(engine, exposition);
        assert_eq!(found, expected, "{exposition}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn derived_signals_follow_from_parts() {
    let requests = |kind, value| {
        format!("nv_trt_llm_request_metrics{{model=\"m\",request_type=\"{kind}\"}} {value}\n")
    };
    let blocks = |kind, value| {
        format!(
            "nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type=\"{kind}\",model=\"m\"}} {value}\n"
        )
    };
    let cases: [(Vec<String>, [Observation; 3]); 7] = [
        (
            vec![requests("active", 9), requests("scheduled", 4)],
            [value(5.0, 1), value(4.0, 1), MISSING],
        ),
        // The ready-made one counts where it is there.
        (
            vec![
                requests("active", 9),
                requests("scheduled", 4),
                requests("waiting", 2),
            ],
            [value(2.0, 1), value(4.0, 1), MISSING],
        ),
        (vec![requests("active", 9)], [MISSING; 3]),
        (
            vec![blocks("used", 25), blocks("max", 100), blocks("free", 50)],
            [MISSING, MISSING, value(0.25, 1)],
        ),
        (
            vec![blocks("free", 40), blocks("max", 100)],
            [MISSING, MISSING, value(0.6, 1)],
        ),
        // No blocks at all is not an empty cache.
        (
            vec![blocks("used", 0), blocks("max", 0)],
            [MISSING, MISSING, NOT_FINITE],
        ),
        (vec![blocks("used", 25)], [MISSING; 3]),
    ];
    for (lines, expected) in cases {
        let exposition = lines.concat();
        let found = load(&read("triton-tensorrt-llm", &exposition));
        assert_eq!(found, expected, "{exposition}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_left_tells_what_is_used() {
    let free = "jetstream_slots_available_percentage{id=\"a\",idx=\"0\"} 0.75\n\
                jetstream_slots_available_percentage{id=\"a\",idx=\"1\"} 0.5\n";
    let used = "jetstream_slots_used_percentage{id=\"a\",idx=\"0\"} 0.25\n";
    for (exposition, expected) in [(free, 0.5), (&format!("{free}{used}"), 0.25)] {
        let found = read("jetstream", exposition).observation(Signal::KvCacheUsage);
        assert_eq!(found, value(expected, 1), "{exposition}");
    }
}
