//! What the Endpoint Picker's own configuration may not say here.

use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{merge, refusal, with};

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_field_as_it_is_written() {
    let entry = |fields: Value| {
        let mut entry = json!({"name": "mine"});
        merge(&mut entry, fields);
        json!({"engineConfigs": [{"name": "first", "queuedRequestsSpec": "a"}, entry]})
    };
    for (metrics, expected) in [
        (
            json!({"engineConfigs": [{"queuedRequestsSpec": "a"}]}),
            "metrics.engineConfigs[0]: missing field `name`",
        ),
        (
            entry(json!({"name": ""})),
            "metrics.engineConfigs[1].name: expected the name of an engine, found \"\"",
        ),
        (
            entry(json!({})),
            "metrics.engineConfigs[1]: expected at least one of queuedRequestsSpec, runningRequestsSpec, ",
        ),
        (
            entry(
                json!({"name": "vllm", "kvUsageSpec": "", "cacheBlockSizeLabelName": "a", "customMetrics": []}),
            ),
            "metrics.engineConfigs[1]: expected at least one of ",
        ),
        (
            json!({"parameters": {"engineConfigs": [{"name": "vllm"}]}}),
            "metrics.parameters.engineConfigs[0]: expected at least one of ",
        ),
        (
            entry(json!({"name": "default"})),
            "metrics.engineConfigs[1].name: expected a name other than \"default\", found \"default\"",
        ),
        (
            entry(json!({"name": "auto"})),
            "metrics.engineConfigs[1].name: expected a name other than \"auto\", found \"auto\"",
        ),
        (
            entry(json!({"name": "first"})),
            "metrics.engineConfigs[1].name: expected each engine once, found \"first\"",
        ),
        (
            json!({"engineConfigs": [{"name": "mine"}], "engines": {"mine": {}}}),
            "metrics.engineConfigs[0].name: expected each engine only once, here or in metrics.engines.mine, found \"mine\"",
        ),
        (
            entry(json!({"queueSpec": "a"})),
            "metrics.engineConfigs[1].queueSpec: unknown field `queueSpec`, expected one of `name`, `queuedRequestsSpec`",
        ),
        (
            entry(json!({"kvUsageSpec": "a{b"})),
            "metrics.engineConfigs[1].kvUsageSpec: expected a selector such as family{label=\"value\"}, found \"a{b\"",
        ),
        (
            entry(json!({"kvUsageSpec": " "})),
            "metrics.engineConfigs[1].kvUsageSpec: expected a selector",
        ),
        (
            entry(json!({"kvUsageSpec": "a{b!=\"c\"}"})),
            "metrics.engineConfigs[1].kvUsageSpec: expected a selector",
        ),
        (
            entry(json!({"kvUsageSpec": "a / b"})),
            "metrics.engineConfigs[1].kvUsageSpec: expected a selector",
        ),
        (
            entry(json!({"customMetrics": [{"metricSpec": "a"}]})),
            "metrics.engineConfigs[1].customMetrics[0]: missing field `attributeKey`",
        ),
        (
            entry(json!({"customMetrics": [{"attributeKey": "", "metricSpec": "a"}]})),
            "metrics.engineConfigs[1].customMetrics[0].attributeKey: expected a name, and each only once, found \"\"",
        ),
        (
            entry(json!({"customMetrics": [
                {"attributeKey": "a", "metricSpec": "a"}, {"attributeKey": "a", "metricSpec": "b"},
            ]})),
            "metrics.engineConfigs[1].customMetrics[1].attributeKey: expected a name, and each only once, found \"a\"",
        ),
        (
            entry(json!({"customMetrics": [{"attributeKey": "kvBlocks", "metricSpec": "a"}]})),
            "metrics.engineConfigs[1].customMetrics[0].attributeKey: expected a name other than those of signals, found \"kvBlocks\"",
        ),
        (
            entry(json!({"cacheInfoSpec": "a", "cacheNumBlocksLabelName": "num-blocks"})),
            "metrics.engineConfigs[1].cacheNumBlocksLabelName: expected the name of a label, found \"num-blocks\"",
        ),
        (
            entry(json!({"customMetrics": [{"attributeKey": "a", "metricSpec": ""}]})),
            "metrics.engineConfigs[1].customMetrics[0].metricSpec: expected a selector such as family{label=\"value\"}, found none",
        ),
        (
            json!({"defaultEngine": "vlm"}),
            "metrics.defaultEngine: expected auto or one of ",
        ),
        (
            json!({"parameters": {"defaultEngine": "vlm"}}),
            "metrics.parameters.defaultEngine: expected auto or one of ",
        ),
        (
            json!({"parameters": {"engineConfigs": [{"name": "default"}]}}),
            "metrics.parameters.engineConfigs[0].name: expected a name other than",
        ),
        (
            json!({"parameters": {"engineConfigs": [{"name": "a", "loraSpec": "{b=c}"}]}}),
            "metrics.parameters.engineConfigs[0].loraSpec: expected a selector",
        ),
        (
            json!({"parameters": {}, "defaultEngine": "vllm"}),
            "metrics.parameters: expected engineConfigs, defaultEngine and engineLabelKey either in it or beside it, found both",
        ),
        (
            json!({"defaultEngine": "vllm", "engine": "vllm"}),
            "metrics.defaultEngine: expected only one of it and metrics.engine, which says the same, found both",
        ),
        (
            json!({"engineLabelKey": "a", "engineLabels": ["a"]}),
            "metrics.engineLabelKey: expected only one of it and metrics.engineLabels, which says the same, found both",
        ),
        (
            json!({"modelServerMetricsPath": "/a", "path": "/a"}),
            "metrics.modelServerMetricsPath: expected only one of it and metrics.path",
        ),
        (
            json!({"modelServerMetricsPort": 1, "port": 1}),
            "metrics.modelServerMetricsPort: expected only one of it and metrics.port",
        ),
        (
            json!({"modelServerMetricsPath": "a"}),
            "metrics.modelServerMetricsPath: expected a path that starts with '/', without blanks, found \"a\"",
        ),
        (
            json!({"model-server-metrics-scheme": "https"}),
            "metrics.model-server-metrics-scheme: expected \"http\", also for a cluster whose transport_socket encrypts, found \"https\"",
        ),
        (
            json!({"totalQueuedRequestsMetric": "a b"}),
            "metrics.totalQueuedRequestsMetric: expected a selector",
        ),
        (
            json!({"kv-cache-usage-percentage-metric": "a b"}),
            "metrics.kv-cache-usage-percentage-metric: expected a selector",
        ),
        (
            json!({"loraInfoMetric": "a", "lora-info-metric": "a"}),
            "metrics: duplicate field `loraInfoMetric`",
        ),
        (
            json!({"usedKvCacheBlocksMetric": "a"}),
            "metrics.usedKvCacheBlocksMetric: expected metrics.maxKvCacheBlocksMetric beside it, found none",
        ),
        (
            json!({"usedKvCacheBlocksMetric": "", "maxKvCacheBlocksMetric": "a"}),
            "metrics.maxKvCacheBlocksMetric: expected metrics.usedKvCacheBlocksMetric beside it, found none",
        ),
        (
            json!({
                "usedKvCacheBlocksMetric": "a", "maxKvCacheBlocksMetric": "b",
                "kvCacheUsagePercentageMetric": "c",
            }),
            "metrics.kvCacheUsagePercentageMetric: expected only one of it and metrics.usedKvCacheBlocksMetric",
        ),
        (
            json!({"loraInfoMetric": "a", "engines": {"vllm": {}}}),
            "metrics: expected the metrics of engine \"vllm\" once, by flags or as an engine's, found both",
        ),
        (
            json!({"loraInfoMetric": "a", "engineConfigs": [{"name": "vllm", "loraSpec": "b"}]}),
            "metrics: expected the metrics of engine \"vllm\" once",
        ),
        (
            json!({"loraInfoMetric": "a", "engine": "vlm"}),
            "metrics.engine: expected auto or one of ",
        ),
    ] {
        let config = with(json!({"metrics": metrics}));
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}
