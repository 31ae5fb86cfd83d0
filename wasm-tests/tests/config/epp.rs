//! The Endpoint Picker's own configuration, as its documentation has it, and what is read by it.

use endpoint_picker::{
    config::PoolSettings,
    model_server::MetricsReader,
    pool::{EndpointMetrics, Observation, Signal},
    time::Timestamp,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{merge, parse_pool, with};

const VLLM: &[u8] = include_bytes!("../../../fixtures/metrics/vllm-0.32-lora.prom");

/// What Triton's TensorRT-LLM backend exposes, and series that only it can be taken for.
const TRITON: &[u8] = br#"
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 5
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 8
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.4875
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 30
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="tensorrt_llm",version="1"} 120
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64
"#;

/// A server of nobody's, with two data-parallel engines.
const CUSTOM: &[u8] = br#"
custom_queue_size{status="waiting",engine="0"} 2
custom_queue_size{status="waiting",engine="1"} 5
custom_queue_size{status="done",engine="0"} 40
custom_running_size{engine="0"} 1
custom_running_size{engine="1"} 1
custom_cache_utilization{engine="0"} 0.25
custom_cache_utilization{engine="1"} 0.75
custom_queue_depth{tier="gold"} 11
custom_queue_depth{tier="iron"} 99
custom_info{tokens="32",pages="1000",running_lora_adapters="a, b",waiting_lora_adapters="",max_lora="4"} 1.7e9
"#;

const AT: Timestamp = Timestamp::from_millis(1_000);

/// `exposition` as an endpoint with `labels` is read under `metrics`.
fn read(
    metrics: &Value,
    labels: &Value,
    exposition: &[u8],
) -> Result<(PoolSettings, EndpointMetrics), String> {
    let settings = parse_pool(&with(json!({
        "endpoints": {"static": [{"address": "10.0.0.1:8000", "labels": labels}]},
        "metrics": metrics,
    })))?;
    let endpoint = settings.endpoints.first().ok_or("no endpoint")?;
    let mut reader = MetricsReader::new(settings.metrics.engine_of(endpoint).choice);
    let read = reader.read(&settings.metrics.engines, exposition, AT, None);
    Ok((settings, read))
}

fn value(metrics: &EndpointMetrics, signal: Signal) -> Option<f64> {
    match metrics.observation(signal) {
        Observation::Value { value, .. } => Some(value),
        _ => None,
    }
}

/// Waiting, running, KV-cache usage, block size, blocks.
fn core(metrics: &EndpointMetrics) -> [Option<f64>; 5] {
    [
        Signal::WaitingRequests,
        Signal::RunningRequests,
        Signal::KvCacheUsage,
        Signal::KvBlockSize,
        Signal::KvBlocks,
    ]
    .map(|signal| value(metrics, signal))
}

