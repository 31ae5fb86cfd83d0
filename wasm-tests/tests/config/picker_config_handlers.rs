//! Who picks the profiles of an `EndpointPickerConfig`: what becomes of that.

use endpoint_picker::scheduling::{Condition, Disaggregation, HeaderCondition, Role};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::{
    merge, only_profile, parse, parse_pool,
    picker_config::{picker_config, plugins, pool, profile, role},
};

#[wasm_bindgen_test(unsupported = test)]
fn a_header_names_the_profile() {
    let profiles =
        ["decode", "prefill", "other"].map(|name| profile(name, &[("queue-scorer", None)]));
    for (parameters, header, order) in [
        (json!({}), "epp-profile", ["prefill", "other", "decode"]),
        (
            json!({"headerName": " X-Stage ", "defaultProfile": "prefill"}),
            "x-stage",
            ["decode", "other", "prefill"],
        ),
    ] {
        let config = picker_config(json!({
            "plugins": [
                {"type": "header-profile-handler", "parameters": parameters},
                {"type": "queue-scorer"}, {"type": "random-picker"},
            ],
            "schedulingProfiles": profiles,
        }));
        let settings = parse(&config).unwrap();
        assert_eq!(
            settings.watched.all(),
            [crate::header(header)],
            "{parameters}"
        );
        let pool = parse_pool(&config).unwrap();
        let profiles = pool.scheduling.profiles;
        let names: Vec<_> = profiles.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, order, "{parameters}");
        for (index, profile) in profiles.iter().enumerate() {
            let condition = HeaderCondition {
                header: 0,
                value: Some(profile.name.clone()),
            };
            let named = (index < 2).then_some(condition);
            assert_eq!(profile.when.headers, Vec::from_iter(named), "{parameters}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn one_profile_is_for_all_requests_whatever_the_handler() {
    for handler in ["single-profile-handler", "header-profile-handler"] {
        let pool = pool(json!({
            "plugins": plugins(&[handler, "queue-scorer"]),
            "schedulingProfiles": [profile("only", &[("queue-scorer", None)])],
        }))
        .unwrap();
        let profile = only_profile(&pool).unwrap();
        assert_eq!(profile.name, "only", "{handler}");
        assert_eq!(profile.when, Condition::default(), "{handler}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_decider_splits_prefill_from_decode() {
    let prefix_based = |parameters: Value| {
        let name = json!({"type": "prefix-based-pd-decider", "name": "decider"});
        let mut decider = name;
        merge(&mut decider, json!({"parameters": parameters}));
        decider
    };
    let by_name = json!({"deciders": {"prefill": "decider"}});
    for (decider, handler, split) in [
        (
            json!({"type": "always-disagg-pd-decider", "name": "decider"}),
            by_name.clone(),
            Some(0),
        ),
        // There so many tokens are enough, here it takes more.
        (
            prefix_based(json!({"nonCachedTokens": 16})),
            by_name.clone(),
            Some(15),
        ),
        (
            prefix_based(json!({"nonCachedTokens": 16, "promptTokens": 16})),
            json!({"deciders": {"prefill": "decider"}, "stageOrder": "decode-first",
                   "profiles": {"decode": "decode", "prefill": "prefill", "encode": "encode"}}),
            Some(15),
        ),
        (prefix_based(json!(null)), by_name.clone(), None),
        (
            prefix_based(json!({"nonCachedTokens": 0})),
            by_name.clone(),
            None,
        ),
        (
            prefix_based(json!({"nonCachedTokens": 16})),
            json!({"deciders": {"prefill": ""}}),
            None,
        ),
        (
            prefix_based(json!({"nonCachedTokens": 16})),
            json!({}),
            None,
        ),
    ] {
        let pool = pool(json!({
            "plugins": [
                decider, {"type": "disagg-profile-handler", "parameters": handler},
                {"type": "disagg-headers-handler"}, {"type": "prefill-filter"},
                {"type": "decode-filter"}, {"type": "queue-scorer"},
            ],
            "schedulingProfiles": [
                profile("prefill", &[("prefill-filter", None), ("queue-scorer", None)]),
                profile("decode", &[("decode-filter", None), ("queue-scorer", Some(2.0))]),
            ],
        }))
        .unwrap();
        let expected = split.map(|min_uncached_tokens| Disaggregation {
            prefill: 1,
            min_uncached_tokens,
        });
        let found = pool.scheduling.disaggregation;
        assert_eq!(found, expected, "{decider} {handler}");
        let filters = pool.scheduling.profiles.iter().map(|it| it.filters.clone());
        let mut roles = vec![vec![role(Role::Decode)]];
        roles.extend(split.map(|_| vec![role(Role::Prefill)]));
        assert_eq!(filters.collect::<Vec<_>>(), roles, "{decider} {handler}");
        assert_eq!(
            pool.disaggregation_headers.prefiller,
            "x-prefiller-host-port"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn handlers_may_be_written_as_they_once_were() {
    let always = json!([{"type": "always-disagg-pd-decider"}]);
    let by_prefix = json!([{"type": "prefix-based-pd-decider", "parameters": {
        "nonCachedTokens": 8, "prefixMatchInfoProducerName": "approx-prefix-cache-producer",
    }}]);
    for (kind, parameters, deciders, expected) in [
        (
            "disagg-profile-handler",
            json!({"deciderPluginName": "always-disagg-pd-decider", "encodeProfile": "encode"}),
            &always,
            Some(0),
        ),
        (
            "disagg-profile-handler",
            json!({"prefillDeciderPluginName": "prefix-based-pd-decider",
                   "encodeDeciderPluginName": ""}),
            &by_prefix,
            Some(7),
        ),
        ("disagg-profile-handler", json!({}), &by_prefix, None),
        (
            "pd-profile-handler",
            json!({"deciderPluginName": "always-disagg-pd-decider", "primaryPort": 0}),
            &always,
            Some(0),
        ),
        // The one of this type, where none is named.
        ("pd-profile-handler", json!({}), &by_prefix, Some(7)),
        // And before there were any, a threshold.
        ("pd-profile-handler", json!({}), &json!([]), Some(0)),
        (
            "pd-profile-handler",
            json!({"threshold": 10, "hashBlockSize": 5, "prefixPluginName": "prefix-cache-scorer"}),
            &json!([]),
            Some(9),
        ),
        (
            "pd-profile-handler",
            json!({"threshold": 0}),
            &by_prefix,
            Some(0),
        ),
    ] {
        let mut handler = json!({"type": kind, "parameters": {
            "decodeProfile": "second", "prefillProfile": "first",
        }});
        merge(&mut handler, json!({"parameters": parameters}));
        let mut plugins = plugins(&["prefill-filter", "decode-filter", "queue-scorer"]);
        plugins.push(handler);
        plugins.extend(deciders.as_array().cloned().unwrap_or_default());
        let pool = pool(json!({
            "plugins": plugins,
            "schedulingProfiles": [
                profile("first", &[("prefill-filter", None), ("queue-scorer", None)]),
                profile("second", &[("decode-filter", None), ("queue-scorer", None)]),
            ],
        }))
        .unwrap();
        assert_eq!(pool.scheduling.profiles[0].name, "second");
        let found = pool.scheduling.disaggregation;
        let expected = expected.map(|min_uncached_tokens| Disaggregation {
            prefill: 1,
            min_uncached_tokens,
        });
        assert_eq!(found, expected, "{kind} {parameters} {deciders}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn sections_may_be_written_as_they_once_were() {
    let pool = pool(json!({
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "plugins": plugins(&["queue-scorer"]),
        "schedulingProfiles": [profile("default", &[("queue-scorer", Some(2.0))])],
        "saturationDetector": {
            "queueDepthThreshold": 8, "kvCacheUtilThreshold": 0.75, "metricsStalenessThreshold": "150ms",
        },
        "data": {"sources": [
            {"pluginRef": "metrics-data-source", "extractors": [{"pluginRef": "model-server-protocol-metrics"}]},
        ]},
    }))
    .unwrap();
    assert_eq!(only_profile(&pool).unwrap().scorers.len(), 1);
}
