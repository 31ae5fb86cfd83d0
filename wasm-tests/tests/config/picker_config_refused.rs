//! What an `EndpointPickerConfig` may not say here, and the messages of that.

use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{
    merge,
    picker_config::{picker_config, plugins},
    refusal, with,
};

#[wasm_bindgen_test(unsupported = test)]
fn all_that_is_not_supported_is_named_at_once() {
    let config = picker_config(json!({
        "featureGates": ["flowControl", "flowControl=true", "teleport"],
        "plugins": [
            {"type": "queue-scorer"},
            {"type": "precise-prefix-cache-producer", "parameters": {"indexerConfig": {}}},
            {"type": "predicted-latency-producer"},
            {"type": "slo-headroom-tier-filter"},
            {"type": "file-discovery", "name": "files"},
            {"type": "token-producer", "parameters": {"modelName": "llama", "vllm": {"url": "http://a"}}},
            {"type": "approx-prefix-cache-producer", "parameters": {"prefixHashSource": "metadata"}},
        ],
        "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": "slo-headroom-tier-filter"}]}],
        "dataLayer": {"discovery": {"pluginRef": "files"}, "sources": []},
        "flowControl": {"maxBytes": "10Gi", "saturationDetector": {}},
        "requestHandler": {"admitters": [], "propagatePriority": true},
    }));
    let error = refusal(&config);
    let (expected, found) = error.split_once(", found ").unwrap();
    assert!(
        expected.starts_with(
            "scheduling: expected an EndpointPickerConfig without flow control, discovery and \
             synchronisation, whose plugins are of the types queue-scorer, running-requests-size-scorer, "
        ),
        "{error}"
    );
    let all: Vec<_> = found.split(", ").collect();
    assert_eq!(
        all,
        [
            "scheduling.featureGates[0] \"flowControl\"",
            "scheduling.featureGates[1] \"flowControl=true\"",
            "scheduling.featureGates[2] \"teleport\"",
            "scheduling.plugins[1].type \"precise-prefix-cache-producer\"",
            "scheduling.plugins[2].type \"predicted-latency-producer\"",
            "scheduling.plugins[3].type \"slo-headroom-tier-filter\"",
            "scheduling.plugins[4].type \"file-discovery\"",
            "scheduling.plugins[5].parameters.modelName",
            "scheduling.plugins[5].parameters.vllm",
            "scheduling.plugins[6].parameters.prefixHashSource \"metadata\"",
            "scheduling.dataLayer.discovery",
            "scheduling.flowControl.maxBytes",
            "scheduling.requestHandler.admitters",
            "scheduling.requestHandler.propagatePriority",
        ]
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn in_one_of_several_pools_it_is_found_too() {
    let config = json!({"pools": [{
        "name": "a", "endpoints": {"static": []}, "metrics": {"cluster": "scrapes"},
        "scheduling": {
            "apiVersion": "llm-d.ai/v1alpha1", "kind": "EndpointPickerConfig", "plugins": plugins(&["a-scorer"]),
        },
    }]});
    let error = refusal(&config);
    assert!(
        error.starts_with("pools[0].scheduling: expected an"),
        "{error}"
    );
    assert!(
        error.ends_with("found scheduling.plugins[0].type \"a-scorer\""),
        "{error}"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn both_forms_at_once_are_refused() {
    for (fields, expected) in [
        (json!({"scorers": []}), "scheduling.scorers: "),
        (json!({"filters": []}), "scheduling.filters: "),
        (json!({"picker": "random"}), "scheduling.picker: "),
        (json!({"profiles": []}), "scheduling.profiles: "),
        (
            json!({"disaggregation": {"prefillProfile": "a"}}),
            "scheduling.disaggregation: ",
        ),
    ] {
        let config = picker_config(fields);
        let error = refusal(&config);
        let expected = format!(
            "{expected}expected none beside the fields of an EndpointPickerConfig, found both"
        );
        assert_eq!(error, expected, "{config}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn kind_and_version_must_be_known() {
    let versions =
        "\"llm-d.ai/v1\" or \"llm-d.ai/v1alpha1\" or \"inference.networking.x-k8s.io/v1alpha1\"";
    for (scheduling, expected) in [
        (
            json!({"plugins": []}),
            "scheduling.kind: expected \"EndpointPickerConfig\", found none".to_owned(),
        ),
        (
            json!({"kind": "Deployment"}),
            "scheduling.kind: expected \"EndpointPickerConfig\", found \"Deployment\"".to_owned(),
        ),
        (
            json!({"kind": "EndpointPickerConfig"}),
            format!("scheduling.apiVersion: expected {versions}, found none"),
        ),
        (
            json!({"kind": "EndpointPickerConfig", "apiVersion": "llm-d.ai/v2"}),
            format!("scheduling.apiVersion: expected {versions}, found \"llm-d.ai/v2\""),
        ),
    ] {
        let config = with(json!({ "scheduling": scheduling }));
        assert_eq!(refusal(&config), expected, "{config}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn refusals_name_the_place_and_what_is_accepted() {
    let one = |plugin: Value| {
        let name = plugin["type"].clone();
        json!({
            "plugins": [{"type": "queue-scorer"}, plugin],
            "schedulingProfiles": [
                {"name": "default", "plugins": [{"pluginRef": "queue-scorer"}, {"pluginRef": name}]},
            ],
        })
    };
    let handled = |handler: Value, names: &[&str]| {
        let profiles = names.iter().map(|name| json!({"name": name}));
        json!({
            "plugins": [
                handler, {"type": "always-disagg-pd-decider"},
                {"type": "prefix-based-pd-decider",
                 "parameters": {"nonCachedTokens": 16, "promptTokens": 17}},
            ],
            "schedulingProfiles": profiles.collect::<Vec<_>>(),
        })
    };
    let split = |parameters: Value, names: &[&str]| {
        let handler = json!({"type": "disagg-profile-handler", "parameters": parameters});
        handled(handler, names)
    };
    let by_header = |parameters: Value| {
        let handler = json!({"type": "header-profile-handler", "parameters": parameters});
        handled(handler, &["decode", "prefill"])
    };
    for (fields, expected) in [
        (
            json!({"plugins": [{"name": "a"}]}),
            "scheduling.plugins[0]: missing field `type`",
        ),
        (
            json!({"plugins": plugins(&["queue-scorer", "queue-scorer"])}),
            "scheduling.plugins[1].name: expected each name once, found \"queue-scorer\"",
        ),
        (
            json!({"plugins": plugins(&["queue-scorer"]), "schedulingProfiles": [
                {"name": "a", "plugins": [{"pluginRef": "queue"}]},
            ]}),
            "scheduling.schedulingProfiles[0].plugins[0].pluginRef: expected the name of one of \
             plugins, found \"queue\"",
        ),
        (
            json!({"plugins": plugins(&["queue-scorer"]), "schedulingProfiles": [
                {"name": "a", "plugins": [{"pluginRef": "queue-scorer", "weight": -1}]},
            ]}),
            "scheduling.schedulingProfiles[0].plugins[0].weight: expected a number from 0 to 1000000, \
             found -1",
        ),
        (
            json!({"schedulingProfiles": [{"name": ""}]}),
            "scheduling.schedulingProfiles[0].name: expected a name, and each only once, found \"\"",
        ),
        (
            json!({"schedulingProfiles": [{"name": "a"}, {"name": "a"}]}),
            "scheduling.schedulingProfiles[1].name: expected a name, and each only once, found \"a\"",
        ),
        (
            json!({"schedulingProfiles": [{"name": "a"}, {"name": "b"}]}),
            "scheduling.schedulingProfiles: expected one profile, or a header-profile-handler or \
             disagg-profile-handler among plugins, found 2",
        ),
        (
            json!({"plugins": plugins(&["single-profile-handler"]),
                   "schedulingProfiles": [{"name": "a"}, {"name": "b"}]}),
            "scheduling.schedulingProfiles: expected one profile, or",
        ),
        (
            json!({"plugins": plugins(&["single-profile-handler", "disagg-profile-handler"])}),
            "scheduling.plugins[0].type: expected one profile handler, found \"single-profile-handler\"",
        ),
        (
            one(json!({"type": "load-aware-scorer", "parameters": {"threshold": 0}})),
            "scheduling.plugins[1].parameters.threshold: expected a number of more than 0, found 0",
        ),
        (
            one(json!({"type": "token-load-scorer", "parameters": {"nonTextTokenWeight": 2}})),
            "scheduling.plugins[1].parameters.nonTextTokenWeight: unknown field `nonTextTokenWeight`",
        ),
        (
            one(
                json!({"type": "latency-scorer", "parameters": {"headroomSelectionStrategy": "most"}}),
            ),
            "scheduling.plugins[1].parameters.headroomSelectionStrategy: unknown field",
        ),
        (
            one(json!({"type": "context-length-aware", "parameters": {"enableFiltering": "yes"}})),
            "scheduling.plugins[1].parameters.enableFiltering: expected true or false, found \"yes\"",
        ),
        (
            one(json!({"type": "max-score-picker", "parameters": {"maxNumOfEndpoints": 2}})),
            "scheduling.plugins[1].parameters.maxNumOfEndpoints: expected 1; destination.ranked says \
             how many are handed over, found 2",
        ),
        (
            one(
                json!({"type": "concurrency-detector", "parameters": {"concurrencyMode": "tokens"}}),
            ),
            "scheduling.plugins[1].parameters.concurrencyMode: unknown variant `tokens`, expected \
             `requests`",
        ),
        (
            one(json!({"type": "concurrency-detector", "parameters": {"maxConcurrency": 0}})),
            "scheduling.plugins[1].parameters.maxConcurrency: expected a number of more than 0, found 0",
        ),
        (
            one(
                json!({"type": "utilization-detector", "parameters": {"kvCacheUtilThreshold": 80}}),
            ),
            "scheduling.plugins[1].parameters.kvCacheUtilThreshold: expected a number from 0 to 1, \
             found 80",
        ),
        (
            one(json!({"type": "utilization-detector", "parameters": {"headroom": -1}})),
            "scheduling.plugins[1].parameters.headroom: expected a number of at least 0, found -1",
        ),
        (
            json!({"plugins": plugins(&["random-picker", "max-score-picker"]), "schedulingProfiles": [
                {"name": "a", "plugins": [{"pluginRef": "random-picker"}, {"pluginRef": "max-score-picker"}]},
            ]}),
            "scheduling.schedulingProfiles[0].plugins[1].pluginRef: expected one picker in a profile, \
             found \"max-score-picker\"",
        ),
        (
            by_header(json!({"headerName": "x:y"})),
            "scheduling.plugins[0].parameters.headerName: expected the name of a header that clients \
             may send, found \"x:y\"",
        ),
        (
            by_header(json!({"defaultProfile": "other"})),
            "scheduling.plugins[0].parameters.defaultProfile: expected the name of one of \
             schedulingProfiles, found \"other\"",
        ),
        (
            split(json!({"deciders": {"encode": "always"}}), &["decode"]),
            "scheduling.plugins[0].parameters.deciders.encode: expected none: encoders are not chosen, \
             found \"always\"",
        ),
        (
            split(json!({"encodeDeciderPluginName": "always"}), &["decode"]),
            "scheduling.plugins[0].parameters.encodeDeciderPluginName: expected none: encoders are not \
             chosen, found \"always\"",
        ),
        (
            split(json!({"threshold": 10}), &["decode"]),
            "scheduling.plugins[0].parameters.threshold: expected none: a decider says what is split \
             off, found 10",
        ),
        (
            handled(
                json!({"type": "pd-profile-handler", "parameters": {
                    "threshold": 10, "deciderPluginName": "always-disagg-pd-decider",
                }}),
                &["decode", "prefill"],
            ),
            "scheduling.plugins[0].parameters.threshold: expected none beside a decider, found 10",
        ),
        (
            handled(
                json!({"type": "pd-profile-handler", "parameters": {"primaryPort": 8000}}),
                &["decode", "prefill"],
            ),
            "scheduling.plugins[0].parameters.primaryPort: expected 0: each rank is an endpoint of its \
             own, found 8000",
        ),
        (
            split(json!({"deciders": {"decode": "always"}}), &["decode"]),
            "scheduling.plugins[0].parameters.deciders.decode: unknown field `decode`",
        ),
        (
            split(json!({"stageOrder": "prefill-first"}), &["decode"]),
            "scheduling.plugins[0].parameters.stageOrder: unknown variant `prefill-first`",
        ),
        (
            split(json!({}), &["prefill"]),
            "scheduling.plugins[0].parameters.profiles.decode: expected the name of one of \
             schedulingProfiles, found \"decode\"",
        ),
        (
            split(json!({"profiles": {"fallback": "b"}}), &["decode"]),
            "scheduling.plugins[0].parameters.profiles.fallback: unknown field `fallback`",
        ),
        (
            split(
                json!({"deciders": {"prefill": "always-disagg-pd-decider"}}),
                &["decode"],
            ),
            "scheduling.plugins[0].parameters.profiles.prefill: expected the name of one of \
             schedulingProfiles, found \"prefill\"",
        ),
        (
            split(json!({"deciders": {"prefill": "decider"}}), &["decode"]),
            "scheduling.plugins[0].parameters.deciders.prefill: expected the name of an \
             always-disagg-pd-decider or a prefix-based-pd-decider, found \"decider\"",
        ),
        (
            split(
                json!({"deciders": {"prefill": "prefix-based-pd-decider"}}),
                &["decode"],
            ),
            "scheduling.plugins[2].parameters.promptTokens: expected no more than nonCachedTokens, \
             found 17",
        ),
    ] {
        let config = picker_config(fields);
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_split_needs_headers_that_can_be_set() {
    let mut config = picker_config(json!({
        "plugins": [
            {"type": "always-disagg-pd-decider"},
            {"type": "disagg-profile-handler",
             "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}}},
        ],
        "schedulingProfiles": [{"name": "decode"}, {"name": "prefill"}],
    }));
    assert_eq!(refusal(&config), "");
    merge(
        &mut config,
        json!({"destination": {"handOver": "original-dst-filter-state"}}),
    );
    let error = refusal(&config);
    let expected = "scheduling.plugins[1].type: expected none with original-dst-filter-state";
    assert!(error.starts_with(expected), "{error}");
}

#[wasm_bindgen_test(unsupported = test)]
fn what_it_says_of_metrics_is_said_once() {
    let source =
        |parameters: Value| json!([{"type": "metrics-data-source", "parameters": parameters}]);
    let extractor =
        |parameters: Value| json!([{"type": "core-metrics-extractor", "parameters": parameters}]);
    for (plugins, metrics, expected) in [
        (
            source(json!({"scheme": "https"})),
            json!({}),
            "scheduling.plugins[0].parameters.scheme: expected \"http\", also for a cluster whose \
             transport_socket encrypts, found \"https\"",
        ),
        (
            source(json!({"caCertPath": "/a"})),
            json!({}),
            "scheduling.plugins[0].parameters.caCertPath: unknown field `caCertPath`",
        ),
        (
            source(json!({"path": "m"})),
            json!({}),
            "scheduling.plugins[0].parameters.path: expected a path that starts with '/', without \
             blanks, found \"m\"",
        ),
        (
            source(json!({"interval": "1ms"})),
            json!({}),
            "scheduling.plugins[0].parameters.interval: expected 20ms to 1h, found 1ms",
        ),
        (
            source(json!({"path": "/m"})),
            json!({"path": "/m"}),
            "scheduling.plugins[0].parameters.path: expected only one of it and metrics.path, which \
             says the same, found both",
        ),
        (
            source(json!({"port": 1})),
            json!({"modelServerMetricsPort": 1}),
            "scheduling.plugins[0].parameters.port: expected only one of it and metrics.port",
        ),
        (
            source(json!({"interval": "1s"})),
            json!({"interval": "1s"}),
            "scheduling.plugins[0].parameters.interval: expected only one of it and metrics.interval",
        ),
        (
            json!([{"type": "metrics-data-source"}, {"type": "metrics-data-source", "name": "z"}]),
            json!({}),
            "scheduling.plugins[1].type: expected each source and extractor of metrics once, found \
             \"metrics-data-source\"",
        ),
        (
            extractor(json!({"defaultEngine": "vllm"})),
            json!({"parameters": {}}),
            "scheduling.plugins[0].parameters: expected the parameters of a core-metrics-extractor \
             once, in it or in metrics, found both",
        ),
        (
            extractor(json!({"defaultEngine": "vllm"})),
            json!({"defaultEngine": "vllm"}),
            "scheduling.plugins[0].parameters: expected the parameters of a core-metrics-extractor once",
        ),
        (
            extractor(json!({"defaultEngine": "vllm"})),
            json!({"engine": "vllm"}),
            "scheduling.plugins[0].parameters.defaultEngine: expected only one of it and \
             metrics.engine, which says the same, found both",
        ),
        (
            extractor(json!({"defaultEngine": "vlm"})),
            json!({}),
            "scheduling.plugins[0].parameters.defaultEngine: expected auto or one of",
        ),
        (
            extractor(json!({"engineConfigs": [{"name": "default"}]})),
            json!({}),
            "scheduling.plugins[0].parameters.engineConfigs[0].name: expected a name other than",
        ),
        (
            extractor(json!({"engineConfigs": [{"name": "a", "loraSpec": "{b=c}"}]})),
            json!({}),
            "scheduling.plugins[0].parameters.engineConfigs[0].loraSpec: expected a selector",
        ),
    ] {
        let mut config = picker_config(json!({ "plugins": plugins }));
        merge(&mut config, json!({ "metrics": metrics }));
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}
