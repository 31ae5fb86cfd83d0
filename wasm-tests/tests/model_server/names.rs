//! The families of one signal: their names over the releases of a server, and what is taken where
//! several are there.

use endpoint_picker::{
    model_server::Engines,
    pool::{Observation, Signal},
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{UNMEASURED, read, read_in_turn, value};
use Signal::{
    KvBlockSize, KvBlocks, KvCacheUsage, PrefixCacheHitRatio, RunningRequests, TimePerOutputToken,
    TimeToFirstToken, WaitingRequests,
};

/// Of an engine and a signal, lines of an exposition in the order in which the families count; the
/// first line is worth 1, the second 2 and so on.
type Case = (&'static str, Signal, &'static [&'static str]);

const GAUGES: &[Case] = &[
    (
        "dynamo",
        WaitingRequests,
        &[
            "dynamo_frontend_queued_requests 1",
            "dynamo_frontend_stage_requests{stage=\"route\"} 2",
            "vllm:num_requests_waiting 3",
            "sglang:num_queue_reqs{tp_rank=\"0\"} 4\nsglang:num_queue_reqs{tp_rank=\"1\"} 4",
            "sglang:num_queue_reqs 5",
            "trtllm_num_requests_waiting 6",
        ],
    ),
    (
        "dynamo",
        RunningRequests,
        &[
            "vllm:num_requests_running 1",
            "sglang:num_running_reqs{tp_rank=\"0\"} 2\nsglang:num_running_reqs{tp_rank=\"1\"} 2",
            "sglang:num_running_reqs 3",
            "trtllm_num_requests_running 4",
            "dynamo_component_inflight_requests{dynamo_endpoint=\"generate\"} 5",
            "dynamo_frontend_inflight_requests 7\ndynamo_frontend_queued_requests 1",
            "dynamo_frontend_active_requests 9\ndynamo_frontend_stage_requests 2",
        ],
    ),
    (
        "dynamo",
        KvCacheUsage,
        &[
            "dynamo_component_gpu_cache_usage_percent 0.1",
            "dynamo_component_kvstats_gpu_cache_usage_percent 0.2",
            "vllm:kv_cache_usage_perc 0.3",
            "sglang:token_usage{tp_rank=\"0\"} 0.4",
            "trtllm_kv_cache_utilization 0.5",
        ],
    ),
    (
        "dynamo",
        KvBlockSize,
        &[
            "dynamo_frontend_model_kv_cache_block_size 1",
            "vllm:cache_config_info{block_size=\"2\"} 9",
            "sglang:cache_config_info{page_size=\"3\"} 9",
            "sglang:page_size 4",
            "trtllm_kv_cache_tokens_per_block 5",
        ],
    ),
    (
        "dynamo",
        KvBlocks,
        &[
            "dynamo_component_total_blocks 1",
            "dynamo_component_kvstats_total_blocks 2",
        ],
    ),
    (
        "dynamo",
        PrefixCacheHitRatio,
        &["dynamo_component_kvstats_gpu_prefix_cache_hit_rate 0.1"],
    ),
    (
        "vllm",
        KvCacheUsage,
        &[
            "vllm:kv_cache_usage_perc 0.1",
            "vllm:gpu_cache_usage_perc 0.2",
        ],
    ),
    (
        "sglang",
        KvCacheUsage,
        &["sglang:token_usage 0.1", "sglang_token_usage 0.2"],
    ),
    (
        "sglang",
        KvBlockSize,
        &[
            "sglang:cache_config_info{page_size=\"1\"} 9",
            "sglang:page_size 2",
            "sglang_cache_config_info{page_size=\"3\"} 9",
            "sglang_page_size 4",
        ],
    ),
    (
        "sglang",
        PrefixCacheHitRatio,
        &["sglang:cache_hit_rate 0.1", "sglang_cache_hit_rate 0.2"],
    ),
    (
        "trtllm-serve",
        KvCacheUsage,
        &[
            "trtllm_kv_cache_utilization 0.1",
            "trtllm_kv_cache_used_blocks 16\ntrtllm_kv_cache_max_blocks 80",
        ],
    ),
    (
        "trtllm-serve",
        PrefixCacheHitRatio,
        &["trtllm_kv_cache_hit_rate 0.1"],
    ),
    (
        "triton-tensorrt-llm",
        KvCacheUsage,
        &[
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.1",
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"used\"} 8\n\
             nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 40",
            "nv_trt_llm_kv_cache_block_statistics{kv_cache_block_type=\"used\"} 12\n\
             nv_trt_llm_kv_cache_block_statistics{kv_cache_block_type=\"max\"} 40",
        ],
    ),
    (
        "triton-tensorrt-llm",
        WaitingRequests,
        &[
            "nv_trt_llm_request_metrics{request_type=\"waiting\"} 1",
            "nv_trt_llm_request_metrics{request_type=\"active\"} 5\n\
             nv_trt_llm_request_metrics{request_type=\"scheduled\"} 3",
            "nv_trt_llm_request_statistics{request_type=\"active\"} 7\n\
             nv_trt_llm_request_statistics{request_type=\"scheduled\"} 4",
        ],
    ),
    (
        "triton-tensorrt-llm",
        RunningRequests,
        &[
            "nv_trt_llm_request_metrics{request_type=\"scheduled\"} 1",
            "nv_trt_llm_request_statistics{request_type=\"scheduled\"} 2",
        ],
    ),
    (
        "triton-tensorrt-llm",
        KvBlockSize,
        &[
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\"} 1",
            "nv_trt_llm_kv_cache_block_statistics{kv_cache_block_type=\"tokens_per\"} 2",
        ],
    ),
    (
        "triton-tensorrt-llm",
        KvBlocks,
        &[
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 1",
            "nv_trt_llm_kv_cache_block_statistics{kv_cache_block_type=\"max\"} 2",
        ],
    ),
    (
        "lmdeploy",
        WaitingRequests,
        &[
            "lmdeploy:num_api_requests_waiting 0\nlmdeploy:num_requests_waiting 1",
            "lmdeploy:num_requests_waiting 2",
        ],
    ),
];

/// The value of the name at this place: the number of the place, for a share in tenths.
fn numbered(signal: Signal, place: u8) -> f64 {
    let number = f64::from(place);
    if signal.is_share() {
        number / 10.0
    } else {
        number
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn each_name_is_read_where_those_before_it_are_not_there() {
    for (engine, signal, lines) in GAUGES {
        for (expected, line) in (1..).zip(*lines) {
            let found = read(engine, line).observation(*signal);
            let expected = value(numbered(*signal, expected), 1);
            assert_eq!(found, expected, "{engine}: {line}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn of_two_names_the_first_counts() {
    for (engine, signal, lines) in GAUGES {
        for (expected, pair) in (1..).zip(lines.windows(2)) {
            // Two of one family are its series, not two names.
            let families = |text: &'static str| text.lines().map(|l| l.split(['{', ' ']).next());
            if families(pair[0]).any(|family| families(pair[1]).any(|other| other == family)) {
                continue;
            }
            let exposition = format!("{}\n{}\n", pair[1], pair[0]);
            let found = read(engine, &exposition).observation(*signal);
            let expected = value(numbered(*signal, expected), 1);
            assert_eq!(found, expected, "{engine}: {exposition}");
        }
    }
}

/// Of an engine and a signal, the numerators and denominators of which the growth counts, in the
/// order in which they do.
type Growing = (
    &'static str,
    Signal,
    &'static [(&'static str, &'static str)],
);

const GROWING: &[Growing] = &[
    (
        "vllm",
        PrefixCacheHitRatio,
        &[
            (
                "vllm:prefix_cache_hits_total",
                "vllm:prefix_cache_queries_total",
            ),
            (
                "vllm:gpu_prefix_cache_hits_total",
                "vllm:gpu_prefix_cache_queries_total",
            ),
        ],
    ),
    (
        "vllm",
        TimePerOutputToken,
        &[
            (
                "vllm:request_time_per_output_token_seconds_sum",
                "vllm:request_time_per_output_token_seconds_count",
            ),
            (
                "vllm:time_per_output_token_seconds_sum",
                "vllm:time_per_output_token_seconds_count",
            ),
        ],
    ),
    (
        "sglang",
        TimeToFirstToken,
        &[
            (
                "sglang:time_to_first_token_seconds_sum",
                "sglang:time_to_first_token_seconds_count",
            ),
            (
                "sglang_time_to_first_token_seconds_sum",
                "sglang_time_to_first_token_seconds_count",
            ),
        ],
    ),
    (
        "sglang",
        TimePerOutputToken,
        &[
            (
                "sglang:inter_token_latency_seconds_sum",
                "sglang:inter_token_latency_seconds_count",
            ),
            (
                "sglang:time_per_output_token_seconds_sum",
                "sglang:time_per_output_token_seconds_count",
            ),
            (
                "sglang_inter_token_latency_seconds_sum",
                "sglang_inter_token_latency_seconds_count",
            ),
            (
                "sglang_time_per_output_token_seconds_sum",
                "sglang_time_per_output_token_seconds_count",
            ),
        ],
    ),
    (
        "dynamo",
        PrefixCacheHitRatio,
        &[
            (
                "dynamo_frontend_cached_tokens_sum",
                "dynamo_frontend_input_sequence_tokens_sum",
            ),
            (
                "vllm:prefix_cache_hits_total",
                "vllm:prefix_cache_queries_total",
            ),
        ],
    ),
    (
        "dynamo",
        TimeToFirstToken,
        &[
            (
                "dynamo_frontend_time_to_first_token_seconds_sum",
                "dynamo_frontend_time_to_first_token_seconds_count",
            ),
            (
                "vllm:time_to_first_token_seconds_sum",
                "vllm:time_to_first_token_seconds_count",
            ),
            (
                "sglang:time_to_first_token_seconds_sum",
                "sglang:time_to_first_token_seconds_count",
            ),
            (
                "trtllm_time_to_first_token_seconds_sum",
                "trtllm_time_to_first_token_seconds_count",
            ),
        ],
    ),
    (
        "dynamo",
        TimePerOutputToken,
        &[
            (
                "dynamo_frontend_inter_token_latency_seconds_sum",
                "dynamo_frontend_inter_token_latency_seconds_count",
            ),
            (
                "vllm:request_time_per_output_token_seconds_sum",
                "vllm:request_time_per_output_token_seconds_count",
            ),
            (
                "sglang:inter_token_latency_seconds_sum",
                "sglang:inter_token_latency_seconds_count",
            ),
            (
                "trtllm_time_per_output_token_seconds_sum",
                "trtllm_time_per_output_token_seconds_count",
            ),
        ],
    ),
];

#[wasm_bindgen_test(unsupported = test)]
fn growth_is_read_by_each_name_in_its_turn() {
    let presets = Engines::default();
    let assert_read = |engine, signal, scrapes: [&str; 2], expected: f64| {
        let read = read_in_turn(&presets, engine, &scrapes);
        let found: Vec<Observation> = read.iter().map(|m| m.observation(signal)).collect();
        assert_eq!(
            found,
            [UNMEASURED, value(expected, 2)],
            "{engine}: {scrapes:?}"
        );
    };
    for (engine, signal, names) in GROWING {
        let line = |(above, below): (&str, &str), sum: f64, count: f64| {
            format!("{above} {sum}\n{below} {count}\n")
        };
        for name in *names {
            let scrapes = [line(*name, 1.0, 10.0), line(*name, 2.0, 30.0)];
            assert_read(engine, *signal, [&scrapes[0], &scrapes[1]], 0.05);
        }
        for pair in names.windows(2) {
            let before = line(pair[1], 1.0, 1.0) + &line(pair[0], 1.0, 10.0);
            let after = line(pair[1], 9.0, 2.0) + &line(pair[0], 2.0, 30.0);
            assert_read(engine, *signal, [&before, &after], 0.05);
        }
    }
}

/// SGLang's counters of prompt tokens, by how they came to be, under both spellings of its prefix.
#[wasm_bindgen_test(unsupported = test)]
fn sglang_tells_what_it_found_in_its_cache() {
    let presets = Engines::default();
    let tokens = |family: &str, modes: &[(&str, f64)]| {
        let lines = modes
            .iter()
            .map(|(mode, count)| format!("{family}{{mode=\"{mode}\",tp_rank=\"0\"}} {count}\n"));
        lines.collect::<String>()
    };
    let effective = |device: f64, host: f64, storage: f64, input: f64| {
        let modes = [
            ("device_hit", device),
            ("host_hit", host),
            ("storage_hit", storage),
            ("input", input),
        ];
        tokens("sglang:prefill_effective_tokens_total", &modes)
    };
    let realtime = |cached: f64, computed: f64, decoded: f64| {
        let modes = [
            ("prefill_cache", cached),
            ("prefill_compute", computed),
            ("decode", decoded),
        ];
        tokens("sglang:realtime_tokens_total", &modes)
    };
    let gauge = "sglang:cache_hit_rate{tp_rank=\"0\"} 0.9\n";
    for (before, after, expected) in [
        (
            effective(0.0, 0.0, 0.0, 0.0) + &realtime(0.0, 0.0, 0.0) + gauge,
            effective(1.0, 2.0, 4.0, 9.0) + &realtime(1.0, 1.0, 1.0) + gauge,
            0.4375,
        ),
        (
            realtime(5.0, 5.0, 5.0) + gauge,
            realtime(6.0, 8.0, 900.0) + gauge,
            0.25,
        ),
    ] {
        for prefix in ["sglang:", "sglang_"] {
            let scrapes = [&before, &after].map(|text| text.replace("sglang:", prefix));
            let read = read_in_turn(&presets, "sglang", &[&scrapes[0], &scrapes[1]]);
            let found: Vec<_> = read
                .iter()
                .map(|m| m.observation(PrefixCacheHitRatio))
                .collect();
            assert_eq!(found, [UNMEASURED, value(expected, 2)], "{after}");
        }
    }
}
