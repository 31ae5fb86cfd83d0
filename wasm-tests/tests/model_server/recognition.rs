//! Which engine wrote an exposition, told by its families.

use endpoint_picker::model_server::Engines;
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::engines;

fn recognized<'a>(engines: &'a Engines, exposition: &str) -> Option<&'a str> {
    let id = engines.recognize(exposition.as_bytes())?;
    engines.get(id).map(|engine| engine.name())
}

#[wasm_bindgen_test(unsupported = test)]
fn engines_are_told_by_their_families() {
    let presets = Engines::default();
    for (exposition, expected) in [
        ("", None),
        ("<html>404 {oops}</html>", None),
        ("up 1\n", None),
        // Declared, and no sample.
        ("# TYPE vllm:num_requests_running gauge\n", None),
        // A family of a longer name.
        (
            "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 1\n",
            None,
        ),
        ("tgi_queue_size_total 1\n", None),
        ("vllm:num_requests_running 0\n", Some("vllm")),
        ("sglang:token_usage{tp_rank=\"0\"} 0.5\n", Some("sglang")),
        ("sglang_num_running_reqs 1\n", Some("sglang")),
        // Before its first request SGLang has its constants alone.
        (
            "sglang:max_total_num_tokens{tp_rank=\"0\"} 147456\n",
            Some("sglang"),
        ),
        // Before request counts, or before its first request.
        (
            "trtllm_request_success_total{finished_reason=\"stop\"} 1\n",
            Some("trtllm-serve"),
        ),
        // Triton's own families stand in every exposition of it.
        (
            "nv_inference_pending_request_count{model=\"a\"} 1\n\
             nv_trt_llm_request_metrics{request_type=\"active\"} 1\n",
            Some("triton-tensorrt-llm"),
        ),
        // As its first release called them.
        (
            "nv_inference_pending_request_count{model=\"a\"} 0\n\
             nv_trt_llm_request_statistics{request_type=\"active\"} 1\n",
            Some("triton-tensorrt-llm"),
        ),
        (
            "nv_inference_pending_request_count{model=\"a\"} 1\nvllm:num_requests_waiting 1\n",
            Some("vllm"),
        ),
        (
            "nv_inference_pending_request_count{model=\"a\"} 1\n",
            Some("triton"),
        ),
        // A Dynamo worker passes the families of its engine on.
        (
            "vllm:num_requests_running 1\ndynamo_component_inflight_requests 1\n",
            Some("dynamo"),
        ),
        (
            "sglang:num_running_reqs 1\ndynamo_component_inflight_requests 1\n",
            Some("dynamo"),
        ),
        ("dynamo_frontend_active_requests 1\n", Some("dynamo")),
        // Names without a prefix are taken last.
        (
            "gpu_cache_usage_perc 0.5\nvllm:num_requests_running 1\n",
            Some("vllm"),
        ),
        ("gpu_cache_usage_perc 0.5\n", Some("nim")),
        // Of no engine in particular.
        ("num_requests_running 1\nnum_requests_waiting 1\n", None),
    ] {
        assert_eq!(recognized(&presets, exposition), expected, "{exposition:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn each_of_its_families_tells_an_engine() {
    let presets = Engines::default();
    for (engine, families) in [
        (
            "dynamo",
            &[
                "dynamo_frontend_inflight_requests",
                "dynamo_frontend_queued_requests",
                "dynamo_frontend_active_requests",
                "dynamo_component_inflight_requests",
                "dynamo_component_gpu_cache_usage_percent",
                "dynamo_component_kvstats_gpu_cache_usage_percent",
            ][..],
        ),
        (
            "vllm",
            &["vllm:num_requests_running", "vllm:num_requests_waiting"],
        ),
        (
            "sglang",
            &[
                "sglang:num_running_reqs",
                "sglang:num_queue_reqs",
                "sglang:token_usage",
                "sglang:max_total_num_tokens",
                "sglang_num_running_reqs",
                "sglang_num_queue_reqs",
                "sglang_token_usage",
                "sglang_max_total_num_tokens",
            ],
        ),
        (
            "trtllm-serve",
            &[
                "trtllm_num_requests_running",
                "trtllm_kv_cache_utilization",
                "trtllm_request_success_total",
            ],
        ),
        (
            "triton-tensorrt-llm",
            &[
                "nv_trt_llm_request_metrics",
                "nv_trt_llm_kv_cache_block_metrics",
            ],
        ),
        (
            "triton",
            &[
                "nv_inference_pending_request_count",
                "nv_inference_request_success",
            ],
        ),
        ("tgi", &["tgi_queue_size", "tgi_batch_current_size"]),
        (
            "lmdeploy",
            &[
                "lmdeploy:num_requests_running",
                "lmdeploy:num_requests_waiting",
            ],
        ),
        (
            "llama.cpp",
            &["llamacpp:requests_processing", "llamacpp:requests_deferred"],
        ),
        (
            "jetstream",
            &[
                "jetstream_prefill_backlog_size",
                "jetstream_slots_used_percentage",
            ],
        ),
        ("nim", &["num_request_max", "gpu_cache_usage_perc"]),
    ] {
        for family in families {
            let exposition = format!("{family}{{a=\"b\"}} 0\n");
            assert_eq!(recognized(&presets, &exposition), Some(engine), "{family}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn engines_of_the_configuration_are_tried_first() {
    let own = engines(
        r#"{
            "mine": { "recognizedBy": ["my_queue"], "signals": { "waitingRequests": "my_queue" } },
            "quiet": { "extends": "vllm" },
            "tgi": { "recognizedBy": ["my_tgi_queue"] }
        }"#,
    );
    for (exposition, expected) in [
        ("my_queue 1\nvllm:num_requests_running 1\n", Some("mine")),
        // What extends an engine under another name is not taken for it.
        ("vllm:num_requests_running 1\n", Some("vllm")),
        ("my_tgi_queue 1\n", Some("tgi")),
        ("tgi_queue_size 1\n", None),
    ] {
        assert_eq!(recognized(&own, exposition), expected, "{exposition:?}");
    }
}
