//! Every preset on a whole exposition of its server, scraped twice.

use endpoint_picker::{
    model_server::{Engines, PRESETS},
    pool::{Observation, Signal},
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{MISSING, grown, read_in_turn};
use Signal::{
    KvBlockSize, KvBlocks, KvCacheUsage, PrefixCacheHitRatio, RunningRequests, TimePerOutputToken,
    TimeToFirstToken, WaitingRequests,
};

struct Case {
    engine: &'static str,
    exposition: &'static str,
    /// What has grown when it is scraped again: family, a part of the labels, by how much.
    growth: &'static [(&'static str, &'static str, f64)],
    /// What it says then. A signal that is not here is missing.
    expected: &'static [(Signal, f64)],
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../fixtures/metrics/", $name, ".prom"))
    };
}

const CASES: &[Case] = &[
    // Before its first request: idle, which is no lack.
    Case {
        engine: "vllm",
        exposition: fixture!("vllm-0.32-idle"),
        growth: &[],
        expected: &[
            (WaitingRequests, 0.0),
            (RunningRequests, 0.0),
            (KvCacheUsage, 0.0),
            (KvBlockSize, 128.0),
            (KvBlocks, 8192.0),
        ],
    },
    Case {
        engine: "vllm",
        exposition: fixture!("vllm-0.32-busy"),
        growth: &[
            ("vllm:prefix_cache_queries_total", "", 64.0),
            ("vllm:prefix_cache_hits_total", "", 16.0),
            ("vllm:time_to_first_token_seconds_sum", "", 1.5),
            ("vllm:time_to_first_token_seconds_count", "", 3.0),
            ("vllm:request_time_per_output_token_seconds_sum", "", 0.25),
            ("vllm:request_time_per_output_token_seconds_count", "", 5.0),
        ],
        expected: &[
            (WaitingRequests, 0.0),
            (RunningRequests, 2.0),
            (KvCacheUsage, 0.000_732_511_292_882_431_8),
            (KvBlockSize, 128.0),
            (KvBlocks, 8192.0),
            (PrefixCacheHitRatio, 0.25),
            (TimeToFirstToken, 0.5),
            (TimePerOutputToken, 0.05),
        ],
    },
    Case {
        engine: "vllm",
        exposition: fixture!("vllm-0.32-lora"),
        growth: &[("vllm:prefix_cache_queries_total", "", 32.0)],
        expected: &[
            (WaitingRequests, 8.0),
            (RunningRequests, 4.0),
            (KvCacheUsage, 0.000_976_681_723_843_242_4),
            (KvBlockSize, 128.0),
            (KvBlocks, 8192.0),
            (PrefixCacheHitRatio, 0.0),
        ],
    },
    Case {
        engine: "sglang",
        exposition: fixture!("sglang-tp2"),
        growth: &[
            ("sglang:prefill_effective_tokens_total", "device_hit", 100.0),
            ("sglang:prefill_effective_tokens_total", "host_hit", 20.0),
            ("sglang:prefill_effective_tokens_total", "input", 280.0),
            ("sglang:realtime_tokens_total", "prefill", 500.0),
            ("sglang:time_to_first_token_seconds_sum", "true", 3.0),
            ("sglang:time_to_first_token_seconds_count", "true", 4.0),
            ("sglang:time_to_first_token_seconds_sum", "false", 5.0),
            ("sglang:time_to_first_token_seconds_count", "false", 4.0),
            ("sglang:inter_token_latency_seconds_sum", "", 2.0),
            ("sglang:inter_token_latency_seconds_count", "", 100.0),
        ],
        expected: &[
            (WaitingRequests, 6.0),
            (RunningRequests, 23.0),
            (KvCacheUsage, 0.41),
            (KvBlockSize, 64.0),
            (KvBlocks, 2304.0),
            (PrefixCacheHitRatio, 0.3),
            (TimeToFirstToken, 1.0),
            (TimePerOutputToken, 0.02),
        ],
    },
    Case {
        engine: "trtllm-serve",
        exposition: fixture!("trtllm-serve"),
        growth: &[
            ("trtllm_kv_cache_reused_blocks_total", "", 30.0),
            ("trtllm_kv_cache_missed_blocks_total", "", 90.0),
            ("trtllm_time_to_first_token_seconds_sum", "", 0.75),
            ("trtllm_time_to_first_token_seconds_count", "", 3.0),
            ("trtllm_time_per_output_token_seconds_sum", "", 0.0625),
            ("trtllm_time_per_output_token_seconds_count", "", 5.0),
        ],
        expected: &[
            (WaitingRequests, 5.0),
            (RunningRequests, 37.0),
            (KvCacheUsage, 0.619_921_875),
            (KvBlockSize, 32.0),
            (KvBlocks, 5120.0),
            (PrefixCacheHitRatio, 0.25),
            (TimeToFirstToken, 0.25),
            (TimePerOutputToken, 0.0125),
        ],
    },
    Case {
        engine: "triton-tensorrt-llm",
        exposition: fixture!("triton-tensorrt-llm"),
        growth: &[],
        expected: &[
            (WaitingRequests, 9.0),
            (RunningRequests, 19.0),
            (KvCacheUsage, 0.4875),
            (KvBlockSize, 64.0),
            (KvBlocks, 6239.0),
        ],
    },
    // Without ready-made `waiting` and `fraction`: 15 active less 11 scheduled, 1560 of 6240 used.
    Case {
        engine: "triton-tensorrt-llm",
        exposition: fixture!("triton-tensorrt-llm-23.12"),
        growth: &[],
        expected: &[
            (WaitingRequests, 4.0),
            (RunningRequests, 11.0),
            (KvCacheUsage, 0.25),
            (KvBlockSize, 64.0),
            (KvBlocks, 6240.0),
        ],
    },
    Case {
        engine: "triton",
        exposition: fixture!("triton"),
        growth: &[],
        expected: &[(WaitingRequests, 15.0)],
    },
    Case {
        engine: "tgi",
        exposition: fixture!("tgi"),
        growth: &[
            ("tgi_request_mean_time_per_token_duration_sum", "", 1.0),
            ("tgi_request_mean_time_per_token_duration_count", "", 20.0),
        ],
        expected: &[
            (WaitingRequests, 17.0),
            (RunningRequests, 32.0),
            (TimePerOutputToken, 0.05),
        ],
    },
    // 21 requests wait for the engine to take them, 3 inside it.
    Case {
        engine: "lmdeploy",
        exposition: fixture!("lmdeploy"),
        growth: &[
            ("lmdeploy:time_to_first_token_seconds_sum", "", 6.0),
            ("lmdeploy:time_to_first_token_seconds_count", "", 4.0),
            ("lmdeploy:time_per_output_token_seconds_sum", "", 3.0),
            ("lmdeploy:time_per_output_token_seconds_count", "", 100.0),
        ],
        expected: &[
            (WaitingRequests, 24.0),
            (RunningRequests, 64.0),
            (KvCacheUsage, 0.87),
            (TimeToFirstToken, 1.5),
            (TimePerOutputToken, 0.03),
        ],
    },
    Case {
        engine: "llama.cpp",
        exposition: fixture!("llama.cpp"),
        growth: &[
            ("llamacpp:prompt_tokens_cached_total", "", 300.0),
            ("llamacpp:prompt_tokens_total", "", 100.0),
            ("llamacpp:tokens_predicted_seconds_total", "", 2.0),
            ("llamacpp:tokens_predicted_total", "", 100.0),
        ],
        expected: &[
            (WaitingRequests, 7.0),
            (RunningRequests, 4.0),
            (PrefixCacheHitRatio, 0.75),
            (TimePerOutputToken, 0.02),
        ],
    },
    Case {
        engine: "llama.cpp",
        exposition: fixture!("llama.cpp-b5400"),
        growth: &[
            ("llamacpp:tokens_predicted_seconds_total", "", 4.0),
            ("llamacpp:tokens_predicted_total", "", 100.0),
        ],
        expected: &[
            (WaitingRequests, 1.0),
            (RunningRequests, 2.0),
            (KvCacheUsage, 0.375),
            (TimePerOutputToken, 0.04),
        ],
    },
    Case {
        engine: "jetstream",
        exposition: fixture!("jetstream"),
        growth: &[
            ("jetstream_time_to_first_token_sum", "", 3.5),
            ("jetstream_time_to_first_token_count", "", 2.0),
            ("jetstream_time_per_output_token_sum", "", 0.25),
            ("jetstream_time_per_output_token_count", "", 10.0),
        ],
        expected: &[
            (WaitingRequests, 14.0),
            (KvCacheUsage, 0.958_333_333_333_333_4),
            (TimeToFirstToken, 1.75),
            (TimePerOutputToken, 0.025),
        ],
    },
    Case {
        engine: "nim",
        exposition: fixture!("nim"),
        growth: &[
            ("time_to_first_token_seconds_sum", "", 1.2),
            ("time_to_first_token_seconds_count", "", 6.0),
            ("time_per_output_token_seconds_sum", "", 0.7),
            ("time_per_output_token_seconds_count", "", 100.0),
        ],
        expected: &[
            (WaitingRequests, 4.0),
            (RunningRequests, 12.0),
            (KvCacheUsage, 0.45),
            (TimeToFirstToken, 0.2),
            (TimePerOutputToken, 0.007),
        ],
    },
    // 40 requests in flight, of which 11 have no token yet.
    Case {
        engine: "dynamo",
        exposition: fixture!("dynamo-frontend"),
        growth: &[
            ("dynamo_frontend_cached_tokens_sum", "", 300.0),
            ("dynamo_frontend_input_sequence_tokens_sum", "", 1000.0),
            ("dynamo_frontend_time_to_first_token_seconds_sum", "", 0.9),
            ("dynamo_frontend_time_to_first_token_seconds_count", "", 3.0),
            ("dynamo_frontend_inter_token_latency_seconds_sum", "", 1.5),
            (
                "dynamo_frontend_inter_token_latency_seconds_count",
                "",
                100.0,
            ),
        ],
        expected: &[
            (WaitingRequests, 11.0),
            (RunningRequests, 29.0),
            (KvBlockSize, 16.0),
            (PrefixCacheHitRatio, 0.3),
            (TimeToFirstToken, 0.3),
            (TimePerOutputToken, 0.015),
        ],
    },
    // 26 requests at the worker, of which its vLLM runs 22 and has 4 waiting.
    Case {
        engine: "dynamo",
        exposition: fixture!("dynamo-worker-vllm"),
        growth: &[
            ("vllm:prefix_cache_queries_total", "", 64.0),
            ("vllm:prefix_cache_hits_total", "", 48.0),
            ("vllm:time_to_first_token_seconds_sum", "", 1.5),
            ("vllm:time_to_first_token_seconds_count", "", 2.0),
            ("vllm:request_time_per_output_token_seconds_sum", "", 0.1),
            ("vllm:request_time_per_output_token_seconds_count", "", 4.0),
        ],
        expected: &[
            (WaitingRequests, 4.0),
            (RunningRequests, 22.0),
            (KvCacheUsage, 0.57),
            (KvBlockSize, 32.0),
            (KvBlocks, 12_288.0),
            (PrefixCacheHitRatio, 0.75),
            (TimeToFirstToken, 0.75),
            (TimePerOutputToken, 0.025),
        ],
    },
];

