//! What scheduling may not say, and the messages of that.

use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{merge, refusal, with};

fn assert_refused(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (scheduling, expected) in cases {
        let config = with(json!({"scheduling": scheduling}));
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn types_and_weights_are_refused_by_their_paths() {
    assert_refused([
        (
            json!({"scorers": [{"type": "queue"}, {"type": "random"}]}),
            "scheduling.scorers[1].type: expected one of queue, running-requests, kv-cache-utilization, \
             lora-affinity, prefix-cache, no-hit-lru, active-request, token-load, load-aware, \
             session-affinity, context-length-aware, endpoint-attribute, latency, found \"random\"",
        ),
        (
            json!({"scorers": ["queue"]}),
            "scheduling.scorers[0]: invalid type: string \"queue\", expected an object",
        ),
        (
            json!({"scorers": [{"type": "prefix-cache", "parameters": {"maxLoadGap": 4}}]}),
            "scheduling.scorers[0].parameters.maxLoadGap: invalid type: integer `4`, expected an object",
        ),
        (
            json!({"scorers": [{"weight": 1}]}),
            "scheduling.scorers[0]: missing field `type`",
        ),
        (
            json!({"scorers": [{"type": "queue", "wait": 1}]}),
            "scheduling.scorers[0].wait: unknown field `wait`, expected one of `type`, `weight`, \
             `parameters`",
        ),
        (
            json!({"scorers": [{"type": "queue", "weight": 1e300}]}),
            "scheduling.scorers[0].weight: expected a number from 0 to 1000000, found 1000",
        ),
        (
            json!({"scorers": [{"type": "queue", "weight": -1}]}),
            "scheduling.scorers[0].weight: expected a number from 0 to 1000000, found -1",
        ),
        (
            json!({"filters": [{"type": "queue"}]}),
            "scheduling.filters[0].type: expected one of label-selector, role, utilization, \
             prefix-cache-affinity, context-length-aware, found \"queue\"",
        ),
        (
            json!({"filters": [{"type": "role", "weight": 1}]}),
            "scheduling.filters[0].weight: unknown field `weight`, expected `type` or `parameters`",
        ),
        (
            json!({"picker": "best"}),
            "scheduling.picker: expected one of max-score, random, weighted-random, power-of-two, \
             found \"best\"",
        ),
        (
            json!({"profile": {}}),
            "scheduling.profile: unknown field `profile`, expected one of `filters`, `scorers`, \
             `picker`, `profiles`, `disaggregation`",
        ),
    ]);
}

#[wasm_bindgen_test(unsupported = test)]
fn profiles_that_never_count_are_refused() {
    let when = || json!({"models": ["llama*"]});
    let profiles = |profiles: Value| json!({"profiles": profiles});
    let split = |profiles: Value, name: &str| json!({"profiles": profiles, "disaggregation": {"prefillProfile": name}});
    assert_refused([
        (
            profiles(json!([])),
            "scheduling.profiles: expected at least one profile, found none",
        ),
        (
            profiles(json!([{"name": ""}])),
            "scheduling.profiles[0].name: expected a name, and each only once, found \"\"",
        ),
        (
            profiles(json!([{"name": "a", "when": when()}, {"name": "a"}])),
            "scheduling.profiles[1].name: expected a name, and each only once, found \"a\"",
        ),
        (
            profiles(json!([{"name": "a"}, {"name": "b"}])),
            "scheduling.profiles[0].when: expected headers, models or paths, since profiles follow, \
             found none",
        ),
        (
            profiles(json!([{"name": "a", "when": {"headers": []}}, {"name": "b"}])),
            "scheduling.profiles[0].when: expected headers, models or paths",
        ),
        (
            profiles(json!([{"name": "a", "when": when()}, {"name": "b", "when": when()}])),
            "scheduling.profiles[1].when: expected none, since the last profile is for all other \
             requests, found some",
        ),
        (
            profiles(json!([{"name": "a", "when": {"model": "b"}}])),
            "scheduling.profiles[0].when.model: unknown field `model`, expected one of `headers`, \
             `models`, `paths`",
        ),
        (
            profiles(json!([{"name": "a", "when": {"headers": [{"name": "x:y"}]}}, {"name": "b"}])),
            "scheduling.profiles[0].when.headers[0].name: expected the name of a header that clients \
             may send, found \"x:y\"",
        ),
        (
            profiles(json!([{"name": "a", "when": {"models": ["a", "*b"]}}, {"name": "b"}])),
            "scheduling.profiles[0].when.models[1]: expected a model's name",
        ),
        (
            profiles(json!([{"name": "a", "when": {"paths": ["/v1", "v2"]}}, {"name": "b"}])),
            "scheduling.profiles[0].when.paths[1]: expected the end of a path, which starts with '/' \
             and has no query, found \"v2\"",
        ),
        (
            profiles(json!([{"name": "a", "when": when()}, {"name": "b", "picker": "c"}])),
            "scheduling.profiles[1].picker: expected one of max-score",
        ),
        (
            profiles(json!([{"name": "a", "scorers": [{"type": "c"}]}])),
            "scheduling.profiles[0].scorers[0].type: expected one of queue",
        ),
        (
            json!({"profiles": [{"name": "a"}], "picker": "random"}),
            "scheduling.picker: expected none beside profiles, each of which has its own, found both",
        ),
        (
            json!({"disaggregation": {"prefillProfile": "a"}}),
            "scheduling.disaggregation: expected profiles beside it, of which one chooses who prefills, \
             found none",
        ),
        (
            split(json!([{"name": "a"}]), "a"),
            "scheduling.disaggregation.prefillProfile: expected the name of one of at least two \
             profiles, found \"a\"",
        ),
        (
            split(json!([{"name": "a"}, {"name": "b"}]), "c"),
            "scheduling.disaggregation.prefillProfile: expected the name of one of at least two \
             profiles, found \"c\"",
        ),
        (
            split(json!([{"name": "a", "when": when()}, {"name": "b"}]), "a"),
            "scheduling.profiles[0].when: expected none, since disaggregation says what the profile is \
             for, found some",
        ),
        (
            split(json!([{"name": "a"}, {"name": "b", "when": when()}]), "a"),
            "scheduling.profiles[1].when: expected none, since the last profile is for all other \
             requests, found some",
        ),
    ]);
}

#[wasm_bindgen_test(unsupported = test)]
fn disaggregation_needs_headers_that_can_be_set() {
    let config = |fields: Value, destination: Value| {
        let mut disaggregation = json!({"prefillProfile": "a"});
        merge(&mut disaggregation, fields);
        with(json!({
            "scheduling": {"profiles": [{"name": "a"}, {"name": "b"}], "disaggregation": disaggregation},
            "destination": destination,
        }))
    };
    for (config, expected) in [
        (
            config(json!({}), json!({"handOver": "original-dst-filter-state"})),
            "scheduling.disaggregation: expected none with original-dst-filter-state, where the headers \
             have left before the prefiller is known, found some",
        ),
        (
            config(json!({"prefillerHeader": "prefiller"}), json!({})),
            "scheduling.disaggregation.prefillerHeader: expected the name of a header that begins with \
             \"x-\" and has no other use, found \"prefiller\"",
        ),
        (
            config(json!({"instanceLabel": ""}), json!({})),
            "scheduling.disaggregation.instanceLabel: expected the name of a label, found \"\"",
        ),
        (
            config(json!({"minUncachedTokens": -1}), json!({})),
            "scheduling.disaggregation.minUncachedTokens: invalid value: integer `-1`, expected a whole number",
        ),
        (
            config(json!({"decodeProfile": "b"}), json!({})),
            "scheduling.disaggregation.decodeProfile: unknown field `decodeProfile`, expected one of \
             `prefillProfile`, `minUncachedTokens`, `prefillerHeader`, `instanceLabel`",
        ),
        (config(json!({}), json!({"handOver": "override-host"})), ""),
    ] {
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{config}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn signals_that_no_engine_of_the_pool_has_are_refused() {
    let waits =
        json!({"engines": {"bare": {"signals": {"waitingRequests": "w"}}}, "engine": "bare"});
    let endpoint = |engine: &str| json!({"address": "10.0.0.1:8000", "engine": engine});
    let utilization = |metric: &str| {
        json!({"filters": [{"type": "utilization", "parameters":
            {"conditions": [{"metric": metric, "maxValue": 1}]}}]})
    };
    let scorer = |kind: &str| json!({"scorers": [{"type": kind}]});
    let cases = [
        (
            waits.clone(),
            json!([]),
            scorer("kv-cache-utilization"),
            "scheduling.scorers[0].type: expected a type whose signals an engine of the pool has, found \
             \"kv-cache-utilization\", which reads kvCacheUsage: none of bare has that",
        ),
        (waits.clone(), json!([]), scorer("queue"), ""),
        (waits.clone(), json!([]), scorer("load-aware"), ""),
        (
            waits.clone(),
            json!(["10.0.0.1:8000"]),
            scorer("running-requests-size-scorer"),
            "scheduling.scorers[0].type: expected a type whose signals an engine of the pool has, found \
             \"running-requests-size-scorer\", which reads runningRequests: none of bare has that",
        ),
        (
            waits.clone(),
            json!([endpoint("tgi")]),
            scorer("lora-affinity"),
            "scheduling.scorers[0].type: expected a type whose signals an engine of the pool has, found \
             \"lora-affinity\", which reads lora: none of tgi has that",
        ),
        (
            waits.clone(),
            json!([endpoint("vllm"), "10.0.0.2:8000"]),
            scorer("latency"),
            "",
        ),
        (
            waits.clone(),
            json!([]),
            scorer("latency"),
            "scheduling.scorers[0].type: expected a type whose signals an engine of the pool has, found \
             \"latency\", which reads timeToFirstToken: none of bare has that",
        ),
        // Any engine may turn up where the expositions tell.
        (
            waits.clone(),
            json!([endpoint("auto")]),
            scorer("lora-affinity"),
            "",
        ),
        (json!({}), json!([]), scorer("latency"), ""),
        // What the configuration does not ask for is not refused.
        (waits.clone(), json!([]), json!({}), ""),
        (waits.clone(), json!([]), json!({"picker": "random"}), ""),
        (
            waits.clone(),
            json!([]),
            utilization("kv-cache-utilization"),
            "scheduling.filters[0].type: expected a type whose signals an engine of the pool has, found \
             \"utilization\", which reads kvCacheUsage: none of bare has that",
        ),
        (waits.clone(), json!([]), utilization("waiting-queue"), ""),
        (waits, json!([]), utilization("active-requests"), ""),
    ];
    for (metrics, endpoints, scheduling, expected) in cases {
        let config = with(json!({
            "metrics": metrics, "endpoints": {"static": endpoints}, "scheduling": scheduling,
        }));
        let error = refusal(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{config}: {error}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_custom_signal_must_be_of_an_engine_of_the_pool() {
    let config = |engine: &str| {
        with(json!({
            "metrics": {"engine": engine, "engines": {
                "mine": {"customMetrics": {"depth": "d"}}, "other": {"extends": "vllm"},
            }},
            "scheduling": {"scorers": [
                {"type": "endpoint-attribute", "parameters": {"attribute": "depth", "prefer": "lower"}},
            ]},
        }))
    };
    assert_eq!(refusal(&config("mine")), "");
    let error = refusal(&config("other"));
    let expected = "scheduling.scorers[0].type: expected a type whose signals an engine of the pool \
                    has, found \"endpoint-attribute\", which reads depth: none of other has that";
    assert_eq!(error, expected);
}
