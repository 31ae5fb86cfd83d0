//! Filters of the configuration: what each type and parameter becomes, and which are refused.

use core::slice::from_ref;

use endpoint_picker::scheduling::{
    ContextLengthAware, Filter, LabelExpression, LabelOperator, LabelSelector, PrefixCacheAffinity,
    Profile, Role, RoleFilter, Utilization, UtilizationCondition, UtilizationMetric,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{only_profile, parse_pool, refusal, with};

#[wasm_bindgen_test(unsupported = test)]
fn every_filter_is_taken_with_its_parameters() {
    let role = |label: &str, role| {
        let label = label.to_owned();
        Filter::Role(RoleFilter { label, role })
    };
    let expression = |key: &str, operator, values: &[&str]| LabelExpression {
        key: key.to_owned(),
        operator,
        values: values.iter().map(ToString::to_string).collect(),
    };
    for (kinds, parameters, expected) in [
        (
            ["label-selector", "label-selector-filter"],
            json!({"matchLabels": {"gpu": "h100", "zone": "a"}}),
            Filter::LabelSelector(LabelSelector {
                match_labels: [("gpu", "h100"), ("zone", "a")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
                match_expressions: Vec::new(),
            }),
        ),
        (
            ["label-selector", "label-selector-filter"],
            json!({"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["1", "2"]},
                {"key": "b", "operator": "NotIn", "values": ["3"]},
                {"key": "c", "operator": "Exists"},
                {"key": "d", "operator": "DoesNotExist", "values": []},
            ]}),
            Filter::LabelSelector(LabelSelector {
                match_labels: Vec::new(),
                match_expressions: vec![
                    expression("a", LabelOperator::In, &["1", "2"]),
                    expression("b", LabelOperator::NotIn, &["3"]),
                    expression("c", LabelOperator::Exists, &[]),
                    expression("d", LabelOperator::DoesNotExist, &[]),
                ],
            }),
        ),
        (
            ["role"; 2],
            json!({"role": "prefill"}),
            role("llm-d.ai/role", Role::Prefill),
        ),
        (
            ["role"; 2],
            json!({"role": "decode", "label": "stage"}),
            role("stage", Role::Decode),
        ),
        (
            ["prefill-filter"; 2],
            json!({}),
            role("llm-d.ai/role", Role::Prefill),
        ),
        (
            ["decode-filter"; 2],
            json!(null),
            role("llm-d.ai/role", Role::Decode),
        ),
        (
            ["utilization", "utilization-filter"],
            json!({"conditions": [
                {"metric": "active-requests", "maxValue": 0},
                {"metric": "running-requests", "maxValue": 1.5},
                {"metric": "waiting-queue", "maxValue": 5},
                {"metric": "kv-cache-utilization", "maxValue": 0.8},
            ]}),
            Filter::Utilization(Utilization {
                conditions: [
                    (UtilizationMetric::ActiveRequests, 0.0),
                    (UtilizationMetric::RunningRequests, 1.5),
                    (UtilizationMetric::WaitingQueue, 5.0),
                    (UtilizationMetric::KvCacheUtilization, 0.8),
                ]
                .map(|(metric, max_value)| UtilizationCondition { metric, max_value })
                .into(),
                fallback_on_empty: false,
            }),
        ),
        (
            ["utilization", "utilization-filter"],
            json!({"conditions": [{"metric": "waiting-queue", "maxValue": 5}], "fallbackOnEmpty": true}),
            Filter::Utilization(Utilization {
                conditions: vec![UtilizationCondition {
                    metric: UtilizationMetric::WaitingQueue,
                    max_value: 5.0,
                }],
                fallback_on_empty: true,
            }),
        ),
        (
            ["prefix-cache-affinity", "prefix-cache-affinity-filter"],
            json!({}),
            Filter::PrefixCacheAffinity(PrefixCacheAffinity {
                affinity_threshold: 0.8,
                exploration_probability: 0.0,
                max_ttft_penalty_ms: 18_000.0,
                peak_prefill_throughput: 15_928.0,
            }),
        ),
        (
            ["prefix-cache-affinity", "prefix-cache-affinity-filter"],
            json!({
                "affinityThreshold": 0.99, "explorationProbability": 0.01, "maxTTFTPenaltyMs": 5000,
                "peakPrefillThroughput": 8000, "ttftSource": "prefillThroughput",
            }),
            Filter::PrefixCacheAffinity(PrefixCacheAffinity {
                affinity_threshold: 0.99,
                exploration_probability: 0.01,
                max_ttft_penalty_ms: 5_000.0,
                peak_prefill_throughput: 8_000.0,
            }),
        ),
        (
            ["prefix-cache-affinity"; 2],
            json!({"maxTtftPenaltyMs": 0}),
            Filter::PrefixCacheAffinity(PrefixCacheAffinity {
                max_ttft_penalty_ms: f64::MAX,
                ..PrefixCacheAffinity::default()
            }),
        ),
        (
            ["context-length-aware"; 2],
            json!({"label": "range"}),
            Filter::ContextLengthAware(ContextLengthAware {
                label: "range".to_owned(),
            }),
        ),
    ] {
        for kind in kinds {
            let entry = json!({"type": kind, "parameters": parameters});
            let scheduling = json!({"scheduling": {"filters": [entry]}});
            let pool = parse_pool(&with(scheduling)).unwrap();
            let profile = only_profile(&pool).unwrap();
            assert_eq!(profile.filters.as_slice(), from_ref(&expected), "{entry}");
            assert_eq!(profile.scorers, Profile::default().scorers, "{entry}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn parameters_of_filters_are_refused_by_their_paths() {
    let expressions = |expression: Value| json!({"matchExpressions": [expression]});
    let condition = |condition: Value| json!({"conditions": [condition]});
    let cases = [
        (
            "label-selector",
            json!({}),
            "matchLabels: expected labels, or matchExpressions beside it, found none",
        ),
        (
            "label-selector",
            json!({"matchLabels": {"a": 1}}),
            "matchLabels.a: invalid type: integer `1`, expected a string",
        ),
        (
            "label-selector",
            expressions(json!({"key": "a", "operator": "Gt", "values": ["1"]})),
            "matchExpressions[0].operator: unknown variant `Gt`, expected one of `In`, `NotIn`, \
             `Exists`, `DoesNotExist`",
        ),
        (
            "label-selector",
            expressions(json!({"key": "", "operator": "Exists"})),
            "matchExpressions[0].key: expected the name of a label, found \"\"",
        ),
        (
            "label-selector",
            expressions(json!({"key": "a", "operator": "In"})),
            "matchExpressions[0].values: expected values for In and NotIn, and for no other operator, \
             found 0",
        ),
        (
            "label-selector",
            expressions(json!({"key": "a", "operator": "Exists", "values": ["1"]})),
            "matchExpressions[0].values: expected values for In and NotIn, and for no other operator, \
             found 1",
        ),
        ("role", json!({}), ": missing field `role`"),
        (
            "role",
            json!({"role": "encode"}),
            "role: unknown variant `encode`, expected `prefill` or `decode`",
        ),
        (
            "decode-filter",
            json!({"label": "a"}),
            "label: unknown field `label`",
        ),
        (
            "utilization",
            json!({"conditions": []}),
            "conditions: expected at least one condition, found none",
        ),
        (
            "utilization",
            condition(json!({"metric": "waiting-queue", "maxValue": -1})),
            "conditions[0].maxValue: expected a number of at least 0, found -1",
        ),
        (
            "utilization",
            condition(json!({"metric": "kv-cache-utilization", "maxValue": 80})),
            "conditions[0].maxValue: expected a number from 0 to 1, found 80",
        ),
        (
            "utilization",
            condition(json!({"metric": "gpu", "maxValue": 1})),
            "conditions[0].metric: unknown variant `gpu`",
        ),
        (
            "prefix-cache-affinity",
            json!({"affinityThreshold": 80}),
            "affinityThreshold: expected a number from 0 to 1, found 80",
        ),
        (
            "prefix-cache-affinity",
            json!({"explorationProbability": -0.5}),
            "explorationProbability: expected a number from 0 to 1, found -0.5",
        ),
        (
            "prefix-cache-affinity",
            json!({"maxTtftPenaltyMs": -1}),
            "maxTtftPenaltyMs: expected a number of at least 0, found -1",
        ),
        (
            "prefix-cache-affinity",
            json!({"peakPrefillThroughput": 0}),
            "peakPrefillThroughput: expected a number of more than 0, found 0",
        ),
        (
            "prefix-cache-affinity",
            json!({"ttftSource": "latencyPredictor"}),
            "ttftSource: unknown variant `latencyPredictor`, expected `prefillThroughput`",
        ),
    ];
    for (kind, parameters, expected) in cases {
        let config = with(json!({
            "scheduling": {"filters": [{"type": kind, "parameters": parameters}]},
        }));
        let error = refusal(&config);
        let path = "scheduling.filters[0].parameters";
        let expected = match expected.strip_prefix(':') {
            Some(of_all) => format!("{path}:{of_all}"),
            None => format!("{path}.{expected}"),
        };
        assert!(error.starts_with(&expected), "{config}: {error}");
    }
}