#[wasm_bindgen_test(unsupported = test)]
fn every_signal_is_read_from_a_whole_exposition() {
    let engines = Engines::default();
    for case in CASES {
        let first_line = case.exposition.lines().next();
        let later = grown(case.exposition, case.growth);
        let read = read_in_turn(&engines, case.engine, &[case.exposition, &later]);
        for signal in Signal::ALL {
            let found = read[1].observation(signal);
            let expected = case.expected.iter().find(|(of, _)| *of == signal);
            let right = match (found, expected) {
                (Observation::Value { value, .. }, Some((_, expected))) => {
                    (value - expected).abs() < 1e-9
                }
                // Nothing has grown, so there is no mean.
                (Observation::Unmeasured, None) => true,
                (found, None) => found == MISSING,
                (_, Some(_)) => false,
            };
            let engine = case.engine;
            assert!(
                right,
                "{engine}, {first_line:?}: {signal} is {found:?}, not {expected:?}"
            );
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn every_preset_has_a_case() {
    for preset in PRESETS {
        assert!(
            CASES.iter().any(|case| case.engine == preset.name),
            "{}",
            preset.name
        );
        assert!(!preset.versions.is_empty(), "{}", preset.name);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn every_fixture_is_recognized() {
    let engines = Engines::default();
    for case in CASES {
        let recognized = engines.recognize(case.exposition.as_bytes());
        let name = recognized
            .and_then(|id| engines.get(id))
            .map(endpoint_picker::model_server::Engine::name);
        let first_line = case.exposition.lines().next();
        assert_eq!(name, Some(case.engine), "{first_line:?}");
    }
}
