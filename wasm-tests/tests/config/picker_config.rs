//! An `EndpointPickerConfig` in the place of scheduling: what becomes of it.

use endpoint_picker::{
    config::PoolSettings,
    scheduling::{
        ActiveRequest, Condition, ContextLengthAware, Filter, Latency, Picker, PrefixCache,
        PrefixCacheAffinity, Profile, Role, RoleFilter, Scheduling, Scorer, Session, SessionForm,
        TokenLoad, UtilizationMetric,
    },
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{header, merge, only_profile, parse, parse_pool, refusal, with};

/// A configuration with `fields` of an `EndpointPickerConfig`.
pub(crate) fn picker_config(fields: Value) -> Value {
    let mut scheduling = json!({
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
    });
    merge(&mut scheduling, fields);
    with(json!({ "scheduling": scheduling }))
}

/// `types` as plugins without names and parameters.
pub(crate) fn plugins(types: &[&str]) -> Vec<Value> {
    types.iter().map(|kind| json!({"type": kind})).collect()
}

/// A profile that refers to plugins, with weights where they have some.
pub(crate) fn profile(name: &str, plugins: &[(&str, Option<f64>)]) -> Value {
    let plugins = plugins.iter().map(|(name, weight)| match weight {
        None => json!({"pluginRef": name}),
        Some(weight) => json!({"pluginRef": name, "weight": weight}),
    });
    json!({"name": name, "plugins": plugins.collect::<Vec<_>>()})
}

pub(crate) fn pool(fields: Value) -> Result<PoolSettings, String> {
    parse_pool(&picker_config(fields))
}

fn scorers(profile: &Profile) -> Vec<(Scorer, f64)> {
    let scorers = profile.scorers.iter();
    scorers.map(|w| (w.scorer.clone(), w.weight)).collect()
}

pub(crate) fn role(role: Role) -> Filter {
    let label = "llm-d.ai/role".to_owned();
    Filter::Role(RoleFilter { label, role })
}

#[wasm_bindgen_test(unsupported = test)]
fn nothing_but_its_kind_is_the_endpoint_pickers_default() {
    for fields in [
        json!({}),
        json!({"plugins": [], "schedulingProfiles": []}),
        json!({"apiVersion": "llm-d.ai/v1"}),
        json!({"apiVersion": "inference.networking.x-k8s.io/v1alpha1"}),
        json!({"metadata": {"name": "config"}}),
    ] {
        let expected = [
            (Scorer::Queue, 2.0),
            (Scorer::KvCacheUtilization, 2.0),
            (Scorer::PrefixCache(PrefixCache::default()), 3.0),
        ];
        let Scheduling { profiles, .. } = pool(fields).unwrap().scheduling;
        assert_eq!(scorers(&profiles[0]), expected);
        assert_eq!(profiles.len(), 1);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_profile_has_the_weights_of_its_scorers() {
    let baseline = [
        "queue-scorer",
        "kv-cache-utilization-scorer",
        "prefix-cache-scorer",
        "no-hit-lru-scorer",
    ];
    let weighted = baseline.into_iter().zip([2.0, 2.0, 3.0, 2.0]);
    let weighted: Vec<_> = weighted.map(|(name, w)| (name, Some(w))).collect();
    let pool = pool(json!({
        "plugins": plugins(&baseline),
        "schedulingProfiles": [profile("default", &weighted)],
    }))
    .unwrap();
    let profile = only_profile(&pool).unwrap();
    assert_eq!(profile.name, "default");
    assert_eq!(profile.when, Condition::default());
    assert_eq!(profile.picker, Picker::MaxScore);
    assert!(profile.filters.is_empty());
    let expected = [
        (Scorer::Queue, 2.0),
        (Scorer::KvCacheUtilization, 2.0),
        (Scorer::PrefixCache(PrefixCache::default()), 3.0),
        (Scorer::NoHitLru, 2.0),
    ];
    assert_eq!(scorers(profile), expected);
}

#[wasm_bindgen_test(unsupported = test)]
fn plugins_are_instances_by_name() {
    let affinity = |affinity_threshold| {
        Filter::PrefixCacheAffinity(PrefixCacheAffinity {
            affinity_threshold,
            ..PrefixCacheAffinity::default()
        })
    };
    let pool = pool(json!({
        "plugins": [
            {"type": "prefix-cache-affinity-filter", "name": "strict", "parameters": {"affinityThreshold": 0.99}},
            {"type": "prefix-cache-affinity-filter", "name": "loose", "parameters": {"affinityThreshold": 0.8}},
            {"type": "token-load-scorer", "parameters": {"queueThresholdTokens": 1000}},
            {"type": "active-request-scorer", "name": ""},
            {"type": "weighted-random-picker", "parameters": {"maxNumOfEndpoints": 1}},
        ],
        "schedulingProfiles": [profile("a", &[
            ("strict", None), ("active-request-scorer", None), ("loose", Some(4.0)),
            ("token-load-scorer", Some(0.5)), ("weighted-random-picker", None),
        ])],
    })).unwrap();
    let profile = only_profile(&pool).unwrap();
    assert_eq!(profile.filters, [affinity(0.99), affinity(0.8)]);
    let token_load = TokenLoad {
        queue_threshold_tokens: 1000,
    };
    let expected = [
        (Scorer::ActiveRequest(ActiveRequest::default()), 1.0),
        (Scorer::TokenLoad(token_load), 0.5),
    ];
    assert_eq!(scorers(profile), expected);
    assert_eq!(profile.picker, Picker::WeightedRandom);
}

#[wasm_bindgen_test(unsupported = test)]
fn without_profiles_all_plugins_are_one() {
    let pool = pool(json!({
        "plugins": plugins(&[
            "queue-scorer", "decode-filter", "random-picker", "utilization-detector", "openai-parser",
            "lora-affinity-scorer",
        ]),
    })).unwrap();
    let profile = only_profile(&pool).unwrap();
    assert_eq!(profile.name, "default");
    let expected = [(Scorer::Queue, 1.0), (Scorer::LoraAffinity, 1.0)];
    assert_eq!(scorers(profile), expected);
    assert_eq!(profile.filters, [role(Role::Decode)]);
    assert_eq!(profile.picker, Picker::Random);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_picker_counts_though_no_profile_refers_to_it() {
    let pool = pool(json!({
        "plugins": plugins(&["queue-scorer", "random-picker"]),
        "schedulingProfiles": [profile("default", &[("queue-scorer", None)])],
    }))
    .unwrap();
    assert_eq!(only_profile(&pool).unwrap().picker, Picker::Random);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_done_here_anyway_may_be_said() {
    let pool = pool(json!({
        "featureGates": ["flowControl=false", "haPopulateNonLeaderDatastore"],
        "plugins": [
            {"type": "single-profile-handler"},
            {"type": "approx-prefix-cache-producer", "parameters": {
                "autoTune": true, "blockSizeTokens": 64, "maxPrefixTokensToMatch": 131_072,
                "lruCapacityPerServer": 31_250,
            }},
            {"type": "token-producer", "parameters": {"estimate": {"image": {"mode": "static"}}}},
            {"type": "inflight-load-producer"},
            {"type": "utilization-detector", "parameters": {"queueDepthThreshold": 5}},
            {"type": "prefix-cache-scorer", "parameters": {
                "prefixMatchInfoProducerName": "approx-prefix-cache-producer", "hashBlockSize": 5,
                "maxPrefixBlocksToMatch": 256, "lruCapacityPerServer": 31_250,
            }},
            {"type": "no-hit-lru-scorer", "parameters": {"lruSize": 2048}},
            {"type": "active-request-scorer", "parameters": {"requestTimeout": "2m"}},
            {"type": "latency-scorer", "parameters": {"ttftWeight": 1, "compositeKVWeight": 1}},
        ],
        "schedulingProfiles": [profile("default", &[
            ("approx-prefix-cache-producer", None), ("prefix-cache-scorer", Some(2.0)),
            ("no-hit-lru-scorer", None), ("active-request-scorer", None), ("latency-scorer", None),
        ])],
        "dataLayer": {"injectDefaults": true, "sources": [
            {"pluginRef": "metrics-data-source", "extractors": [{"pluginRef": "core-metrics-extractor"}]},
        ], "discovery": null},
        "flowControl": {"saturationDetector": {"pluginRef": "utilization-detector"}},
        "requestHandler": {"parsers": [{"pluginRef": "openai-parser"}], "propagatePriority": false},
        "saturationDetector": {"pluginRef": "utilization-detector"},
        "parser": {"pluginRef": "openai-parser"},
    })).unwrap();
    let latency = Latency {
        ttft_weight: 1.0,
        ..Latency::default()
    };
    let expected = [
        (Scorer::PrefixCache(PrefixCache::default()), 2.0),
        (Scorer::NoHitLru, 1.0),
        (Scorer::ActiveRequest(ActiveRequest::default()), 1.0),
        (Scorer::Latency(latency), 1.0),
    ];
    let profile = only_profile(&pool).unwrap();
    assert_eq!(scorers(profile), expected);
    assert!(profile.filters.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_context_length_is_filtered_by_where_it_says_so() {
    for (parameters, filters) in [
        (json!(null), false),
        (json!({"enableFiltering": false}), false),
        (json!({"enableFiltering": true}), true),
    ] {
        let pool = pool(json!({
            "plugins": [{"type": "context-length-aware", "parameters": parameters}],
            "schedulingProfiles": [profile("default", &[("context-length-aware", Some(3.0))])],
        }))
        .unwrap();
        let of_label = || ContextLengthAware {
            label: "llm-d.ai/context-length-range".to_owned(),
        };
        let profile = only_profile(&pool).unwrap();
        let expected = filters.then(|| Filter::ContextLengthAware(of_label()));
        assert_eq!(profile.filters, Vec::from_iter(expected), "{parameters}");
        let expected = [(Scorer::ContextLengthAware(of_label()), 3.0)];
        assert_eq!(scorers(profile), expected, "{parameters}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_detector_in_a_profile_is_a_filter() {
    let queue = UtilizationMetric::WaitingQueue;
    let usage = UtilizationMetric::KvCacheUtilization;
    let active = UtilizationMetric::ActiveRequests;
    for (kind, parameters, fallback, bounds) in [
        (
            "utilization-detector",
            json!({"metricsStalenessThreshold": "200ms"}),
            true,
            vec![(queue, 5.0), (usage, 0.8)],
        ),
        (
            "utilization-detector",
            json!({"queueDepthThreshold": 10, "kvCacheUtilThreshold": 0.5, "headroom": 0.5}),
            true,
            vec![(queue, 15.0), (usage, 0.75)],
        ),
        (
            "utilization-detector",
            json!({"headroom": 1}),
            true,
            vec![(queue, 10.0), (usage, 1.0)],
        ),
        (
            "concurrency-detector",
            json!({}),
            false,
            vec![(active, 100.0)],
        ),
        (
            "concurrency-detector",
            json!({"concurrencyMode": "requests", "maxConcurrency": 8, "headroom": 0.25}),
            false,
            vec![(active, 10.0)],
        ),
    ] {
        let pool = pool(json!({
            "plugins": [{"type": kind, "parameters": parameters}],
            "schedulingProfiles": [profile("default", &[(kind, None)])],
        }))
        .unwrap();
        let [Filter::Utilization(filter)] = only_profile(&pool).unwrap().filters.as_slice() else {
            panic!("a filter by utilization: {parameters}");
        };
        assert_eq!(filter.fallback_on_empty, fallback, "{parameters}");
        // The bound itself is too much.
        let found: Vec<_> = filter
            .conditions
            .iter()
            .map(|condition| (condition.metric, condition.max_value.next_up()))
            .collect();
        assert_eq!(found, bounds, "{parameters}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn sessions_are_told_as_there() {
    let config = picker_config(json!({
        "plugins": [
            {"type": "passthrough-parser"},
            {"type": "session-affinity-scorer", "parameters": {
                "algorithm": "session_id_header", "headerName": "x-session-id", "evictionTtlSeconds": 600,
                "evictionSweepSeconds": 30, "missThreshold": 3,
            }},
        ],
        "schedulingProfiles": [profile("default", &[("session-affinity-scorer", None)])],
    }));
    let settings = parse(&config).unwrap();
    assert_eq!(settings.watched.all(), [header("x-session-id")]);
    let session = Session {
        place: 0,
        form: SessionForm::Key,
    };
    let expected = [(Scorer::SessionAffinity(session), 1.0)];
    let pool = parse_pool(&config).unwrap();
    assert_eq!(scorers(only_profile(&pool).unwrap()), expected);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_it_says_of_metrics_counts() {
    let config = |source: Value, extractor: Value| {
        picker_config(json!({"plugins": [
            {"type": "metrics-data-source", "name": "source", "parameters": source},
            {"type": "core-metrics-extractor", "parameters": extractor},
            {"type": "queue-scorer"},
        ]}))
    };
    let pool = parse_pool(&config(
        json!({"scheme": "http", "path": "/m", "port": 9100, "insecureSkipVerify": true,
               "interval": "50ms", "families": ["a"]}),
        json!({"engineLabelKey": "engine", "defaultEngine": "mine",
               "engineConfigs": [{"name": "mine", "queuedRequestsSpec": "q"}]}),
    ))
    .unwrap();
    let scrape = &pool.metrics.scrape;
    assert_eq!(scrape.path, "/m");
    assert_eq!(scrape.interval.as_millis(), 50);
    let endpoint = pool.endpoints.first().unwrap();
    let target = scrape.target_of(endpoint.address).to_string();
    assert_eq!(target, "10.0.0.1:9100");
    let engine = pool.metrics.engines.find("mine");
    assert!(engine.is_some());
    let labels = ["engine", "inference.networking.k8s.io/engine-type"];
    assert_eq!(pool.metrics.engine_labels, labels);

    // Nothing said of engines leaves them to the expositions.
    let empty = json!({"path": "", "port": 0, "interval": ""});
    for (source, extractor) in [
        (json!(null), json!(null)),
        (json!({}), json!(null)),
        (empty, json!(null)),
    ] {
        let pool = parse_pool(&config(source, extractor)).unwrap();
        let default = parse_pool(&with(json!({}))).unwrap();
        let engine = default.metrics.default_engine;
        assert_eq!(pool.metrics.default_engine, engine);
        assert_eq!(pool.metrics.scrape, default.metrics.scrape);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn engines_of_the_extractor_are_those_whose_signals_count() {
    let config = |extractor: &str, scorer: &str| {
        picker_config(json!({
            "plugins": [
                {"type": extractor, "parameters": {
                    "defaultEngine": "mine", "engineConfigs": [{"name": "mine", "queuedRequestsSpec": "q"}],
                }},
                {"type": scorer},
            ],
            "schedulingProfiles": [profile("default", &[(scorer, None)])],
        }))
    };
    // By its name and the one that it had before.
    for extractor in ["core-metrics-extractor", "model-server-protocol-metrics"] {
        assert_eq!(refusal(&config(extractor, "queue-scorer")), "");
        let expected = "scheduling.plugins[1].type: expected a type whose signals an engine of the pool \
                        has, found \"kv-cache-utilization-scorer\", which reads kvCacheUsage: none of \
                        mine has that";
        let found = refusal(&config(extractor, "kv-cache-utilization-scorer"));
        assert_eq!(found, expected, "{extractor}");
    }
}
