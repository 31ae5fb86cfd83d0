//! Scorers of the configuration: what each type and parameter becomes, and which are refused.

use endpoint_picker::{
    pool::Signal,
    scheduling::{
        ActiveRequest, ContextLengthAware, EndpointAttribute, Latency, LoadAware, LoadBand,
        PrefixCache, Scorer, Session, SessionForm, TokenLoad,
    },
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{only_profile, parse_pool, refusal, with};

/// An engine with two custom metrics, of which `z` is the second.
fn with_custom_metrics(scheduling: &Value) -> Value {
    with(json!({
        "metrics": {"engines": {"mine": {"customMetrics": {"a": "a", "z": "z"}}}},
        "scheduling": scheduling,
    }))
}

#[wasm_bindgen_test(unsupported = test)]
fn every_scorer_is_taken_with_its_parameters() {
    let session_by = |form| Scorer::SessionAffinity(Session { place: 0, form });
    let (token, key) = (session_by(SessionForm::Token), session_by(SessionForm::Key));
    let attribute = |name: &str, signal, range, higher_is_better| {
        Scorer::EndpointAttribute(EndpointAttribute {
            name: name.to_owned(),
            signal,
            range,
            higher_is_better,
        })
    };
    let context_length = |label: &str| {
        let label = label.to_owned();
        Scorer::ContextLengthAware(ContextLengthAware { label })
    };
    let z = Signal::Custom(1);
    let session = "session-affinity";
    for (kinds, parameters, expected) in [
        (["queue", "queue-scorer"], json!({}), Scorer::Queue),
        (
            ["running-requests", "running-requests-size-scorer"],
            json!(null),
            Scorer::RunningRequests,
        ),
        (
            ["kv-cache-utilization", "kv-cache-utilization-scorer"],
            json!({}),
            Scorer::KvCacheUtilization,
        ),
        (
            ["lora-affinity", "lora-affinity-scorer"],
            json!({}),
            Scorer::LoraAffinity,
        ),
        (
            ["prefix-cache", "prefix-cache-scorer"],
            json!({}),
            Scorer::PrefixCache(PrefixCache::default()),
        ),
        (
            ["prefix-cache", "prefix-cache-scorer"],
            json!({
                "matchLengthWeight": 0.25, "matchLengthScaleTokens": 4096,
                "maxLoadGap": {"requests": 0, "ratio": 1},
            }),
            Scorer::PrefixCache(PrefixCache {
                match_length_weight: 0.25,
                match_length_scale_tokens: 4096,
                band: LoadBand {
                    requests: 0,
                    ratio: 1.0,
                },
            }),
        ),
        (
            ["prefix-cache", "prefix-cache-scorer"],
            json!({"maxLoadGap": {"requests": 3}}),
            Scorer::PrefixCache(PrefixCache {
                band: LoadBand {
                    requests: 3,
                    ..LoadBand::default()
                },
                ..PrefixCache::default()
            }),
        ),
        (
            ["no-hit-lru", "no-hit-lru-scorer"],
            json!({}),
            Scorer::NoHitLru,
        ),
        (
            ["active-request", "active-request-scorer"],
            json!({}),
            Scorer::ActiveRequest(ActiveRequest {
                idle_threshold: 0,
                max_busy_score: 1.0,
            }),
        ),
        (
            ["active-request", "active-request-scorer"],
            json!({"idleThreshold": 2, "maxBusyScore": 0.5}),
            Scorer::ActiveRequest(ActiveRequest {
                idle_threshold: 2,
                max_busy_score: 0.5,
            }),
        ),
        (
            ["token-load", "token-load-scorer"],
            json!({}),
            Scorer::TokenLoad(TokenLoad {
                queue_threshold_tokens: 4_194_304,
            }),
        ),
        (
            ["token-load", "token-load-scorer"],
            json!({"queueThresholdTokens": 1}),
            Scorer::TokenLoad(TokenLoad {
                queue_threshold_tokens: 1,
            }),
        ),
        (
            ["load-aware", "load-aware-scorer"],
            json!({}),
            Scorer::LoadAware(LoadAware { threshold: 128 }),
        ),
        (
            ["load-aware", "load-aware-scorer"],
            json!({"threshold": 8}),
            Scorer::LoadAware(LoadAware { threshold: 8 }),
        ),
        (
            ["latency", "latency-scorer"],
            json!({}),
            Scorer::Latency(Latency {
                ttft_weight: 0.8,
                tpot_weight: 0.2,
            }),
        ),
        (
            ["latency", "latency-scorer"],
            json!({"ttftWeight": 0, "tpotWeight": 3}),
            Scorer::Latency(Latency {
                ttft_weight: 0.0,
                tpot_weight: 3.0,
            }),
        ),
        (
            [session, "session-affinity-scorer"],
            json!({}),
            token.clone(),
        ),
        ([session; 2], json!({"header": "X-Session"}), token.clone()),
        ([session; 2], json!({"cookie": "Route"}), token.clone()),
        ([session; 2], json!({"keyHeader": "x-user"}), key.clone()),
        ([session; 2], json!({"keyCookie": "id"}), key.clone()),
        // The Endpoint Picker's parameters.
        (
            [session; 2],
            json!({"algorithm": "encoded_endpoint_header"}),
            token.clone(),
        ),
        (
            [session; 2],
            json!({"algorithm": "session_id_header", "headerName": "x-session-id"}),
            key.clone(),
        ),
        (
            ["context-length-aware"; 2],
            json!({}),
            context_length("llm-d.ai/context-length-range"),
        ),
        (
            ["context-length-aware"; 2],
            json!({"label": "range"}),
            context_length("range"),
        ),
        (
            ["endpoint-attribute", "endpoint-attribute-scorer"],
            json!({"attribute": "z", "prefer": "lower"}),
            attribute("z", z, None, false),
        ),
        (
            ["endpoint-attribute", "endpoint-attribute-scorer"],
            json!({"attribute": "prefixCacheHitRatio", "prefer": "higher", "range": [0, 1]}),
            attribute(
                "prefixCacheHitRatio",
                Signal::PrefixCacheHitRatio,
                Some((0.0, 1.0)),
                true,
            ),
        ),
        (
            ["endpoint-attribute", "endpoint-attribute-scorer"],
            json!({
                "attributeKey": "z",
                "algorithm": {"type": "linear_higher_is_better",
                              "normalization": {"fixedRange": {"min": -1, "max": 2}}},
            }),
            attribute("z", z, Some((-1.0, 2.0)), true),
        ),
        (
            ["endpoint-attribute", "endpoint-attribute-scorer"],
            json!({
                "attributeKey": "z",
                "algorithm": {"type": "linear_lower_is_better", "normalization": {"adaptiveRange": {}}},
            }),
            attribute("z", z, None, false),
        ),
    ] {
        for kind in kinds {
            let entry = json!({"type": kind, "parameters": parameters});
            let pool = parse_pool(&with_custom_metrics(&json!({"scorers": [entry]}))).unwrap();
            let [scorer] = only_profile(&pool).unwrap().scorers.as_slice() else {
                panic!("one scorer");
            };
            assert_eq!(scorer.scorer, expected, "{entry}");
            assert_eq!(scorer.weight, 1.0, "{entry}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn parameters_of_scorers_are_refused_by_their_paths() {
    let cases = [
        (
            "queue",
            json!({"threshold": 1}),
            "threshold: unknown field `threshold`",
        ),
        (
            "prefix-cache",
            json!({"matchLengthWeight": 1.5}),
            "matchLengthWeight: expected a number from 0 to 1, found 1.5",
        ),
        (
            "prefix-cache",
            json!({"matchLengthScaleTokens": 0}),
            "matchLengthScaleTokens: expected a number of more than 0, found 0",
        ),
        (
            "prefix-cache",
            json!({"maxLoadGap": {"ratio": 0.9}}),
            "maxLoadGap.ratio: expected a number of at least 1, found 0.9",
        ),
        (
            "prefix-cache",
            json!({"maxLoadGap": {"requests": -1}}),
            "maxLoadGap.requests: invalid value: integer `-1`, expected a whole number",
        ),
        (
            "prefix-cache",
            json!({"lruCapacityPerServer": 1}),
            "lruCapacityPerServer: unknown field `lruCapacityPerServer`, expected one of",
        ),
        (
            "active-request",
            json!({"maxBusyScore": -0.1}),
            "maxBusyScore: expected a number from 0 to 1, found -0.1",
        ),
        (
            "token-load",
            json!({"queueThresholdTokens": 0}),
            "queueThresholdTokens: expected a number of more than 0, found 0",
        ),
        (
            "load-aware",
            json!({"threshold": 0}),
            "threshold: expected a number of more than 0, found 0",
        ),
        (
            "latency",
            json!({"ttftWeight": -1}),
            "ttftWeight: expected a number of at least 0, found -1",
        ),
        (
            "latency",
            json!({"ttftWeight": 0, "tpotWeight": 0}),
            "ttftWeight: expected more than 0 beside a tpotWeight of 0, found 0",
        ),
        (
            "session-affinity",
            json!({"header": "x a"}),
            "header: expected the name of a header that clients may send, found \"x a\"",
        ),
        (
            "session-affinity",
            json!({"header": "X-Gateway-Destination-Endpoint"}),
            "header: expected the name of a header that clients may send",
        ),
        (
            "session-affinity",
            json!({"keyCookie": "a;b"}),
            "keyCookie: expected the name of a cookie, found \"a;b\"",
        ),
        (
            "session-affinity",
            json!({"header": "x-a", "keyCookie": "b"}),
            "keyCookie: expected none beside header, found both",
        ),
        (
            "session-affinity",
            json!({"header": "x-a", "headerName": "x-b"}),
            "headerName: expected none beside header or keyHeader, which say the same, found both",
        ),
        (
            "session-affinity",
            json!({"profileName": "prefill"}),
            "profileName: expected none, since a session stays with who answers it, found \"prefill\"",
        ),
        (
            "session-affinity",
            json!({"algorithm": "sticky"}),
            "algorithm: unknown variant `sticky`",
        ),
        (
            "context-length-aware",
            json!({"label": ""}),
            "label: expected the name of a label, found \"\"",
        ),
        (
            "endpoint-attribute",
            json!({"prefer": "lower"}),
            ": missing field `attribute`",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "b", "prefer": "lower"}),
            "attribute: expected one of a, waitingRequests, runningRequests, kvCacheUsage, kvBlockSize, \
             kvBlocks, prefixCacheHitRatio, timeToFirstToken, timePerOutputToken, found \"b\"",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "a"}),
            "prefer: expected \"higher\" or \"lower\", found none",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "a", "prefer": "more"}),
            "prefer: unknown variant `more`",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "a", "prefer": "lower", "range": [1, 1]}),
            "range: expected two numbers, the smaller first, found 1 and 1",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "a", "prefer": "lower", "range": [1]}),
            "range: invalid length 1",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "a", "prefer": "lower", "algorithm": {"type": "linear_lower_is_better"}}),
            "algorithm: expected none beside prefer or range, which say the same, found both",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "a", "algorithm": {
                "type": "linear_lower_is_better", "normalization": {"fixedRange": {"min": 2, "max": 1}},
            }}),
            "algorithm.normalization.fixedRange: expected two numbers, the smaller first, found 2 and 1",
        ),
        (
            "endpoint-attribute",
            json!({"attribute": "a", "algorithm": {
                "type": "linear_lower_is_better",
                "normalization": {"fixedRange": {"min": 1, "max": 2}, "adaptiveRange": {}},
            }}),
            "algorithm.normalization: expected fixedRange or adaptiveRange, found both",
        ),
    ];
    for (kind, parameters, expected) in cases {
        let config = with(json!({
            "metrics": {"engines": {"mine": {"customMetrics": {"a": "a"}}}},
            "scheduling": {"scorers": [{"type": "queue"}, {"type": kind, "parameters": parameters}]},
        }));
        let error = refusal(&config);
        let path = "scheduling.scorers[1].parameters";
        let expected = match expected.strip_prefix(':') {
            Some(of_all) => format!("{path}:{of_all}"),
            None => format!("{path}.{expected}"),
        };
        assert!(error.starts_with(&expected), "{config}: {error}");
    }
}