#[wasm_bindgen_test(unsupported = test)]
fn engine_configs_are_read_as_they_stand() {
    let vllm = json!({
        "name": "vllm",
        "queuedRequestsSpec": "vllm:num_requests_waiting",
        "runningRequestsSpec": "vllm:num_requests_running",
        "kvUsageSpec": "vllm:kv_cache_usage_perc",
        "loraSpec": "vllm:lora_requests_info",
        "cacheInfoSpec": "vllm:cache_config_info",
    });
    let triton = json!({
        "name": "triton-tensorrt-llm",
        "queuedRequestsSpec": "nv_trt_llm_request_metrics{request_type=waiting}",
        "runningRequestsSpec": "nv_trt_llm_request_metrics{request_type=scheduled}",
        "kvUsageSpec": "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
        "loraSpec": "",
        "cacheInfoSpec": "",
        "cacheBlockSizeSpec": "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}",
        "cacheNumBlocksSpec": "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"}",
    });
    let custom = json!({
        "name": "my-custom-engine",
        "queuedRequestsSpec": "  custom_queue_size  {  status  =  waiting  }  ",
        "runningRequestsSpec": "custom_running_size{}",
        "kvUsageSpec": "custom_cache_utilization",
    });
    let engine_type = |name: &str| json!({"llm-d.ai/engine-type": name});
    for (entry, exposition, expected) in [
        (
            &vllm,
            VLLM,
            [
                Some(8.0),
                Some(4.0),
                Some(0.0009766817238432424),
                Some(128.0),
                Some(8192.0),
            ],
        ),
        (
            &triton,
            TRITON,
            [Some(3.0), Some(5.0), Some(0.4875), Some(64.0), Some(120.0)],
        ),
        // Where the Endpoint Picker would take one of the two engines' series.
        (
            &custom,
            CUSTOM,
            [Some(7.0), Some(2.0), Some(0.75), None, None],
        ),
    ] {
        let metrics = json!({"engineConfigs": [vllm, triton, custom]});
        let labels = engine_type(entry["name"].as_str().unwrap());
        let (_, read) = read(&metrics, &labels, exposition).unwrap();
        assert_eq!(core(&read), expected, "{entry}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_entry_stands_alone() {
    // Fields may be left out, empty or null; all of them disable what a preset has.
    for entry in [
        json!({"name": "vllm", "runningRequestsSpec": "vllm:num_requests_running"}),
        json!({
            "name": "vllm", "runningRequestsSpec": "vllm:num_requests_running", "queuedRequestsSpec": "",
            "kvUsageSpec": null, "loraSpec": "", "cacheInfoSpec": null, "cacheBlockSizeLabelName": null,
            "customMetrics": null,
        }),
    ] {
        let metrics = json!({"engineConfigs": [entry]});
        let (settings, read) = read(&metrics, &json!({}), VLLM).unwrap();
        assert_eq!(core(&read), [None, Some(4.0), None, None, None], "{entry}");
        assert_eq!(read.lora(), None, "{entry}");
        let engines = &settings.metrics.engines;
        let engine = engines.get(engines.find("vllm").unwrap()).unwrap();
        let signals: Vec<_> = engine.mapping().signals().collect();
        assert_eq!(signals, [Signal::RunningRequests], "{entry}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_cache_is_told_by_labels_or_by_values() {
    let blocks = |fields: Value, exposition| {
        let mut entry = json!({"name": "mine"});
        merge(&mut entry, fields);
        let metrics = json!({"defaultEngine": "mine", "engineConfigs": [entry]});
        let (_, read) = read(&metrics, &json!({}), exposition).unwrap();
        [Signal::KvBlockSize, Signal::KvBlocks].map(|signal| value(&read, signal))
    };
    for (fields, exposition, expected) in [
        (
            json!({"cacheInfoSpec": "vllm:cache_config_info"}),
            VLLM,
            [Some(128.0), Some(8192.0)],
        ),
        (
            json!({
                "cacheInfoSpec": "custom_info", "cacheBlockSizeLabelName": "tokens",
                "cacheNumBlocksLabelName": "pages",
            }),
            CUSTOM,
            [Some(32.0), Some(1000.0)],
        ),
        (
            json!({"cacheInfoSpec": "custom_info", "cacheBlockSizeLabelName": "tokens"}),
            CUSTOM,
            [Some(32.0), None],
        ),
        (
            json!({"cacheInfoSpec": "vllm:cache_config_info", "cacheBlockSizeLabelName": ""}),
            VLLM,
            [Some(128.0), Some(8192.0)],
        ),
        // A value goes before a label, and the label counts where the value is not there.
        (
            json!({
                "cacheInfoSpec": "custom_info", "cacheBlockSizeLabelName": "tokens",
                "cacheNumBlocksLabelName": "pages", "cacheBlockSizeSpec": "custom_queue_depth{tier=gold}",
                "cacheNumBlocksSpec": "nowhere",
            }),
            CUSTOM,
            [Some(11.0), Some(1000.0)],
        ),
    ] {
        assert_eq!(blocks(fields.clone(), exposition), expected, "{fields}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn lora_has_the_labels_of_vllm() {
    for (family, exposition, max, running) in [
        ("vllm:lora_requests_info", VLLM, 2, ["chat", "code"]),
        ("custom_info", CUSTOM, 4, ["a", "b"]),
    ] {
        let metrics = json!({
            "defaultEngine": "mine",
            "engineConfigs": [{"name": "mine", "loraSpec": family}],
        });
        let (_, read) = read(&metrics, &json!({}), exposition).unwrap();
        let lora = read.lora().unwrap();
        assert_eq!(lora.max, max, "{family}");
        assert_eq!(lora.running, running, "{family}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn custom_metrics_keep_their_names() {
    let metrics = json!({
        "defaultEngine": "mine",
        "engineConfigs": [{
            "name": "mine",
            "customMetrics": [
                {"attributeKey": "custom.queue_depth", "metricSpec": "custom_queue_depth{tier=gold}"},
                {"attributeKey": "absent", "metricSpec": "nowhere", "optional": true},
            ],
            "tieredOffloadingSpecs": [
                {"attributeKey": "tiering_hits", "metricSpec": "custom_queue_depth{tier=iron}"},
            ],
            "loraLoadedSpec": "custom_info",
            "loraGPULoadedSpec": "custom_info",
            "loraGPUSlotsSpec": "custom_info",
        }],
    });
    let (settings, read) = read(&metrics, &json!({}), CUSTOM).unwrap();
    let names = settings.metrics.engines.custom_metrics();
    assert_eq!(names, ["absent", "custom.queue_depth", "tiering_hits"]);
    assert_eq!(value(&read, Signal::Custom(0)), None);
    assert_eq!(value(&read, Signal::Custom(1)), Some(11.0));
    assert_eq!(value(&read, Signal::Custom(2)), Some(99.0));
}

#[wasm_bindgen_test(unsupported = test)]
fn parameters_may_stand_in_their_own_object() {
    let parameters = json!({
        "engineLabelKey": "engine",
        "defaultEngine": "my-custom-engine",
        "engineConfigs": [{"name": "my-custom-engine", "runningRequestsSpec": "custom_running_size"}],
    });
    for metrics in [parameters.clone(), json!({"parameters": parameters})] {
        let (settings, read) = read(&metrics, &json!({}), CUSTOM).unwrap();
        assert_eq!(
            value(&read, Signal::RunningRequests),
            Some(2.0),
            "{metrics}"
        );
        let labels = ["engine", "inference.networking.k8s.io/engine-type"];
        assert_eq!(settings.metrics.engine_labels, labels, "{metrics}");
    }
    let settings = parse_pool(&with(json!({"metrics": {"engineLabelKey": ""}}))).unwrap();
    assert_eq!(
        settings.metrics.engine_labels,
        [
            "llm-d.ai/engine-type",
            "inference.networking.k8s.io/engine-type"
        ]
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn the_default_engine_is_vllm_where_the_endpoint_picker_s_fields_say_nothing_else() {
    for (metrics, expected) in [
        (json!({}), None),
        (json!({"modelServerMetricsPort": 9400}), None),
        (json!({"engineConfigs": []}), Some("vllm")),
        (json!({"engineLabelKey": "engine"}), Some("vllm")),
        (json!({"loraInfoMetric": ""}), Some("vllm")),
        (json!({"defaultEngine": ""}), Some("vllm")),
        (
            json!({"defaultEngine": "mine", "engineConfigs": [{"name": "mine", "queuedRequestsSpec": "q"}]}),
            Some("mine"),
        ),
        (
            json!({"engine": "mine", "engineConfigs": [{"name": "mine", "queuedRequestsSpec": "q"}]}),
            Some("mine"),
        ),
        (json!({"engine": "auto", "engineConfigs": []}), None),
    ] {
        let (settings, _) = read(&metrics, &json!({}), b"").unwrap();
        let metrics_settings = &settings.metrics;
        let endpoint = settings.endpoints.first().unwrap();
        let reader = MetricsReader::new(metrics_settings.engine_of(endpoint).choice);
        let engine = reader
            .engine()
            .and_then(|engine| metrics_settings.engines.get(engine));
        assert_eq!(engine.map(|engine| engine.name()), expected, "{metrics}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn flags_change_the_default_engine() {
    for (metrics, exposition, expected) in [
        // As for Triton with TensorRT-LLM in the first generation's guide.
        (
            json!({
                "totalQueuedRequestsMetric": "nv_trt_llm_request_metrics{request_type=waiting}",
                "kvCacheUsagePercentageMetric": "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
                "loraInfoMetric": "",
            }),
            TRITON,
            [Some(3.0), None, Some(0.4875), None, None],
        ),
        // The same as flags of a Helm chart, with what else it can have.
        (
            json!({
                "total-queued-requests-metric": "nv_trt_llm_request_metrics{request_type=waiting}",
                "total-running-requests-metric": "nv_trt_llm_request_metrics{request_type=scheduled}",
                "kv-cache-usage-percentage-metric": "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}",
                "lora-info-metric": "",
                "cache-info-metric": "",
            }),
            TRITON,
            [Some(3.0), Some(5.0), Some(0.4875), None, None],
        ),
        (
            json!({
                "usedKvCacheBlocksMetric": "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=used}",
                "maxKvCacheBlocksMetric": "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}",
                "kvCacheUsagePercentageMetric": "",
            }),
            TRITON,
            [None, None, Some(0.25), None, None],
        ),
        // What no flag names is vLLM's.
        (
            json!({"totalQueuedRequestsMetric": "vllm:num_requests_waiting_by_reason{reason=capacity}"}),
            VLLM,
            [
                Some(8.0),
                Some(4.0),
                Some(0.0009766817238432424),
                Some(128.0),
                Some(8192.0),
            ],
        ),
        (
            json!({"cacheInfoMetric": "", "totalRunningRequestsMetric": ""}),
            VLLM,
            [Some(8.0), None, Some(0.0009766817238432424), None, None],
        ),
        // They change the engine that is named, and with none the Endpoint Picker's.
        (
            json!({"engine": "auto", "totalQueuedRequestsMetric": "vllm:num_requests_running"}),
            VLLM,
            [
                Some(4.0),
                Some(4.0),
                Some(0.0009766817238432424),
                Some(128.0),
                Some(8192.0),
            ],
        ),
    ] {
        let (_, read) = read(&metrics, &json!({}), exposition).unwrap();
        assert_eq!(core(&read), expected, "{metrics}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flag_names_or_disables_the_series_of_lora() {
    for (metrics, exposition, max) in [
        (json!({"loraInfoMetric": "custom_info"}), CUSTOM, Some(4)),
        (json!({"lora-info-metric": ""}), VLLM, None),
        (json!({"cacheInfoMetric": ""}), VLLM, Some(2)),
    ] {
        let (_, read) = read(&metrics, &json!({}), exposition).unwrap();
        assert_eq!(read.lora().map(|lora| lora.max), max, "{metrics}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn where_to_scrape_may_be_said_by_flags() {
    for (metrics, target, path) in [
        (
            json!({
                "modelServerMetricsPort": 9400, "modelServerMetricsPath": "/v1/metrics",
                "modelServerMetricsScheme": "http", "modelServerMetricsHttpsInsecureSkipVerify": true,
            }),
            "10.0.0.1:9400",
            "/v1/metrics",
        ),
        (
            json!({"model-server-metrics-port": 0}),
            "10.0.0.1:8000",
            "/metrics",
        ),
        (
            json!({
                "model-server-metrics-path": "/m", "model-server-metrics-scheme": "http",
                "model-server-metrics-https-insecure-skip-verify": false,
            }),
            "10.0.0.1:8000",
            "/m",
        ),
    ] {
        let (settings, _) = read(&metrics, &json!({}), b"").unwrap();
        let scrape = &settings.metrics.scrape;
        let address = settings.endpoints.first().unwrap().address;
        assert_eq!(scrape.target_of(address).to_string(), target, "{metrics}");
        assert_eq!(scrape.path, path, "{metrics}");
    }
}
